/** `minim completion bash|zsh|fish`: what a shell needs to complete commands and options, made from the commands. */
import { Argument, type Command } from 'commander'
import { printer } from './output.js'

/** A command with its subcommands' names and its options, as a shell is told of it. */
interface Completable {
  /** Words before it: `[]` of the program, `['quarantine', 'list']` of a subcommand. */
  readonly path: readonly string[]
  readonly subcommands: readonly { readonly name: string; readonly description: string }[]
  readonly options: readonly { readonly long: string; readonly description: string; readonly takesValue: boolean }[]
}

const SHELLS = ['bash', 'zsh', 'fish'] as const
type Shell = (typeof SHELLS)[number]

export function register(program: Command): void {
  const print = printer(program)
  program
    .command('completion')
    .description('a script that completes commands and options: eval "$(minim completion bash)"')
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
    .action((shell: Shell) => {
      print(SCRIPTS[shell](completables(program)))
    })
}

function completables(command: Command, path: readonly string[] = []): Completable[] {
  const subcommands = command.commands.map((sub) => ({ name: sub.name(), description: short(sub.description()) }))
  const options = command.options
    .filter(({ hidden, long }) => !hidden && long !== undefined)
    .map((option) => ({
      long: option.long ?? '',
      description: short(option.description),
      takesValue: option.required || option.optional,
    }))
  return [
    { path, subcommands, options: [...options, { long: '--help', description: 'help', takesValue: false }] },
    ...command.commands.flatMap((sub) => completables(sub, [...path, sub.name()])),
  ]
}

/** A description's first part: menus have one line. */
const short = (text: string): string => text.split(/[;:(]/)[0].trim()
/** For a text between single quotes, as every one of the shells reads it. */
const quoted = (text: string): string => `'${text.replace(/'/g, "'\\''")}'`
const wordsOf = ({ subcommands, options }: Completable): string[] => [
  ...subcommands.map(({ name }) => name),
  ...options.map(({ long }) => long),
]

/** The script of each shell: it finds the command that the words before name, and offers what that takes. */
const SCRIPTS: Readonly<Record<Shell, (all: readonly Completable[]) => string>> = {
  bash: (all) => `# minim completion for bash
_minim() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" path="" word words
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$path $word" in
${all
  .filter(({ path }) => path.length > 0)
  .map(({ path }) => `      ${quoted(` ${path.join(' ')}`)}) path=${quoted(` ${path.join(' ')}`)} ;;`)
  .join('\n')}
    esac
  done
  case "$path" in
${all.map((one) => `    ${quoted(one.path.map((p) => ` ${p}`).join(''))}) words=${quoted(wordsOf(one).join(' '))} ;;`).join('\n')}
  esac
  if [[ "$cur" != -* ]] && [[ -z "$(compgen -W "$words" -- "$cur")" ]]; then
    COMPREPLY=($(compgen -f -- "$cur"))
  else
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
  fi
}
complete -o filenames -F _minim minim`,

  zsh: (all) => `#compdef minim
# minim completion for zsh
_minim() {
  local path="" word
  local -a entries
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$path $word" in
${all
  .filter(({ path }) => path.length > 0)
  .map(({ path }) => `      ${quoted(` ${path.join(' ')}`)}) path=${quoted(` ${path.join(' ')}`)} ;;`)
  .join('\n')}
    esac
  done
  case "$path" in
${all
  .map((one) => {
    const entries = [...one.subcommands, ...one.options.map(({ long, description }) => ({ name: long, description }))]
    const words = entries.map(({ name, description }) => quoted(`${name.replace(/:/g, '\\:')}:${description}`))
    return `    ${quoted(one.path.map((p) => ` ${p}`).join(''))}) entries=(${words.join(' ')}) ;;`
  })
  .join('\n')}
  esac
  _describe 'minim' entries
  _files
}
compdef _minim minim`,

  fish: (all) => `# minim completion for fish
complete -c minim -n __fish_use_subcommand -f
${all
  .flatMap(({ path, subcommands, options }) => {
    const condition = conditionOf(path)
    return [
      ...subcommands.map(
        ({ name, description }) => `complete -c minim -n ${condition} -a ${quoted(name)} -d ${quoted(description)}`,
      ),
      ...options.map(
        ({ long, description, takesValue }) =>
          `complete -c minim -n ${condition} -l ${quoted(long.slice(2))}${takesValue ? ' -r' : ''} -d ${quoted(description)}`,
      ),
    ]
  })
  .join('\n')}`,
}

function conditionOf(path: readonly string[]): string {
  if (path.length === 0) return '__fish_use_subcommand'
  return quoted(path.map((word) => `__fish_seen_subcommand_from ${word}`).join('; and '))
}
