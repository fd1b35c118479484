/** `minim man`: the manual page, made from the commands: `minim man > minim.1`. */
import type { Command } from 'commander'
import { VERSION } from '../version.js'
import { EXIT } from './exit.js'
import { printer } from './output.js'

/** What each code means, as docs/operations.md has it in full. */
const EXIT_TEXTS: Readonly<Record<keyof typeof EXIT, string>> = {
  done: 'done',
  failed: 'a case that fails, a file, a port, or something unexpected',
  usage: 'the command line, the settings, the policy or its cases',
  kafka: 'Kafka: what no retry can mend, or another process has taken over',
  keys: "the master key, the key store or the spool's keys",
  narrower: 'diff: somebody sees less, and nobody more',
  wider: 'diff: somebody sees more',
  interrupted: 'load was interrupted: the next run goes on from there',
  killed: 'by SIGKILL: also where it could not end otherwise',
}

export function register(program: Command): void {
  const print = printer(program)
  program
    .command('man')
    .description('the manual page: minim man > minim.1')
    .action(() => {
      print(page(program))
    })
}

/** Text as troff takes it: no line begins with a control character, and a hyphen is one that can be copied. */
const roff = (text: string): string =>
  text
    .replace(/\\/g, '\\e')
    .replace(/-/g, '\\-')
    .replace(/^(['.])/gm, '\\&$1')

function page(program: Command): string {
  return [
    `.TH MINIM 1 "" "minim ${roff(VERSION)}" "User commands"`,
    '.SH NAME',
    `minim \\- ${roff(program.description())}`,
    '.SH SYNOPSIS',
    '.B minim',
    '.I command',
    '[options]',
    '.SH COMMANDS',
    ...program.commands.flatMap((command) => commandLines(command, 'minim')),
    '.SH EXIT STATUS',
    ...(Object.keys(EXIT_TEXTS) as (keyof typeof EXIT)[]).flatMap((name) => [
      '.TP',
      `.B ${EXIT[name]}`,
      roff(EXIT_TEXTS[name]),
    ]),
  ].join('\n')
}

function commandLines(command: Command, before: string): string[] {
  const name = `${before} ${command.name()}`
  if (command.commands.length > 0) return command.commands.flatMap((sub) => commandLines(sub, name))
  return [
    `.SS "${roff(`${name} ${command.usage()}`)}"`,
    roff(command.description()),
    ...command.options
      .filter(({ hidden }) => !hidden)
      .flatMap(({ flags, description }) => ['.TP', `.B ${roff(flags)}`, roff(description)]),
  ]
}
