/**
 * AES-SIV (RFC 5297): deterministic authenticated encryption, for reversible tokens of identifiers that do not fit a
 * block. 16 bytes of synthetic IV, then the ciphertext, as long as the plaintext.
 *
 * Node offers no SIV before OpenSSL 3.2, so it is built from AES-CBC and AES-ECB, as the RFC says. The contexts are
 * made once per key and kept: to make one costs more than to seal a SIP URI. CBC's chaining is undone by adding the
 * last block to the next first one.
 */
import { type Cipher, createCipheriv, timingSafeEqual } from 'node:crypto'
import { inspect } from 'node:util'

const BLOCK = 16
/** RFC 5297 §2.6: S2V takes 127 strings, the plaintext being one. */
const SIV_MAX_AADS = 126

const NO_AAD: readonly Uint8Array[] = []

export class Siv {
  readonly #mac: Cmac
  readonly #ecb: Cipher
  readonly #size: 128 | 192 | 256
  /** S2V's running value before any associated data. */
  readonly #zero: Buffer

  /**
   * @param key 64 bytes for AES-256 (what minim uses); 32 and 48 for AES-128 and AES-192. The first half authenticates,
   * the second encrypts.
   */
  constructor(key: Uint8Array) {
    if (key.length !== 32 && key.length !== 48 && key.length !== 64)
      throw new RangeError(`an AES-SIV key has 32, 48 or 64 bytes, not ${key.length}`)
    this.#size = (key.length * 4) as 128 | 192 | 256
    this.#mac = new Cmac(this.#size, key.subarray(0, key.length / 2))
    this.#ecb = ecb(this.#size, key.subarray(key.length / 2))
    this.#zero = this.#mac.of(Buffer.alloc(BLOCK))
  }

