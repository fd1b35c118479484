/**
 * Seeded call records for the benchmark and for load tests: the same seed, count and base time give the same bytes.
 *
 * Numbers, addresses and MACs are of the ranges reserved for fiction and documentation. They repeat as they do on a
 * PBX: an account calls from its own number, and calls some numbers far more than others.
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import protobuf from 'protobufjs'
import { catalogue, type FieldName } from '../src/catalogue/catalogue.js'
import { userAgents } from './user-agents.js'

/** Records in one `Batch` message. */
export const CALLS_PER_BATCH = 500
const ACCOUNTS = 20_000
const SPAN_MS = 2 * 86_400_000
/** Latest start before the base time: no call ends after it. */
const LONGEST_CALL_MS = 3_600_000
/** Bytes of all texts of a record together, so that it has about 300 with its numbers and its framing. */
const TEXT_BYTES = 239

/** A call as the protobuf library and the JSON Lines hold it, by the catalogue's names. */
export interface GeneratedCall {
  account: string
  call_id: string
  linked_id: string
  calling: string
  called: string
  calling_name: string
  direction: string
  start_ms: number
  answer_ms?: number
  end_ms: number
  duration_seconds: number
  billable_seconds: number
  disposition: string
  hangup_cause: number
  trunk: string
  source_ip: string
  destination_ip: string
  codec: string
  user_agent: string
  location?: string
}

export interface GenerateOptions {
  readonly count: number
  readonly seed: number
  /** End of the two days that the calls lie in: Unix time, ms. */
  readonly baseMs: number
}

/** Whole numbers from 0 to below a limit, by xorshift (Marsaglia 2003). */
export class Random {
  #state: number
  constructor(seed: number) {
    this.#state = (seed | 0) === 0 ? 0x9e3779b9 : seed | 0
  }

  below(limit: number): number {
    let x = this.#state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#state = x
    return Math.floor(((x >>> 0) / 0x1_0000_0000) * limit)
  }

  /** Small numbers often, great ones seldom. */
  skewed(limit: number): number {
    const u = this.below(1 << 24) / (1 << 24)
    return Math.floor(u * u * u * limit)
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)]
  }
}

const FIRST_NAMES = ['Alex', 'Sam', 'Robin', 'Kim', 'Jo', 'Chris', 'Zoë', 'Max', 'Noor', 'Andrea', 'Toni', 'Mika']
const LAST_NAMES = ['Example', 'Sample', 'Beispiel', 'Muster', 'Tester', 'Placeholder', 'Specimen']
const TRUNKS = ['trunk-lon-1', 'trunk-lon-2', 'trunk-man-1', 'trunk-edi-1', 'carrier-a', 'carrier-b']
const CODECS = ['PCMA', 'PCMU', 'G722', 'G729', 'opus']
const NETWORKS = ['192.0.2', '198.51.100', '203.0.113']
const SITES = [
  'Head office',
  'Warehouse',
  'Branch north',
  'Branch south',
  'Home office',
  'Reception',
  'Meeting room',
  'Workshop',
]
const PADDING =
  'building 4, second floor, room 2.17, desk by the window, next to the printer and the coffee machine, wing C'

const digits = (n: number, width: number): string => String(n).padStart(width, '0')

/** The national significant number of a UK number of the reserved ranges. */
function ukNumber(n: number): string {
  return n < 1000 ? `7700900${digits(n, 3)}` : `2079460${digits(n % 1000, 3)}`
}

function usNumber(n: number): string {
  return `${200 + (Math.floor(n / 100) % 800)}55501${digits(n % 100, 2)}`
}

function address(random: Random): string {
  if (random.below(20) === 0)
    return `2001:db8:${random.below(0xffff).toString(16)}::${(random.below(0xfffe) + 1).toString(16)}`
  return `${random.of(NETWORKS)}.${random.below(254) + 1}`
}

function callingNumber(account: number): string {
  if (account % 10 < 6) return `+44${ukNumber(account % 2000)}`
  return account % 10 < 8 ? `0${ukNumber(account % 2000)}` : `+1${usNumber(account)}`
}

function calledNumber(random: Random): string {
  const kind = random.below(100)
  if (kind < 30) return `0${ukNumber(random.skewed(2000))}`
  if (kind < 55) return `+44${ukNumber(random.skewed(2000))}`
  if (kind < 65) return `0044${ukNumber(random.skewed(2000))}`
  if (kind < 80) return `+1${usNumber(random.skewed(80_000))}`
  return String(100 + random.skewed(900))
}

