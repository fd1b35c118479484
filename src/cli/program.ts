/** The `minim` command. One file per subcommand beside this one. */
import process from 'node:process'
import { setFlagsFromString } from 'node:v8'
import { Command, CommanderError } from 'commander'
import { VERSION } from '../version.js'
import { commandLineError, REFUSAL } from './command-line.js'
import { addCommands } from './commands.js'
import { EXIT, fail } from './exit.js'

const program = new Command('minim')
  .description(
    'Data-minimisation proxy for PBX telemetry: call records in, per-purpose minimised Kafka topics out, exactly once',
  )
  .version(VERSION)
  .exitOverride()
  .configureOutput({
    outputError: (text, write) => {
      if (!text.startsWith(REFUSAL)) write(text)
    },
  })
// Who reads may stop reading: `minim preview … | head` is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? EXIT.done : EXIT.failed)
})
const [named] = process.argv.slice(2)
// A batch's buffers die young: a small young generation frees them early, and 40 to 60 MB stay unused. Sources of many
// small objects (HTTP) pay for that with a fifth more CPU, so only the bulk load has it.
if (named === 'load') setFlagsFromString('--semi-space-growth-factor=1')
await addCommands(program, named ?? null)

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof CommanderError)) fail(error)
  if (error.exitCode === 0) process.exit(EXIT.done)
  // What is no refusal has been written: the help where no command was given, lint's verdict.
  if (error.message.startsWith(REFUSAL)) fail(commandLineError(program, process.argv.slice(2), error))
  process.exit(EXIT.usage)
}
