/** The compiled plan against the reference projection, byte for byte, over generated policies and records. */
import fc from 'fast-check'
import t from 'tap'
import type { Reader } from '../../src/batch/batch.js'
import { ProtobufReader } from '../../src/batch/scanner.js'
import { catalogue as shipped, type Kind, KINDS } from '../../src/catalogue/catalogue.js'
import type { Minimised } from '../../src/flow/minimised.js'
import { WITHHOLDINGS } from '../../src/flow/outcome.js'
import { JsonLinesReader } from '../../src/formats/json-lines.js'
import { builtInMapping } from '../../src/formats/mapping.js'
import { Pipeline } from '../../src/pipeline/pipeline.js'
import { compile } from '../../src/policy/compile.js'
import { loadPolicy } from '../../src/policy/load.js'
import type { Policy } from '../../src/policy/model.js'
import { openQuarantined } from '../../src/quarantine/box.js'
import {
  encodeRecord,
  FUTURE_MS,
  NOW,
  type PlainRecord,
  policyOf,
  recordOf,
  seed,
  TENANTS,
  TestKeyring,
} from './generate.js'
import { type ReferenceInput, referenceProjection, type ReferenceResult } from './reference.js'

const catalogue = shipped()
const { root } = catalogue
const SEED = seed()
// A busy machine is no failure.
t.setTimeout(300_000)
t.comment(`seed ${SEED}: repeat with MINIM_TEST_SEED=${SEED}`)

/** Checks a property; the report has the seed and the difference, not the whole policy. */
function holds<T>(property: fc.IProperty<T>, numRuns: number): void {
  const details = fc.check(property, { seed: SEED, numRuns, endOnFailure: true })
  if (details.failed)
    throw new Error(
      `run ${details.numRuns}, seed ${SEED}: ${details.errorInstance instanceof Error ? details.errorInstance.message : 'interrupted'}`,
    )
}

interface Case {
  readonly policy: Policy
  readonly records: readonly { kind: Kind; record: PlainRecord }[]
  readonly capacity: number
  readonly destroy: boolean
}

const anyRecord = fc.oneof(...KINDS.map((kind) => recordOf(catalogue, kind).map((record) => ({ kind, record }))))
const anyCase: fc.Arbitrary<Case> = fc.record({
  policy: policyOf(catalogue),
  records: fc.array(anyRecord, { minLength: 1, maxLength: 40 }),
  capacity: fc.constantFrom(1, 3, 16, 64),
  destroy: fc.boolean(),
})

function destroyedOf({ policy, destroy }: Case): string[] {
  return destroy ? policy.purposes.flatMap(({ id }) => [`${id} 2025-12-31`, `${id} 2025-12`, `${id} 2024`]) : []
}

function pipeline(c: Case, keyring: TestKeyring): Pipeline {
  return new Pipeline(
    { catalogue, plan: compile(c.policy, catalogue), keyring, tenants: TENANTS, futureMs: FUTURE_MS, now: () => NOW },
    c.capacity,
  )
}

function expectedOf(c: Case, inputs: readonly ReferenceInput[], keyring: TestKeyring): ReferenceResult {
  const keys = (purpose: string, epoch: string): ReturnType<Parameters<typeof referenceProjection>[1]['keys']> => {
    const found = keyring.keys(purpose, epoch)
    return found === 'destroyed' ? null : found
  }
  return referenceProjection(inputs, {
    root,
    policy: c.policy,
    tenants: TENANTS,
    defaultTenant: 'default',
    keys,
    nowMs: NOW,
    futureMs: FUTURE_MS,
  })
}