  /**
   * What the associated data adds to every seal, worked out once: for the columns whose context stays the same.
   * Give it to {@link sealWith}.
   */
  prepare(aad: readonly Uint8Array[]): Buffer {
    if (aad.length > SIV_MAX_AADS)
      throw new RangeError(`AES-SIV takes ${SIV_MAX_AADS} associated strings, not ${aad.length}`)
    const d = Buffer.from(this.#zero)
    for (const string of aad) {
      double(d)
      xorInto(d, 0, this.#mac.of(string), 0, BLOCK)
    }
    return d
  }

  seal(plaintext: Uint8Array, aad: readonly Uint8Array[] = NO_AAD): Buffer {
    return this.sealWith(this.prepare(aad), plaintext)
  }

  /** @param prepared from {@link prepare} */
  sealWith(prepared: Buffer, plaintext: Uint8Array): Buffer {
    const out = Buffer.allocUnsafe(BLOCK + plaintext.length)
    const iv = this.#s2v(prepared, plaintext)
    iv.copy(out, 0)
    this.#ctr(iv, plaintext, out, BLOCK)
    return out
  }

  /** @returns the plaintext; null when the bytes, the associated data or the key are not those of the seal */
  open(sealed: Uint8Array, aad: readonly Uint8Array[] = NO_AAD): Buffer | null {
    if (sealed.length < BLOCK) return null
    const iv = sealed.subarray(0, BLOCK)
    const plaintext = Buffer.allocUnsafe(sealed.length - BLOCK)
    this.#ctr(iv, sealed.subarray(BLOCK), plaintext, 0)
    if (timingSafeEqual(this.#s2v(this.prepare(aad), plaintext), iv)) return plaintext
    plaintext.fill(0)
    return null
  }

  /** RFC 5297 §2.4, last step: the plaintext is folded into the running value. */
  #s2v(prepared: Buffer, plaintext: Uint8Array): Buffer {
    const n = plaintext.length
    if (n >= BLOCK) {
      const t = Buffer.allocUnsafe(n)
      t.set(plaintext)
      xorInto(t, n - BLOCK, prepared, 0, BLOCK)
      return this.#mac.ofOwned(t)
    }
    const t = Buffer.from(prepared)
    double(t)
    xorInto(t, 0, plaintext, 0, n)
    t[n] ^= 0x80
    return this.#mac.ofOwned(t)
  }

  /**
   * AES-CTR from the synthetic IV, whose 31st and 63rd bits are cleared (§2.5): the counter then stays within its last
   * 32 bits for any plaintext that fits into memory.
   */
  #ctr(iv: Uint8Array, input: Uint8Array, out: Uint8Array, outStart: number): void {
    const n = input.length
    if (n === 0) return
    const blocks = Math.ceil(n / BLOCK)
    const counters = Buffer.allocUnsafe(blocks * BLOCK)
    for (let i = 0; i < BLOCK; i++) counters[i] = iv[i]
    counters[8] &= 0x7f
    counters[12] &= 0x7f
    const first = counters.readUInt32BE(12)
    for (let b = 1; b < blocks; b++) {
      counters.copyWithin(b * BLOCK, 0, 12)
      counters.writeUInt32BE((first + b) >>> 0, b * BLOCK + 12)
    }
    const stream = this.#ecb.update(counters)
    for (let i = 0; i < n; i++) out[outStart + i] = input[i] ^ stream[i]
  }

  toJSON(): string {
    return `[AES-${this.#size}-SIV]`
  }
  [inspect.custom](): string {
    return this.toJSON()
  }
}

/** Seals once. With more than one to seal, keep a {@link Siv}. */
export function sivSeal(key: Uint8Array, plaintext: Uint8Array, ...aad: Uint8Array[]): Buffer {
  return new Siv(key).seal(plaintext, aad)
}

/** Opens once; null when it is not what was sealed. */
export function sivOpen(key: Uint8Array, sealed: Uint8Array, ...aad: Uint8Array[]): Buffer | null {
  return new Siv(key).open(sealed, aad)
}

/** AES-CMAC (RFC 4493, SP 800-38B) over one CBC context that is never reset. */
class Cmac {
  readonly #cbc: Cipher
  /** CBC's chaining value: the last block that came out. */
  readonly #chain = Buffer.alloc(BLOCK)
  readonly #k1: Buffer
  readonly #k2: Buffer

  constructor(size: 128 | 192 | 256, key: Uint8Array) {
    this.#k1 = ecb(size, key).update(Buffer.alloc(BLOCK))
    double(this.#k1)
    this.#k2 = Buffer.from(this.#k1)
    double(this.#k2)
    this.#cbc = createCipheriv(`aes-${size}-cbc`, key, Buffer.alloc(BLOCK))
    this.#cbc.setAutoPadding(false)
  }

  of(message: Uint8Array): Buffer {
    const n = message.length
    const padded = Buffer.alloc(Math.max(1, Math.ceil(n / BLOCK)) * BLOCK)
    padded.set(message)
    return this.#run(padded, n)
  }

  /** Of a message that may be overwritten. */
  ofOwned(message: Buffer): Buffer {
    return message.length % BLOCK === 0 && message.length > 0 ? this.#run(message, message.length) : this.of(message)
  }

  #run(padded: Buffer, n: number): Buffer {
    const last = padded.length - BLOCK
    if (n === padded.length) {
      xorInto(padded, last, this.#k1, 0, BLOCK)
    } else {
      padded[n] ^= 0x80
      xorInto(padded, last, this.#k2, 0, BLOCK)
    }
    xorInto(padded, 0, this.#chain, 0, BLOCK)
    const out = this.#cbc.update(padded)
    out.copy(this.#chain, 0, last)
    return out.subarray(last)
  }
}

/** One block at a time, by the hundred if need be: no padding, no state. */
function ecb(size: 128 | 192 | 256, key: Uint8Array): Cipher {
  const cipher = createCipheriv(`aes-${size}-ecb`, key, null)
  cipher.setAutoPadding(false)
  return cipher
}

/** Doubling in GF(2^128), in place (RFC 5297 §2.3). The reduction is masked, not branched on: the value is secret. */
function double(block: Buffer): void {
  const carry = block[0] >> 7
  for (let i = 0; i < BLOCK - 1; i++) block[i] = (block[i] << 1) | (block[i + 1] >> 7)
  block[BLOCK - 1] = (block[BLOCK - 1] << 1) ^ (-carry & 0x87)
}

function xorInto(target: Uint8Array, at: number, source: Uint8Array, from: number, length: number): void {
  for (let i = 0; i < length; i++) target[at + i] ^= source[from + i]
}
