/**
 * Produce requests on a connection whose other requests are the library's. It would copy what is sent into one buffer:
 * for a megabyte of record batches that is half of all the memory this process asks for, and the collector marks the
 * whole heap every few megabytes. Here the batches are handed to the kernel where they lie, so nobody may change them
 * before the answer.
 *
 *   size 4 | key 2 | version 2 | correlation id 4 | client id | transactional id | acks 2 | timeout 4 | topics: name,
 *   partitions: number 4, batch
 *
 * The library's correlation ids count up from 1, these down from -1. Answers that are not to these go on to the
 * library. Guarded by row `d` of `bench/`.
 */
import type { Socket } from 'node:net'
import { CODE } from './codes.js'
import { KafkaError } from './errors.js'

/** Sealed batches for one broker. */
export interface ProduceTopic {
  readonly topic: string
  readonly partitions: readonly { readonly partition: number; readonly batch: Buffer }[]
}

/** What a partition's `Produce` was answered. */
export interface ProduceAnswer {
  readonly topic: string
  readonly partition: number
  readonly code: number
}

const PRODUCE = 0
/** Since Kafka 2.1. */
const VERSION = 7
const ALL_IN_SYNC = -1
const FRAME_BYTES = 4
const CORRELATION_AT = 4
/** Of a partition's answer, behind its code: base offset, time of the append, start of the log. */
const REST_BYTES = 24

interface Pending {
  readonly resolve: (answers: ProduceAnswer[]) => void
  readonly reject: (error: KafkaError) => void
  readonly timer: NodeJS.Timeout
}

export class ProduceRequests {
  readonly #socket: Socket
  readonly #clientId: Buffer
  readonly #timeoutMs: number
  readonly #library: ((chunk: Buffer) => void)[]
  readonly #pending = new Map<number, Pending>()
  #correlationId = -1
  /** The beginning of a frame. */
  #partial: Buffer[] = []
  #partialBytes = 0

  /** @param socket of a connection that is established and authenticated */
  constructor(socket: Socket, clientId: string, timeoutMs: number) {
    this.#socket = socket
    this.#clientId = Buffer.from(clientId, 'utf8')
    this.#timeoutMs = timeoutMs
    this.#library = socket.listeners('data') as ((chunk: Buffer) => void)[]
    socket.on('data', (chunk: Buffer) => {
      this.#onData(chunk)
    })
    for (const listener of this.#library) socket.off('data', listener)
    socket.once('close', () => {
      this.#failAll(new KafkaError(CODE.transport, 'the connection was closed'))
    })
  }

  /** Sends batches, and resolves with what became of each. @throws KafkaError */
  send(transactionalId: string | null, timeoutMs: number, topics: readonly ProduceTopic[]): Promise<ProduceAnswer[]> {
    if (this.#socket.destroyed) return Promise.reject(new KafkaError(CODE.transport, 'the connection was closed'))
    const correlationId = this.#correlationId--
    const pieces = encode(correlationId, this.#clientId, transactionalId, timeoutMs, topics)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        // The answer may still come, and would be the library's then: what is wrong here is wrong for the whole
        // connection.
        this.#pending.delete(correlationId)
        reject(new KafkaError(CODE.timedOut, `no answer within ${this.#timeoutMs} ms`))
        this.#socket.destroy()
      }, this.#timeoutMs)
      this.#pending.set(correlationId, { resolve, reject, timer })
      this.#socket.cork()
      for (const piece of pieces) this.#socket.write(piece)
      this.#socket.uncork()
    })
  }

