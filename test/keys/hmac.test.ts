import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import test from 'node:test'
import { HmacSha256 } from '../../src/keys/hmac.js'

const expected = (key: Buffer, message: Buffer): string => createHmac('sha256', key).update(message).digest('hex')

test('digests are those of createHmac, whatever the lengths, and do not depend on what was hashed before', () => {
  for (const keyLength of [0, 1, 32, 63, 64]) {
    const key = Buffer.from(Array.from({ length: keyLength }, (_, i) => (i * 37 + keyLength) & 255))
    const hmac = new HmacSha256(key)
    for (const length of [3, 5000, 0, 55, 56, 64, 1023, 1024, 1025, 1]) {
      const message = Buffer.from(Array.from({ length: length + 2 }, (_, i) => (i * 101 + length) & 255))
      const part = message.subarray(1, length + 1)
      assert.equal(Buffer.from(hmac.ofBytes(message, 1, length), 'latin1').toString('hex'), expected(key, part))
    }
    for (const text of ['', 'freeswitch\0default\0a', 'ü€😀'.repeat(700), '\ud800', 'b']) {
      assert.equal(Buffer.from(hmac.ofText(text), 'latin1').toString('hex'), expected(key, Buffer.from(text, 'utf8')))
    }
  }
})

test('a key that is longer than a block is refused', () => {
  assert.throws(() => new HmacSha256(Buffer.alloc(65)), RangeError)
})
