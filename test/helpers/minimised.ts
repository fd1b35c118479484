/** Work items for delivery without the stages before it: messages given as plain rows. */
import { randomUUID } from 'node:crypto'
import type { Minimised } from '../../src/flow/minimised.js'
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

/** The messages as `project` would mint them. */
export function fakeMinimised(
  messages: readonly FakeMessage[],
  topics: readonly string[] = [...new Set(messages.map((m) => m.topic))],
): Minimised {
  const count = messages.length
  const chunks: Uint8Array[] = [Buffer.alloc(7)]
  let length = 7
  const put = (chunk: Uint8Array): number => {
    chunks.push(chunk)
    length += chunk.length
    return length - chunk.length
  }
  const produced: Record<string, number> = {}
  const columns = {
    topic: new Int32Array(count),
    valueOff: new Int32Array(count),
    valueLen: new Int32Array(count),
    keyOff: new Int32Array(count),
    keyLen: new Int32Array(count),
    timestamp: new Float64Array(count),
    record: new Int32Array(count),
  }
  const headers: (readonly Record<string, string>[] | undefined)[] = topics.map(() => undefined)
  messages.forEach((message, i) => {
    const value = bytesOf(message.value)
    const key = message.key === null || message.key === undefined ? new Uint8Array(0) : bytesOf(message.key)
    columns.topic[i] = topics.indexOf(message.topic)
    columns.valueOff[i] = put(value)
    columns.valueLen[i] = value.length
    columns.keyOff[i] = put(key)
    columns.keyLen[i] = key.length
    columns.timestamp[i] = message.timestamp ?? Date.now()
    columns.record[i] = message.record ?? i
    if (message.headers !== undefined) headers[topics.indexOf(message.topic)] = message.headers
    produced[message.topic] = (produced[message.topic] ?? 0) + 1
  })
  const all = Buffer.concat(chunks)
  return {
    count,
    topics,
    ...columns,
    headers,
    // An arena does not start at its buffer's first byte.
    bytes: new Uint8Array(all.buffer, all.byteOffset, all.length),
    outcome: { records: count, produced, withheld: {}, quarantined: {}, unknownFields: 0, unsafeFields: 0 },
  } as unknown as Minimised
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
      if (typeof options.messages === 'function') return fakeMinimised(options.messages(excluded))
      const rows = options.messages.map((message, i) => ({ record: i, ...message }))
      const kept = rows.filter((row) => !excluded.has(row.record))
      const refused = [...excluded].map((record) => ({ topic: QUARANTINE, value: `refused ${record}`, record }))
      return fakeMinimised([...kept, ...refused])
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
