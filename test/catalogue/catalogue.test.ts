/** The catalogue: complete, or the build fails. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import {
  catalogue,
  CatalogueError,
  type Kind,
  KINDS,
  protoFolder,
  readCatalogue,
} from '../../src/catalogue/catalogue.js'
import { spawnSync } from '../helpers/child-process.js'

const FIELDS: Record<Kind, string[]> = {
  call: [
    'account',
    'tenant',
    'calling',
    'called',
    'calling_name',
    'direction',
    'start_ms',
    'answer_ms',
    'end_ms',
    'duration_seconds',
    'billable_seconds',
    'disposition',
    'hangup_cause',
    'call_id',
    'linked_id',
    'trunk',
    'source_ip',
    'destination_ip',
    'codec',
    'user_agent',
    'location',
    'usage_octets',
  ],
  quality: [
    'mos_lq',
    'mos_cq',
    'r_factor',
    'jitter_ms',
    'loss_percent',
    'round_trip_ms',
    'one_way_delay_ms',
    'burst_ms',
    'burst_loss_percent',
    'gap_ms',
    'gap_loss_percent',
    'local_party',
    'remote_party',
    'local_ip',
    'remote_ip',
    'call_id',
  ],
  device: [
    'mac',
    'serial',
    'vendor',
    'model',
    'firmware',
    'os',
    'browser',
    'contact_ip',
    'contact_port',
    'network',
    'wireless',
    'event',
    'user_agent',
  ],
}

t.test('what is there', (t) => {
  const { kinds } = catalogue()
  for (const kind of KINDS) {
    const { fields, byName, indexByNumber } = kinds[kind]
    t.strictSame(
      FIELDS[kind].filter((name) => !byName.has(name)),
      [],
      `${kind} has every field`,
    )
    fields.forEach((field, i) => {
      const problems: string[] = []
      if (field.index !== i || (i > 0 && fields[i - 1].number >= field.number)) problems.push('order')
      if (field.number === 15 || field.number > 511) problems.push('number')
      if (indexByNumber[field.number] !== (field.derivedFrom === null ? i : -1)) problems.push('index')
      const source = field.derivedFrom === null ? null : byName.get(field.derivedFrom)
      if (
        source !== null &&
        (source === undefined ||
          source.derivedFrom !== null ||
          source.identifier === 'NOT_AN_IDENTIFIER' ||
          field.type !== 'string')
      )
        problems.push('derived from')
      if (field.identifier !== 'NOT_AN_IDENTIFIER' && field.type !== 'string')
        problems.push('an identifier that is no text')
      t.strictSame(problems, [], `${kind}.${field.name}`)
    })
    t.equal(indexByNumber[15], -1, 'the tag is not taken from sources')
    t.equal(byName.get('calling_name')?.category ?? 'CONTACT', 'CONTACT')
  }
  t.end()
})

t.test('what is missing fails the build', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'minim-proto-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  const script = fileURLToPath(new URL('../../src/catalogue/build-check.js', import.meta.url))
  const rows: { name: string; line: string; says: RegExp }[] = [
    {
      name: 'no category',
      line: 'optional string x = 60 [(whose) = CALLER];',
      says: /Call\.x = 60: has no data category/,
    },
    {
      name: 'an unspecified category',
      line: 'optional string x = 60 [(category) = DATA_CATEGORY_UNSPECIFIED, (whose) = CALLER];',
      says: /has no data category/,
    },
    { name: 'no options at all', line: 'optional string x = 60;', says: /has no data category[^]*does not say whose/ },
    { name: 'no subject', line: 'optional string x = 60 [(category) = TRAFFIC];', says: /does not say whose data/ },
    {
      name: 'an unknown identifier type',
      line: 'optional string x = 60 [(category) = TRAFFIC, (whose) = CALLER, (identifier) = SOMETHING];',
      says: /identifier type is unknown/,
    },
    { name: 'repeated', line: 'repeated string x = 60 [(category) = TRAFFIC, (whose) = CALLER];', says: /is repeated/ },
    { name: 'a map', line: 'map<string, string> x = 60 [(category) = TRAFFIC, (whose) = CALLER];', says: /is a map/ },
    {
      name: 'bytes',
      line: 'optional bytes x = 60 [(category) = TRAFFIC, (whose) = CALLER];',
      says: /type bytes is not carried/,
    },
    {
      name: 'a number that is too great',
      line: 'optional string x = 512 [(category) = TRAFFIC, (whose) = CALLER];',
      says: /number is above 511/,
    },
    {
      name: 'derived from nothing',
      line: 'optional string x = 60 [(category) = TRAFFIC, (whose) = CALLER, (derived_from) = "y"];',
      says: /derived from "y"/,
    },
  ]
  const original = readFileSync(join(protoFolder(), 'minim/v1/call.proto'), 'utf8')
  cpSync(protoFolder(), folder, { recursive: true, dereference: true })
  for (const { name, line, says } of rows) {
    writeFileSync(join(folder, 'minim/v1/call.proto'), original.replace('message Call {', `message Call {\n  ${line}`))
    try {
      readCatalogue(folder)
      t.fail(`${name}: passes`)
    } catch (error) {
      t.ok(error instanceof CatalogueError, name)
      t.match((error as Error).message, says, name)
    }
  }
  writeFileSync(
    join(folder, 'minim/v1/call.proto'),
    original.replace('message Call {', `message Call {\n  ${rows[0].line}`),
  )
  const failed = spawnSync(process.execPath, [script, folder], { encoding: 'utf8' })
  t.equal(failed.status, 1, 'exit code')
  t.match(failed.stderr, /has no data category/)
  const passed = spawnSync(process.execPath, [script], { encoding: 'utf8' })
  t.equal(passed.status, 0)
  t.match(passed.stdout, /call \d+ fields/)
  t.end()
})
