import { createHash } from 'node:crypto'
import { appendFileSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Batch } from '../../../src/batch/batch.js'
import { catalogue } from '../../../src/catalogue/catalogue.js'
import type { Intake } from '../../../src/flow/intake.js'
import type { Minimised } from '../../../src/flow/minimised.js'
import type { SourceId, WorkItem } from '../../../src/flow/work-item.js'
import { builtInMapping } from '../../../src/formats/mapping.js'
import { feedFile } from '../../../src/sources/files/feed-file.js'
import { contentsName } from '../../helpers/contents.js'
import { minimisedOf } from '../../helpers/minimised.js'

/** What the delivery that is stood in for takes: no message. */
const NOTHING = minimisedOf([])

/** A ledger and a count of records, where delivery and pipeline stand. */
class FakeIntake implements Intake {
  readonly taken = new Map<string, { id: SourceId; sequence: number }>()
  records = 0
  readonly contentsName = contentsName
  lastTaken(id: SourceId): number {
    return this.taken.get(`${id.source} ${id.incarnation}`)?.sequence ?? 0
  }
  streamsOf(source: string): { incarnation: string; sequence: number }[] {
    return [...this.taken.values()]
      .filter(({ id }) => id.source === source)
      .map(({ id, sequence }) => ({ incarnation: id.incarnation, sequence }))
  }
  offer(item: WorkItem): Promise<void> {
    item.minimise()
    this.taken.set(`${item.id.source} ${item.id.incarnation}`, { id: item.id, sequence: item.sequence })
    item.committed()
    return Promise.resolve()
  }
  minimise(): Minimised {
    throw new Error('lines are filled by their source')
  }
  minimiseFilled(batch: Batch): Minimised {
    this.records += batch.taken
    return NOTHING
  }
}

const LINE = '{"account":"ACME-101","calling":"1004","start_ms":1795514445000}\n'

t.test('a file that grew is taken from where it was left, however short it was', async (t) => {
  const path = join(t.testdir(), 'calls.jsonl')
  const intake = new FakeIntake()
  const feed = (): Promise<{ from: number; size: number }> =>
    feedFile({
      path,
      format: 'jsonl',
      mapping: builtInMapping('minim', catalogue()),
      catalogue: catalogue(),
      intake,
      tenant: 'default',
      source: null,
      maxRecordBytes: 65_536,
      maxMessageBytes: 1_048_576,
    })
  writeFileSync(path, LINE)
  t.match(await feed(), { from: 0 })
  t.equal(intake.records, 1)
  let size = LINE.length
  // Past the 4 KiB that tell one file from another, and on.
  for (const lines of [1, 1, 100, 1, 5000]) {
    appendFileSync(path, LINE.repeat(lines))
    const before = intake.records
    t.match(await feed(), { from: size })
    t.equal(intake.records - before, lines)
    size += LINE.length * lines
  }
  t.match(await feed(), { from: size, size })
})

t.test('another file in its place is another file', async (t) => {
  const path = join(t.testdir(), 'calls.jsonl')
  const intake = new FakeIntake()
  const feed = (): Promise<unknown> =>
    feedFile({
      path,
      format: 'jsonl',
      mapping: builtInMapping('minim', catalogue()),
      catalogue: catalogue(),
      intake,
      tenant: 'default',
      source: 'node-1',
      maxRecordBytes: 65_536,
      maxMessageBytes: 1_048_576,
    })
  writeFileSync(path, LINE)
  await feed()
  writeFileSync(path, LINE.replace('1004', '1005').repeat(2))
  await feed()
  t.equal(intake.records, 3)
})

/** The names of earlier versions: the bare SHA-256 of where a file is and how it begins. */
function bareHash(path: string, named: boolean, length: number): string {
  const { dev, ino } = statSync(path, { bigint: true })
  return createHash('sha256')
    .update(`${named ? '' : `${dev} ${ino}`} `)
    .update(readFileSync(path).subarray(0, Math.min(length, 4096)))
    .digest('hex')
    .slice(0, 32)
}

for (const source of [null, 'pbx-1']) {
  for (const lines of [1, 200]) {
    t.test(`what is kept of a file of ${lines} lines, ${source ?? 'without a name'}, is under a key`, async (t) => {
      const path = join(t.testdir(), 'calls.jsonl')
      const feed = (intake: FakeIntake): Promise<{ from: number; size: number }> =>
        feedFile({
          path,
          format: 'jsonl',
          mapping: builtInMapping('minim', catalogue()),
          catalogue: catalogue(),
          intake,
          tenant: 'default',
          source,
          maxRecordBytes: 65_536,
          maxMessageBytes: 1_048_576,
        })
      writeFileSync(path, LINE.repeat(lines))
      const size = LINE.length * lines
      const intake = new FakeIntake()
      await feed(intake)
      const kept = [...intake.taken.values()].map(({ id }) => id)
      t.equal(kept.length, lines === 1 ? 1 : kept.length)
      for (let length = 0; length <= Math.min(size, 4096); length++)
        t.notOk(kept.some(({ incarnation }) => incarnation.includes(bareHash(path, source !== null, length))))
      // What an earlier version has taken, under its own name.
      const before = new FakeIntake()
      const id = { source: kept[0].source, incarnation: bareHash(path, source !== null, size) }
      before.taken.set('old', { id, sequence: size })
      before.taken.set(`${id.source} ${id.incarnation}`, { id, sequence: size })
      t.same(await feed(before), { from: size, size })
      t.equal(before.records, 0, 'is not read again')
      appendFileSync(path, LINE)
      t.match(await feed(before), { from: size })
      t.equal(before.records, 1, 'what was added is')
    })
  }
}
