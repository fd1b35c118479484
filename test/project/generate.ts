/** Generated records and policies, for the tests that hold the core against the reference. */
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import type protobuf from 'protobufjs'
import { type Catalogue, type Field, isTime, type Kind, KINDS } from '../../src/catalogue/catalogue.js'
import type { Tenant } from '../../src/flow/tenant.js'
import { type EpochKeys, EPOCHS, type Keyring } from '../../src/keys/keyring.js'
import { splitEpochKey } from '../../src/keys/split.js'
import { fitting, readTreatment } from '../../src/policy/fit.js'
import type { FieldRule, KindRules, Policy, Purpose, Treatment, TreatmentKind } from '../../src/policy/model.js'
import { descriptorOf } from '../../src/treatments/registry.js'

/** The clock of the tests. */
export const NOW = Date.UTC(2026, 0, 2, 3, 4, 5, 678)
export const FUTURE_MS = 300_000

export const TENANTS: readonly Tenant[] = [
  { name: 'default', id: 1, region: 'GB', extensionDigits: 6, domains: ['pbx.example'] },
  { name: 'acme', id: 0x8765_4321, region: 'US', extensionDigits: 4, domains: ['sip.acme.example', 'acme.example'] },
  { name: 'müller', id: 70_000, region: 'DE', extensionDigits: 5, domains: [] },
]

const digits = (n: number): fc.Arbitrary<string> =>
  fc.array(fc.constantFrom(...Array.from('0123456789')), { minLength: n, maxLength: n }).map((a) => a.join(''))
const hex = (n: number): fc.Arbitrary<string> =>
  fc.array(fc.constantFrom(...Array.from('0123456789abcdef')), { minLength: n, maxLength: n }).map((a) => a.join(''))
