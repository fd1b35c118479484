/** A file of ready messages, as `writeMessages` of core.ts makes it: for rows that only produce. */
import { readFileSync } from 'node:fs'

/** topic (1), key length (1), value length (2), timestamp (8); key and value follow. */
export const HEAD_BYTES = 12

/** Messages as `produce` wants them: views into the file's bytes, made before the clock runs. */
export interface ReadyMessages {
  readonly count: number
  readonly topic: Uint8Array
  readonly timestamp: Float64Array
  readonly values: readonly Buffer[]
  readonly keys: readonly (Buffer | null)[]
}

export function readMessages(path: string): ReadyMessages {
  const bytes = readFileSync(path)
  const topic: number[] = []
  const timestamp: number[] = []
  const values: Buffer[] = []
  const keys: (Buffer | null)[] = []
  for (let pos = 0; pos < bytes.length;) {
    const keyLength = bytes[pos + 1]
    const valueLength = bytes.readUInt16LE(pos + 2)
    topic.push(bytes[pos])
    timestamp.push(bytes.readDoubleLE(pos + 4))
    const key = pos + HEAD_BYTES
    keys.push(keyLength === 0 ? null : bytes.subarray(key, key + keyLength))
    values.push(bytes.subarray(key + keyLength, key + keyLength + valueLength))
    pos = key + keyLength + valueLength
  }
  return { count: values.length, topic: Uint8Array.from(topic), timestamp: Float64Array.from(timestamp), values, keys }
}