interface Plain {
  messages: Record<string, { value: string; key: string | null; timestamp: number }[]>
  quarantined: string[]
  withheld: Record<string, number>
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** A quarantined protobuf record without its field number and length. */
function bodyOf(field: Buffer): Buffer {
  let at = 1
  while ((field[at++] & 0x80) !== 0);
  return field.subarray(at)
}

function plainOf(found: Minimised, keyring: TestKeyring, bytesToo: boolean): Plain {
  const plain: Plain = { messages: {}, quarantined: [], withheld: { ...found.outcome.withheld } }
  for (let i = 0; i < found.count; i++) {
    const value = found.bytes.subarray(found.valueOff[i], found.valueOff[i] + found.valueLen[i])
    const topic = found.topics[found.topic[i]]
    if (topic === 'minim.quarantine') {
      const opened = openQuarantined(keyring, value)
      if (typeof opened === 'string') throw new Error(opened)
      plain.quarantined.push(bytesToo ? `${opened.header.reason} ${hex(bodyOf(opened.input))}` : opened.header.reason)
      if (opened.tenant !== 'default') throw new Error('quarantined without the tenant of records that name none')
      continue
    }
    const key =
      found.keyLen[i] === 0 ? null : hex(found.bytes.subarray(found.keyOff[i], found.keyOff[i] + found.keyLen[i]))
    ;(plain.messages[topic] ??= []).push({ value: hex(value), key, timestamp: found.timestamp[i] })
  }
  plain.quarantined.sort()
  return plain
}

function plainReference(expected: ReferenceResult, bytesToo: boolean): Plain {
  return {
    messages: Object.fromEntries(
      Object.entries(expected.messages).map(([topic, list]) => [
        topic,
        list.map((m) => ({ value: hex(m.value), key: m.key === null ? null : hex(m.key), timestamp: m.timestamp })),
      ]),
    ),
    quarantined: expected.quarantined.map((q) => (bytesToo ? `${q.reason} ${hex(q.bytes)}` : q.reason)).sort(),
    withheld: expected.withheld,
  }
}

/** A difference in words; null where there is none. Values are generated ones, never a real person's. */
function difference(found: Plain, expected: Plain): string | null {
  for (const topic of new Set([...Object.keys(found.messages), ...Object.keys(expected.messages)])) {
    const a = found.messages[topic] ?? []
    const b = expected.messages[topic] ?? []
    for (let i = 0; i < Math.max(a.length, b.length); i++) {
      if (JSON.stringify(a[i]) === JSON.stringify(b[i])) continue
      const text = (m: (typeof a)[number] | undefined): string =>
        m === undefined
          ? 'nothing'
          : `${JSON.stringify(m)}\n    ${Buffer.from(m.value, 'hex')
              .toString('latin1')
              .replace(/[^ -~]/g, '.')}`
      const x = a[i]?.value ?? ''
      let same = 0
      while (same < x.length && x[same] === b[i]?.value[same]) same++
      const around = (hex: string | undefined): string | undefined => hex?.slice(same & -2, same + 40)
      return (
        `${topic} message ${i}, from byte ${same >> 1} on (found ${around(x)}, expected ${around(b[i]?.value)}):\n` +
        `  found    ${text(a[i])}\n  expected ${text(b[i])}`
      )
    }
  }
  if (JSON.stringify(found.quarantined) !== JSON.stringify(expected.quarantined))
    return `quarantined ${found.quarantined.join()} instead of ${expected.quarantined.join()}`
  const sorted = (w: Record<string, number>): string =>
    JSON.stringify(Object.entries(w).sort(([x], [y]) => (x < y ? -1 : 1)))
  return sorted(found.withheld) === sorted(expected.withheld)
    ? null
    : `withheld ${sorted(found.withheld)} instead of ${sorted(expected.withheld)}`
}

function run(p: Pipeline, reader: Reader, bytes: Buffer, scratch = 0): Minimised {
  const arena = Buffer.concat([bytes, Buffer.alloc(scratch)])
  return p.run({
    reader,
    arena,
    start: 0,
    end: bytes.length,
    scratchStart: bytes.length,
    last: true,
    tenant: 'default',
  })
}

const BATCH_FIELD: Record<Kind, number> = { call: 4, quality: 5, device: 6 }

function batchOf(inputs: readonly ReferenceInput[]): Buffer {
  const length = (n: number): number[] => (n < 128 ? [n] : [(n & 127) | 128, ...length(n >> 7)])
  return Buffer.concat(
    inputs.flatMap(({ kind, bytes }) => [Buffer.from([BATCH_FIELD[kind] * 8 + 2, ...length(bytes.length)]), bytes]),
  )
}

function conserved(
  found: Minimised,
  policy: Policy,
  inputs: readonly ReferenceInput[],
  refusedByKind: Record<Kind, number>,
): string | null {
  for (const purpose of policy.purposes) {
    for (const kind of KINDS) {
      const rules = purpose.kinds[kind]
      if (rules === undefined) continue
      const into = inputs.filter((i) => i.kind === kind).length
      const out = found.outcome.produced[rules.topic] ?? 0
      const withheld = WITHHOLDINGS.reduce(
        (sum, reason) => sum + (found.outcome.withheld[`${purpose.id}\0${kind}\0${reason}`] ?? 0),
        0,
      )
      if (into !== out + withheld + refusedByKind[kind])
        return `${rules.topic}: ${into} in, ${out} out, ${withheld} withheld, ${refusedByKind[kind]} refused`
    }
  }
  return null
}

t.test('protobuf in: as the reference, byte for byte', (t) => {
  holds(
    fc.property(anyCase, (c) => {
      const keyring = new TestKeyring(destroyedOf(c))
      const inputs = c.records.map(({ kind, record }) => ({ kind, bytes: encodeRecord(root, catalogue, kind, record) }))
      const expected = expectedOf(c, inputs, keyring)
      const p = pipeline(c, keyring)
      const found = run(p, new ProtobufReader(catalogue, 'whole'), batchOf(inputs))
      const wrong = difference(plainOf(found, keyring, true), plainReference(expected, true))
      if (wrong !== null) throw new Error(wrong)
      const refused = Object.fromEntries(
        KINDS.map((kind) => [
          kind,
          expected.quarantined.filter((q) => inputs.some((i) => i.kind === kind && i.bytes === q.bytes)).length,
        ]),
      ) as Record<Kind, number>
      const drift = conserved(found, c.policy, inputs, refused)
      if (drift !== null) throw new Error(drift)
      if (found.outcome.records !== inputs.length)
        throw new Error(`${found.outcome.records} records counted of ${inputs.length}`)
      // A work item is made again after an aborted transaction: the same bytes, out of the same pipeline.
      const again = difference(
        plainOf(run(p, new ProtobufReader(catalogue, 'whole'), batchOf(inputs)), keyring, true),
        plainReference(expected, true),
      )
      if (again !== null) throw new Error(`made again: ${again}`)
    }),
    150,
  )
  t.pass('150 runs')
  t.end()
})

t.test('JSON Lines in: as the reference, byte for byte', (t) => {
  holds(
    fc.property(anyCase, fc.boolean(), (c, escaped) => {
      for (const kind of KINDS) {
        const keyring = new TestKeyring(destroyedOf(c))
        // What JSON cannot say (NaN, -0), or says with a refusal where protobuf drops (enum numbers without a name), is
        // left out.
        const records = c.records
          .filter((r) => r.kind === kind)
          .map(({ record }) =>
            Object.fromEntries(
              Object.entries(record)
                .filter(([name, value]) => {
                  const field = catalogue.kinds[kind].byName.get(name)
                  return (
                    typeof value === 'string' ||
                    (Number.isFinite(value) && !(field?.type === 'enum' && field.enumNames[value] === undefined))
                  )
                })
                .map(([name, value]) => [name, value === 0 ? 0 : value]),
            ),
          )
        // A line that does not say where it comes from is taken for the kind's usual.
        const usual = { call: 1, quality: 3, device: 4 }[kind]
        const inputs = records.map((record) => ({
          kind,
          bytes: encodeRecord(root, catalogue, kind, { ...record, origin: record['origin'] || usual }),
        }))
        const lines = records
          .map((r) => {
            const line = JSON.stringify(r)
            return escaped
              ? line.replace(/[^ -~]/g, (ch) => `\\u${ch.charCodeAt(0).toString(16).padStart(4, '0')}`)
              : line
          })
          .join('\n')
        const reader = new JsonLinesReader(builtInMapping('minim', catalogue, { kind }), catalogue)
        const found = run(pipeline(c, keyring), reader, Buffer.from(lines), 65_536)
        const wrong = difference(plainOf(found, keyring, false), plainReference(expectedOf(c, inputs, keyring), false))
        if (wrong !== null) throw new Error(wrong)
      }
    }),
    60,
  )
  t.pass('60 runs')
  t.end()
})

t.test('the default policy, a full batch', (t) => {
  const policy = loadPolicy()
  holds(
    fc.property(fc.array(anyRecord, { minLength: 1, maxLength: 200 }), (records) => {
      const c: Case = { policy, records, capacity: 64, destroy: true }
      const keyring = new TestKeyring(destroyedOf(c))
      const inputs = records.map(({ kind, record }) => ({ kind, bytes: encodeRecord(root, catalogue, kind, record) }))
      const wrong = difference(
        plainOf(run(pipeline(c, keyring), new ProtobufReader(catalogue, 'whole'), batchOf(inputs)), keyring, true),
        plainReference(expectedOf(c, inputs, keyring), true),
      )
      if (wrong !== null) throw new Error(wrong)
    }),
    15,
  )
  t.pass('15 runs')
  t.end()
})

t.test('Kafka timestamps never say more than the start treatment shows', (t) => {
  holds(
    fc.property(anyCase, (c) => {
      const keyring = new TestKeyring()
      const inputs = c.records.map(({ kind, record }) => ({ kind, bytes: encodeRecord(root, catalogue, kind, record) }))
      const found = run(pipeline(c, keyring), new ProtobufReader(catalogue, 'whole'), batchOf(inputs))
      const rules = new Map(
        c.policy.purposes.flatMap((p) =>
          KINDS.flatMap((kind) =>
            p.kinds[kind] === undefined ? [] : [[p.kinds[kind].topic, { purpose: p, rules: p.kinds[kind] }] as const],
          ),
        ),
      )
      for (let i = 0; i < found.count; i++) {
        const entry = rules.get(found.topics[found.topic[i]])
        if (entry === undefined) continue
        const start = entry.rules.rules.find((r) => r.field.name === 'start_ms')?.treatment
        const time = found.timestamp[i]
        if (time > NOW + FUTURE_MS) throw new Error('in the future')
        if (start?.kind === 'keep') continue
        if (start?.kind === 'time-bucket') {
          if (time % start.ms !== 0) throw new Error(`${time} is finer than ${start.ms} ms`)
        } else if (
          entry.purpose.epoch === 'contract'
            ? time !== 0
            : time % 86_400_000 !== 0 || (entry.purpose.epoch !== 'day' && new Date(time).getUTCDate() !== 1)
        ) {
          throw new Error(`${time} says more than the ${entry.purpose.epoch}`)
        }
      }
    }),
    60,
  )
  t.pass('60 runs')
  t.end()
})
