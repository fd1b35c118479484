import fc from 'fast-check'
import t from 'tap'
import { REFUSALS } from '../../src/batch/batch.js'
import type { Keyring } from '../../src/keys/keyring.js'
import { throwawayKeyring } from '../../src/keys/throwaway.js'
import { BOX_OVERHEAD_BYTES, openQuarantined, readBoxHeader, sealQuarantined } from '../../src/quarantine/box.js'

const NOW = Date.parse('2026-11-24T10:00:00Z')
const keyring = throwawayKeyring(() => NOW)
const INPUT = Buffer.from('"","+447700900123","+442079460101","from-internal"')

t.test('what is sealed can be opened, by the key of its day', async (t) => {
  for (const reason of REFUSALS) {
    const envelope = sealQuarantined(keyring, reason, 'csv', INPUT, NOW)
    const header = { reason, at: '2026-11-24', format: 'csv', length: INPUT.length }
    t.same(readBoxHeader(envelope), header)
    t.same(openQuarantined(keyring, envelope), { header, input: INPUT, tenant: '', tenants: null })
    t.same(openQuarantined(keyring, sealQuarantined(keyring, reason, 'csv', INPUT, NOW, 'müller')), {
      header,
      input: INPUT,
      tenant: 'müller',
      tenants: null,
    })
    t.match(
      openQuarantined(keyring, sealQuarantined(keyring, reason, 'csv', INPUT, NOW, 'acme', new Set(['other', 'acme']))),
      { input: INPUT, tenant: 'acme', tenants: ['acme', 'other'] },
    )
    const many = openQuarantined(
      keyring,
      sealQuarantined(
        keyring,
        reason,
        'csv',
        INPUT,
        NOW,
        'acme',
        new Set(Array.from({ length: 99 }, (_, i) => `tenant-${i}`)),
      ),
    )
    t.ok(
      typeof many === 'object' &&
        many.tenants?.[0] === 'acme' &&
        many.tenants.length > 20 &&
        many.tenants.every((name) => /^(acme|tenant-\d+)$/.test(name)),
      'as many as there is room for, each whole',
    )
    t.ok(envelope.length <= INPUT.length + BOX_OVERHEAD_BYTES)
  }
})

t.test('any bytes, none included', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const opened = openQuarantined(keyring, sealQuarantined(keyring, 'bad_utf8', 'minim', bytes, NOW))
      return typeof opened === 'object' && opened.input.equals(bytes)
    }),
  )
  t.pass('held')
})

t.test('nothing of the input is readable, and the same input looks different each time', async (t) => {
  const envelope = sealQuarantined(keyring, 'malformed_csv', 'csv', INPUT, NOW)
  t.notOk(envelope.toString('latin1').includes('447700900123'))
  t.notOk(
    sealQuarantined(keyring, 'malformed_csv', 'csv', INPUT, NOW, 'acme').toString('latin1').includes('acme'),
    'nor whose it is',
  )
  t.notOk(envelope.equals(sealQuarantined(keyring, 'malformed_csv', 'csv', INPUT, NOW)))
})

t.test('a format that is no name does not pass', async (t) => {
  for (const format of ['+447700900123', 'a format', '', 'x'.repeat(33), 'csv"', 'é']) {
    const envelope = sealQuarantined(keyring, 'bad_value', format, INPUT, NOW)
    t.equal(readBoxHeader(envelope)?.format, 'unknown')
    t.equal(typeof openQuarantined(keyring, envelope), 'object')
  }
})

t.test('any changed bit is noticed, in the readable part as well', async (t) => {
  const envelope = sealQuarantined(keyring, 'clock', 'csv', INPUT, NOW)
  for (let bit = 0; bit < envelope.length * 8; bit++) {
    const changed = Buffer.from(envelope)
    changed[bit >> 3] ^= 1 << (bit & 7)
    t.equal(typeof openQuarantined(keyring, changed), 'string', `bit ${bit}`)
  }
  for (let length = 0; length < envelope.length; length++)
    t.equal(typeof openQuarantined(keyring, envelope.subarray(0, length)), 'string', `cut to ${length}`)
  t.equal(openQuarantined(keyring, Buffer.concat([envelope, Buffer.alloc(1)])), 'forged')
  t.equal(openQuarantined(keyring, Buffer.concat([envelope, Buffer.alloc(256)])), 'malformed')
  const otherReason = Buffer.from(envelope)
  otherReason.write('too_l', envelope.indexOf('clock'), 'latin1')
  t.equal(openQuarantined(keyring, otherReason), 'malformed')
  const otherFormat = Buffer.from(envelope)
  otherFormat.write('cs2', envelope.indexOf('csv'), 'latin1')
  t.equal(openQuarantined(keyring, otherFormat), 'forged')
  t.equal(
    openQuarantined(
      throwawayKeyring(() => NOW),
      envelope,
    ),
    'forged',
    'another key',
  )
})

t.test('a day ends with its key', async (t) => {
  const keys = throwawayKeyring(() => NOW)
  const envelope = sealQuarantined(keys, 'clock', 'csv', INPUT, NOW)
  keys.destroy('minim.quarantine', '2026-11-24')
  t.equal(openQuarantined(keys, envelope), 'destroyed')
  t.throws(() => sealQuarantined(keys, 'clock', 'csv', INPUT, NOW), {
    code: 'MINIM_KEYS_QUARANTINE',
    message: /2026-11-24 is destroyed/,
  })
  t.throws(() => sealQuarantined(keys, 'clock', 'csv', INPUT, NOW + 7 * 86_400_000), {
    code: 'MINIM_KEYS_QUARANTINE',
    message: /2026-12-01 is absent/,
  })
})

t.test('only the quarantine domain is asked for, by the day', async (t) => {
  const asked: string[] = []
  const watched: Keyring = {
    keys: (purpose, epoch) => {
      asked.push(`${purpose} ${epoch}`)
      return keyring.keys(purpose, epoch)
    },
  }
  openQuarantined(watched, sealQuarantined(watched, 'clock', 'csv', INPUT, NOW))
  t.same(asked, ['minim.quarantine 2026-11-24', 'minim.quarantine 2026-11-24'])
})
