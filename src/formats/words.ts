/**
 * Words that stand for numbers (how a call ended, which way it went), found by their bytes: letters and digits, case
 * ignored, however they are parted.
 */
import type { Field } from '../catalogue/catalogue.js'
import { DISPOSITION_WORDS } from './mapping.js'

/**
 * Words → numbers, looked up by bytes: letters and digits, case ignored, with ' ', '_' and '-' between them left out.
 */
export class Words {
  readonly #slots: Int32Array
  readonly #mask: number
  readonly #folded: Uint8Array[] = []
  readonly #values: number[] = []

  constructor(words: Iterable<readonly [string, number]>) {
    const entries = new Map<string, number>()
    for (const [word, value] of words) entries.set(word.toLowerCase().replace(/[ _-]/g, ''), value)
    let size = 16
    while (size < entries.size * 4) size *= 2
    this.#slots = new Int32Array(size).fill(-1)
    this.#mask = size - 1
    for (const [word, value] of entries) {
      const bytes = Buffer.from(word, 'latin1')
      let slot = hashWord(bytes, 0, bytes.length) & this.#mask
      while (this.#slots[slot] >= 0) slot = (slot + 1) & this.#mask
      this.#slots[slot] = this.#folded.length
      this.#folded.push(bytes)
      this.#values.push(value)
    }
  }

  /** @returns the number, or -1 */
  find(bytes: Uint8Array, start: number, end: number): number {
    let slot = hashWord(bytes, start, end) & this.#mask
    for (;;) {
      const entry = this.#slots[slot]
      if (entry < 0) return -1
      if (sameWord(this.#folded[entry], bytes, start, end)) return this.#values[entry]
      slot = (slot + 1) & this.#mask
    }
  }
}

function fold(c: number): number {
  return c >= 0x41 && c <= 0x5a ? c + 0x20 : c
}

function isFiller(c: number): boolean {
  return c === 0x20 || c === 0x5f || c === 0x2d
}

function hashWord(bytes: Uint8Array, start: number, end: number): number {
  let h = 0
  for (let p = start; p < end; p++) {
    const c = bytes[p]
    if (!isFiller(c)) h = (Math.imul(h, 31) + fold(c)) | 0
  }
  return h ^ (h >>> 15)
}

function sameWord(word: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  let i = 0
  for (let p = start; p < end; p++) {
    const c = bytes[p]
    if (isFiller(c)) continue
    if (i === word.length || word[i] !== fold(c)) return false
    i++
  }
  return i === word.length
}

/** A word that is known and says nothing. */
export const SAYS_NOTHING = -2

/** The names of a field's enum, and, where it is how a call ended, what others call them. */
export function wordsFor(field: Field, disposition: boolean): Words {
  const words: [string, number][] = []
  for (const [name, number] of field.enumNumbers) words.push([name, number])
  if (disposition) {
    for (const [word, name] of Object.entries(DISPOSITION_WORDS))
      words.push([word, name === null ? SAYS_NOTHING : (field.enumNumbers.get(name) ?? SAYS_NOTHING)])
  }
  return new Words(words)
}
