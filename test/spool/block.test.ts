/** A block of the spool: what goes in comes out, and nothing else opens. */
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { splitEpochKey } from '../../src/keys/split.js'
import {
  type BlockEntry,
  decodeBlock,
  encodeBlock,
  entryBytes,
  keyMark,
  openBlock,
  sealBlock,
  sealedAt,
} from '../../src/spool/block.js'
import { fuzzRuns } from '../helpers/fuzz.js'

const seed = Number(process.env['MINIM_TEST_SEED'] ?? Date.now() % 2 ** 31)
t.comment(`seed ${seed}: repeat with MINIM_TEST_SEED=${seed}`)
const numRuns = fuzzRuns()

const name = fc.constantFrom('http', 'ami', 'freeswitch', 'hep', '')
const entry: fc.Arbitrary<BlockEntry> = fc.record({
  source: name,
  format: fc.constantFrom('protobuf', 'jsonl-call', 'refused'),
  reason: fc.constantFrom('', 'too_large'),
  tenant: fc.oneof(fc.constantFrom('acme', 'bravo'), fc.string({ unit: 'binary', maxLength: 60 })),
  bytes: fc.uint8Array({ maxLength: 60 }),
})
const keys = splitEpochKey('minim.spool', '2026-11-24', randomBytes(32))
const place = { spool: '00000000-0000-4000-8000-000000000001', sequence: 7 }

t.test('entries come out as they went in, each run in order', (t) => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 30 }), (entries) => {
      const block = encodeBlock(entries)
      const runs = decodeBlock(block)
      if (runs === null) throw new Error('not decoded')
      if (block.length > 2 + entries.reduce((sum, e) => sum + entryBytes(e), 0))
        throw new Error('larger than was reckoned')
      const keyOf = (e: Omit<BlockEntry, 'bytes'>): string =>
        JSON.stringify([e.source, e.format, e.reason, Buffer.from(e.tenant).toString()])
      const found = new Map(
        runs.map((run) => [
          keyOf(run),
          run.ends.map((end, i) => block.toString('hex', run.ends[i - 1] ?? run.start, end)),
        ]),
      )
      const wanted = new Map<string, string[]>()
      for (const e of entries)
        wanted.set(keyOf(e), [...(wanted.get(keyOf(e)) ?? []), Buffer.from(e.bytes).toString('hex')])
      if (JSON.stringify([...found]) !== JSON.stringify([...wanted])) throw new Error('others came out')
    }),
    { seed, numRuns },
  )
  t.pass(`${numRuns} runs`)
  t.end()
})

t.test('bytes that are no block are told, never thrown at', (t) => {
  fc.assert(
    fc.property(
      fc.array(entry, { maxLength: 5 }),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
      fc.nat(),
      (entries, changes, cut) => {
        const block = Buffer.from(encodeBlock(entries))
        for (const [at, byte] of changes) block[at % block.length] = byte
        const bytes = block.subarray(0, cut % (block.length + 1))
        const runs = decodeBlock(bytes)
        for (const run of runs ?? [])
          if (run.ends.some((end) => end < run.start || end > bytes.length)) throw new Error('outside')
      },
    ),
    { seed, numRuns },
  )
  t.pass(`${numRuns} runs`)
  t.end()
})

t.test('a sealed block opens in its place, with its key, as it is; and in no other way', (t) => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.integer({ min: 0, max: 2 ** 48 - 1 }),
      fc.nat(),
      fc.nat(7),
      (plain, at, where, bit) => {
        const sealed = sealBlock(keys, place, at, plain)
        if (sealedAt(sealed) !== at) throw new Error('another time')
        if (openBlock(keys, place, sealed)?.equals(plain) !== true) throw new Error('not opened')
        if (openBlock(keys, { ...place, sequence: 8 }, sealed) !== null) throw new Error('opened in another place')
        if (openBlock(keys, { ...place, spool: 'other' }, sealed) !== null) throw new Error('opened in another spool')
        if (openBlock(keys, place, sealed.subarray(0, where % sealed.length)) !== null)
          throw new Error('opened when torn')
        sealed[where % sealed.length] ^= 1 << bit
        if (openBlock(keys, place, sealed) !== null) throw new Error('opened when changed')
      },
    ),
    { seed, numRuns: Math.min(numRuns, 20_000) },
  )
  const other = splitEpochKey('minim.spool', '2026-11-25', randomBytes(32))
  t.equal(openBlock(other, place, sealBlock(keys, place, 1, Buffer.from('x'))), null)
  t.not(keyMark(other), keyMark(keys))
  t.equal(sealedAt(Buffer.alloc(5)), null)
  t.end()
})