  #onData(chunk: Buffer): void {
    let bytes = chunk
    if (this.#partialBytes > 0) {
      this.#partial.push(chunk)
      this.#partialBytes += chunk.length
      const [first] = this.#partial
      if (first.length >= FRAME_BYTES && this.#partialBytes < FRAME_BYTES + first.readInt32BE(0)) return
      bytes = Buffer.concat(this.#partial)
      this.#partial = []
      this.#partialBytes = 0
    }
    let at = 0
    while (bytes.length - at >= FRAME_BYTES) {
      const end = at + FRAME_BYTES + bytes.readInt32BE(at)
      if (end > bytes.length) break
      this.#frame(bytes.subarray(at, end))
      at = end
    }
    if (at === bytes.length) return
    this.#partial = [bytes.subarray(at)]
    this.#partialBytes = bytes.length - at
  }

  #frame(frame: Buffer): void {
    const correlationId = frame.length >= CORRELATION_AT + 4 ? frame.readInt32BE(CORRELATION_AT) : 0
    const pending = this.#pending.get(correlationId)
    if (pending === undefined) {
      for (const listener of this.#library) listener(frame)
      return
    }
    this.#pending.delete(correlationId)
    clearTimeout(pending.timer)
    try {
      pending.resolve(decode(frame))
    } catch (error) {
      pending.reject(new KafkaError(CODE.transport, 'an answer that is none', { cause: error }))
      this.#socket.destroy()
    }
  }

  #failAll(error: KafkaError): void {
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer)
      reject(error)
    }
    this.#pending.clear()
  }
}

/** The request as pieces: the batches where they lie, and what stands between them. */
function encode(
  correlationId: number,
  clientId: Buffer,
  transactionalId: string | null,
  timeoutMs: number,
  topics: readonly ProduceTopic[],
): Buffer[] {
  const id = transactionalId === null ? null : Buffer.from(transactionalId, 'utf8')
  const names = topics.map(({ topic }) => Buffer.from(topic, 'utf8'))
  let between = 26 + clientId.length + (id?.length ?? 0)
  let batches = 0
  topics.forEach(({ partitions }, t) => {
    between += 6 + names[t].length + 8 * partitions.length
    for (const { batch } of partitions) batches += batch.length
  })
  const head = Buffer.allocUnsafe(between)
  let pos = head.writeInt32BE(between + batches - FRAME_BYTES, 0)
  pos = head.writeInt16BE(PRODUCE, pos)
  pos = head.writeInt16BE(VERSION, pos)
  pos = head.writeInt32BE(correlationId, pos)
  pos = head.writeInt16BE(clientId.length, pos)
  pos += clientId.copy(head, pos)
  pos = head.writeInt16BE(id?.length ?? -1, pos)
  pos += id?.copy(head, pos) ?? 0
  pos = head.writeInt16BE(ALL_IN_SYNC, pos)
  pos = head.writeInt32BE(timeoutMs, pos)
  pos = head.writeInt32BE(topics.length, pos)
  const pieces: Buffer[] = []
  let from = 0
  topics.forEach(({ partitions }, t) => {
    pos = head.writeInt16BE(names[t].length, pos)
    pos += names[t].copy(head, pos)
    pos = head.writeInt32BE(partitions.length, pos)
    for (const { partition, batch } of partitions) {
      pos = head.writeInt32BE(partition, pos)
      pos = head.writeInt32BE(batch.length, pos)
      pieces.push(head.subarray(from, pos), batch)
      from = pos
    }
  })
  return pieces
}

/** @throws RangeError when it ends too early */
function decode(frame: Buffer): ProduceAnswer[] {
  const answers: ProduceAnswer[] = []
  let pos = CORRELATION_AT + 4
  const topics = frame.readInt32BE(pos)
  pos += 4
  for (let t = 0; t < topics; t++) {
    const length = frame.readInt16BE(pos)
    const topic = frame.toString('utf8', pos + 2, pos + 2 + length)
    pos += 2 + length
    const partitions = frame.readInt32BE(pos)
    pos += 4
    for (let p = 0; p < partitions; p++) {
      answers.push({ topic, partition: frame.readInt32BE(pos), code: frame.readInt16BE(pos + 4) })
      pos += 6 + REST_BYTES
    }
  }
  return answers
}
