/**
 * Reads a page of `docs/` as a newcomer would: its blocks are done in order, in an empty folder, with the real program.
 *
 * - A block whose first line says `file=NAME` is that file.
 * - A block of `sh` is run by one bash that goes on from block to block. With `until=TEXT` it runs in a terminal of its
 *   own, and the next block waits for that text.
 * - A block that says `settings` is a part of a settings file, and is checked as one.
 * - A block that says `output` is what the block before it prints; `…` stands for anything.
 *
 * Any other block would be one that nobody has tried, so it fails.
 */
import type { ChildProcess, ChildProcessWithoutNullStreams } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'
import { catalogue } from '../../src/catalogue/catalogue.js'
import { checkMapping } from '../../src/formats/mapping-check.js'
import { loadSettings } from '../../src/settings/load.js'
import { ROOT, until } from '../e2e/program.js'
import { spawn, spawnSync } from '../helpers/child-process.js'

export interface Block {
  readonly language: string
  /** What stands after the language: `file=minim.yaml`, `until='ready'`, `output`. */
  readonly attributes: Readonly<Record<string, string>>
  readonly text: string
  /** Number of its first line in the page. */
  readonly line: number
}

export function readPage(name: string): string {
  return withoutPadding(readFileSync(join(ROOT, 'docs', name), 'utf8'))
}

/** The same page with its tables' cells as long as their texts, however the formatter has aligned them. */
export function withoutPadding(page: string): string {
  return page.replace(/^\|.*\|$/gm, (row) => row.replace(/ {2,}(?=\|)/g, ' ').replace(/-{3,}/g, '---'))
}

export function blocksOf(page: string): Block[] {
  const blocks: Block[] = []
  let open: { language: string; attributes: Record<string, string>; line: number; lines: string[] } | null = null
  page.split('\n').forEach((text, i) => {
    if (open === null) {
      const [, language, rest] = /^```(\w+)(.*)$/.exec(text) ?? []
      if (language === undefined) return
      const attributes = Object.fromEntries(
        [...rest.matchAll(/(\w+)(?:=(?:'([^']*)'|(\S+)))?/g)].map(([, key, quoted, bare]) => [
          key,
          quoted ?? bare ?? '',
        ]),
      )
      open = { language, attributes, line: i + 1, lines: [] }
    } else if (text === '```') {
      blocks.push({
        language: open.language,
        attributes: open.attributes,
        line: open.line,
        text: open.lines.map((line) => `${line}\n`).join(''),
      })
      open = null
    } else open.lines.push(text)
  })
  return blocks
}

/** The rows of the table whose first line begins with `| <head> |`. */
export function tableOf(page: string, head: string): string[][] {
  const lines = page.split('\n')
  const at = lines.findIndex((line) => line.startsWith(`| ${head} |`))
  if (at < 0) throw new Error(`no table of ${head}`)
  const rows: string[][] = []
  for (let i = at + 2; lines[i]?.startsWith('|'); i++)
    rows.push(
      lines[i]
        .slice(1, -1)
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim().replace(/\\\|/g, '|')),
    )
  return rows
}

