/**
 * AMI's wire format (docs.asterisk.org, "AMI v2 Specification"): a banner line, then stanzas of `Key: value` lines that
 * an empty line ends. Read as bytes come, split anywhere; a stanza that is too long or has too many lines is skipped up
 * to its end, unstored.
 *
 * Each byte is copied once and looked at once, whatever the splits: `test/fuzz/ami.test.ts` counts. Guarded by the AMI
 * row of `bench/`.
 */

const LF = 0x0a,
  CR = 0x0d

/** Longest banner: `Asterisk Call Manager/` and a version. */
const MAX_BANNER_BYTES = 256
const INITIAL_BYTES = 16_384
/** Asterisk's longest events have some hundred lines: a channel's variables. */
const MAX_LINES = 2048

export interface StanzaSink {
  /** The first line, before anything else; null for one that is too long to be a banner. */
  banner(line: string | null): void
  stanza(stanza: Stanza): void
  /** A stanza of more bytes or lines than allowed: told once for each. */
  tooLarge(): void
}

/** One stanza. Keys are found in any case; of a repeated key the first value counts. */
export class Stanza {
  #values: Map<string, string> | null = null

  constructor(readonly text: string) {}

  /** The event's name in small letters; empty for a response. An event may hold `Response:` too (OriginateResponse). */
  get event(): string {
    // Asterisk writes it first.
    if (this.text.startsWith('Event: ')) return lineAt(this.text, 7).toLowerCase()
    return this.get('event').toLowerCase()
  }

  /** @param key in small letters */
  get(key: string): string {
    this.#values ??= valuesOf(this.text)
    return this.#values.get(key) ?? ''
  }

  has(key: string): boolean {
    this.#values ??= valuesOf(this.text)
    return this.#values.has(key)
  }
}

export class StanzaParser {
  readonly #maxBytes: number
  #buffer = Buffer.allocUnsafe(INITIAL_BYTES)
  /** First byte of the stanza, of the line, and of what was not looked at yet. */
  #start = 0
  #line = 0
  #scan = 0
  #end = 0
  #lines = 0
  #bannerDue = true
  #skipping = false
  /** The line began in bytes that are dropped: it is not empty. */
  #lineCut = false

  constructor(maxStanzaBytes: number) {
    this.#maxBytes = maxStanzaBytes
  }

  /** Octets held: four times the longest stanza at most. */
  get held(): number {
    return this.#buffer.length
  }

  push(chunk: Uint8Array, sink: StanzaSink): void {
    for (let at = 0; at < chunk.length;) {
      at += this.#append(chunk, at)
      this.#read(sink)
    }
  }

  #append(chunk: Uint8Array, at: number): number {
    if (this.#end === this.#buffer.length) this.#makeRoom()
    const taken = Math.min(chunk.length - at, this.#buffer.length - this.#end)
    this.#buffer.set(chunk.subarray(at, at + taken), this.#end)
    this.#end += taken
    return taken
  }

  /** What is kept is moved only after at least as much has been read: the cost per byte is bounded. */
  #makeRoom(): void {
    const kept = this.#end - this.#start
    const target = kept * 2 > this.#buffer.length ? Buffer.allocUnsafe(this.#buffer.length * 2) : this.#buffer
    this.#buffer.copy(target, 0, this.#start, this.#end)
    this.#buffer = target
    this.#line -= this.#start
    this.#scan -= this.#start
    this.#end = kept
    this.#start = 0
  }

  #read(sink: StanzaSink): void {
    const buffer = this.#buffer
    const end = this.#end
    // Lines are short: a call of indexOf for each costs more than the loop.
    for (let p = this.#scan; p < end;) {
      if (buffer[p++] !== LF) continue
      this.#endLine(p - 1, sink)
      this.#line = p
      this.#lineCut = false
    }
    this.#scan = end
    if (this.#bannerDue) {
      if (this.#end - this.#start > MAX_BANNER_BYTES) this.#endBanner(null, sink)
    } else if (!this.#skipping && this.#textEnd - this.#start > this.#maxBytes) this.#skip(sink)
    if (this.#skipping) {
      // Of an unfinished line no more is needed than whether it is empty.
      if (!this.#mayEnd) {
        this.#lineCut = true
        this.#line = this.#end
      }
      this.#start = this.#line
    }
    if (this.#start === this.#end) this.#start = this.#line = this.#scan = this.#end = 0
  }

  /** The unfinished line may turn out to be the empty one that ends the stanza: nothing is there yet, or a lone CR. */
  get #mayEnd(): boolean {
    const begun = this.#end - this.#line
    return begun === 0 || (begun === 1 && this.#buffer[this.#line] === CR)
  }

  /** Where the stanza's text ends so far: its last line feed and an empty line count for nothing, however bytes are split. */
  get #textEnd(): number {
    return this.#mayEnd ? this.#line - 1 : this.#end
  }

  #endLine(end: number, sink: StanzaSink): void {
    const start = this.#line
    const empty = !this.#lineCut && (end === start || (end === start + 1 && this.#buffer[start] === CR))
    if (this.#bannerDue) {
      if (end - start > MAX_BANNER_BYTES) this.#endBanner(null, sink)
      else this.#endBanner(this.#buffer.toString('latin1', start, end).trimEnd(), sink)
      this.#start = end + 1
      return
    }
    if (!empty) {
      this.#lines++
      if (!this.#skipping && (this.#lines > MAX_LINES || end - this.#start > this.#maxBytes)) this.#skip(sink)
      return
    }
    const from = this.#start
    const skipped = this.#skipping
    this.#start = end + 1
    this.#lines = 0
    this.#skipping = false
    if (!skipped && start > from) sink.stanza(new Stanza(this.#buffer.toString('utf8', from, start)))
  }

  #endBanner(line: string | null, sink: StanzaSink): void {
    this.#bannerDue = false
    sink.banner(line)
  }

  #skip(sink: StanzaSink): void {
    this.#skipping = true
    sink.tooLarge()
  }
}

function lineAt(text: string, from: number): string {
  const lf = text.indexOf('\n', from)
  return text.slice(from, lf < 0 ? text.length : lf).trimEnd()
}

/** Lines without a colon belong to no key: the text of a command's output. */
function valuesOf(text: string): Map<string, string> {
  const values = new Map<string, string>()
  for (let at = 0; at < text.length;) {
    let lf = text.indexOf('\n', at)
    if (lf < 0) lf = text.length
    const colon = text.indexOf(':', at)
    if (colon < 0) break
    if (colon < lf) {
      let end = lf
      if (end > colon + 1 && text.charCodeAt(end - 1) === CR) end--
      const key = text.slice(at, colon).toLowerCase()
      const from = text.charCodeAt(colon + 1) === 0x20 ? colon + 2 : colon + 1
      if (!values.has(key)) values.set(key, from < end ? text.slice(from, end) : '')
    }
    at = lf + 1
  }
  return values
}
