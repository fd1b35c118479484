#!/usr/bin/env node
/** The `minim` command. One file per subcommand beside this one. */
import process from 'node:process'
import { Command, CommanderError } from 'commander'
import { VERSION } from '../app.js'
import { EXIT, fail } from './exit.js'
import * as demo from './demo.js'
import * as explain from './explain.js'
import * as keys from './keys.js'
import * as lint from './lint.js'
import * as load from './load.js'
import * as run from './run.js'
import * as schema from './schema.js'
import * as tail from './tail.js'

const program = new Command('minim')
  .description('Data-minimisation proxy for PBX telemetry: call records in, per-purpose minimised Kafka topics out, exactly once')
  .version(VERSION)
  .exitOverride()
for (const command of [demo, run, load, tail, keys, lint, explain, schema]) command.register(program)
// Subcommands do not inherit it.
for (const command of program.commands) command.exitOverride()

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? EXIT.done : EXIT.usage)
  fail(error)
}