export const codesOf = (text: string): string[] => [...text.matchAll(/`([^`]+)`/g)].map(([, code]) => code)

/** Whether a text is what a page shows, where `…` stands for anything. */
export function looksLike(shown: string, real: string): boolean {
  const pattern = shown
    .trim()
    .split('…')
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    .join('[^]*?')
  return new RegExp(`^${pattern}$`).test(real.trim())
}

export interface WalkOptions {
  /** What a page says → what it is here: ports that others use, folders of a PBX. Each must occur. */
  readonly instead?: Readonly<Record<string, string>>
  /** Environment of the shell, beside PATH and HOME. */
  readonly env?: Readonly<Record<string, string>>
  /** Folders that come first in PATH. */
  readonly path?: readonly string[]
  /** Called with the empty folder before the first block. */
  readonly prepare?: (folder: string) => void
  /** Blocks that are not run here, and by whom they are. */
  readonly leaveOut?: (block: Block) => string | null
  /** The package's folder. Default: the checkout. */
  readonly packageFolder?: string
}

/** Walks through a page. @returns its folder */
export async function walk(t: Test, name: string, options: WalkOptions = {}): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'minim-docs-'))
  const hidden = join(folder, '.walk')
  mkdirSync(hidden)
  mkdirSync(join(folder, '.tmp'))
  const children: ChildProcess[] = []
  t.teardown(async () => {
    for (const child of children) await endGroup(child)
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  })
  const prefix = join(hidden, 'prefix')
  installed(prefix, options.packageFolder ?? ROOT)
  const env = {
    PATH: [join(prefix, 'bin'), ...(options.path ?? []), process.env['PATH']].join(':'),
    HOME: process.env['HOME'],
    TMPDIR: join(folder, '.tmp'),
    npm_config_prefix: prefix,
    ...options.env,
  }

  options.prepare?.(folder)
  const swaps = Object.entries(options.instead ?? {})
  const page = readPage(name)
  for (const [said] of swaps) if (!page.includes(said)) throw new Error(`${name} does not say ${said}`)
  const here = (text: string): string => swaps.reduce((all, [said, is]) => all.replaceAll(said, is), text)

  const shell = new Shell(folder, env, hidden)
  children.push(shell.child)
  let printed: string | null = null
  for (const block of blocksOf(page)) {
    const at = `${name}:${block.line}`
    const { attributes, language } = block
    const why = options.leaveOut?.(block) ?? null
    if (why !== null) {
      t.comment(`left out: ${at}: ${why}`)
      continue
    }
    const text = here(block.text)
    if ('output' in attributes) {
      if (printed === null) t.fail(`${at} shows the output of nothing`)
      else if (!looksLike(here(block.text), printed)) t.equal(printed, here(block.text), `${at} is what is printed`)
      else t.pass(`${at} is what is printed`)
    } else if ('settings' in attributes) {
      const path = join(hidden, 'part.yaml')
      writeFileSync(path, text)
      const { mappings } = loadSettings(path)
      // Only those that something reads by are checked with the settings.
      t.same(
        Object.entries(mappings).flatMap(([name, mapping]) => checkMapping(mapping, catalogue(), name, name).problems),
        [],
        `${at} is a part of the settings`,
      )
    } else if (attributes['file'] !== undefined) {
      const path = join(folder, here(attributes['file']))
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, text)
    } else if (language === 'sh' && attributes['until'] !== undefined) {
      const child = spawn('bash', ['-eu', '-o', 'pipefail', '-c', text], {
        cwd: folder,
        env,
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      children.push(child)
      let said = ''
      child.stdout.setEncoding('utf8').on('data', (more: string) => {
        said += more
      })
      child.stderr.setEncoding('utf8').on('data', (more: string) => {
        said += more
      })
      const wanted = attributes['until']
      await until(`"${wanted}" of ${at}`, () => {
        if (said.includes(wanted)) return true
        if (child.exitCode !== null) throw new Error(`${at} ended: ${said.slice(-2000)}`)
        return null
      })
      t.pass(`${at} runs`)
    } else if (language === 'sh') {
      const { code, stdout, stderr } = await shell.run(text)
      printed = stdout
      if (code === 0) t.pass(`${at} runs`)
      else {
        t.fail(`${at} ends with ${code}`, { stdout: stdout.slice(-1500), stderr: stderr.slice(-1500) })
        throw new Error(`${at} ends with ${code}: ${stderr.slice(-500)}`)
      }
    } else t.fail(`${at}: nobody tries this block`)
  }
  return folder
}

/** Lays a package out as `npm install -g` does. */
function installed(prefix: string, packageFolder: string): void {
  const { name, bin } = JSON.parse(readFileSync(join(packageFolder, 'package.json'), 'utf8')) as {
    name: string
    bin: Record<string, string>
  }
  const place = join(prefix, 'lib/node_modules', name)
  mkdirSync(dirname(place), { recursive: true })
  symlinkSync(packageFolder, place)
  mkdirSync(join(prefix, 'bin'))
  for (const [command, file] of Object.entries(bin)) {
    chmodSync(join(packageFolder, file), 0o755)
    symlinkSync(join(place, file), join(prefix, 'bin', command))
  }
}

async function endGroup(child: ChildProcess): Promise<void> {
  const { pid } = child
  if (pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const over = new Promise<void>((resolve) => {
    child.once('close', () => {
      resolve()
    })
  })
  // Its own group: the shell and what it started, and nothing else.
  process.kill(-pid, 'SIGTERM')
  const timer = setTimeout(() => {
    process.kill(-pid, 'SIGKILL')
  }, 15_000)
  await over
  clearTimeout(timer)
}

/** One bash for all blocks, so that what one exports the next has. */
class Shell {
  readonly child: ChildProcessWithoutNullStreams
  readonly #hidden: string
  #out = ''
  #err = ''
  #count = 0

  constructor(folder: string, env: NodeJS.ProcessEnv, hidden: string) {
    this.#hidden = hidden
    this.child = spawn('bash', ['--norc'], { cwd: folder, env, detached: true, stdio: ['pipe', 'pipe', 'pipe'] })
    this.child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#out += text
    })
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#err += text
    })
    // A block that failed ends the shell; what is written to it then is lost, which the exit code says.
    this.child.stdin.on('error', () => undefined)
    this.child.stdin.write('set -eu -o pipefail\n')
  }

  async run(text: string): Promise<{ code: number; stdout: string; stderr: string }> {
    const file = join(this.#hidden, `${++this.#count}.sh`)
    writeFileSync(file, text)
    const done = join(this.#hidden, `${this.#count}.done`)
    this.#out = this.#err = ''
    this.child.stdin.write(`source '${file}' </dev/null\ntouch '${done}'\n`)
    await until(
      `the end of block ${this.#count}: ${text}\n${this.#err}`,
      () => existsSync(done) || this.child.exitCode !== null,
      120_000,
    )
    // What was printed may come after what shows that it is over.
    await new Promise((resolve) => {
      setTimeout(resolve, 20)
    })
    return { code: this.child.exitCode ?? 0, stdout: this.#out, stderr: this.#err }
  }
}

/** Whether a command is there. */
export function has(command: string, ...args: string[]): boolean {
  const found = spawnSync(command, args, { stdio: 'ignore' })
  return found.error === undefined && found.status === 0
}
