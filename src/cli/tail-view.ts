/**
 * A purpose's records for people at a terminal: the kind first, each field in a colour of its own, and the tag once,
 * since it is the same on record after record. What reads on gets JSON Lines instead (`--json`, or a pipe).
 */
import type { Kind } from '../catalogue/catalogue.js'

/** SGR codes that can be read on dark and on light ground. */
const COLOURS = [36, 32, 33, 35, 34, 96, 92, 93, 95, 94] as const
const BOLD = 1
const DIM = 2

export class TailView {
  readonly #colour: boolean
  readonly #colours = new Map<string, number>()
  /** The tag that was shown last, by kind. */
  readonly #tags = new Map<Kind, string>()

  constructor(colour: boolean) {
    this.#colour = colour
  }

  /** A record as a line, behind its tag where that is another than before. */
  lines(kind: Kind, record: Readonly<Record<string, unknown>>): string[] {
    const { tag, ...fields } = record
    const shown = Object.entries(fields).map(([name, value]) => this.#field(name, value))
    const line = `${this.#paint(BOLD, kind.padEnd(7))} ${shown.join('  ')}`
    const written = JSON.stringify(tag)
    if (tag === undefined || this.#tags.get(kind) === written) return [line]
    this.#tags.set(kind, written)
    return [this.#paint(DIM, `${kind.padEnd(7)} tag ${written}`), line]
  }

  #field(name: string, value: unknown): string {
    let colour = this.#colours.get(name)
    if (colour === undefined) this.#colours.set(name, (colour = COLOURS[this.#colours.size % COLOURS.length]))
    // JSON escapes what would steer the terminal.
    const text = JSON.stringify(value)
    return `${this.#paint(DIM, `${name}=`)}${this.#paint(colour, text)}`
  }

  #paint(code: number, text: string): string {
    return this.#colour ? `\u001b[${code}m${text}\u001b[0m` : text
  }
}