const upper = (arb: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.tuple(arb, fc.boolean()).map(([s, up]) => (up ? s.toUpperCase() : s))
const words = fc.constantFrom(
  'alice',
  'Bob',
  'Ünïcode Näme',
  '电话',
  'carol.smith',
  'x',
  'queue-7',
  '*97',
  '#31#',
  'a b',
)
const long = fc.integer({ min: 21, max: 700 }).map((n) => 'long-text-'.repeat(70).slice(0, n))

/** Numbers in every spelling, extensions, names, URIs, channels, and what stands for nobody. */
export const party: fc.Arbitrary<string> = fc.oneof(
  digits(3).map((d) => `+447700900${d}`),
  digits(3).map((d) => `00447700900${d}`),
  digits(3).map((d) => `07700900${d}`),
  digits(4).map((d) => `+44 (0)20 7946 ${d}`),
  digits(4).map((d) => `(020) 7946-${d}`),
  digits(3).map((d) => `447700900${d}`),
  digits(2).map((d) => `+12025550${d}9`),
  digits(2).map((d) => `202555019${d.slice(1)}`),
  digits(1).map((d) => `1202555019${d}`),
  digits(2).map((d) => `(202) 555-01${d}`),
  digits(3).map((d) => `01144770090${d}0`),
  digits(5).map((d) => `+4930${d}`),
  digits(6).map((d) => `030${d}`),
  fc.integer({ min: 1, max: 20 }).chain(digits),
  fc
    .integer({ min: 1, max: 17 })
    .chain(digits)
    .map((d) => `+${d}`),
  fc
    .integer({ min: 5, max: 15 })
    .chain(digits)
    .map((d) => `00${d}`),
  fc.constantFrom(
    '999',
    '911',
    '116123',
    '+44 116 123',
    '+1911',
    'sip:999@192.0.2.9',
    '9,112',
    'sip:116123@help.line.example',
  ),
  fc.constantFrom(
    'anonymous',
    'Anonymous',
    '<unknown>',
    'unknown',
    's',
    ' ',
    'sip:anonymous@anonymous.invalid',
    '"Anonymous" <sip:anonymous@192.0.2.9>',
    'sip:x@anonymous.invalid',
    'Restricted',
  ),
  words,
  long,
  fc
    .tuple(
      fc.oneof(
        words,
        digits(4),
        digits(3).map((d) => `+447700900${d}`),
        digits(3).map((d) => `%2B447700900${d}`),
      ),
      fc.constantFrom(
        'other.example',
        'OTHER.example:5061',
        '192.0.2.4',
        '[2001:db8::4]:5060',
        'pbx.example',
        'acme.example',
        'localhost',
      ),
      fc.constantFrom('', ';user=phone', ';transport=tcp;user=phone', '?subject=a@b'),
      fc.constantFrom('sip:', 'sips:', 'SIP:', ''),
      fc.boolean(),
    )
    .map(([user, host, rest, scheme, angle]) =>
      angle && scheme !== ''
        ? `"Someone" <${scheme}${user.replace(/\s/g, '%20')}@${host}${rest}>;tag=1`
        : `${scheme}${user.replace(/\s/g, '')}@${host}${scheme === '' ? '' : rest}`,
    ),
  digits(3).map((d) => `tel:+44-7700-900${d}`),
  digits(4).map((d) => `tel:${d};phone-context=example.com`),
  digits(4).map((d) => `tel:7946${d};phone-context=+4420`),
  fc
    .tuple(
      fc.constantFrom('PJSIP', 'SIP', 'IAX2', 'DAHDI'),
      fc.oneof(
        digits(4),
        digits(3).map((d) => `447700900${d}`),
        fc.constant('trunk-a'),
      ),
      hex(8),
    )
    .map(([t, e, s]) => `${t}/${e}-${s}`),
  fc.tuple(digits(4), hex(8)).map(([e, s]) => `Local/${e}@from-internal-${s};1`),
  fc.tuple(words, digits(3)).map(([w, d]) => `"${w}" <+447700900${d}>`),
)

const address = fc.oneof(
  digits(2).map((d) => `192.0.2.${Number(d)}`),
  digits(2).map((d) => `198.51.100.${Number(d)}:5060`),
  hex(4).map((h) => `2001:db8::${h}`),
  fc.tuple(hex(4), hex(4)).map(([a, b]) => `2001:DB8:${a}:0:0:${b}::`),
  digits(2).map((d) => `::ffff:203.0.113.${Number(d)}`),
  hex(4).map((h) => `[2001:db8::${h}]:5061`),
  hex(32).map((h) => h.replace(/(....)(?=.)/g, '$1:')),
  fc.constantFrom(
    'fe80::1%eth0',
    '::',
    '::1',
    '1.2.3',
    '256.1.1.1',
    'pbx.example',
    '1.2.3.4.5',
    'x',
    '2001:db8:::1',
    '0.0.0.0',
    '203.0.113.255',
  ),
)

const macOf = (h: string): fc.Arbitrary<string> =>
  fc.constantFrom(
    h,
    h.replace(/(..)(?=.)/g, '$1:'),
    h.replace(/(..)(?=.)/g, '$1-'),
    h.replace(/(....)(?=.)/g, '$1.'),
    h.replace(/(.{6})(?=.)/, '$1-'),
    ` ${h.replace(/(..)(?=.)/g, '$1:')} `,
    h.slice(1),
    `${h}0`,
  )
const mac = upper(
  fc
    .oneof(
      hex(2).map((h) => `00005e0053${h}`),
      hex(12),
    )
    .chain(macOf),
)

const uuid = upper(hex(32).map((h) => h.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')))
const callId = fc.oneof(
  uuid,
  uuid.map((u) => `<${u}> `),
  hex(20).map((h) => ` <${h}@pbx.example>`),
  fc.constantFrom('<>', ' ', '" <'),
  fc.tuple(digits(6), digits(4)).map(([a, b]) => `1767${a}.${Number(b)}`),
  fc.tuple(digits(6), digits(1)).map(([a, b]) => `pbx1-1767${a}.${b}`),
  fc.tuple(hex(20), digits(2)).map(([h, d]) => `${h}@192.0.2.${Number(d)}`),
  digits(20),
  digits(21),
  hex(10),
  hex(11),
  long,
  words,
  uuid.map((u) => u.replace('-', '.')),
)
const code = fc.oneof(
  digits(5).map((d) => `acct${d}`),
  digits(11),
  digits(20),
  words,
  long,
  fc.constantFrom('2001-2:7', 'aaaaaaaaaa', 'aaaaaaaaaaa', '1.5+3:*-'),
)
const userAgent = fc.oneof(
  digits(2).map((d) => `Yealink SIP-T46S 66.85.0.${Number(d)}`),
  fc.constantFrom(
    'Cisco/SPA504G-7.5.7',
    'Asterisk PBX 20.5.0',
    'PolycomVVX-VVX_410-UA/5.9.5.0614 0004f2123456',
    'Linphone/4.4.0 (Ünïcode)',
    'Cisco X 07700900123',
    'x',
  ),
  hex(2).map((h) => `Fanvil X4U 2.12.1.7 00:00:5E:00:53:${h}`),
  digits(3).map((d) => `Cisco/SPA504G-7.5.7 (CCQ18250${d})`),
  digits(8).map((d) => `TAU-8.IP/2.6.3 SN/VI${d}`),
  digits(13).map((d) => `Yealink SIP-T42G 29.83.0.120 314${d}`),
  hex(12),
  words,
)
const kept = fc.constantFrom(
  'PCMA',
  'opus/48000/2',
  'G.711 A-Law',
  'Alice',
  'carrier-a',
  '07700900123',
  'carrier a (north)',
  'x"y',
  'Ünï',
  '192.0.2.1',
  'T46S',
  '66.85.0.5',
  '5.9.5.0614',
  'Yealink',
  '00005e005301',
  'a'.repeat(64),
  'a'.repeat(65),
)

function textOf(field: Field): fc.Arbitrary<string> {
  switch (field.identifier) {
    case 'PARTY':
      return party
    case 'IP':
      return address
    case 'MAC':
      return mac
    case 'CALL':
      return callId
    case 'ACCOUNT_CODE':
    case 'SERIAL':
      return code
    case 'TRUNK_NAME':
      return fc.oneof(kept, code)
    case 'USER_AGENT_TEXT':
      return field.name === 'user_agent' ? userAgent : fc.oneof(kept, userAgent)
    case 'TENANT':
      return fc.oneof(
        { weight: 8, arbitrary: fc.constantFrom(...TENANTS.map((t) => t.name)) },
        { weight: 1, arbitrary: fc.constantFrom('nobody', 'DEFAULT', 'a'.repeat(80)) },
      )
    case 'NAME':
    case 'FREE_TEXT':
      return words
    case 'NOT_AN_IDENTIFIER':
      return kept
  }
}

const HOUR = 3_600_000
const startTime = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: NOW - 60 * HOUR, max: NOW }) },
  { weight: 2, arbitrary: fc.integer({ min: NOW - 800 * 24 * HOUR, max: NOW }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      0,
      1,
      NOW + FUTURE_MS,
      NOW + FUTURE_MS + 1,
      NOW + 24 * HOUR,
      2 ** 52,
      NOW - 24 * HOUR,
      NOW - 30 * 24 * HOUR,
      NOW - 30 * 24 * HOUR - 1,
    ),
  },
)

