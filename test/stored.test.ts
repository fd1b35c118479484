/**
 * What an earlier version has stored is read by this one: `fixtures/stored/`, made by that version
 * (`fixtures/stored/make.js`). Who changes a layout adds samples, and keeps these.
 */
import { createHash } from 'node:crypto'
import { chmodSync, copyFileSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { decodeEntry, decodeMarks, decodeOwner } from '../src/deliver/ledger.js'
import { isUnkeyed, ledgerContentsName } from '../src/flow/contents.js'
import { markOf } from '../src/flow/marks.js'
import type { Spooled } from '../src/flow/source.js'
import { KEY_USES } from '../src/keys/keyring.js'
import { MasterKey } from '../src/keys/master.js'
import { KeyStore } from '../src/keys/store.js'
import { openQuarantined, readBoxHeader } from '../src/quarantine/box.js'
import { AgentState } from '../src/sources/agent/state.js'
import { FileIdentity, type Places } from '../src/sources/common/file-identity.js'
import { Spool } from '../src/spool/spool.js'
import { repositoryRoot } from './helpers/shared.js'
import { RecordingIntake } from './helpers/spool-intake.js'

const FOLDER = join(repositoryRoot(), 'test/fixtures/stored')
const MASTER = new MasterKey(Buffer.from('a master key for tests, 32 bytes'), 'samples')

interface Facts {
  readonly keys: readonly { readonly purpose: string; readonly epoch: string; readonly digest: string }[]
  readonly spool: { readonly uuid: string; readonly entries: string[]; readonly id: string; readonly now: number }
  readonly ledger: {
    readonly place: string
    readonly whole: number
    readonly firstLine: number
    readonly agent: { readonly source: string; readonly incarnation: string }
  }
}

const sample = (name: string): Buffer => readFileSync(join(FOLDER, name))
const facts = JSON.parse(sample('facts.json').toString()) as Facts
const now = (): number => facts.spool.now

/** A copy of the key store: keys that are asked for first would be written to it. */
function keyring(t: Test): KeyStore {
  const path = join(t.testdir(), 'keys.json')
  copyFileSync(join(FOLDER, 'keys.json'), path)
  chmodSync(path, 0o600)
  return KeyStore.open(path, MASTER, { now, refreshMs: 0 })
}

t.test('the key store: every key is what it was', (t) => {
  const store = keyring(t)
  for (const { purpose, epoch, digest } of facts.keys) {
    const keys = store.keys(purpose, epoch)
    if (typeof keys === 'string') {
      t.fail(`${purpose} ${epoch}: ${keys}`)
      continue
    }
    const found = createHash('sha256')
    for (const use of KEY_USES) found.update(keys[use])
    t.equal(found.digest('hex'), digest, `${purpose} ${epoch}`)
  }
  t.end()
})

t.test('the spool: its blocks come out, and ids that were taken are known', async (t) => {
  const keys = keyring(t)
  const path = join(t.testdirName, 'spool')
  mkdirSync(path)
  copyFileSync(join(FOLDER, 'spool-data.mdb'), join(path, 'data.mdb'))
  const spool = Spool.open({
    ...{ path, maxBytes: 64 << 20, rememberHours: 24, keyring: keys, now },
    onTrouble: (error) => {
      t.fail(error.message)
    },
  })
  t.equal(spool.id.incarnation, facts.spool.uuid)
  const again: Spooled = {
    source: 'http',
    format: 'protobuf',
    tenant: 'acme',
    bytes: Buffer.from('again'),
    id: facts.spool.id,
  }
  t.equal(await spool.put(again), 'repeated')
  const intake = new RecordingIntake()
  spool.start(intake, intake.readers)
  await intake.until(facts.spool.entries.length)
  t.same(
    intake.committed.map(({ source, format, tenant, text }) => ({ source, format, tenant, text })),
    facts.spool.entries.map((text) => ({ source: 'http', format: 'protobuf', tenant: 'acme', text })),
  )
  await spool.close()
})

t.test('the ledger: files are known again under their keyed names, streams by their marks', (t) => {
  const keys = keyring(t)
  const { place, whole, firstLine, agent } = facts.ledger
  const entries = (JSON.parse(sample('ledger.json').toString()) as [string, string][]).map(
    ([key, value]): [string, Buffer] => [Buffer.from(key, 'base64').toString(), Buffer.from(value, 'base64')],
  )
  const streams = entries
    .filter(([key]) => !key.startsWith('\0'))
    .map(([key, value]) => {
      const [source, incarnation] = key.split('\0')
      return { source, incarnation, sequence: decodeEntry(value) ?? NaN, marks: decodeMarks(value) }
    })
  const contentsName = (hash: string): string => ledgerContentsName(keys, hash)
  /** As an earlier version left it, and as delivery has renamed it since. */
  for (const renamed of [false, true]) {
    const known = streams.map((stream) =>
      renamed && stream.marks === null && isUnkeyed(stream.incarnation)
        ? { ...stream, incarnation: contentsName(stream.incarnation) }
        : stream,
    )
    const places: Places = {
      lastTaken: (id) => known.find((s) => s.source === id.source && s.incarnation === id.incarnation)?.sequence ?? 0,
      streamsOf: (source) => known.filter((s) => s.source === source),
      contentsName,
    }
    const long = new FileIdentity(null, place, sample('long.jsonl').subarray(0, 4096))
    t.equal(long.taken(places), whole, 'a long file')
    t.equal(new FileIdentity('pbx-1', '', sample('short.jsonl')).taken(places), firstLine, 'a short one that grew')
    const other = Buffer.concat([Buffer.from('x'), sample('short.jsonl')])
    t.equal(new FileIdentity('pbx-1', '', other).taken(places), 0, 'and no other')
    t.equal(places.lastTaken(agent), 7)
  }
  t.equal(streams.filter(({ incarnation }) => isUnkeyed(incarnation)).length, 2, 'the samples are old ones')
  t.equal(
    streams.find(({ source }) => source === agent.source)?.marks,
    markOf(keys, agent, 7, Buffer.from('batch seven')).toString('base64'),
  )
  const owner = entries.find(([key]) => key === '\0owner.minim.0')
  t.match(decodeOwner(owner?.[1] ?? null), { id: String, host: 'pbx.example', pid: Number })
  t.end()
})

t.test("an agent's state: its files are known again, its cuts are those that were", (t) => {
  const path = join(t.testdir(), 'agent.json')
  copyFileSync(join(FOLDER, 'agent.json'), path)
  const state = AgentState.open(path)
  const { acknowledged, cuts, places } = state.stream('pbx-1')
  t.equal(acknowledged, 3)
  const short = new FileIdentity('pbx-1', '', sample('short.jsonl'))
  const id = short.idAt(facts.ledger.firstLine, state)
  t.match(cuts, [{ sequence: 4, ...id, start: 0, end: facts.ledger.firstLine }])
  t.match(places, [{ ...id, sequence: facts.ledger.firstLine }])
  state.close()
  t.end()
})

t.test('a quarantined record: it is opened', (t) => {
  const envelope = sample('quarantine.bin')
  t.match(readBoxHeader(envelope), { reason: 'bad_value', format: 'csv' })
  const opened = openQuarantined(keyring(t), envelope)
  if (typeof opened === 'string') t.fail(opened)
  else t.same([opened.tenant, opened.input.toString()], ['acme', '"acme","07700900123"'])
  t.end()
})
