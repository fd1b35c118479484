import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import {
  CallEncoder,
  CALLS_PER_BATCH,
  callType,
  delimitedBodies,
  generateCalls,
  writeCalls,
} from '../../bench/generate.js'
import { userAgents } from '../../bench/user-agents.js'
import { catalogue } from '../../src/catalogue/catalogue.js'

const options = { count: 1234, seed: 7, baseMs: 1_700_000_000_000 }
const call = callType()
const batch = catalogue().root.lookupType('minim.v1.Batch')
const snake = (name: string): string => name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)

function decoded(bytes: Uint8Array): Record<string, unknown> {
  const object = call.toObject(call.decode(bytes), { enums: String, longs: Number })
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [snake(name), value as unknown]))
}

void t.test('the same seed gives the same records, another seed others', (t) => {
  const first = [...generateCalls(options)]
  t.same(first, [...generateCalls(options)])
  t.not(JSON.stringify(first), JSON.stringify([...generateCalls({ ...options, seed: 8 })]))
  t.end()
})

void t.test('a record has about 300 bytes', (t) => {
  const encoder = new CallEncoder()
  const sizes = [...generateCalls(options)].map((c) => encoder.encode(c).length)
  const average = sizes.reduce((a, b) => a + b) / sizes.length
  t.ok(average > 290 && average < 310, `average ${average.toFixed(1)}`)
  t.ok(Math.max(...sizes) < 420, `greatest ${Math.max(...sizes)}`)
  t.end()
})

void t.test('both files hold the same records', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'minim-bench-test-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  const binary = join(folder, 'calls.pb')
  const lines = join(folder, 'calls.jsonl')
  const written = writeCalls(options, binary, lines)
  t.equal(written.records, options.count)

  const bodies = [...delimitedBodies(readFileSync(binary))]
  t.equal(bodies.length, Math.ceil(options.count / CALLS_PER_BATCH))
  const fromProtobuf = bodies.flatMap((body) => {
    const { calls } = batch.decode(body) as unknown as { calls: object[] }
    return calls.map((c) => decoded(call.encode(c).finish()))
  })
  const fromJson = readFileSync(lines, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  const sorted = (record: Record<string, unknown>): [string, unknown][] =>
    Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1))
  t.same(fromProtobuf.map(sorted), fromJson.map(sorted))
  t.end()
})

void t.test('records are in order, end before the base time, and only use reserved ranges', (t) => {
  let last = 0
  for (const record of generateCalls(options)) {
    if (record.end_ms > options.baseMs || record.start_ms < options.baseMs - 2 * 86_400_000)
      t.fail(`time of ${record.call_id}`)
    if (record.start_ms < last - 2000) t.fail(`order of ${record.call_id}`)
    last = record.start_ms
    for (const number of [record.calling, record.called]) {
      if (!/^(anonymous|\d{3}|(\+44|0044|0)(7700900|2079460)\d{3}|\+1\d{3}55501\d\d)$/.test(number))
        t.fail(`number ${number}`)
    }
    for (const ip of [record.source_ip, record.destination_ip]) {
      if (!/^(192\.0\.2|198\.51\.100|203\.0\.113)\.\d+$|^2001:db8:/.test(ip)) t.fail(`address ${ip}`)
    }
    for (const [mac] of record.user_agent.matchAll(/00005e[0-9a-f]+/gi)) {
      if (!/^00005e0053[0-9a-f]{2}$/.test(mac)) t.fail(`MAC ${mac}`)
    }
  }
  t.pass('all looked at')
  t.end()
})

void t.test('the list of User-Agents', (t) => {
  const agents = userAgents()
  t.equal(new Set(agents).size, agents.length, 'none twice')
  t.ok(agents.length >= 180, `${agents.length} of them`)
  t.end()
})
