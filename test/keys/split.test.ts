import { createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import t from 'tap'
import { type EpochKeys, KEY_USES } from '../../src/keys/keyring.js'
import { hkdfSha256, KEY_BYTES, splitEpochKey } from '../../src/keys/split.js'
import { shared } from '../helpers/shared.js'

const hex = (text: string): Buffer => Buffer.from(text, 'hex')

t.test('RFC 5869 A.1', async (t) => {
  const okm = hkdfSha256(Buffer.alloc(22, 0x0b), hex('000102030405060708090a0b0c'), hex('f0f1f2f3f4f5f6f7f8f9'), 42)
  t.equal(okm.toString('hex'), '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865')
})

t.test('HKDF vectors of others', async (t) => {
  const rfc = shared('vectors/rfc_vectors.json')
  const wycheproof = shared('vectors/hkdf_sha256_test.json')
  if (rfc === null || wycheproof === null) {
    t.comment('left out: ../shared/vectors is not there')
    return
  }
  const {
    hkdf_sha256_rfc5869: { cases },
  } = JSON.parse(readFileSync(rfc, 'utf8')) as {
    hkdf_sha256_rfc5869: { cases: { ikm: string; salt: string; info: string; L: number; okm: string }[] }
  }
  t.equal(cases.length, 3)
  for (const { ikm, salt, info, L, okm } of cases)
    t.equal(hkdfSha256(hex(ikm), hex(salt), hex(info), L).toString('hex'), okm)

  interface Case {
    tcId: number
    ikm: string
    salt: string
    info: string
    size: number
    okm: string
    result: string
  }
  const { testGroups } = JSON.parse(readFileSync(wycheproof, 'utf8')) as { testGroups: { tests: Case[] }[] }
  let count = 0
  const wrong: number[] = []
  for (const { tcId, ikm, salt, info, size, okm, result } of testGroups.flatMap((group) => group.tests)) {
    count++
    let made: string | null
    try {
      made = hkdfSha256(hex(ikm), hex(salt), hex(info), size).toString('hex')
    } catch {
      made = null
    }
    if (made !== (result === 'valid' ? okm : null)) wrong.push(tcId)
  }
  t.equal(count, 86)
  t.same(wrong, [])
})

// HMAC-SHA-256 is Node's own; the tokens rely on it, so that a build without it or with another is noticed here.
t.test('HMAC-SHA-256', async (t) => {
  // RFC 4231 §4.3, typed from the standard.
  t.equal(
    createHmac('sha256', 'Jefe').update('what do ya want for nothing?').digest('hex'),
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
  )
  const path = shared('vectors/hmac_sha256_test.json')
  if (path === null) {
    t.comment('Wycheproof left out: ../shared/vectors is not there')
    return
  }
  interface Case {
    tcId: number
    key: string
    msg: string
    tag: string
    result: string
  }
  const { testGroups } = JSON.parse(readFileSync(path, 'utf8')) as { testGroups: { tagSize: number; tests: Case[] }[] }
  let count = 0
  const wrong: number[] = []
  for (const { tagSize, tests } of testGroups) {
    for (const { tcId, key, msg, tag, result } of tests) {
      count++
      const made = createHmac('sha256', hex(key))
        .update(hex(msg))
        .digest('hex')
        .slice(0, tagSize / 4)
      if ((made === tag) !== (result === 'valid')) wrong.push(tcId)
    }
  }
  t.equal(count, 174)
  t.same(wrong, [])
})

t.test('each use, purpose and epoch key has keys of its own, of the length it needs', async (t) => {
  const seen = new Set<string>()
  for (const purpose of ['billing', 'quality', 'minim.quarantine']) {
    for (const byte of [1, 2]) {
      const keys = splitEpochKey(purpose, '2026', Buffer.alloc(32, byte))
      for (const use of KEY_USES) {
        t.equal(keys[use].length, KEY_BYTES[use], use)
        // Uses whose keys differ in length only must not share a beginning either.
        seen.add(keys[use].toString('hex', 0, 16))
      }
    }
  }
  t.equal(seen.size, 3 * 2 * KEY_USES.length)
})

// Worked out by another implementation of HKDF: a change here would change every token there is.
t.test('the keys of an epoch key never change', async (t) => {
  const keys = splitEpochKey(
    'billing',
    '2026-Q4',
    hex('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f'),
  )
  t.equal(keys.block.toString('hex'), 'eb5cd71849375d33fd16c86e3d9cf69e95a29b211baa3b0ecd6a2aeaf302add7')
})

t.test('no key shows in JSON, inspect or a spread', async (t) => {
  const keys: EpochKeys = splitEpochKey('billing', '2026-Q4', Buffer.alloc(32, 9))
  const shown = [
    JSON.stringify({ keys }),
    inspect({ keys }, { showHidden: true, getters: true, depth: 9 }),
    inspect(keys, { customInspect: false, showHidden: true }),
    JSON.stringify({ ...keys }),
  ].join('\n')
  for (const use of KEY_USES) {
    for (const form of [
      keys[use].toString('hex', 0, 8),
      keys[use].toString('base64').slice(0, 10),
      keys[use].toJSON().data.slice(0, 6).join(','),
      keys[use].toString('hex', 0, 6).replace(/../g, '$& ').trim(),
    ]) {
      t.notOk(shown.includes(form), use)
    }
  }
  t.match(shown, /keys of billing 2026-Q4/)
})
