/**
 * Packets from one thread to another: a ring of bytes in shared memory, one writer, one reader. Each packet lies in one
 * piece, its length before it and a tag (who sent it), at a multiple of four; where the rest of the ring is too short
 * for one, a mark sends the reader back to the beginning.
 */

const WRITTEN = 0
const READ = 1
const WOKEN = 2
/** Where the counts begin. */
const COUNTS = 3
/** Bits of a length; the tag is above them. Packets are of 64 KiB at most. */
const LENGTH_BITS = 20
/** A length that is none. */
const BACK = -1

/** What the writer counts, by its place. */
const RING_COUNTS = ['received', 'dropped', 'malformed', 'rate', 'unauthorised'] as const
export type RingCount = (typeof RING_COUNTS)[number]

/** What both threads share. */
export interface RingMemory {
  readonly control: SharedArrayBuffer
  readonly data: SharedArrayBuffer
}

export function ringMemory(bytes: number): RingMemory {
  // A packet of the greatest size must fit in twice.
  const size = Math.max(262_144, Math.ceil(bytes / 4) * 4)
  return { control: new SharedArrayBuffer((COUNTS + RING_COUNTS.length) * 4), data: new SharedArrayBuffer(size) }
}

export class Ring {
  readonly #control: Int32Array
  readonly #lengths: Int32Array
  readonly #bytes: Buffer
  readonly #size: number

  constructor({ control, data }: RingMemory) {
    this.#control = new Int32Array(control)
    this.#lengths = new Int32Array(data)
    this.#bytes = Buffer.from(data)
    this.#size = data.byteLength
  }

  /**
   * Writes a packet. Only the writer's thread may.
   * @param tag a number up to 1023 (what is left of a word above {@link LENGTH_BITS}, less its sign) that is read with
   * it
   * @returns false where there is no room
   */
  write(packet: Uint8Array, tag = 0): boolean {
    const written = this.#control[WRITTEN]
    const read = Atomics.load(this.#control, READ)
    const needed = 4 + Math.ceil(packet.length / 4) * 4
    let at = written
    // The two meet only where the ring is empty, so one place always stays free.
    if (written >= read) {
      if (written + needed > this.#size - 4) {
        if (needed >= read) return false
        this.#lengths[written / 4] = BACK
        at = 0
      }
    } else if (written + needed >= read) return false
    this.#lengths[at / 4] = packet.length | (tag << LENGTH_BITS)
    this.#bytes.set(packet, at + 4)
    Atomics.store(this.#control, WRITTEN, at + needed)
    return true
  }

  /**
   * Reads at most so many packets. Only the reader's thread may. The bytes are the ring's own: they are written over
   * when this returns.
   * @returns whether there may be more
   */
  read(atMost: number, onPacket: (bytes: Buffer, at: number, end: number, tag: number) => void): boolean {
    for (let n = 0; n < atMost; n++) {
      let at = this.#control[READ]
      if (at === Atomics.load(this.#control, WRITTEN)) return false
      if (this.#lengths[at / 4] === BACK) {
        at = 0
        if (Atomics.load(this.#control, WRITTEN) === 0) return false
      }
      const head = this.#lengths[at / 4]
      const length = head & ((1 << LENGTH_BITS) - 1)
      try {
        onPacket(this.#bytes, at + 4, at + 4 + length, head >>> LENGTH_BITS)
      } finally {
        Atomics.store(this.#control, READ, at + 4 + Math.ceil(length / 4) * 4)
      }
    }
    return true
  }

  /** Whether the reader must be told that there is something: once until it has said that it knows. */
  wake(): boolean {
    return Atomics.exchange(this.#control, WOKEN, 1) === 0
  }

  /** The reader knows. */
  woken(): void {
    Atomics.store(this.#control, WOKEN, 0)
  }

  count(what: RingCount): void {
    Atomics.add(this.#control, COUNTS + RING_COUNTS.indexOf(what), 1)
  }

  /** What was counted since this was asked last. */
  takeCount(what: RingCount): number {
    return Atomics.exchange(this.#control, COUNTS + RING_COUNTS.indexOf(what), 0)
  }
}
