/** Command lines that commander refuses, told as all other mistakes are: with code, place and mend. */
import type { Command, CommanderError } from 'commander'
import type { Problem } from '../errors/catalogue.js'
import { nearest, ProblemsError, useOneOf } from '../errors/problems.js'

/** Commander's own messages begin so; it would write them itself. */
export const REFUSAL = 'error: '

/**
 * What commander refuses of a command line, as an error out of the catalogue. @param args the command line behind the
 * program's name
 */
export function commandLineError(program: Command, args: readonly string[], error: CommanderError): ProblemsError {
  const { command, name } = called(program, args)
  return new ProblemsError('MINIM_COMMAND_LINE', name, [problemOf(command, name, error, args)])
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

/** An option on a command line that its command does not have, and that is near one that it needs. */
function misspelt(command: Command, args: readonly string[], wanted: string): string | undefined {
  const known = new Set(command.options.flatMap((option) => [option.long, option.short]))
  return args
    .map((arg) => arg.replace(/=.*$/s, ''))
    .find((arg) => /^--?[a-z]/i.test(arg) && !known.has(arg) && nearest(arg, [wanted]).length > 0)
}

function problemOf(command: Command, name: string, error: CommanderError, args: readonly string[]): Problem {
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
    case 'commander.missingMandatoryOptionValue': {
      const meant = misspelt(command, args, path)
      if (meant !== undefined) return { path: meant, what: `is no option of ${name}`, mend: `did you mean ${path}?` }
      return { path, what: 'is missing', mend: `add ${quoted}: ${declared?.description ?? ''}` }
    }
    case 'commander.invalidArgument':
      return { path, what: 'is not understood', mend: /is invalid[^.]*\. (.+)$/s.exec(error.message)?.[1] ?? usage }
    case 'commander.excessArguments':
      return { path: 'arguments', what: 'there are too many', mend: usage }
    default:
      return { path: 'arguments', what: error.message.replace(REFUSAL, ''), mend: usage }
  }
}
