/**
 * A bounded table from byte strings to small numbers, for values that repeat (User-Agents, unusual dial strings):
 * found without making a string of the bytes, which costs more than the look-up. When it is full its owner clears it.
 */
export class ByteTable {
  readonly capacity: number
  readonly #mask: number
  readonly #slots: Int32Array
  readonly #keyOff: Int32Array
  readonly #keyLen: Int32Array
  readonly #keys: Uint8Array
  #keyEnd = 0
  /** Numbers given out since the table was last cleared: 0 … size-1. */
  size = 0

  /**
   * @param capacity entries, a power of two
   * @param keyBytes room for all keys together
   */
  constructor(capacity = 4096, keyBytes: number = capacity * 64) {
    this.capacity = capacity
    this.#mask = capacity * 2 - 1
    this.#slots = new Int32Array(capacity * 2).fill(-1)
    this.#keyOff = new Int32Array(capacity)
    this.#keyLen = new Int32Array(capacity)
    this.#keys = new Uint8Array(keyBytes)
  }

  #hash(src: Uint8Array, off: number, len: number): number {
    let h = 0x811c9dc5 // FNV-1a
    let i = off
    const end = off + len
    // Two bytes a round: half the multiplications, and the table compares the whole key anyway.
    for (; i + 2 <= end; i += 2) h = Math.imul(h ^ (src[i] | (src[i + 1] << 8)), 0x01000193)
    if (i < end) h = Math.imul(h ^ src[i], 0x01000193)
    return (h ^ (h >>> 15)) & this.#mask
  }

  /** Number of a key, or -1. */
  find(src: Uint8Array, off: number, len: number): number {
    let slot = this.#hash(src, off, len)
    for (;;) {
      const entry = this.#slots[slot]
      if (entry < 0) return -1
      if (this.#keyLen[entry] === len) {
        const at = this.#keyOff[entry]
        let i = 0
        while (i < len && this.#keys[at + i] === src[off + i]) i++
        if (i === len) return entry
      }
      slot = (slot + 1) & this.#mask
    }
  }

  /** Adds a key that is not there. Returns its number, or -1 if the table is full. */
  add(src: Uint8Array, off: number, len: number): number {
    if (this.size === this.capacity || this.#keyEnd + len > this.#keys.length) return -1
    let slot = this.#hash(src, off, len)
    while (this.#slots[slot] >= 0) slot = (slot + 1) & this.#mask
    const entry = this.size++
    this.#slots[slot] = entry
    this.#keyOff[entry] = this.#keyEnd
    this.#keyLen[entry] = len
    for (let i = 0; i < len; i++) this.#keys[this.#keyEnd + i] = src[off + i]
    this.#keyEnd += len
    return entry
  }

  /** Whether so many further keys of usual length fit. */
  roomFor(keys: number): boolean {
    return this.size + keys <= this.capacity && this.#keyEnd + keys * 64 <= this.#keys.length
  }

  clear(): void {
    this.#slots.fill(-1)
    this.size = 0
    this.#keyEnd = 0
  }
}
