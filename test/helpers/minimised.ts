/**
 * Work items for delivery without the stages before it: messages given as plain rows.
 *
 * They are minted where the projection mints its own (`src/flow/output.ts`), which only `src/project` may import of what
 * runs in the proxy. The projection itself cannot make them: it writes no message that is too large, none with a time of
 * 0, and no key of one's choice, and those are what delivery is tried with.
 */
import { randomUUID } from 'node:crypto'
import type { Minimised } from '../../src/flow/minimised.js'
import { Output } from '../../src/flow/output.js'
import type { WorkItem } from '../../src/flow/work-item.js'

export interface FakeMessage {
  readonly topic: string
  readonly value: string | Uint8Array
  readonly key?: string | Uint8Array | null
  /** Default: now. */
  readonly timestamp?: number
  /** Input record it is made from. Default: its index. */
  readonly record?: number
  readonly headers?: readonly Record<string, string>[]
}

const bytesOf = (value: string | Uint8Array): Uint8Array =>
  typeof value === 'string' ? Buffer.from(value, 'utf8') : value

/** The messages as `project` would mint them, in memory of their own. */
export function minimisedOf(
  messages: readonly FakeMessage[],
  topics: readonly string[] = [...new Set(messages.map((m) => m.topic))],
): Minimised {
  const output = new Output()
  const produced: Record<string, number> = {}
  const headers: (readonly Record<string, string>[] | undefined)[] = topics.map(() => undefined)
  messages.forEach((message, i) => {
    const { topic, timestamp = Date.now(), record = i } = message
    const key = bytesOf(message.key ?? '')
    const value = bytesOf(message.value)
    output.reserve(key.length + value.length)
    output.bytes.set(key, output.pos)
    const keyOff = output.pos
    output.pos += key.length
    const start = output.pos
    output.bytes.set(value, start)
    output.pos += value.length
    output.add(topics.indexOf(topic), start, keyOff, key.length, timestamp, record)
    if (message.headers !== undefined) headers[topics.indexOf(topic)] = message.headers
    produced[topic] = (produced[topic] ?? 0) + 1
  })
  return output.mint(topics, headers, {
    records: messages.length,
    produced,
    withheld: {},
    quarantined: {},
    unknownFields: 0,
    unsafeFields: 0,
  })
}

export interface FakeItem extends WorkItem {
  /** How often it was made into messages. */
  minimised: number
  /** Records excluded in the last call. */
  excluded: readonly number[]
  commits: number
  failure: Error | null
  /** Resolves when it is committed, rejects when it has failed. */
  readonly done: Promise<void>
}

export interface FakeItemOptions {
  readonly source?: string
  readonly incarnation?: string
  readonly sequence: number
  readonly messages: readonly FakeMessage[] | ((excluded: ReadonlySet<number>) => readonly FakeMessage[])
  readonly bytes?: number
  readonly mark?: Uint8Array
}

export const QUARANTINE = 'minim.quarantine'

/** One incarnation for items that belong together. */
export const newIncarnation = (): string => randomUUID()

/** An item out of rows; excluded records become a short quarantine message each. */
export function fakeItem(options: FakeItemOptions): FakeItem {
  let resolveDone: () => void
  let rejectDone: (error: Error) => void
  const done = new Promise<void>((resolve, reject) => {
    resolveDone = resolve
    rejectDone = reject
  })
  // A test that looks at `failure` need not wait for it.
  done.catch(() => undefined)
  const item: FakeItem = {
    id: { source: options.source ?? 'node-a', incarnation: options.incarnation ?? 'one' },
    sequence: options.sequence,
    ...(options.mark === undefined ? {} : { mark: options.mark }),
    bytes: options.bytes ?? 100,
    receivedAt: performance.now(),
    minimised: 0,
    excluded: [],
    commits: 0,
    failure: null,
    done,
    minimise(excluded: ReadonlySet<number> = new Set()) {
      item.minimised++
      item.excluded = [...excluded]
      if (typeof options.messages === 'function') return minimisedOf(options.messages(excluded))
      const rows = options.messages.map((message, i) => ({ record: i, ...message }))
      const kept = rows.filter((row) => !excluded.has(row.record))
      const refused = [...excluded].map((record) => ({ topic: QUARANTINE, value: `refused ${record}`, record }))
      return minimisedOf([...kept, ...refused])
    },
    committed() {
      item.commits++
      resolveDone()
    },
    failed(error) {
      item.failure = error
      rejectDone(error)
    },
  }
  return item
}
