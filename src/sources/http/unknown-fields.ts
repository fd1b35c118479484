/**
 * Fields of posts that the catalogue does not know: what may be said of their names, and to whom.
 *
 * A name is what its sender chose, and may be somebody's: `{"john_smith":1}`, `{"+447700900123":1}`. So a name is only
 * repeated where it says no more than the catalogue does: it is made of the catalogue's words, or stands in the table
 * of what others call these fields, or is a slip of the pen away from one. Of any other it is said that there was one.
 */
import type { Catalogue, FieldName, Kind, KindCatalogue } from '../../catalogue/catalogue.js'
import { distance, nearest } from '../../errors/problems.js'
import type { Logger } from '../../flow/log.js'
import { SAY_MS } from '../common/authorise.js'

/** What every name of the catalogue looks like. */
const SHAPE = /^[a-z][a-z0-9_]{0,63}$/

/**
 * What others call a field, for each field that may be meant, the kind's first. Letters do not tell: `caller` is nearer
 * to `called` than to `calling`.
 */
const OTHER_NAMES: Readonly<Partial<Record<FieldName, readonly string[]>>> = {
  calling: [
    'caller',
    'caller_number',
    'caller_id',
    'caller_id_number',
    'from',
    'from_number',
    'source',
    'src',
    'a_number',
  ],
  called: [
    'callee',
    'callee_number',
    'to',
    'to_number',
    'destination',
    'destination_number',
    'dst',
    'dialled',
    'b_number',
  ],
  calling_name: ['caller_name', 'caller_id_name', 'from_name', 'clid'],
  local_party: ['local', 'caller', 'from', 'src'],
  remote_party: ['remote', 'callee', 'to', 'dst'],
  party: ['user', 'extension', 'number', 'aor'],
  call_id: ['id', 'uuid', 'uniqueid', 'unique_id', 'sip_call_id'],
  linked_id: ['linkedid'],
  account: ['accountcode', 'account_code', 'customer'],
  start_ms: ['start', 'started', 'started_at', 'start_time', 'start_stamp', 'time', 'timestamp', 'date'],
  answer_ms: ['answer', 'answered', 'answered_at', 'answer_time', 'answer_stamp'],
  end_ms: ['end', 'ended', 'ended_at', 'end_time', 'end_stamp', 'stop', 'hangup_time'],
  duration_seconds: ['duration', 'length', 'duration_ms'],
  billable_seconds: ['billsec', 'billable', 'bill_seconds'],
  hangup_cause: ['cause', 'q850'],
  disposition: ['status', 'result', 'outcome'],
  codec: ['codecs', 'payload'],
  jitter_ms: ['jitter'],
  loss_percent: ['loss', 'packet_loss'],
  mos_lq: ['mos'],
  round_trip_ms: ['rtt', 'round_trip', 'latency'],
  user_agent: ['useragent', 'agent'],
  mac: ['mac_address'],
  source_ip: ['src_ip', 'from_ip', 'ip'],
  destination_ip: ['dst_ip', 'to_ip'],
}

/** What may be said of a name. */
export interface UnknownField {
  /** The name; null where it could say something of somebody. */
  readonly field: string | null
  /** The field of the catalogue that was meant, as far as that can be told. */
  readonly nearest: string | null
}

const NAMELESS: UnknownField = { field: null, nearest: null }

/** Shorter words are near to, or part of, too many others. */
const MISSPELT_LETTERS = 5

/** Names kept with what was said of them: a sender's posts are alike. */
const KEPT = 256

/** Lower case, without what stands between words: `startMs` and `start-ms` are `start_ms`. */
function folded(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '')
}

/** Tells what unknown fields of one kind of record may have been meant for. */
export class UnknownFields {
  readonly #kind: KindCatalogue
  /** Names that a sender may use, and their folded forms. */
  readonly #names: readonly string[]
  readonly #byFolded: ReadonlyMap<string, string>
  /** What a misspelt name may have been meant for: the fields, and of their other names the longer ones. */
  readonly #candidates: readonly string[]
  readonly #words: ReadonlySet<string>
  readonly #known = new Map<string, UnknownField>()

