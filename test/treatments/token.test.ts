/** Tokens: reversible by the key's holder, the same within a purpose and epoch, another in every other. */
import { createCipheriv, createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import { longLength, packBytes, packLong, packText, packUuid, TYPES } from '../../src/batch/block.js'
import { splitEpochKey } from '../../src/keys/split.js'
import { ipBytes, parseIp } from '../../src/normalise/ip.js'
import { reveal, Tokeniser } from '../../src/treatments/token.js'
import { shared } from '../helpers/shared.js'
import { seed, TestKeyring } from '../project/generate.js'

const SEED = seed()
t.comment(`seed ${SEED}: repeat with MINIM_TEST_SEED=${SEED}`)
const ring = new TestKeyring()
const keysOf = (purpose: string, epoch: string): Exclude<ReturnType<TestKeyring['keys']>, string> =>
  ring.keys(purpose, epoch) as Exclude<ReturnType<TestKeyring['keys']>, string>
const billing = keysOf('billing', '2026-01')
const blockOf = (text: string): Buffer => {
  const block = Buffer.alloc(16)
  if (
    !packText(
      TYPES.account,
      1,
      Buffer.from(text),
      0,
      Buffer.byteLength(text),
      new DataView(block.buffer, block.byteOffset),
      0,
    )
  )
    throw new Error('does not fit')
  return block
}

t.test('blocks: AES-256, a column by one call, reversible', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ maxLength: 10, unit: 'grapheme-ascii' }), { minLength: 1, maxLength: 50 }),
      (texts) => {
        const column = Buffer.concat(texts.map(blockOf))
        const tokens = new Tokeniser(billing).blocks(column)
        texts.forEach((text, i) => {
          const token = tokens.subarray(16 * i, 16 * i + 16)
          const cipher = createCipheriv('aes-256-ecb', billing.block, null).setAutoPadding(false)
          if (!cipher.update(blockOf(text)).equals(token)) throw new Error('not AES')
          if (reveal(billing, token) !== text) throw new Error('not reversed')
        })
      },
    ),
    { seed: SEED },
  )
  t.pass('100 runs')
  t.end()
})

t.test('other purposes and epochs have other tokens; the same ones the same, call after call', (t) => {
  const form = blockOf('acct-1')
  const long = Buffer.alloc(longLength(40))
  packLong(TYPES.call, 1, Buffer.from('x'.repeat(40)), 0, 40, long, 0)
  const seen = new Set<string>()
  for (const purpose of ['billing', 'fraud']) {
    for (const epoch of ['2026-01', '2026-02']) {
      const made = (): Buffer[] => {
        const tokeniser = new Tokeniser(keysOf(purpose, epoch))
        tokeniser.blocks(blockOf('first'))
        const hmac = Buffer.alloc(16)
        tokeniser.hmacInto(long, 0, long.length, hmac, 0)
        return [tokeniser.blocks(form), tokeniser.uuids(form), tokeniser.addresses(form), hmac, tokeniser.seal(long)]
      }
      t.strictSame(made(), made(), `${purpose} ${epoch}: the same again`)
      for (const token of made()) {
        t.notOk(seen.has(token.toString('hex')))
        seen.add(token.toString('hex'))
        if (!(purpose === 'billing' && epoch === '2026-01'))
          t.equal(reveal(billing, token), null, 'another key reverses nothing')
      }
    }
  }
  t.equal(seen.size, 20)
  t.end()
})

t.test('long forms: the first half of HMAC-SHA-256, whatever their length', (t) => {
  const tokeniser = new Tokeniser(billing)
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 17, maxLength: 3000 }), fc.nat(5), (form, shift) => {
      const src = Buffer.concat([Buffer.alloc(shift), form])
      const out = Buffer.alloc(18, 7)
      tokeniser.hmacInto(src, shift, form.length, out, 1)
      if (!out.subarray(1, 17).equals(createHmac('sha256', billing.hmac).update(form).digest().subarray(0, 16)))
        throw new Error('not HMAC')
      if (out[0] !== 7 || out[17] !== 7) throw new Error('wrote outside')
    }),
    { seed: SEED },
  )
  t.equal(
    reveal(
      billing,
      (() => {
        const o = Buffer.alloc(16)
        tokeniser.hmacInto(Buffer.alloc(20, 65), 0, 20, o, 0)
        return o
      })(),
    ),
    null,
    'irreversible',
  )
  t.end()
})

