/**
 * The program's core without its ends: bytes of a file → messages per purpose. For the row without Kafka, and for
 * messages made beforehand.
 */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { lastDelimitedEnd, ProtobufReader } from '../src/batch/scanner.js'
import { catalogue } from '../src/catalogue/catalogue.js'
import type { Minimised } from '../src/flow/minimised.js'
import { throwawayKeyring } from '../src/keys/throwaway.js'
import { Pipeline } from '../src/pipeline/pipeline.js'
import { compile } from '../src/policy/compile.js'
import { loadPolicy } from '../src/policy/load.js'
import { HEAD_BYTES } from './messages.js'

/** Bytes of input handed over at once. */
const CHUNK_BYTES = 512 * 1024

/** Runs a file of length-delimited batches through the pipeline, chunk by chunk. Returns how many records it held. */
export function minimiseFile(policyPath: string, filePath: string, take: (messages: Minimised) => void): () => number {
  const pipeline = new Pipeline({
    catalogue: catalogue(),
    plan: compile(loadPolicy(policyPath), catalogue()),
    keyring: throwawayKeyring(),
    futureMs: 300_000,
    tenants: [{ name: 'default', id: 1, region: 'GB', extensionDigits: 6, domains: [] }],
  })
  const arena = readFileSync(filePath)
  const reader = new ProtobufReader(catalogue(), 'delimited')
  return () => {
    let records = 0
    for (let start = 0; start < arena.length;) {
      const last = start + CHUNK_BYTES >= arena.length
      const end = last ? arena.length : lastDelimitedEnd(arena, start, start + CHUNK_BYTES)
      const messages = pipeline.run({
        reader,
        arena,
        start,
        end,
        scratchStart: arena.length,
        last: true,
        tenant: 'default',
      })
      records += messages.outcome.records
      take(messages)
      start = end
    }
    return records
  }
}

export interface MessageStatistics {
  readonly topics: readonly string[]
  readonly messages: number
  /** Per topic: messages, and bytes of values and keys. */
  readonly perTopic: readonly { readonly messages: number; readonly valueBytes: number; readonly keyBytes: number }[]
}

/** Writes what the policy makes of a file of calls. */
export function writeMessages(policyPath: string, callsPath: string, messagesPath: string): MessageStatistics {
  const file = openSync(messagesPath, 'w')
  let topics: readonly string[] = []
  const counts: { messages: number; valueBytes: number; keyBytes: number }[] = []
  const take = (m: Minimised): void => {
    topics = m.topics
    let bytes = 0
    for (let i = 0; i < m.count; i++) bytes += HEAD_BYTES + m.keyLen[i] + m.valueLen[i]
    const out = Buffer.allocUnsafe(bytes)
    let pos = 0
    for (let i = 0; i < m.count; i++) {
      out[pos] = m.topic[i]
      out[pos + 1] = m.keyLen[i]
      out.writeUInt16LE(m.valueLen[i], pos + 2)
      out.writeDoubleLE(m.timestamp[i], pos + 4)
      pos += HEAD_BYTES
      out.set(m.bytes.subarray(m.keyOff[i], m.keyOff[i] + m.keyLen[i]), pos)
      pos += m.keyLen[i]
      out.set(m.bytes.subarray(m.valueOff[i], m.valueOff[i] + m.valueLen[i]), pos)
      pos += m.valueLen[i]
      const count = (counts[m.topic[i]] ??= { messages: 0, valueBytes: 0, keyBytes: 0 })
      count.messages++
      count.valueBytes += m.valueLen[i]
      count.keyBytes += m.keyLen[i]
    }
    writeSync(file, out)
  }
  try {
    minimiseFile(policyPath, callsPath, take)()
  } finally {
    closeSync(file)
  }
  const used = topics.map((topic, t) => ({ topic, count: counts[t] })).filter((u) => u.count !== undefined)
  return {
    topics: used.map((u) => u.topic),
    messages: used.reduce((sum, u) => sum + u.count.messages, 0),
    perTopic: used.map((u) => u.count),
  }
}
