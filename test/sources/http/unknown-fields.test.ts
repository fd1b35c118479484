/** Fields of posts that the catalogue does not know: counted, named where that says nothing of anybody, or refused. */
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { catalogue as shipped, KINDS } from '../../../src/catalogue/catalogue.js'
import { startHttp } from '../../../src/sources/http/http.js'
import { UnknownFields } from '../../../src/sources/http/unknown-fields.js'
import { encodeRecord } from '../../project/generate.js'
import { type Listening, listening } from './client.js'

const NOW = Date.now() - 60_000
const CANARY = '+447700900187'
const CALL = { start_ms: NOW, calling: '+447700900123', called: '1004' }

const on = (t: Test, unknown?: 'drop' | 'refuse'): Promise<Listening> =>
  listening(t, startHttp, { http: { listen: '127.0.0.1:0', ...(unknown === undefined ? {} : { unknown }) } })

async function post(
  { url }: Listening,
  body: string | Uint8Array,
  type = 'application/x-ndjson',
  path = '/v1/calls',
): Promise<{ status: number; body: unknown }> {
  const answer = await fetch(url + path, { method: 'POST', body, headers: { 'content-type': type } })
  return { status: answer.status, body: await answer.json() }
}

const lines = (...records: readonly object[]): string => records.map((record) => JSON.stringify(record)).join('\n')

/** A call with a field of a number that the catalogue has not. */
function protobufWithUnknown(): Buffer {
  const record = encodeRecord(shipped().root, shipped(), 'call', CALL)
  const strange = Buffer.concat([record, Buffer.of(0xa0, 0x1f, 7)])
  return Buffer.concat([record, strange].flatMap((bytes) => [Buffer.of(0x22, bytes.length), bytes]))
}

t.test('the answer counts them, and what is known is taken', async (t) => {
  const server = await on(t)
  const misspelt = { start_ms: NOW, caller: CANARY, called: '1004' }
  t.same(await post(server, lines(misspelt)), { status: 202, body: { records: 1, unknownFields: 1 } })
  t.same(await post(server, JSON.stringify([misspelt, CALL, { ...misspelt, x: [{}] }]), 'application/json'), {
    status: 202,
    body: { records: 3, unknownFields: 3 },
  })
  t.same(await post(server, protobufWithUnknown(), 'application/x-protobuf'), {
    status: 202,
    body: { records: 2, unknownFields: 1 },
  })
  t.same(await post(server, lines(CALL)), { status: 202, body: { records: 1 } }, 'none')
  const many = Array.from({ length: 2000 }, (_, i) => ({ ...CALL, [`k${i}`]: 1, [`"\\${i}`]: 1 }))
  t.same(await post(server, lines(...many)), { status: 202, body: { records: 2000, unknownFields: 4000 } })
  t.equal(server.inlet.entries.length, 5)
})

t.test('one log line a minute names them, with what was meant, and no value', async (t) => {
  const server = await on(t)
  await post(server, lines({ start_ms: NOW, caller: CANARY, duration_second: 7 }))
  await post(server, lines({ start_ms: NOW, caled: CANARY, calee: 1, [CANARY]: 1, john_smith: 2, '2001:db8::1': 3 }))
  await post(server, lines({ start_ms: NOW, callingg: CANARY, startMs: 1 }))
  t.equal(server.log.length, 1, 'at once, and then not for a minute')
  await server.stop()
  t.equal(server.log.length, 2, 'what was not said yet is said at the end')
  t.match(JSON.parse(server.log[0]), {
    level: 'warn',
    unknownFields: 2,
    records: 1,
    names: ['caller (calling?)', 'duration_second (duration_seconds?)'],
  })
  const second = JSON.parse(server.log[1]) as { unknownFields: number; names: string[] }
  t.equal(second.unknownFields, 7)
  t.same(
    [...second.names].sort(),
    ['another', 'another (start_ms?)', 'another (called?)', 'caled (called?)', 'callingg (calling?)'].sort(),
  )
  t.notMatch(server.log.join(), /7700|smith|db8/)
})