/** Of an answer or an end: few that cannot be, since one takes its whole record out of what is looked at. */
const laterTime = fc.oneof(
  { weight: 40, arbitrary: fc.integer({ min: NOW - 60 * HOUR, max: NOW }) },
  { weight: 2, arbitrary: fc.constantFrom(0, NOW + FUTURE_MS, Date.UTC(2000)) },
  { weight: 1, arbitrary: fc.constantFrom(1, 2 ** 31, NOW / 1000, NOW * 1000, 2 ** 53 - 1, 2 ** 53, 2 ** 60) },
)

function numberOf(field: Field): fc.Arbitrary<number> {
  if (field.name === 'start_ms') return startTime
  if (isTime(field)) return laterTime
  switch (field.type) {
    case 'enum':
      return fc.constantFrom(...field.enumNumbers.values(), 99)
    case 'float':
      return fc.oneof(
        fc.float({ min: -10, max: 1000 }),
        fc.constantFrom(0, -0, 0.5, 4.25, -0.0001, 1e12, 3e38, NaN, Infinity).map(Math.fround),
      )
    case 'uint32':
      return fc.oneof(fc.integer({ min: 0, max: 5000 }), fc.constantFrom(0, 127, 128, 0xffff_ffff))
    case 'uint64':
      return fc.oneof(
        fc.integer({ min: 0, max: 2 ** 45 }),
        fc.constantFrom(0, 127, 128, 0xfff_ffff, 0x1000_0000, 2 ** 32, 2 ** 53 - 1),
        { weight: 1, arbitrary: fc.constantFrom(2 ** 53, 2 ** 60) },
      )
    case 'string':
      throw new TypeError('not a number')
  }
}

