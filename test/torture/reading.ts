/** Turns messages, as Kafka's own console consumer printed them, into what the checker compares. */
import type { ConsumedRecord } from '../helpers/kafka.js'
import type { Observed } from './checker.js'
import { CANARIES, identify, secondsOf } from './numbers.js'
import { type TopicForm, TOPICS } from './policy.js'

const canaries = CANARIES.map((canary) => canary.toLowerCase())

/** Whether some bytes hold a canary, in any case, as they are or without what people put between digits. */
export function leaks(bytes: Uint8Array | string): boolean {
  const text = (typeof bytes === 'string' ? bytes : Buffer.from(bytes).toString('latin1')).toLowerCase()
  const packed = text.replace(/(?<=\d)[ ().-]+(?=\d)/g, '')
  return canaries.some((canary) => text.includes(canary) || packed.includes(canary))
}

/**
 * Varints of a protobuf message by field number; null for fields of other types.
 * https://protobuf.dev/programming-guides/encoding/
 */
function wireFields(message: Buffer): Map<number, number | null> {
  const fields = new Map<number, number | null>()
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      if (at >= message.length) throw new RangeError('truncated')
      const byte = message[at++]
      value += (byte & 0x7f) * scale
      if (byte < 128) return value
    }
  }
  while (at < message.length) {
    const tag = varint()
    const type = tag % 8
    fields.set(Math.floor(tag / 8), type === 0 ? varint() : null)
    if (type === 2) {
      const length = varint()
      at += length
    } else if (type === 5) at += 4
    else if (type === 1) at += 8
    else if (type !== 0) throw new RangeError(`wire type ${type}`)
  }
  if (at !== message.length) throw new RangeError('truncated')
  return fields
}

function fieldsOf(value: Buffer, json: boolean): Map<number | string, number | null> {
  if (!json) return wireFields(value)
  return new Map(
    Object.entries(JSON.parse(value.toString()) as Record<string, unknown>).map(([name, v]) => [
      name,
      typeof v === 'number' ? v : null,
    ]),
  )
}

export interface ReadingOptions {
  /** First start time. */
  readonly base: number
  readonly sources: number
}

/** One message of a purpose's topic. */
export function observe(topic: string, message: ConsumedRecord, { base, sources }: ReadingOptions): Observed {
  const form: TopicForm = TOPICS[topic]
  const { partition, offset, key, value } = message
  const where = { topic, partition, offset, key: key?.toString('hex') ?? null }
  const canary = leaks(value) || (key !== null && leaks(key))
  try {
    const fields = fieldsOf(value, form.json)
    const record = identify(base, fields.get(form.json ? 'start_ms' : 9) ?? -1, sources)
    const mixedUp =
      record !== null &&
      fields.get(form.seconds) !== secondsOf(record) &&
      !(secondsOf(record) === 0 && !fields.has(form.seconds))
    return {
      ...where,
      record,
      mixedUp,
      leaks: canary || [...fields.keys()].some((field) => !form.fields.includes(field)),
    }
  } catch {
    return { ...where, record: null, leaks: canary }
  }
}