t.test('reversible long forms: AES-SIV', (t) => {
  fc.assert(
    fc.property(fc.string({ minLength: 21, maxLength: 300, unit: 'binary' }), (text) => {
      const bytes = Buffer.from(text)
      const form = Buffer.alloc(longLength(bytes.length))
      packLong(TYPES.uri, 3, bytes, 0, bytes.length, form, 0)
      const token = new Tokeniser(billing).seal(form)
      if (token.length !== form.length + 16 || reveal(billing, token) !== text) throw new Error('not reversed')
      token[token.length - 1] ^= 1
      if (reveal(billing, token) !== null) throw new Error('forged')
    }),
    { seed: SEED },
  )
  t.pass('100 runs')
  t.end()
})

t.test('UUIDs and IPv6 addresses', (t) => {
  const tokeniser = new Tokeniser(billing)
  const uuid = Buffer.alloc(16)
  packUuid(Buffer.from('F81D4FAE-7dec-11d0-a765-00a0c91e6bf6'), 0, 36, new DataView(uuid.buffer, uuid.byteOffset), 0)
  const token = tokeniser.uuids(uuid)
  t.strictSame(token, createCipheriv('aes-256-ecb', billing.uuid, null).setAutoPadding(false).update(uuid))
  t.notSame(token, tokeniser.blocks(uuid), 'under a key of their own')
  t.equal(reveal(billing, token, 'CALL'), 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6')
  t.equal(reveal(billing, token), null)
  const address = Buffer.from('20010db8000000000000000000000001', 'hex')
  t.equal(reveal(billing, tokeniser.addresses(address), 'IP'), '2001:db8::1')
  const v4 = Buffer.alloc(16)
  packBytes(TYPES.ipv4, Buffer.from([192, 0, 2, 1]), 4, new DataView(v4.buffer, v4.byteOffset), 0)
  t.equal(reveal(billing, tokeniser.blocks(v4), 'IP'), '192.0.2.1')
  t.end()
})

t.test('ipcrypt-deterministic: the published vectors', (t) => {
  const path = shared('vectors/ipcrypt_test_vectors.json')
  if (path === null) {
    t.comment('LEFT OUT: ../shared/vectors/ipcrypt_test_vectors.json is not there')
    return t.end()
  }
  const bytesOf = (ip: string): Buffer => {
    const text = Buffer.from(ip)
    const length = parseIp(text, 0, text.length)
    return length === 4
      ? Buffer.concat([Buffer.from('00000000000000000000ffff', 'hex'), ipBytes.subarray(0, 4)])
      : Buffer.from(ipBytes)
  }
  const vectors = (
    JSON.parse(readFileSync(path, 'utf8')) as { variant: string; key: string; ip: string; encrypted_ip: string }[]
  ).filter((v) => v.variant === 'ipcrypt-deterministic')
  for (const { key, ip, encrypted_ip: expected } of vectors) {
    const keys = {
      ...Object.fromEntries(['block', 'uuid', 'hmac', 'siv', 'box'].map((use) => [use, billing[use as 'block']])),
      ipv6: Buffer.from(key, 'hex'),
    } as unknown as typeof billing
    t.equal(new Tokeniser(keys).addresses(bytesOf(ip)).toString('hex'), bytesOf(expected).toString('hex'), ip)
  }
  t.ok(vectors.length >= 3, `${vectors.length} vectors`)
  t.end()
})

t.test('keys of one epoch are bound to their purpose', (t) => {
  const same = Buffer.alloc(32, 1)
  t.notSame(
    new Tokeniser(splitEpochKey('a', '2026', same)).blocks(blockOf('x')),
    new Tokeniser(splitEpochKey('b', '2026', same)).blocks(blockOf('x')),
  )
  t.end()
})
