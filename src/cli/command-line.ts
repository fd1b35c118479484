/** Command lines that commander refuses, told as all other mistakes are: with code, place and mend. */
import type { Command, CommanderError } from 'commander'
import type { Problem } from '../errors/catalogue.js'
import { ProblemsError, useOneOf } from '../errors/problems.js'

/** Commander's own messages begin so; it would write them itself. */
export const REFUSAL = 'error: '

/**
 * What commander refuses of a command line, as an error out of the catalogue. @param args the command line behind the
 * program's name
 */
export function commandLineError(program: Command, args: readonly string[], error: CommanderError): ProblemsError {
  const { command, name } = called(program, args)
  return new ProblemsError('MINIM_COMMAND_LINE', name, [problemOf(command, name, error)])
}

/** A name on the command line that stands for nothing. */
export function unknownName(command: string, name: string, what: string, mend: string): ProblemsError {
  return new ProblemsError('MINIM_COMMAND_LINE', `minim ${command}`, [{ path: `"${name}"`, what, mend }])
}

/** The command that a line calls: `minim quarantine list`. */
function called(program: Command, args: readonly string[]): { readonly command: Command; readonly name: string } {
  let command = program
  let name = program.name()
  for (const arg of args) {
    const next = command.commands.find((c) => c.name() === arg)
    if (next === undefined) break
    command = next
    name = `${name} ${arg}`
  }
  return { command, name }
}

function problemOf(command: Command, name: string, error: CommanderError): Problem {
  const usage = `write ${name} ${command.usage()}`
  // What stands in quotes: a name, or an option as its command has declared it.
  // Without what an option was given with `=`.
  const quoted = (/'([^']*)'/.exec(error.message)?.[1] ?? '').replace(/^(--[^=]+)=.*$/s, '$1')
  const declared = command.options.find((option) => option.flags === quoted)
  const path = declared?.long ?? quoted
  switch (error.code) {
    case 'commander.unknownCommand':
      return {
        path: `"${quoted}"`,
        what: 'is no command',
        mend: useOneOf(
          quoted,
          command.commands.map((c) => c.name()),
        ),
      }
    case 'commander.unknownOption':
      return {
        path,
        what: `is no option of ${name}`,
        mend: useOneOf(
          quoted,
          command.options.filter((o) => !o.hidden).flatMap((o) => o.long ?? []),
        ),
      }
    case 'commander.missingArgument':
      return { path, what: 'is missing', mend: usage }
    case 'commander.optionMissingArgument':
      return { path, what: 'has no value', mend: `write ${quoted}` }
    case 'commander.missingMandatoryOptionValue':
      return { path, what: 'is missing', mend: `add ${quoted}: ${declared?.description ?? ''}` }
    case 'commander.invalidArgument':
      return { path, what: 'is not understood', mend: /is invalid[^.]*\. (.+)$/s.exec(error.message)?.[1] ?? usage }
    case 'commander.excessArguments':
      return { path: 'arguments', what: 'there are too many', mend: usage }
    default:
      return { path: 'arguments', what: error.message.replace(REFUSAL, ''), mend: usage }
  }
}