const REFUSED: readonly [sent: string, field: string | null, nearest: string | null, path?: string][] = [
  ['caller', 'caller', 'calling'],
  ['callee', 'callee', 'called'],
  ['from', 'from', 'calling'],
  ['dst', 'dst', 'called'],
  ['calling_nam', 'calling_nam', 'calling_name'],
  ['start', 'start', 'start_ms'],
  ['start_time', 'start_time', 'start_ms'],
  ['startMs', null, 'start_ms'],
  ['Calling', null, 'calling'],
  ['duration', 'duration', 'duration_seconds'],
  ['durationSeconds', null, 'duration_seconds'],
  ['billsec', 'billsec', 'billable_seconds'],
  ['hangup_casue', 'hangup_casue', 'hangup_cause'],
  ['mac_vendor', 'mac_vendor', 'mac'],
  ['caller', 'caller', 'local_party', '/v1/qualities'],
  ['mos', 'mos', 'mos_lq', '/v1/qualities'],
  ['', null, null],
  [CANARY, null, null],
  ['john_smith', null, null],
  ['a'.repeat(65), null, null],
  ['start_ms\u0000', null, 'start_ms'],
]

t.test('unknown: refuse answers with line, name and the nearest field, and takes nothing', async (t) => {
  const server = await on(t, 'refuse')
  for (const [sent, field, nearest, path = '/v1/calls'] of REFUSED) {
    const good = { start_ms: NOW }
    t.same(
      await post(server, lines(good, good, { ...good, [sent]: CANARY }, { ...good, later: 1 }), undefined, path),
      { status: 422, body: { error: 'unknown_field', line: 3, field, nearest } },
      // A NUL in a test's name makes the whole report a binary file.
      JSON.stringify(sent.slice(0, 20)),
    )
  }
  t.same(
    await post(server, JSON.stringify([CALL, { caller: 1, ...CALL }]), 'application/json'),
    { status: 422, body: { error: 'unknown_field', line: 2, field: 'caller', nearest: 'calling' } },
    'in a list',
  )
  t.same(
    await post(server, protobufWithUnknown(), 'application/x-protobuf'),
    { status: 422, body: { error: 'unknown_field', line: 2, field: null, nearest: null } },
    'protobuf names none',
  )
  t.match(await post(server, lines(...Array.from({ length: 700 }, () => CALL), { ...CALL, caller: 1 })), {
    body: { line: 701, field: 'caller' },
  })
  t.match(
    await post(server, lines({ caller: 1, start_ms: 'x' })),
    { status: 422, body: { error: 'bad_record', line: 1, field: 'start_ms' } },
    'what is worse goes first',
  )
  t.equal(server.inlet.entries.length, 0)
  t.same(server.log, [])
  t.match(await post(server, lines(CALL)), { status: 202, body: { records: 1 } })
})

t.test('whose name a field has is never said', (t) => {
  const kinds = KINDS.map((kind) => new UnknownFields(shipped(), kind))
  const identifiers = [
    'marc',
    'carl',
    'john',
    'smith',
    'mary_jones',
    'caller_john',
    'calling_smith',
    'calling_447700900123',
    'calling1',
    'ext1001',
    'account_acme',
    'jonathan',
    'n447700900123',
    'mac_00005e005301',
    'alice',
    'anna_called',
    'waller',
    'malling',
  ]
  for (const name of identifiers) for (const kind of kinds) t.equal(kind.of(name).field, null, name)
  const known = new Set(KINDS.flatMap((kind) => [...shipped().kinds[kind].byName.keys()]))
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ maxLength: 70 }),
        fc.stringMatching(/^[a-z_]{0,3}[0-9]{3,15}[a-z_]{0,3}$/),
        fc
          .tuple(fc.constantFrom(...known), fc.stringMatching(/^[0-9]{1,12}$|^_[a-z]{9,12}$/))
          .map(([field, more]) => `${field}${more}`),
      ),
      (name) => {
        for (const kind of kinds) {
          const { field, nearest } = kind.of(name)
          if (nearest !== null && !known.has(nearest)) throw new Error(`${nearest} is no field`)
          if (field !== null && (/[0-9A-Z]/.test(field) || field !== name)) throw new Error(`${field} is said`)
        }
      },
    ),
    { numRuns: 3000 },
  )
  t.end()
})
