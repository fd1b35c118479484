/** Rows in columns: for a terminal, no wider than it, or as Markdown. */
import { wrap } from '../trial/preview-text.js'

const GAP = '  '
/** No column is made narrower, however narrow the terminal. */
const LEAST_WIDTH = 8

const lengthOf = (text: string): number => Array.from(text).length

/** @param width columns of the terminal; cells that do not fit go on below */
export function table(head: readonly string[], rows: readonly (readonly string[])[], width = Infinity): string[] {
  const widths = head.map((name, i) => Math.max(lengthOf(name), ...rows.map((row) => lengthOf(row[i]))))
  const total = (): number => widths.reduce((sum, one) => sum + one + GAP.length, -GAP.length)
  while (total() > width) {
    const widest = widths.indexOf(Math.max(...widths))
    if (widths[widest] <= LEAST_WIDTH) break
    widths[widest]--
  }
  const lines = (cells: readonly string[]): string[] => {
    const parts = cells.map((cell, i) => wrap(cell, widths[i]).flatMap((line) => chopped(line, widths[i])))
    return Array.from({ length: Math.max(...parts.map((part) => part.length)) }, (_, n) =>
      parts
        .map((part, i) => (part[n] ?? '').padEnd(widths[i] + (part[n] ?? '').length - lengthOf(part[n] ?? '')))
        .join(GAP)
        .trimEnd(),
    )
  }
  return [...lines(head), widths.map((one) => '-'.repeat(one)).join(GAP), ...rows.flatMap(lines)]
}

/** A word that is longer than its column, in pieces. */
function chopped(word: string, width: number): string[] {
  const letters = Array.from(word)
  const pieces: string[] = []
  for (let at = 0; at === 0 || at < letters.length; at += width) pieces.push(letters.slice(at, at + width).join(''))
  return pieces
}

/** The same as a table in Markdown. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replace(/\|/g, '\\|').replace(/\s+/g, ' ')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)]
}
