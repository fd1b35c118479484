#!/usr/bin/env node
/** The `minim` command. One file per subcommand beside this one. */
import process from 'node:process'
import { setFlagsFromString } from 'node:v8'
import { Command, CommanderError } from 'commander'
import { VERSION } from '../version.js'
import { commandLineError, REFUSAL } from './command-line.js'
import { EXIT, fail } from './exit.js'

/** Loaded when they are asked for: a question about the policy need not wait for Kafka's and gRPC's clients. */
const COMMANDS = {
  demo: () => import('./demo.js'),
  run: () => import('./run.js'),
  load: () => import('./load.js'),
  agent: () => import('./agent.js'),
  preview: () => import('./preview.js'),
  diff: () => import('./diff.js'),
  test: () => import('./test.js'),
  tail: () => import('./tail.js'),
  keys: () => import('./keys.js'),
  quarantine: () => import('./quarantine.js'),
  lint: () => import('./lint.js'),
  explain: () => import('./explain.js'),
  schema: () => import('./schema.js'),
} satisfies Record<string, () => Promise<{ register(program: Command): void }>>

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
const [named] = process.argv.slice(2)
// A batch's buffers die young: a small young generation frees them early, and 40 to 60 MB stay unused. Sources of many
// small objects (HTTP) pay for that with a fifth more CPU, so only the bulk load has it.
if (named === 'load') setFlagsFromString('--semi-space-growth-factor=1')
for (const [name, module] of Object.entries(COMMANDS))
  if (name === named || !Object.hasOwn(COMMANDS, named ?? '')) (await module()).register(program)

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof CommanderError)) fail(error)
  if (error.exitCode === 0) process.exit(EXIT.done)
  // What is no refusal has been written: the help where no command was given, lint's verdict.
  if (error.message.startsWith(REFUSAL)) fail(commandLineError(program, process.argv.slice(2), error))
  process.exit(EXIT.usage)
}