export type PlainRecord = Record<string, string | number>

/** A record of a kind: each field there or not. */
export function recordOf(catalogue: Catalogue, kind: Kind): fc.Arbitrary<PlainRecord> {
  const model: Record<string, fc.Arbitrary<string | number | undefined>> = {}
  for (const field of catalogue.kinds[kind].fields) {
    if (field.derivedFrom !== null) continue
    const value: fc.Arbitrary<string | number> =
      field.type === 'string'
        ? fc.oneof({ weight: 12, arbitrary: textOf(field) }, { weight: 1, arbitrary: fc.constant('') })
        : numberOf(field)
    const absent = field.name === 'start_ms' ? 30 : field.name === 'tenant' ? 2 : 4
    model[field.name] = fc.option(value, { freq: absent, nil: undefined })
  }
  return fc
    .record(model)
    .map((r) => Object.fromEntries(Object.entries(r).filter(([, v]) => v !== undefined)) as PlainRecord)
}

export function encodeRecord(root: protobuf.Root, catalogue: Catalogue, kind: Kind, record: PlainRecord): Buffer {
  const type = root.lookupType(catalogue.kinds[kind].message)
  return Buffer.from(type.encode(type.create(record)).finish())
}

function asInExamples(field: Field, kind: TreatmentKind): fc.Arbitrary<Treatment> {
  const read = descriptorOf(kind)
    .examples.map(({ written }) => readTreatment(field, kind, written))
    .filter((treatment) => treatment !== null)
  return fc.constantFrom(...read)
}

function treatmentOf(field: Field, fits: readonly TreatmentKind[]): fc.Arbitrary<Treatment> {
  return fc.constantFrom(...fits).chain((kind): fc.Arbitrary<Treatment> => {
    switch (kind) {
      case 'keep':
      case 'mac-vendor':
        return fc.constant({ kind })
      case 'token':
        return fc.boolean().map((reversible) => ({ kind, reversible }))
      case 'e164-prefix':
        return fc.constantFrom('country' as const, 1, 3, 5, 11).map((d) => ({ kind, digits: d }))
      case 'ip-prefix':
        return fc
          .tuple(fc.integer({ min: 8, max: 24 }), fc.integer({ min: 16, max: 48 }))
          .map(([v4, v6]) => ({ kind, v4, v6 }))
      case 'time-bucket':
        return fc.constantFrom(1000, 60_000, 3_600_000, 86_400_000, 7001).map((ms) => ({ kind, ms }))
      case 'number-bucket':
        return fc.oneof(
          fc.constantFrom(1, 60, 4096).map((step) => ({ kind, step, bounds: null })),
          fc.constantFrom([0], [0, 30, 300], [0, 1, 1_000_000]).map((bounds) => ({ kind, step: null, bounds })),
        )
      case 'user-agent':
        return fc.constant({ kind, part: field.name.replace('device_', '') as 'vendor' | 'model' | 'firmware' })
      // One that has no more to vary: as its examples write it.
      default:
        return asInExamples(field, kind)
    }
  })
}