  constructor(catalogue: Catalogue, kind: Kind) {
    this.#kind = catalogue.kinds[kind]
    this.#names = this.#kind.fields.filter((field) => field.derivedFrom === null).map((field) => field.name)
    this.#byFolded = new Map([
      ...Object.entries(OTHER_NAMES)
        .filter(([name]) => this.#names.includes(name))
        .reverse()
        .flatMap(([name, others]) => others.map((other) => [folded(other), name] as const)),
      ...this.#names.map((name) => [folded(name), name] as const),
    ])
    this.#candidates = [
      ...this.#names,
      ...[...this.#byFolded].flatMap(([other]) => (other.length >= MISSPELT_LETTERS ? [other] : [])),
    ]
    this.#words = new Set([
      ...Object.values(catalogue.kinds).flatMap(({ fields }) => fields.flatMap(({ name }) => name.split('_'))),
      ...Object.values(OTHER_NAMES).flatMap((others) => others.flatMap((other) => other.split('_'))),
    ])
  }

  /** @param name as it was sent; null where it has none that could be the catalogue's */
  of(name: string | null): UnknownField {
    if (name === null) return NAMELESS
    let found = this.#known.get(name)
    if (found === undefined) {
      found = { field: this.#mayBeSaid(name) ? name : null, nearest: this.#meant(name) }
      if (this.#known.size >= KEPT) this.#known.clear()
      this.#known.set(name, found)
    }
    return found
  }

  #mayBeSaid(name: string): boolean {
    if (!SHAPE.test(name)) return false
    if (name.split('_').every((word) => this.#words.has(word))) return true
    return this.#names.some((known) => isSlip(name, known))
  }

  /** The candidate that fewest letters are wrong of, if they are few. */
  #slip(name: string): string | undefined {
    const edits = this.#candidates.map((candidate) => distance(name.slice(0, 65), candidate))
    const fewest = Math.min(...edits)
    return fewest <= 2 && fewest * 3 < name.length ? this.#candidates[edits.indexOf(fewest)] : undefined
  }

  #meant(name: string): string | null {
    const derived = this.#kind.fields.find((field) => field.name === name)?.derivedFrom
    if (derived !== undefined && derived !== null) return derived
    const near = this.#byFolded.get(folded(name)) ?? this.#slip(name) ?? nearest(name, this.#candidates, 1).at(0)
    return near === undefined ? null : (this.#byFolded.get(folded(near)) ?? null)
  }
}

/**
 * Whether a name is one of the catalogue's but for a letter, of long ones two, and not its first. A word of four letters
 * or less would be near to people's names (`mac`, `marc`), and a digit could be part of a number.
 */
function isSlip(name: string, known: string): boolean {
  if (name[0] !== known[0]) return false
  const slips = known.length < MISSPELT_LETTERS ? 0 : known.length < 8 ? 1 : 2
  return Math.abs(name.length - known.length) <= slips && !/[0-9]/.test(name) && distance(name, known) <= slips
}

/** Names in a line at most, most frequent first. */
const NAMES_IN_A_LINE = 20

/**
 * Says which unknown fields came: at once, and then once a minute at most, for as long as some come. All are counted.
 */
export class UnknownFieldLog {
  readonly #log: Logger
  readonly #said = new Map<string, number>()
  #fields = 0
  #records = 0
  #timer: NodeJS.Timeout | null = null

  constructor(log: Logger) {
    this.#log = log
  }

  /**
   * @param fields how many came in a post, of which `names` are looked at
   * @param records the post's records
   */
  add(fields: number, records: number, names: readonly UnknownField[]): void {
    this.#fields += fields
    this.#records += records
    for (const { field, nearest } of names) {
      const text = `${field ?? 'another'}${nearest === null ? '' : ` (${nearest}?)`}`
      this.#said.set(text, (this.#said.get(text) ?? 0) + 1)
    }
    if (this.#timer !== null) return
    this.#say()
    this.#timer = setTimeout(() => {
      this.#timer = null
      if (this.#fields > 0) this.add(0, 0, [])
    }, SAY_MS).unref()
  }

  /** Says what was not said yet. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (this.#fields > 0) this.#say()
  }

  #say(): void {
    const names = [...this.#said].sort(([, a], [, b]) => b - a).slice(0, NAMES_IN_A_LINE)
    this.#log.warn(
      { source: 'http', unknownFields: this.#fields, records: this.#records, names: names.map(([text]) => text) },
      'posts have fields that the catalogue does not know: dropped, and counted (said once a minute at most)',
    )
    this.#said.clear()
    this.#fields = 0
    this.#records = 0
  }
}
