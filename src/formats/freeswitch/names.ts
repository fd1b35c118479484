/** Names → themselves, found by their bytes without making a string of them. */
export class Names {
  readonly #slots: Int16Array
  readonly #bytes: Buffer[]
  readonly #names: readonly string[]

  constructor(names: readonly string[]) {
    this.#names = names
    this.#bytes = names.map((name) => Buffer.from(name, 'latin1'))
    let size = 16
    while (size < names.length * 4) size *= 2
    this.#slots = new Int16Array(size).fill(-1)
    this.#bytes.forEach((bytes, i) => {
      let slot = hashOf(bytes, 0, bytes.length) & (size - 1)
      while (this.#slots[slot] >= 0) slot = (slot + 1) & (size - 1)
      this.#slots[slot] = i
    })
  }

  find(src: Uint8Array, start: number, end: number): string | null {
    const slots = this.#slots
    for (
      let slot = hashOf(src, start, end) & (slots.length - 1);
      slots[slot] >= 0;
      slot = (slot + 1) & (slots.length - 1)
    ) {
      const bytes = this.#bytes[slots[slot]]
      if (bytes.length === end - start && sameBytes(bytes, src, start)) return this.#names[slots[slot]]
    }
    return null
  }
}

/** Names are short: a call of `Buffer.compare` costs more than this. */
function sameBytes(name: Uint8Array, src: Uint8Array, at: number): boolean {
  for (let i = 0; i < name.length; i++) if (name[i] !== src[at + i]) return false
  return true
}

/** A few octets tell names apart well enough: the rest is compared. */
function hashOf(src: Uint8Array, start: number, end: number): number {
  const length = end - start
  if (length < 4) return length
  const middle = start + (length >> 1)
  return (
    Math.imul(
      (src[start] | (src[end - 1] << 8) | (src[middle] << 16) | (src[end - 3] << 24)) ^
        Math.imul(src[middle - 2] | (src[start + 2] << 8) | (length << 16), 0x85ebca6b),
      0x9e3779b1,
    ) >>> 20
  )
}