function rulesOf(catalogue: Catalogue, purpose: string, kind: Kind): fc.Arbitrary<KindRules | null> {
  const all = catalogue.kinds[kind]
  const choices = all.fields.flatMap((field) => {
    const fits = fitting(field, (name) => all.byName.get(name))
    return fits.length === 0
      ? []
      : [
          fc.option(
            treatmentOf(field, fits).map((treatment): FieldRule => ({ field, treatment })),
            { freq: 2 },
          ),
        ]
  })
  return fc
    .tuple(
      fc.tuple(...choices),
      fc.constantFrom('protobuf' as const, 'json' as const),
      fc.boolean(),
      fc.nat(),
      fc.integer({ min: 0, max: 4 }),
    )
    .map(([found, format, headers, k, gone]) => {
      const rules = found.filter((r) => r !== null)
      if (rules.length === 0 || gone === 0) return null
      const tokens = rules.filter((r) => r.treatment.kind === 'token')
      const key = tokens.length === 0 || k % 3 === 0 ? null : tokens[k % tokens.length].field
      return { kind, topic: `pbx.${purpose}.${kind}`, format, headers, key, rules }
    })
}

function purposeOf(catalogue: Catalogue, id: string): fc.Arbitrary<Purpose> {
  return fc
    .record({
      call: rulesOf(catalogue, id, 'call'),
      quality: rulesOf(catalogue, id, 'quality'),
      device: rulesOf(catalogue, id, 'device'),
      epoch: fc.constantFrom(...EPOCHS),
      retentionDays: fc.constantFrom(1, 30, 400),
      helplines: fc.constantFrom('hidden' as const, 'named' as const),
      tenants: fc.constantFrom(null, null, ['acme'], ['default', 'müller']),
    })
    .map(({ epoch, retentionDays, helplines, tenants, ...kinds }) => ({
      id,
      helplines,
      epoch,
      retentionDays,
      tenants,
      notice: 'P1',
      description: id,
      dpv: 'https://w3id.org/dpv#ServiceProvision',
      basis: 'eu-gdpr:A6-1-b',
      evidence: 'a contract',
      recipients: ['tests'],
      region: 'UK',
      transfer: 'adequacy',
      kinds: Object.fromEntries(KINDS.flatMap((kind) => (kinds[kind] === null ? [] : [[kind, kinds[kind]]]))),
    }))
}

/** A policy of up to six purposes with any treatment that fits. */
export function policyOf(catalogue: Catalogue): fc.Arbitrary<Policy> {
  return fc
    .integer({ min: 1, max: 6 })
    .chain((n) => fc.tuple(...Array.from({ length: n }, (_, i) => purposeOf(catalogue, `p${i}`))))
    .map((purposes) => ({ version: '0123456789ab', hash: '0123456789ab'.padEnd(64, '0'), purposes }))
}

/** The same keys for the same names, by the name alone; some destroyed. `asked` remembers which were asked for. */
export class TestKeyring implements Keyring {
  readonly asked = new Set<string>()
  readonly destroyed: ReadonlySet<string>
  readonly #made = new Map<string, EpochKeys>()

  constructor(destroyed: Iterable<string> = []) {
    this.destroyed = new Set(destroyed)
  }

  keys(purpose: string, epochId: string): EpochKeys | 'destroyed' {
    const name = `${purpose} ${epochId}`
    this.asked.add(name)
    if (this.destroyed.has(name)) return 'destroyed'
    let keys = this.#made.get(name)
    if (keys === undefined)
      this.#made.set(name, (keys = splitEpochKey(purpose, epochId, createHash('sha256').update(name).digest())))
    return keys
  }
}

/** Seed of a run: printed, and taken from MINIM_TEST_SEED to repeat one. */
export function seed(): number {
  const given = process.env['MINIM_TEST_SEED']
  return given === undefined ? Math.floor(Math.random() * 0x7fff_ffff) : Number(given)
}
