/** Entries of a block, read as one, give what each gives alone. */
import fc from 'fast-check'
import t from 'tap'
import { catalogue as shipped, type Kind, KINDS } from '../../src/catalogue/catalogue.js'
import type { Input } from '../../src/flow/input.js'
import type { Minimised } from '../../src/flow/minimised.js'
import { SPOOLED_SCRATCH_BYTES, spooledReaders } from '../../src/formats/spooled.js'
import { Pipeline } from '../../src/pipeline/pipeline.js'
import { compile } from '../../src/policy/compile.js'
import { openQuarantined } from '../../src/quarantine/box.js'
import { decodeBlock, encodeBlock } from '../../src/spool/block.js'
import { encodeRecord, FUTURE_MS, NOW, policyOf, recordOf, TENANTS, TestKeyring } from '../project/generate.js'

const catalogue = shipped()
const seed = Number(process.env['MINIM_TEST_SEED'] ?? Date.now() % 2 ** 31)
t.comment(`seed ${seed}: repeat with MINIM_TEST_SEED=${seed}`)
t.setTimeout(300_000)

const FIELD: Record<Kind, number> = { call: 4, quality: 5, device: 6 }
const varint = (n: number): number[] => (n < 128 ? [n] : [(n & 127) | 128, ...varint(n >> 7)])

const records = fc
  .array(
    fc.oneof(
      ...KINDS.map((kind) =>
        recordOf(catalogue, kind).map((record) => {
          const bytes = encodeRecord(catalogue.root, catalogue, kind, record)
          return Buffer.concat([Buffer.from([FIELD[kind] * 8 + 2, ...varint(bytes.length)]), bytes])
        }),
      ),
    ),
    { maxLength: 6 },
  )
  .map((all) => Buffer.concat(all))
/** Broken off in the middle too: that must not reach the next entry. */
const protobuf = fc
  .tuple(records, fc.double({ min: 0, max: 1, noNaN: true }), fc.boolean())
  .map(([bytes, at, cut]) => (cut ? bytes.subarray(0, Math.floor(bytes.length * at)) : bytes))
const json = fc
  .array(
    fc.oneof(
      fc
        .record({
          start_ms: fc.constant(NOW - 1000),
          called: fc.constant('+44770090\\u0030123'),
          account: fc.string({ maxLength: 8 }),
        })
        .map((o) => JSON.stringify(o).replace('\\\\', '\\')),
      fc.constantFrom('', '{', 'x', '[]'),
    ),
    { maxLength: 5 },
  )
  .map((lines) => Buffer.from(lines.join('\n')))
const entry = fc
  .oneof(
    protobuf.map((bytes) => ({ format: 'protobuf', reason: '', bytes })),
    json.map((bytes) => ({ format: 'jsonl-call', reason: '', bytes })),
    fc.uint8Array({ minLength: 1, maxLength: 20 }).map((bytes) => ({ format: 'refused', reason: 'too_large', bytes })),
  )
  .chain((e) => fc.constantFrom('http', 'ami').map((source) => ({ ...e, source, tenant: 'default' })))

interface Told {
  readonly lines: string[]
  readonly records: number
  readonly withheld: Record<string, number>
}

function told(found: Minimised, keyring: TestKeyring): Told {
  const lines: string[] = []
  for (let i = 0; i < found.count; i++) {
    const value = found.bytes.subarray(found.valueOff[i], found.valueOff[i] + found.valueLen[i])
    const topic = found.topics[found.topic[i]]
    if (topic !== 'minim.quarantine') {
      lines.push(`${topic} ${Buffer.from(value).toString('hex')} ${found.timestamp[i]}`)
      continue
    }
    const opened = openQuarantined(keyring, value)
    if (typeof opened === 'string') throw new Error(opened)
    lines.push(`${opened.header.reason} ${opened.header.format} ${opened.input.toString('hex')}`)
  }
  return { lines: lines.sort(), records: found.outcome.records, withheld: { ...found.outcome.withheld } }
}

t.test('one block, or each entry alone: the same messages', (t) => {
  const runs = 300
  const result = fc.check(
    fc.property(
      policyOf(catalogue),
      fc.array(entry, { minLength: 1, maxLength: 12 }),
      fc.constantFrom(1, 3, 64),
      (policy, entries, capacity) => {
        const keyring = new TestKeyring([])
        const pipeline = new Pipeline(
          {
            catalogue,
            plan: compile(policy, catalogue),
            keyring,
            tenants: TENANTS,
            futureMs: FUTURE_MS,
            now: () => NOW,
          },
          capacity,
        )
        const reader = spooledReaders(catalogue, 65_536)
        const inputsOf = (some: typeof entries): { inputs: Input[]; sources: string[] } => {
          const block = encodeBlock(some)
          const arena = Buffer.concat([block, Buffer.alloc(SPOOLED_SCRATCH_BYTES)])
          const decoded = decodeBlock(block) ?? []
          return {
            inputs: decoded.map((run) => ({
              reader: reader(run),
              arena,
              start: run.start,
              end: run.ends[run.ends.length - 1],
              scratchStart: block.length,
              last: true,
              tenant: run.tenant,
            })),
            sources: decoded.map((run) => run.source),
          }
        }
        const sum: Told = { lines: [], records: 0, withheld: {} }
        const bySource = new Map<string, number>()
        let total = 0
        for (const one of entries) {
          const alone = told(pipeline.runAll(inputsOf([one]).inputs), keyring)
          sum.lines.push(...alone.lines)
          total += alone.records
          bySource.set(one.source, (bySource.get(one.source) ?? 0) + alone.records)
          for (const key in alone.withheld) sum.withheld[key] = (sum.withheld[key] ?? 0) + alone.withheld[key]
        }
        const { inputs, sources } = inputsOf(entries)
        const counts: number[] = []
        const minimised = pipeline.runAll(inputs, null, counts)
        const numbers = [...minimised.record.subarray(0, minimised.count)]
        const together = told(minimised, keyring)
        if (JSON.stringify(together.lines) !== JSON.stringify(sum.lines.sort())) throw new Error('other messages')
        if (together.records !== total) throw new Error(`${together.records} records instead of ${total}`)
        const sorted = (of: Record<string, number>): string => JSON.stringify(Object.entries(of).sort())
        if (sorted(together.withheld) !== sorted(sum.withheld)) throw new Error('withheld differently')
        const counted = new Map<string, number>()
        sources.forEach((source, i) => counted.set(source, (counted.get(source) ?? 0) + counts[i]))
        for (const [source, count] of bySource)
          if ((counted.get(source) ?? 0) !== count)
            throw new Error(`${source}: ${counted.get(source)} records instead of ${count}`)
        // Numbers tell records apart over all inputs: a record that is left out takes its messages with it, and no
        // other's.
        if (numbers.some((number) => number < 0 || number >= total)) throw new Error('a record without a number')
        const [first] = numbers
        if (first !== undefined) {
          const without = pipeline.runAll(inputs, new Set([first]))
          const left = numbers.filter((number) => number !== first).length
          const others = [...without.record.subarray(0, without.count)].filter((number) => number !== first).length
          if (left !== others) throw new Error(`${others} messages of other records instead of ${left}`)
        }
      },
    ),
    { seed, numRuns: runs, endOnFailure: true },
  )
  if (result.failed)
    throw new Error(
      `run ${result.numRuns}, seed ${seed}: ${result.errorInstance instanceof Error ? result.errorInstance.message : 'interrupted'}`,
    )
  t.pass(`${runs} runs`)
  t.end()
})