/** Makes calls one after the other, in the order of their start. */
export function* generateCalls(options: GenerateOptions): Generator<GeneratedCall> {
  const { count, seed, baseMs } = options
  const random = new Random(seed)
  const agents = userAgents()
  const first = baseMs - SPAN_MS
  const step = (SPAN_MS - LONGEST_CALL_MS) / count
  let previousId = ''
  for (let i = 0; i < count; i++) {
    const account = random.skewed(ACCOUNTS)
    const startMs = first + Math.floor(i * step) + random.below(900)
    const callId = `${Math.floor(startMs / 1000)}.${i + 100_000}`
    const answered = random.below(100) < 70
    const ringMs = 1000 + random.below(25_000)
    const talkMs = answered ? 1000 + random.skewed(LONGEST_CALL_MS - 60_000) : 0
    const call: GeneratedCall = {
      account: `ac${digits(account + 100_000, 6)}`,
      call_id: callId,
      linked_id: previousId !== '' && random.below(10) < 2 ? previousId : callId,
      calling: random.below(100) === 0 ? 'anonymous' : callingNumber(account),
      called: calledNumber(random),
      calling_name: `${random.of(FIRST_NAMES)} ${random.of(LAST_NAMES)}`,
      direction: random.of(['INBOUND', 'OUTBOUND', 'INTERNAL']),
      start_ms: startMs,
      end_ms: startMs + ringMs + talkMs,
      duration_seconds: Math.floor((ringMs + talkMs) / 1000),
      billable_seconds: Math.floor(talkMs / 1000),
      disposition: answered ? 'ANSWERED' : random.of(['NO_ANSWER', 'BUSY', 'FAILED']),
      hangup_cause: answered ? 16 : random.of([17, 19, 21, 34]),
      trunk: random.of(TRUNKS),
      source_ip: address(random),
      destination_ip: address(random),
      codec: random.of(CODECS),
      user_agent: random.of(agents),
    }
    if (answered) call.answer_ms = startMs + ringMs
    previousId = callId
    const used =
      call.account.length +
      2 * callId.length +
      call.calling.length +
      call.called.length +
      call.calling_name.length +
      call.trunk.length +
      call.source_ip.length +
      call.destination_ip.length +
      call.codec.length +
      call.user_agent.length
    const site = random.of(SITES)
    call.location = `${site}, ${PADDING}`.slice(0, Math.max(site.length, TEXT_BYTES - used + random.below(21) - 10))
    yield call
  }
}

export function callType(): protobuf.Type {
  return catalogue().root.lookupType('minim.v1.Call')
}

/** The numbers of an enumerated field's names. */
function numbersOf(name: FieldName): ReadonlyMap<string, number> {
  const field = catalogue().kinds.call.byName.get(name)
  if (field === undefined) throw new Error(`calls have no field ${name}`)
  return field.enumNumbers
}

/** Encodes a call with the protobuf library. */
export class CallEncoder {
  readonly #type = callType()
  readonly #directions = numbersOf('direction')
  readonly #dispositions = numbersOf('disposition')
  readonly #names: readonly (readonly [string, string])[]

  constructor() {
    this.#names = this.#type.fieldsArray.map(
      (f) => [f.name, f.name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)] as const,
    )
  }

  encode(call: GeneratedCall): Uint8Array {
    const values = call as unknown as Record<string, unknown>
    const message: Record<string, unknown> = {}
    for (const [name, key] of this.#names) {
      const value = values[key]
      if (value === undefined) continue
      message[name] =
        key === 'direction'
          ? this.#directions.get(call.direction)
          : key === 'disposition'
            ? this.#dispositions.get(call.disposition)
            : value
    }
    return this.#type.encode(message).finish()
  }
}

/** Encodes a length or tag as a protobuf varint. */
export function varint(value: number): Buffer {
  const bytes: number[] = []
  for (let v = value; ; v = Math.floor(v / 128)) {
    if (v < 128) {
      bytes.push(v)
      return Buffer.from(bytes)
    }
    bytes.push((v % 128) | 0x80)
  }
}

const CALLS_TAG = 0x22

/** One `Batch` of calls, without source, incarnation and sequence. */
export function batchBody(records: readonly Uint8Array[]): Buffer {
  const parts: Uint8Array[] = []
  for (const record of records) parts.push(Buffer.of(CALLS_TAG), varint(record.length), record)
  return Buffer.concat(parts)
}

export interface GeneratedFiles {
  readonly records: number
  /** Bytes of protobuf, without framing. */
  readonly bytes: number
}

/** Writes the same calls as length-delimited `Batch` messages and as JSON Lines. */
export function writeCalls(options: GenerateOptions, protobufPath: string, jsonlPath: string): GeneratedFiles {
  const encoder = new CallEncoder()
  const binary = openSync(protobufPath, 'w')
  const lines = openSync(jsonlPath, 'w')
  let records: Uint8Array[] = []
  let text: string[] = []
  let bytes = 0
  let count = 0
  const flush = (): void => {
    if (records.length === 0) return
    const body = batchBody(records)
    writeSync(binary, Buffer.concat([varint(body.length), body]))
    writeSync(lines, text.join(''))
    records = []
    text = []
  }
  try {
    for (const call of generateCalls(options)) {
      const record = encoder.encode(call)
      bytes += record.length
      count++
      records.push(record)
      text.push(`${JSON.stringify(call)}\n`)
      if (records.length === CALLS_PER_BATCH) flush()
    }
    flush()
  } finally {
    closeSync(binary)
    closeSync(lines)
  }
  return { records: count, bytes }
}

/** The bodies of the length-delimited `Batch` messages in a file's bytes. */
export function* delimitedBodies(file: Buffer): Generator<Buffer> {
  let pos = 0
  while (pos < file.length) {
    let length = 0
    let scale = 1
    for (;;) {
      const byte = file[pos++]
      length += (byte & 0x7f) * scale
      if (byte < 0x80) break
      scale *= 128
    }
    yield file.subarray(pos, pos + length)
    pos += length
  }
}

/** A `Batch` body of calls cut into bodies of so many calls each. */
export function splitBody(body: Buffer, calls: number): Buffer[] {
  const parts: Buffer[] = []
  let start = 0
  let count = 0
  let pos = 0
  while (pos < body.length) {
    let length = 0
    let scale = 1
    for (let byte = 0x80; byte >= 0x80; scale *= 128) {
      byte = body[++pos]
      length += (byte & 0x7f) * scale
    }
    pos += 1 + length
    if (++count === calls || pos >= body.length) {
      parts.push(body.subarray(start, pos))
      start = pos
      count = 0
    }
  }
  return parts
}
