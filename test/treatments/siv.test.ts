import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { Siv, sivOpen, sivSeal } from '../../src/treatments/siv.js'
import { shared } from '../helpers/shared.js'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

// RFC 5297, appendix A, typed from the standard.
const RFC = [
  {
    name: 'A.1 deterministic',
    key: 'fffefdfc fbfaf9f8 f7f6f5f4 f3f2f1f0 f0f1f2f3 f4f5f6f7 f8f9fafb fcfdfeff',
    aad: ['10111213 14151617 18191a1b 1c1d1e1f 20212223 24252627'],
    plaintext: '11223344 55667788 99aabbcc ddee',
    sealed: '85632d07 c6e8f37f 950acd32 0a2ecc93 40c02b96 90c4dc04 daef7f6a fe5c',
  },
  {
    name: 'A.2 nonce-based, three associated strings',
    key: '7f7e7d7c 7b7a7978 77767574 73727170 40414243 44454647 48494a4b 4c4d4e4f',
    aad: [
      '00112233 44556677 8899aabb ccddeeff deaddada deaddada ffeeddcc bbaa9988 77665544 33221100',
      '10203040 50607080 90a0',
      '09f91102 9d74e35b d84156c5 635688c0',
    ],
    plaintext:
      '74686973 20697320 736f6d65 20706c61 696e7465 78742074 6f20656e 63727970 74207573 696e6720 5349562d 414553',
    sealed:
      '7bdb6e3b 432667eb 06f4d14b ff2fbd0f cb900f2f ddbe4043 26601965 c889bf17 dba77ceb 094fa663 b7a3f748 ' +
      'ba8af829 ea64ad54 4a272e9c 485b62a3 fd5c0d',
  },
]

for (const row of RFC) {
  t.test(`RFC 5297 ${row.name}`, async (t) => {
    const aad = row.aad.map(hex)
    t.equal(sivSeal(hex(row.key), hex(row.plaintext), ...aad).toString('hex'), hex(row.sealed).toString('hex'))
    t.equal(sivOpen(hex(row.key), hex(row.sealed), ...aad)?.toString('hex'), hex(row.plaintext).toString('hex'))
  })
}

t.test('Wycheproof', async (t) => {
  const path = shared('vectors/aes_siv_cmac_test.json')
  if (path === null) {
    t.comment('left out: ../shared/vectors is not there')
    return
  }
  interface Case {
    tcId: number
    key: string
    aad: string
    msg: string
    ct: string
    result: 'valid' | 'invalid'
  }
  const file = JSON.parse(readFileSync(path, 'utf8')) as { testGroups: { tests: Case[] }[] }
  let cases = 0
  const wrong: number[] = []
  for (const { tests } of file.testGroups) {
    for (const { tcId, key, aad, msg, ct, result } of tests) {
      cases++
      const opened = sivOpen(hex(key), hex(ct), hex(aad))
      const right =
        result === 'valid'
          ? sivSeal(hex(key), hex(msg), hex(aad)).equals(hex(ct)) && opened !== null && opened.equals(hex(msg))
          : opened === null
      if (!right) wrong.push(tcId)
    }
  }
  t.equal(cases, 442)
  t.same(wrong, [])
})

t.test('a kept context seals as a fresh one does, whatever it sealed before', async (t) => {
  const bytes = fc.uint8Array({ maxLength: 80 })
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 64, maxLength: 64 }),
      fc.array(fc.tuple(bytes, fc.array(bytes, { maxLength: 3 })), { minLength: 1, maxLength: 8 }),
      (key, rows) => {
        const kept = new Siv(key)
        for (const [plaintext, aad] of rows) {
          const sealed = kept.seal(plaintext, aad)
          if (!sealed.equals(sivSeal(key, plaintext, ...aad))) return false
          if (!sealed.equals(kept.sealWith(kept.prepare(aad), plaintext))) return false
          if (sealed.length !== 16 + plaintext.length) return false
          if (!(kept.open(sealed, aad)?.equals(plaintext) ?? false)) return false
        }
        return true
      },
    ),
  )
  t.pass('held')
})

t.test('any changed bit is noticed', async (t) => {
  const siv = new Siv(Buffer.alloc(64, 7))
  const plaintext = Buffer.from('sip:alice@198.51.100.7')
  const aad = [Buffer.from('call.from')]
  const sealed = siv.seal(plaintext, aad)
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    const changed = Buffer.from(sealed)
    changed[bit >> 3] ^= 1 << (bit & 7)
    t.equal(siv.open(changed, aad), null, `bit ${bit}`)
  }
  t.equal(siv.open(sealed, [Buffer.from('call.to')]), null)
  t.equal(siv.open(sealed, []), null)
  t.equal(siv.open(sealed, [...aad, Buffer.alloc(0)]), null)
  t.equal(siv.open(sealed.subarray(0, 15), aad), null)
})

t.test('refuses keys of other lengths and more strings than S2V takes', async (t) => {
  for (const length of [0, 16, 31, 33, 65]) t.throws(() => new Siv(Buffer.alloc(length)), RangeError)
  const siv = new Siv(Buffer.alloc(64))
  t.throws(() => siv.prepare(new Array<Uint8Array>(127).fill(Buffer.alloc(0))), RangeError)
  t.doesNotThrow(() => siv.prepare(new Array<Uint8Array>(126).fill(Buffer.alloc(0))))
})

t.test('shows no key', async (t) => {
  const siv = new Siv(Buffer.alloc(64, 0xa5))
  t.equal(JSON.stringify({ siv }), '{"siv":"[AES-256-SIV]"}')
  t.equal(inspect(siv), '[AES-256-SIV]')
})
