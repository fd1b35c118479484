/** Tokens: reversible by the key's holder, the same within a purpose and epoch, another in every other. */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import { longLength, packBytes, packE164, packLong, packText, packUuid, TYPES } from '../../src/batch/block.js'
import type { Identifier } from '../../src/catalogue/catalogue.js'
import { splitEpochKey } from '../../src/keys/split.js'
import { ipBytes, parseIp } from '../../src/normalise/ip.js'
import { sivSeal } from '../../src/treatments/siv.js'
import { reveal, textOf, Tokeniser, type TokenOrigin } from '../../src/treatments/token.js'
import { shared } from '../helpers/shared.js'
import { seed, TestKeyring } from '../project/generate.js'

const SEED = seed()
t.comment(`seed ${SEED}: repeat with MINIM_TEST_SEED=${SEED}`)
const ring = new TestKeyring()
const keysOf = (purpose: string, epoch: string): Exclude<ReturnType<TestKeyring['keys']>, string> =>
  ring.keys(purpose, epoch) as Exclude<ReturnType<TestKeyring['keys']>, string>
const billing = keysOf('billing', '2026-01')
/** Whose a token of an account is, and so on. */
const of = (identifier: Identifier, tenant: number | null = null, generation = 0): TokenOrigin => ({
  identifier,
  tenant,
  generation,
  tenants: new Set([1, 3, 7]),
})
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
          if (reveal(billing, token, of('ACCOUNT_CODE')) !== text) throw new Error('not reversed')
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
          t.equal(reveal(billing, token, of('ACCOUNT_CODE')), null, 'another key reverses nothing')
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
      of('PARTY'),
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
      packLong(TYPES.uri, 0, bytes, 0, bytes.length, form, 0)
      const token = new Tokeniser(billing).seal(form)
      if (token.length !== 16 + 16 * Math.ceil((form.length + 1) / 16)) throw new Error('not padded')
      if (reveal(billing, token, of('PARTY')) !== text) throw new Error('not reversed')
      if (reveal(billing, sivSeal(billing.siv, form), of('PARTY')) !== text) throw new Error('unpadded ones no more')
      token[token.length - 1] ^= 1
      if (reveal(billing, token, of('PARTY')) !== null) throw new Error('forged')
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
  t.equal(reveal(billing, token, of('CALL', 1)), 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6')
  t.equal(reveal(billing, token, of('ACCOUNT_CODE')), null)
  t.equal(reveal(billing, token, of('CALL')), 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6', 'whichever tenant')
  const address = Buffer.from('20010db8000000000000000000000001', 'hex')
  t.equal(reveal(billing, tokeniser.addresses(address), of('IP')), '2001:db8::1')
  const v4 = Buffer.alloc(16)
  packBytes(TYPES.ipv4, Buffer.from([192, 0, 2, 1]), 4, new DataView(v4.buffer, v4.byteOffset), 0)
  t.equal(reveal(billing, tokeniser.blocks(v4), of('IP')), '192.0.2.1')
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

t.test("from generation 1 on a call's id is its tenant's own, UUIDs like all others", (t) => {
  const tokeniser = new Tokeniser(billing)
  const uuid = randomBytes(16)
  const written = uuid.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  const tokens = [1, 3, 7].map((tenant) => tokeniser.uuids(uuid, tenant, 1))
  t.equal(new Set(tokens.map((token) => token.toString('hex'))).size, 3)
  tokens.forEach((token, i) => {
    t.equal(reveal(billing, token, of('CALL', [1, 3, 7][i], 1)), written, 'reversed for its tenant')
  })
  t.equal(reveal(billing, tokens[0], of('CALL', null, 1)), null, 'of several tenants, the one must be known')
  t.end()
})

t.test('UUIDs and IPv6 addresses of another generation have other tokens', (t) => {
  const tokeniser = new Tokeniser(billing)
  const wide = randomBytes(16)
  const uuids = [0, 1, 2].map((generation) => tokeniser.uuids(wide, 1, generation).toString('hex'))
  const addresses = [0, 1, 2].map((generation) => tokeniser.addresses(wide, generation).toString('hex'))
  t.equal(new Set([...uuids, ...addresses]).size, 6)
  t.equal(reveal(billing, Buffer.from(uuids[1], 'hex'), of('CALL', 1, 1))?.replaceAll('-', ''), wide.toString('hex'))
  t.not(
    reveal(billing, Buffer.from(addresses[1], 'hex'), of('IP', null, 0)),
    reveal(billing, Buffer.from(addresses[1], 'hex'), of('IP', null, 1)),
  )
  t.end()
})

/** Made by the first version, under the key of purpose `billing` and epoch 2026-01 that is made of 32 octets of 1. */
const STORED = {
  e164: '64d49551e3be0141e0a1cbd6bef63cc0',
  local: '28a363bef16f9f72bf02741a24a97780',
  otherTenant: 'e769da4680fbd99f25e8c8572749f7da',
  account: '21240c6d03cfd45b26530c26f929f04c',
  ipv4: 'cd32e1ec758d8c216fd3ba7854b5cad7',
  mac: '9cdcbe993d1cef55831e388f023ed06a',
  call: '9c4c30ba59eabef0c8e19d69b8fd28a2',
  serial: 'ea117bac3baf1cf550e3d6119b5d38c3',
  trunk: '6bea83e7bdb90fd2d9a23dc95f0c44c5',
  uri: '254d597749ce4011bc628d4a4c2c7d59',
  uuid: 'bcf03b3692f135a173dbdd7392e140f6',
  ipv6: '8efae378262b103d93919e1bbd929bff',
  hmac: '5e1b7d6fbce31c2242c3fe5baee85b8e',
}
const STORED_SIV = 'ee0a34d8232e705a535623e8449f797e84cc86fdc84866d47c24b20d92328f7eae4ea763a39711b11d219765b17f'

t.test('tokens of generation 0 are those that were', (t) => {
  const keys = splitEpochKey('billing', '2026-01', Buffer.alloc(32, 1))
  const tokeniser = new Tokeniser(keys)
  const packed = (pack: (block: DataView) => void): Buffer => {
    const block = Buffer.alloc(16)
    pack(new DataView(block.buffer, block.byteOffset))
    return block
  }
  const text = (type: number, tenant: number, of: string): Buffer =>
    packed((block) => packText(type, tenant, Buffer.from(of), 0, of.length, block, 0))
  const long = Buffer.alloc(longLength(27))
  packLong(TYPES.call, 1, Buffer.from('sip-call-id@host.example'), 0, 24, long, 0)
  const form = long.subarray(0, longLength(24))
  const hmac = Buffer.alloc(16)
  tokeniser.hmacInto(form, 0, form.length, hmac, 0)
  const made = {
    e164: packed((block) => {
      packE164('', Buffer.from('447700900123'), 0, 12, block, 0)
    }),
    local: text(TYPES.local, 1, '1001'),
    otherTenant: text(TYPES.local, 7, '1001'),
    account: text(TYPES.account, 1, 'acct-1'),
    ipv4: packed((block) => {
      packBytes(TYPES.ipv4, Buffer.from([192, 0, 2, 1]), 4, block, 0)
    }),
    mac: packed((block) => {
      packBytes(TYPES.mac, Buffer.from('00005e005301', 'hex'), 6, block, 0)
    }),
    call: text(TYPES.call, 1, '1700000000.12'),
    serial: text(TYPES.serial, 0, 'SN12345'),
    trunk: text(TYPES.trunk, 1, 'carrier-a'),
    uri: text(TYPES.uri, 0, 'a@b.exampl'),
  }
  for (const [name, block] of Object.entries(made))
    t.equal(tokeniser.blocks(block).toString('hex'), STORED[name as keyof typeof made], name)
  for (const tenant of [1, 3, 7])
    t.equal(
      tokeniser.uuids(Buffer.from('f81d4fae7dec11d0a76500a0c91e6bf6', 'hex'), tenant).toString('hex'),
      STORED.uuid,
      `a UUID of tenant ${tenant}`,
    )
  t.equal(tokeniser.addresses(Buffer.from('20010db8000000000000000000000001', 'hex')).toString('hex'), STORED.ipv6)
  t.equal(hmac.toString('hex'), STORED.hmac)
  t.equal(reveal(keys, Buffer.from(STORED_SIV, 'hex'), of('CALL', 1)), 'sip-call-id@host.example', 'sealed unpadded')
  t.end()
})

/** How many blocks are tried: `MINIM_TEST_BLOCKS=10000000` for the long form. */
const BLOCKS = Number(process.env['MINIM_TEST_BLOCKS'] ?? 100_000)

t.test('no random block is an identifier of any field', { timeout: 3_600_000 }, (t) => {
  const identifiers = ['PARTY', 'IP', 'MAC', 'ACCOUNT_CODE', 'CALL', 'SERIAL', 'TRUNK_NAME'] as const
  const origins = identifiers.map((identifier) => of(identifier))
  let taken = 0
  for (let done = 0; done < BLOCKS; done += 10_000) {
    const random = randomBytes(16 * 10_000)
    for (let i = 0; i < random.length; i += 16)
      for (const origin of origins) if (textOf(random.subarray(i, i + 16), origin) !== null) taken++
  }
  t.equal(taken, 0, `${BLOCKS} blocks`)
  t.end()
})

t.test('UUIDs and IPv6 addresses are reversed without exception', { timeout: 3_600_000 }, (t) => {
  const tokeniser = new Tokeniser(billing)
  let wrong = 0
  // To decrypt one by one takes a cipher each: what is checked is that no block is taken for another identifier first.
  const [call, address] = [of('CALL', 1), of('IP')]
  for (let done = 0; done < BLOCKS; done += 10_000) {
    const wide = randomBytes(16 * 10_000)
    const blocks = (tokens: Buffer): Buffer =>
      createDecipheriv('aes-256-ecb', billing.block, null).setAutoPadding(false).update(tokens)
    const [uuids, addresses] = [blocks(tokeniser.uuids(wide)), blocks(tokeniser.addresses(wide))]
    for (let i = 0; i < wide.length; i += 16) {
      if (textOf(uuids.subarray(i, i + 16), call) !== null) wrong++
      if (textOf(addresses.subarray(i, i + 16), address) !== null) wrong++
    }
    for (let i = 0; i < 160; i += 16) {
      const one = wide.subarray(i, i + 16)
      if (reveal(billing, tokeniser.uuids(one), call)?.replaceAll('-', '') !== one.toString('hex')) wrong++
    }
  }
  t.equal(wrong, 0, `${BLOCKS} of each`)
  t.end()
})
