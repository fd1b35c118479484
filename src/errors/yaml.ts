/**
 * YAML as operators write it: its values, its mistakes, and the line that each path of it stands in, so that whatever
 * is wrong with a value is told with its place.
 */
import { type Document, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, type YAMLError } from 'yaml'
import type { Problem } from './catalogue.js'

/** Finds the line of a dotted path, or of what would hold it where it is not there. Lines count from 1. */
export type LineOf = (path: string) => number

export interface ReadYaml {
  readonly value: unknown
  readonly problems: readonly Problem[]
  readonly lineOf: LineOf
}

/** So many places where a text is no YAML are told; the rest is counted. */
const MAX_UNREADABLE = 100

/** Mistakes after which the parser goes on as if nothing had been: what it finds then is a mistake of its own. */
const HARMLESS: ReadonlySet<string> = new Set([
  'BAD_ALIAS',
  'BAD_DQ_ESCAPE',
  'BAD_SCALAR_START',
  'DUPLICATE_KEY',
  'TAB_AS_INDENT',
  'TAG_RESOLVE_FAILED',
])

/**
 * YAML text as plain values; its mistakes (duplicate keys and unknown tags included) as problems with line and column.
 * Of what one wrong indent makes of the lines behind it nothing is said: that would send people to lines that are right.
 */
export function readYaml(text: string): ReadYaml {
  const counter = new LineCounter()
  const document = parseDocument(text, {
    prettyErrors: false,
    strict: true,
    uniqueKeys: true,
    stringKeys: true,
    lineCounter: counter,
  })
  const lineOf = lineFinder(document, counter)
  const wrong = withoutFollowers([...document.errors, ...document.warnings])
  // Of a file that is no YAML at all each line is a mistake, and looking each up would take minutes.
  const problems: Problem[] = wrong
    .slice(0, MAX_UNREADABLE)
    .map((error) => syntaxProblem(error, text))
    .filter(({ line }, i, all) => all.findIndex((p) => p.line === line) === i)
  const more = wrong.length - MAX_UNREADABLE
  if (more > 0)
    problems.push({
      path: '',
      what: `has ${more} more mistakes of this sort`,
      mend: 'is it YAML, and the file that was meant?',
      line: 1,
    })
  if (problems.length > 0) return { value: undefined, problems, lineOf }
  try {
    return { value: document.toJS({ maxAliasCount: 100 }), problems, lineOf }
  } catch {
    return {
      value: undefined,
      problems: [{ path: '', what: 'its aliases cannot be resolved', mend: 'write the values out', line: 1 }],
      lineOf,
    }
  }
}

/** Problems with the lines of the file that they are about. Those that have one keep it. */
export function withLines(problems: readonly Problem[], lineOf: LineOf): Problem[] {
  return problems.map((problem) => (problem.line === undefined ? { ...problem, line: lineOf(problem.path) } : problem))
}

/** Every harmless mistake up to the first other one, and that. Tabs are mistakes wherever they stand. */
function withoutFollowers(errors: readonly YAMLError[]): YAMLError[] {
  const isHarmless = ({ code }: YAMLError): boolean => HARMLESS.has(code)
  const inOrder = [...errors]
    .sort((a, b) => a.pos[0] - b.pos[0] || Number(isHarmless(b)) - Number(isHarmless(a)))
    .filter(({ pos }, i, all) => i === 0 || all[i - 1].pos[0] !== pos[0])
  const broken = inOrder.findIndex((error) => !isHarmless(error))
  return inOrder.filter((error, i) => broken < 0 || i <= broken || error.code === 'TAB_AS_INDENT')
}

type SyntaxProblem = Problem & { readonly line: number }

function syntaxProblem({ code, pos }: YAMLError, text: string): SyntaxProblem {
  const before = text.slice(0, pos[0]).split('\n')
  const at = (line: number, column: number, what: string, mend: string): SyntaxProblem => ({
    path: `line ${line}, column ${column}`,
    what: `is not understood as YAML (${what})`,
    mend,
    line,
  })
  const line = before.length
  const column = before[line - 1].length + 1
  if (code === 'TAB_AS_INDENT')
    return at(line, column, 'tab as indent', 'indent the line by spaces: YAML takes no tabs there')
  if (!HARMLESS.has(code)) {
    const lines = text.split('\n')
    const odd = oddIndent(lines)
    // The parser stumbles over what follows from a wrong indent, or over what came before it.
    if (odd !== null && Math.abs(odd - line) <= NEAR_LINES)
      return at(odd, indentOf(lines[odd - 1]) + 1, 'bad indent', 'indent the line like those it belongs with')
  }
  return at(line, column, code.toLowerCase().replace(/_/g, ' '), 'mend the YAML there')
}

/** How far from where the parser gives up the indent that is wrong may be. */
const NEAR_LINES = 4

function indentOf(line: string): number {
  return line.length - line.trimStart().length
}

/**
 * The first line, from 1, whose indent fits none of those around it: deeper than the line before though that opens
 * nothing, or less deep and like none that is open. Only a hint, for text that is known to be broken: it knows block
 * texts and flow collections by their marks alone.
 */
function oddIndent(lines: readonly string[]): number | null {
  const open: number[] = []
  let opens = true
  /** Lines that are indented deeper than this belong to a block text. */
  let textBelow = Infinity
  let flowDepth = 0
  for (const [i, line] of lines.entries()) {
    const words = line.replace(/(^|\s)#.*$/, '').trim()
    const indent = indentOf(line)
    if (words === '' || indent > textBelow) continue
    textBelow = Infinity
    const inFlow = flowDepth > 0
    flowDepth += (words.match(/[[{]/g) ?? []).length - (words.match(/[\]}]/g) ?? []).length
    if (inFlow) continue
    const top = open.at(-1) ?? -1
    if (indent > top && !opens) return i + 1
    while (open.length > 0 && (open.at(-1) ?? 0) > indent) open.pop()
    if (indent < top && open.at(-1) !== indent) return i + 1
    if (open.at(-1) !== indent) open.push(indent)
    // What follows the dash of a list's entry is a level of its own.
    const dash = /^(?:-\s+)+/.exec(words)
    if (dash !== null && words.length > dash[0].length) open.push(indent + dash[0].length)
    opens = /:$|^-$|:\s+[&!]\S+$/.test(words)
    if (/[|>][+-]?\d?$/.test(words)) textBelow = indent
  }
  return null
}

function lineFinder(document: Document.Parsed, counter: LineCounter): LineOf {
  const lineAt = (node: Node | null | undefined, otherwise: number): number => {
    const range = node?.range
    return range === null || range === undefined ? otherwise : counter.linePos(range[0]).line
  }
  const find = (node: unknown, path: string, line: number): number => {
    if (path === '') return line
    if (isMap(node)) {
      // Names of Kafka's properties hold dots: the longest key that the path begins with is the one.
      const found = node.items
        .map((pair) => ({ pair, key: isScalar(pair.key) ? String(pair.key.value) : '' }))
        .filter(({ key }) => path === key || path.startsWith(`${key}.`))
        .sort((a, b) => b.key.length - a.key.length)
        .at(0)
      if (found === undefined) return line
      return find(found.pair.value, path.slice(found.key.length + 1), lineAt(found.pair.key as Node, line))
    }
    if (isSeq(node)) {
      const [index] = path.split('.')
      const item = /^\d+$/.test(index) ? node.items.at(Number(index)) : undefined
      return item === undefined ? line : find(item, path.slice(index.length + 1), lineAt(item as Node, line))
    }
    return line
  }
  return (path) => find(document.contents, path, 1)
}
