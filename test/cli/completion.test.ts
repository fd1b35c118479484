/** What shells complete is what the commands take; the manual page names every command and option. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import t from 'tap'
import { addCommands } from '../../src/cli/commands.js'
import { EXIT } from '../../src/cli/exit.js'
import { spawnSync } from '../helpers/child-process.js'

async function wholeProgram(print: (text: string) => void = () => undefined): Promise<Command> {
  const program = new Command('minim').description('a proxy').exitOverride().configureOutput({ writeOut: print })
  await addCommands(program, 'man')
  return program
}

async function printed(...args: readonly string[]): Promise<string> {
  let out = ''
  const program = await wholeProgram((text) => {
    out += text
  })
  await program.parseAsync(args, { from: 'user' })
  return out
}

const present = (command: string): boolean => spawnSync(command, ['--version']).error === undefined

t.test('bash completes commands, subcommands, options and files', async (t) => {
  const folder = t.testdir({ 'calls.csv': '' })
  const script = join(folder, 'minim.bash')
  writeFileSync(script, await printed('completion', 'bash'))
  const complete = (...words: string[]): string[] =>
    spawnSync(
      'bash',
      [
        '-c',
        `source "$1"; shift; COMP_WORDS=(minim "$@"); COMP_CWORD=$#; _minim; printf '%s\\n' "\${COMPREPLY[@]}"`,
        'x',
        script,
        ...words,
      ],
      { encoding: 'utf8', cwd: folder },
    )
      .stdout.trim()
      .split('\n')
  t.same(complete('pre'), ['preview'])
  t.same(complete('preview', '--ex'), ['--example'])
  t.same(complete('quarantine', 're'), ['replay'])
  t.ok(complete('quarantine', 'list', '--').includes('--help'))
  t.notOk(complete('quarantine', 'list', '--').includes('--example'), 'only its own')
  t.same(complete('load', 'ca'), ['calls.csv'])
})

t.test('zsh and fish: every command and option, and the shells take it', async (t) => {
  const whole = await wholeProgram()
  for (const shell of ['zsh', 'fish']) {
    const script = await printed('completion', shell)
    for (const command of whole.commands) {
      t.match(script, command.name())
      for (const { long, hidden } of command.options)
        if (long !== undefined && !hidden) t.match(script, shell === 'fish' ? `'${long.slice(2)}'` : long)
    }
    if (!present(shell)) {
      t.comment(`left out: ${shell} is not here to read its script`)
      continue
    }
    const path = join(t.testdir({}), shell)
    writeFileSync(path, script)
    t.equal(spawnSync(shell, ['-n', path]).status, 0, `${shell} reads it`)
  }
  await t.rejects(printed('completion', 'tcsh'), { code: 'commander.invalidArgument' })
})

t.test('the manual page', async (t) => {
  const page = await printed('man')
  const plain = page.replace(/\\-/g, '-')
  const walk = (command: Command): void => {
    for (const sub of command.commands) walk(sub)
    for (const { flags, hidden } of command.options) if (!hidden) t.ok(plain.includes(`.B ${flags}`), flags)
  }
  walk(await wholeProgram())
  for (const code of Object.values(EXIT)) t.ok(plain.includes(`.B ${code}\n`), `exit code ${code}`)
  if (!present('groff')) {
    t.comment('left out: groff is not here to set the page')
    return
  }
  const set = spawnSync('groff', ['-man', '-Tutf8', '-ww', '-z'], { input: page, encoding: 'utf8' })
  t.equal(set.status, 0)
  t.equal(set.stderr, '', 'without a warning')
})
