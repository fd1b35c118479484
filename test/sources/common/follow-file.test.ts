/** Followed files: rotated, truncated, replaced, half-written, and followers that end at any moment. */
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { Batch, type Reader, REFUSALS } from '../../../src/batch/batch.js'
import { SharedBatch } from '../../../src/batch/lease.js'
import { catalogue } from '../../../src/catalogue/catalogue.js'
import { MinimError } from '../../../src/errors/catalogue.js'
import type { Intake } from '../../../src/flow/intake.js'
import type { Minimised } from '../../../src/flow/minimised.js'
import type { SourceId, WorkItem } from '../../../src/flow/work-item.js'
import { CsvReader } from '../../../src/formats/csv.js'
import { JsonLinesReader } from '../../../src/formats/json-lines.js'
import { builtInMapping } from '../../../src/formats/mapping.js'
import { createLog } from '../../../src/ops/log.js'
import { DEFAULTS } from '../../../src/settings/defaults.js'
import type { Settings } from '../../../src/settings/schema.js'
import { Follower, type FollowOptions } from '../../../src/sources/common/follow-file.js'
import { followersOf } from '../../../src/sources/common/followers.js'
import { rotatedFiles } from '../../../src/sources/common/rotated-files.js'
import { IntakeSink } from '../../../src/sources/files/feed-file.js'
import { contentsName } from '../../helpers/contents.js'
import { fuzzRuns } from '../../helpers/fuzz.js'
import { minimisedOf } from '../../helpers/minimised.js'

/** What the delivery that is stood in for takes: no message. */
const NOTHING = minimisedOf([])

t.setTimeout(300_000)

const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

async function until(what: string, probe: () => boolean, explain: () => unknown = () => ''): Promise<void> {
  for (const deadline = Date.now() + 20_000; !probe();) {
    if (Date.now() > deadline) throw new Error(`never: ${what} ${JSON.stringify(explain())}`)
    await sleep(2)
  }
}

/**
 * A ledger, and what was committed, where delivery stands; with its rules: prefixes are committed, and what is taken is
 * taken once.
 */
class Ledger implements Intake {
  readonly taken = new Map<string, { id: SourceId; sequence: number }>()
  /** Committed call ids and refusals, in order. */
  readonly records: string[] = []
  #waiting: { item: WorkItem; made: string[] | null }[] = []
  /** Nothing is committed, and offers are not answered, while it is held. */
  held = false
  #answers: (() => void)[] = []
  /** Fails the next item, and what follows it in its stream until it comes again. */
  failNext = false
  #broken = new Map<string, number>()
  #made: string[] = []

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
    const key = `${item.id.source} ${item.id.incarnation}`
    const failedAt = this.#broken.get(key)
    if (failedAt !== undefined && item.sequence > failedAt) {
      item.failed(new MinimError('MINIM_DELIVERY_BROKEN_STREAM'))
      return Promise.resolve()
    }
    this.#broken.delete(key)
    if (this.failNext) {
      this.failNext = false
      this.#broken.set(key, item.sequence)
      item.failed(new MinimError('MINIM_DELIVERY_MINIMISE'))
      return Promise.resolve()
    }
    if (item.sequence <= this.lastTaken(item.id)) {
      item.committed()
      return Promise.resolve()
    }
    if (this.held) {
      this.#waiting.push({ item, made: null })
      return new Promise((resolve) => this.#answers.push(resolve))
    }
    item.minimise()
    this.#waiting.push({ item, made: this.#made })
    if (!this.lazy) this.commit()
    return Promise.resolve()
  }
  /** Commits are asked for. */
  lazy = false
  get waiting(): number {
    return this.#waiting.length
  }
  commit(count = this.#waiting.length): void {
    for (const { item, made } of this.#waiting.splice(0, count)) {
      if (made === null) item.minimise()
      this.records.push(...(made ?? this.#made))
      this.taken.set(`${item.id.source} ${item.id.incarnation}`, { id: item.id, sequence: item.sequence })
      item.committed()
    }
  }
  release(): void {
    this.held = false
    for (const answer of this.#answers.splice(0)) answer()
    this.commit()
  }
  /** What a process that ends takes along. */
  crash(): void {
    this.#waiting = []
    this.#answers = []
  }
  minimise(): Minimised {
    throw new Error('lines are filled by their source')
  }
  minimiseFilled(batch: Batch): Minimised {
    const { rows, width, off, len, kind } = batch.columns.call
    const index = kind.byName.get('call_id')?.index ?? -1
    this.#made = [
      ...Array.from({ length: rows }, (_, r) =>
        batch.arena.toString('utf8', off[r * width + index], off[r * width + index] + len[r * width + index]),
      ),
      ...batch.refusedReason.map((reason) => REFUSALS[reason]),
    ]
    return NOTHING
  }
}

interface Following {
  readonly follower: Follower
  readonly log: string[]
  readonly received: () => number
  stop(): Promise<void>
  /** Ends at once, with all that was not committed. */
  crash(): void
}

const jsonReader = (maxRecordBytes = 65_536): Reader =>
  new JsonLinesReader(builtInMapping('minim', catalogue()), catalogue(), { maxRecordBytes })
const csvReader = (): Reader => new CsvReader(builtInMapping('asterisk-cdr', catalogue()), catalogue())

function follow(t: Test | null, path: string, ledger: Ledger, over: Partial<FollowOptions> = {}): Following {
  const aborting = new AbortController()
  const reader = over.reader ?? jsonReader(over.maxRecordBytes)
  const log: string[] = []
  let received = 0
  const follower = new Follower({
    path,
    position: 3,
    others: [],
    source: null,
    reader,
    shared: new SharedBatch(new Batch(catalogue())),
    sink: new IntakeSink(ledger, reader.format, 'default'),
    pollMs: 10,
    settleMs: 30,
    maxRecordBytes: 65_536,
    signal: aborting.signal,
    log: createLog('info', {
      write: (line: string) => {
        log.push(line)
      },
    }),
    counters: {
      received: (count) => {
        received += count
      },
      refused: () => undefined,
      lag: () => undefined,
      connections: () => undefined,
      gap: () => undefined,
      left: () => undefined,
    },
    ...over,
  })
  const running = follower.run()
  const stop = async (): Promise<void> => {
    aborting.abort()
    await running
  }
  t?.teardown(stop)
  return {
    follower,
    log,
    stop,
    received: () => received,
    crash: () => {
      aborting.abort()
      ledger.crash()
    },
  }
}

let numbers = 0
const line = (n: number | string, more = ''): string => `{"call_id":"c${n}"${more}}\n`
const next = (count: number): { text: string; ids: string[] } => {
  const all = Array.from({ length: count }, () => numbers++)
  return { text: all.map((n) => line(n)).join(''), ids: all.map((n) => `c${n}`) }
}
const cdr = (n: number, field = 'x'): string =>
  `"","1001","+442079460101","ctx","""A"" <1001>","PJSIP/1","","Dial","${field}","2026-01-02 03:04:05",` +
  `,"2026-01-02 03:05:05",60,0,"NO ANSWER","DOCUMENTATION","c${n}","u"\n`

t.test('lines as they are written, and none before its line feed', async (t) => {
  const path = join(t.testdir(), 'calls.jsonl')
  const ledger = new Ledger()
  writeFileSync(path, line(1) + line(2) + line(3).slice(0, 9))
  const { received } = follow(t, path, ledger)
  await until('two', () => ledger.records.length === 2)
  for (const part of [line(3).slice(9, -1), '\n', line(4)]) {
    await sleep(40)
    appendFileSync(path, part)
  }
  await until('four', () => ledger.records.length === 4)
  t.same(ledger.records, ['c1', 'c2', 'c3', 'c4'])
  t.equal(received(), 4)
})

t.test('a byte order mark at the beginning, of each file there is', async (t) => {
  const path = join(t.testdir(), 'Master.csv')
  const ledger = new Ledger()
  // In the columns' first field it would be part of the account.
  writeFileSync(path, `\ufeff${cdr(1)}`)
  follow(t, path, ledger, { reader: csvReader() })
  await until('the first', () => ledger.records.length === 1)
  renameSync(path, `${path}.1`)
  // The mark may come before anything else does, and by itself; elsewhere it is none.
  writeFileSync(path, Buffer.from([0xef]))
  await sleep(40)
  appendFileSync(path, Buffer.from([0xbb, 0xbf]))
  await sleep(40)
  appendFileSync(path, cdr(2) + cdr(3))
  await until(
    'the next file',
    () => ledger.records.length === 3,
    () => ledger.records,
  )
  t.same(ledger.records, ['c1', 'c2', 'c3'])
  const lines = join(t.testdir(), 'calls.jsonl')
  const other = new Ledger()
  writeFileSync(lines, `\ufeff${line(1)}${line(2)}`)
  follow(t, lines, other)
  await until('both lines', () => other.records.length === 2)
  t.same(other.records, ['c1', 'c2'])
})

t.test('a quoted field with line feeds waits for its end', async (t) => {
  const path = join(t.testdir(), 'Master.csv')
  const ledger = new Ledger()
  const text = cdr(1, 'one\ntwo\nthree')
  writeFileSync(path, text.slice(0, text.indexOf('two') + 4))
  follow(t, path, ledger, { reader: csvReader() })
  await sleep(60)
  t.same(ledger.records, [])
  appendFileSync(path, text.slice(text.indexOf('two') + 4) + cdr(2))
  await until('both', () => ledger.records.length === 2)
  t.same(ledger.records, ['c1', 'c2'])
})

t.test('rotation by renaming: the old one first, to its end', async (t) => {
  const folder = t.testdir()
  const path = join(folder, 'Master.csv')
  const ledger = new Ledger()
  writeFileSync(path, cdr(1))
  const { log } = follow(t, path, ledger, { reader: csvReader(), settleMs: 150 })
  await until('the first', () => ledger.records.length === 1)
  renameSync(path, `${path}.1`)
  appendFileSync(`${path}.1`, cdr(2))
  writeFileSync(path, cdr(4))
  await sleep(60)
  // A writer that still has it open.
  appendFileSync(`${path}.1`, cdr(3) + cdr(33).slice(0, -1))
  await until(
    'all',
    () => ledger.records.length === 5,
    () => ledger.records,
  )
  t.same(
    ledger.records,
    ['c1', 'c2', 'c3', 'c33', 'c4'],
    'a last record that is all there is taken without its line feed',
  )
  t.ok(log.some((l) => l.includes('file rotated')))
  t.notMatch(log.join(''), /Master/, 'the log names no path')
})

t.test('what is added to a renamed file after it was finished is taken as well', async (t) => {
  const path = join(t.testdir(), 'Master.csv')
  const ledger = new Ledger()
  writeFileSync(path, cdr(1))
  const { log } = follow(t, path, ledger, { reader: csvReader() })
  await until('the first', () => ledger.records.length === 1)
  renameSync(path, `${path}.1`)
  writeFileSync(path, cdr(2))
  await until(
    'the old one is finished, the new one followed',
    () => log.some((l) => l.includes('finished')) && ledger.records.length === 2,
  )
  // By a writer that still holds it.
  appendFileSync(`${path}.1`, cdr(3) + cdr(4))
  await until(
    'what was added',
    () => ledger.records.length === 4,
    () => ledger.records,
  )
  appendFileSync(path, cdr(5))
  await until('the new one goes on', () => ledger.records.length === 5)
  t.same(ledger.records, ['c1', 'c2', 'c3', 'c4', 'c5'])
})

t.test(
  'what a rotated file ends in, if it is torn, goes to quarantine; a finished file is not looked at again',
  async (t) => {
    const path = join(t.testdir(), 'Master.csv')
    const ledger = new Ledger()
    writeFileSync(path, cdr(1) + cdr(2).slice(0, 50))
    const first = follow(t, path, ledger, { reader: csvReader() })
    await until('the first', () => ledger.records.length === 1)
    renameSync(path, `${path}.1`)
    await until('torn', () => ledger.records.length === 2)
    t.same(ledger.records, ['c1', 'malformed_csv'])
    await until('waiting for a new one', () => first.log.some((l) => l.includes('not there yet')))
    writeFileSync(path, cdr(3))
    await until('the new one', () => ledger.records.length === 3)
    t.same((await rotatedFiles(path, null, ledger)).unfinished, [])
  },
)

t.test('rotation by copying and truncating', async (t) => {
  const folder = t.testdir()
  const path = join(folder, 'calls.jsonl')
  for (const [name, first] of [
    ['short', next(3)],
    ['longer than what identifies it', next(1000)],
  ] as const) {
    await t.test(name, async (t) => {
      const ledger = new Ledger()
      writeFileSync(path, first.text)
      follow(t, path, ledger)
      await until('all', () => ledger.records.length === first.ids.length)
      // Written, copied and truncated before the follower looks: the event loop is not left.
      const unread = next(5)
      const after = next(2000)
      appendFileSync(path, unread.text)
      copyFileSync(path, `${path}.1`)
      truncateSync(path, 0)
      // More than there was: its size says nothing.
      appendFileSync(path, after.text)
      await until(
        'all',
        () => ledger.records.length === first.ids.length + unread.ids.length + after.ids.length,
        () => ledger.records.length,
      )
      t.same(ledger.records, [...first.ids, ...unread.ids, ...after.ids])
      rmSync(`${path}.1`)
    })
  }
})

t.test('rotated several times while nobody looked', async (t) => {
  const folder = t.testdir()
  const path = join(folder, 'Master.csv')
  const ledger = new Ledger()
  const parts = [next(3), next(300), next(2), next(4), next(1)]
  writeFileSync(join(folder, 'Master.csv.9'), next(5).text)
  await sleep(10)
  writeFileSync(path, parts[0].text)
  const before = follow(t, path, ledger)
  await until('the first', () => ledger.records.length === 3)
  await before.stop()
  const rotate = (): void => {
    for (let i = 8; i >= 1; i--) if (existsSync(`${path}.${i}`)) renameSync(`${path}.${i}`, `${path}.${i + 1}`)
    renameSync(path, `${path}.1`)
  }
  renameSync(`${path}.9`, join(folder, 'Master.csv-20250101'))
  appendFileSync(path, parts[1].text)
  rotate()
  await sleep(5)
  writeFileSync(path, parts[2].text)
  rotate()
  await sleep(5)
  writeFileSync(path, '')
  rotate()
  await sleep(5)
  writeFileSync(path, parts[3].text)
  rotate()
  // Nobody's, and one that is compressed.
  writeFileSync(join(folder, 'Other.csv.1'), line('other'))
  writeFileSync(join(folder, 'Master.csv.5.gz'), line('gz'))
  writeFileSync(join(folder, 'Master.csv.lock'), line('lock'))
  await sleep(5)
  writeFileSync(path, parts[4].text)
  follow(t, path, ledger)
  const wanted = parts.flatMap((p) => p.ids)
  await until(
    'all',
    () => ledger.records.length >= wanted.length,
    () => ledger.records,
  )
  await sleep(100)
  t.same(ledger.records, wanted, 'in the order of writing; what was there before the first start is not read')
})

/** As logrotate does with `compress`: the file is gone, and what it was is in another one. */
function pack(file: string): void {
  const { atime, mtime } = statSync(file)
  writeFileSync(`${file}.gz`, gzipSync(readFileSync(file)))
  utimesSync(`${file}.gz`, atime, mtime)
  unlinkSync(file)
}

t.test('rotated and packed while nobody looked, of a source that is named', async (t) => {
  const folder = t.testdir()
  const path = join(folder, 'Master.csv')
  const ledger = new Ledger()
  const long = next(30_000)
  const parts = [next(600), long, next(2), next(3)]
  writeFileSync(`${path}.7`, next(5).text)
  pack(`${path}.7`)
  await sleep(10)
  writeFileSync(path, parts[0].text)
  const before = follow(t, path, ledger, { source: 'cdr' })
  await until('the first', () => ledger.records.length === 600)
  await before.stop()
  const added = next(2)
  appendFileSync(path, added.text)
  const rotate = (): void => {
    for (let i = 8; i >= 1; i--) if (existsSync(`${path}.${i}.gz`)) renameSync(`${path}.${i}.gz`, `${path}.${i + 1}.gz`)
    renameSync(path, `${path}.1`)
    pack(`${path}.1`)
  }
  for (const part of parts.slice(1)) {
    rotate()
    await sleep(5)
    writeFileSync(path, part.text)
  }
  // Somebody has kept what it was packed from, and one is torn.
  writeFileSync(`${path}.2`, long.text)
  const { atime, mtime } = statSync(`${path}.2.gz`)
  utimesSync(`${path}.2`, atime, mtime)
  writeFileSync(`${path}.5.gz`, gzipSync(next(50).text).subarray(0, 60))
  const wanted = [...parts[0].ids, ...added.ids, ...parts.slice(1).flatMap((part) => part.ids)]
  const first = follow(t, path, ledger, { source: 'cdr' })
  await until(
    'all',
    () => ledger.records.length >= wanted.length,
    () => [ledger.records.length, wanted.length, first.log.slice(-5)],
  )
  await sleep(200)
  await first.stop()
  t.strictSame(
    [...ledger.records].sort(),
    [...wanted].sort(),
    'each once; what was packed before the first start never',
  )
  t.strictSame(ledger.records.slice(0, 602), wanted.slice(0, 602), 'the file that was begun goes on where it was left')

  // Packed while it is followed, and looked at again by another run.
  const second = follow(t, path, ledger, { source: 'cdr' })
  const more = [next(1), next(1)]
  appendFileSync(path, more[0].text)
  await until('what was added', () => ledger.records.length >= wanted.length + 1)
  await second.stop()
  rotate()
  writeFileSync(path, more[1].text)
  follow(t, path, ledger, { source: 'cdr' })
  await until('the next', () => ledger.records.length >= wanted.length + 2)
  await sleep(100)
  t.equal(ledger.records.length, wanted.length + 2)
  t.strictSame(
    ledger.records.slice(-2),
    more.flatMap((part) => part.ids),
  )
})

t.test('a packed file of a source without a name is not read, and the log tells so once', async (t) => {
  const path = join(t.testdir(), 'Master.csv')
  const ledger = new Ledger()
  const [first, missed, after] = [next(3), next(2), next(1)]
  writeFileSync(path, first.text)
  const before = follow(t, path, ledger)
  await until('the first', () => ledger.records.length === 3)
  await before.stop()
  appendFileSync(path, missed.text)
  renameSync(path, `${path}.1`)
  pack(`${path}.1`)
  writeFileSync(path, after.text)
  const { log, ...told } = follow(t, path, ledger)
  await until('the next', () => ledger.records.length >= 4)
  await sleep(100)
  await told.stop()
  t.strictSame(ledger.records, [...first.ids, ...after.ids], 'nothing twice')
  t.equal(log.filter((line) => line.includes('packed rotated files are not read')).length, 1)
  t.notOk(log.some((line) => line.includes('Master')))

  // Packed when it was finished.
  const again = follow(t, path, ledger)
  await sleep(100)
  t.notOk(again.log.some((line) => line.includes('packed')))
})

t.test('copies of it that somebody makes are not read', async (t) => {
  const folder = t.testdir()
  const path = join(folder, 'calls.jsonl')
  for (const source of [null, 'pbx-1']) {
    const ledger = new Ledger()
    const all = next(100)
    writeFileSync(path, all.text)
    const first = follow(t, path, ledger, { source })
    await until('all', () => ledger.records.length === 100)
    await first.stop()
    const more = next(2)
    appendFileSync(path, more.text)
    copyFileSync(path, `${path}.1`)
    cpSync(path, `${path}.2025-01-01`)
    const again = follow(t, path, ledger, { source })
    await until('the rest', () => ledger.records.length >= 102)
    await sleep(50)
    t.same(ledger.records, [...all.ids, ...more.ids], String(source))
    await again.stop()
    rmSync(`${path}.1`)
    rmSync(`${path}.2025-01-01`)
  }
})

t.test('files whose names begin alike are each followed by their own', async (t) => {
  const folder = t.testdir()
  const [a, b] = [join(folder, 'Master.csv'), join(folder, 'Master-2.csv')]
  const ledger = new Ledger()
  writeFileSync(a, line('a1'))
  writeFileSync(b, line('b1'))
  follow(t, a, ledger, { others: [b] })
  follow(t, b, ledger, { others: [a] })
  await until('both', () => ledger.records.length === 2)
  for (const [path, name] of [
    [a, 'a'],
    [b, 'b'],
  ] as const) {
    appendFileSync(path, line(`${name}2`))
    renameSync(path, `${path}.1`)
    writeFileSync(path, line(`${name}3`))
  }
  await until('all', () => ledger.records.length >= 6)
  await sleep(60)
  t.same([...ledger.records].sort(), ['ca1', 'ca2', 'ca3', 'cb1', 'cb2', 'cb3'])
})

t.test('not there yet, removed, replaced by a shorter one, a folder in its place', async (t) => {
  const folder = t.testdir()
  const path = join(folder, 'sub', 'calls.jsonl')
  const other = join(folder, 'other.jsonl')
  const ledger = new Ledger()
  writeFileSync(other, line('o0'))
  const { log, follower } = follow(t, path, ledger)
  follow(t, other, ledger)
  await until('waiting', () => log.some((l) => l.includes('not there yet')))
  mkdirSync(join(folder, 'sub'))
  writeFileSync(path, line(1) + line(2) + line(3))
  await until('three', () => ledger.records.filter((r) => !r.startsWith('co')).length === 3)
  writeFileSync(`${path}.tmp`, line(4))
  renameSync(`${path}.tmp`, path)
  await until('the shorter', () => ledger.records.includes('c4'))
  unlinkSync(path)
  await until('waiting again', () => log.filter((l) => l.includes('not there yet')).length === 2)
  mkdirSync(path)
  await until('said', () => log.some((l) => l.includes('NOT_A_FILE')))
  await until('the lag grows', () => follower.lagSeconds > 0)
  appendFileSync(other, line('o1'))
  await until('the other goes on', () => ledger.records.includes('co1'))
  rmdirSync(path)
  writeFileSync(path, line(5))
  await until('tried again', () => ledger.records.includes('c5'))
  await until('no lag', () => follower.lagSeconds === 0)
  t.same(
    ledger.records.filter((r) => !r.startsWith('co')),
    ['c1', 'c2', 'c3', 'c4', 'c5'],
  )
  t.equal(log.filter((l) => l.includes('NOT_A_FILE')).length, 1, 'said once')
  t.match(JSON.parse(log.find((l) => l.includes('NOT_A_FILE')) ?? ''), { file: 3 })
  t.notMatch(log.join(''), /calls|jsonl|sub/)
})

t.test('a line that is too long waits for its end and is refused once', async (t) => {
  const path = join(t.testdir(), 'calls.jsonl')
  const ledger = new Ledger()
  writeFileSync(path, line(1) + 'x'.repeat(5000))
  const options = { maxRecordBytes: 300, chunkBytes: 600, reader: jsonReader(300) }
  const first = follow(t, path, ledger, options)
  await until('the first', () => ledger.records.length === 1)
  await sleep(50)
  appendFileSync(path, 'y'.repeat(2000))
  await sleep(50)
  t.same(ledger.records, ['c1'])
  appendFileSync(path, `\n${line(2)}`)
  await until('all', () => ledger.records.length === 3)
  t.same(ledger.records, ['c1', 'too_large', 'c2'])
  appendFileSync(path, 'z'.repeat(3000))
  await sleep(30)
  renameSync(path, `${path}.1`)
  await until('at the end of a rotated file', () => ledger.records.length === 4)
  t.equal(ledger.records[3], 'too_large')
  t.same((await rotatedFiles(path, null, ledger)).unfinished, [])
  await first.stop()
  t.equal(first.follower.buffersUsed, 0)
})

t.test('a piece that was not taken is offered again as it was, though the file has grown', async (t) => {
  const path = join(t.testdir(), 'calls.jsonl')
  for (const size of [2, 200]) {
    const ledger = new Ledger()
    const all = next(size)
    writeFileSync(path, all.text)
    const following = follow(t, path, ledger)
    await until('all', () => ledger.records.length === size)
    ledger.failNext = true
    const more = next(1)
    appendFileSync(path, more.text)
    await until('failed', () => following.log.some((l) => l.includes('MINIM_DELIVERY_MINIMISE')))
    const rest = next(300)
    appendFileSync(path, rest.text)
    await until(
      'all',
      () => ledger.records.length >= size + 301,
      () => ledger.records.length,
    )
    t.same(ledger.records, [...all.ids, ...more.ids, ...rest.ids])
    await following.stop()
    t.equal(following.follower.buffersUsed, 0)
    rmSync(path)
  }
})

t.test('nothing is read ahead of a delivery that takes nothing', async (t) => {
  const path = join(t.testdir(), 'calls.jsonl')
  const ledger = new Ledger()
  const all = next(20_000)
  writeFileSync(path, all.text)
  ledger.held = true
  const following = follow(t, path, ledger, { chunkBytes: 131_072 })
  await until('one is offered', () => ledger.waiting === 1)
  await sleep(100)
  t.equal(ledger.waiting, 1)
  t.ok(following.received() <= 2048, `${following.received()} lines were read`)
  t.equal(following.follower.buffersUsed, 1)
  await until('the lag grows', () => following.follower.lagSeconds > 0.05)
  ledger.release()
  await until('all', () => ledger.records.length === all.ids.length)
  t.same(ledger.records, all.ids)
})

/** Followers of several files, as the program makes them: they share one batch. */
function followAll(t: Test, paths: readonly string[], ledger: Ledger): void {
  const aborting = new AbortController()
  const files = paths.map((path) => ({
    ...DEFAULTS.file,
    path,
    format: 'jsonl' as const,
    mapping: 'minim',
    follow: true,
    source: null,
    pollMs: 10,
    settleMs: 30,
  }))
  const followers = followersOf(
    files.map((file, position) => ({ file, position, mapping: builtInMapping('minim', catalogue()) })),
    {
      settings: { files, limits: { maxRecordBytes: 65_536 } } as unknown as Settings,
      catalogue: catalogue(),
      signal: aborting.signal,
      log: createLog('info', { write: () => undefined }),
      counters: {
        received: () => undefined,
        refused: () => undefined,
        lag: () => undefined,
        connections: () => undefined,
        gap: () => undefined,
        left: () => undefined,
      },
      sinkOf: (_, reader) => new IntakeSink(ledger, reader.format, 'default'),
    },
  )
  const running = followers.map((follower) => follower.run())
  t.teardown(async () => {
    aborting.abort()
    await Promise.all(running)
  })
}

for (const [name, other] of [
  ['half a line', line('b').slice(0, 9)],
  ['a blank line', '\n'],
  ['a whole line', line('b')],
] as const) {
  t.test(`lines that wait for delivery are all taken, though another file gets ${name} meanwhile`, async (t) => {
    const folder = t.testdir()
    const [a, b] = [join(folder, 'a.jsonl'), join(folder, 'b.jsonl')]
    const ledger = new Ledger()
    writeFileSync(a, line('a0'))
    writeFileSync(b, line('b0'))
    followAll(t, [a, b], ledger)
    await until('both are followed', () => ledger.records.length === 2)
    ledger.held = true
    const waiting = next(100)
    appendFileSync(a, waiting.text)
    await until('they wait', () => ledger.waiting === 1)
    appendFileSync(b, other)
    // It is looked at every 10 ms.
    await sleep(100)
    ledger.release()
    const wanted = [...waiting.ids, ...(other === line('b') ? ['cb'] : [])]
    await until('they are taken', () => ledger.records.length >= 2 + wanted.length || ledger.waiting === 0)
    t.same(ledger.records.slice(2), wanted)
  })
}

/** A generator of its own, so that a run can be repeated by its seed. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 4_294_967_296) * below)
  }
}

t.test('whatever happens to the file and to the follower, each line is taken once', async (t) => {
  const runs = Math.max(20, Math.floor(fuzzRuns() / 100))
  const seed = Number(process.env['MINIM_TEST_SEED'] ?? Math.floor(Math.random() * 1_000_000))
  t.comment(`seed ${seed}: repeat with MINIM_TEST_SEED=${seed}; ${runs} runs`)
  let crashes = 0
  let rotations = 0
  const simulate = async (n: number): Promise<void> => {
    const pick = random(seed + n)
    const folder = mkdtempSync(join(tmpdir(), 'minim-follow-'))
    const path = join(folder, 'Master.csv')
    const ledger = new Ledger()
    const source = pick(3) === 0 ? 'pbx-1' : null
    const chunk = 256 << pick(8)
    const options = (): Partial<FollowOptions> => ({
      source,
      settleMs: 15,
      pollMs: 5,
      maxRecordBytes: 120,
      chunkBytes: chunk,
      reader: jsonReader(120),
    })
    const wanted: string[] = []
    let following: Following | null = null
    const rotated: string[] = []
    let open = ''
    const write = (): void => {
      const { text, ids } = next(1 + pick(pick(6) === 0 ? 400 : 8))
      let all = open + text
      open = ''
      if (pick(3) === 0) {
        const cut = 1 + pick(8)
        open = all.slice(-cut)
        all = all.slice(0, -cut)
      }
      appendFileSync(path, all)
      wanted.push(...ids)
    }
    const finishLine = (): void => {
      if (open !== '') appendFileSync(path, open)
      open = ''
    }
    const shift = (): void => {
      for (let i = rotated.length; i >= 1; i--) renameSync(`${path}.${i}`, `${path}.${i + 1}`)
      rotated.unshift('')
      rotations++
    }
    try {
      write()
      finishLine()
      following = follow(null, path, ledger, options())
      await until('the first lines', () => ledger.records.length === wanted.length)
      ledger.lazy = pick(2) === 0
      for (let step = 0; step < 25; step++) {
        switch (pick(8)) {
          case 0:
          case 1:
          case 2:
            write()
            break
          case 3:
            ledger.commit(1 + pick(3))
            break
          case 4:
            await sleep(pick(15))
            break
          case 5:
            crashes++
            following?.crash()
            following = null
            if (pick(2) === 0) following = follow(null, path, ledger, options())
            break
          case 6:
            // A writer that opens the file for each line, as Asterisk does: lines are whole when it is rotated.
            finishLine()
            shift()
            renameSync(path, `${path}.1`)
            await sleep(2)
            write()
            break
          case 7:
            finishLine()
            shift()
            copyFileSync(path, `${path}.1`)
            truncateSync(path, 0)
            await sleep(2)
            write()
            break
        }
      }
      finishLine()
      ledger.lazy = false
      following ??= follow(null, path, ledger, options())
      await until(
        `all of run ${n}`,
        () => {
          ledger.commit()
          return ledger.records.length >= wanted.length
        },
        () => ({
          missing: wanted.filter((id) => !ledger.records.includes(id)).slice(0, 5),
          records: ledger.records.length,
          wanted: wanted.length,
          log: following?.log.slice(-5),
        }),
      )
      await sleep(40)
      ledger.commit()
      if (JSON.stringify(ledger.records) !== JSON.stringify(wanted))
        throw new Error(
          `run ${n}: ${ledger.records.length} of ${wanted.length}, twice: ${ledger.records
            .filter((r, i) => ledger.records.indexOf(r) !== i)
            .slice(0, 5)
            .join()}`,
        )
      await following.stop()
      if (following.follower.buffersUsed !== 0)
        throw new Error(`run ${n}: ${following.follower.buffersUsed} buffers are lost`)
    } finally {
      await following?.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  }
  for (let n = 0; n < runs; n += 4) await Promise.all([0, 1, 2, 3].map((i) => simulate(n + i)))
  t.ok(crashes > runs && rotations > runs, `${crashes} crashes, ${rotations} rotations`)
})

t.test("the file system's own clock is not needed", async (t) => {
  // A file that is older than what it was rotated for is known by its identity alone.
  const path = join(t.testdir(), 'calls.jsonl')
  const ledger = new Ledger()
  writeFileSync(path, line(1))
  const first = follow(t, path, ledger)
  await until('one', () => ledger.records.length === 1)
  await first.stop()
  appendFileSync(path, line(2))
  renameSync(path, join(path, '..', 'calls.jsonl.somewhere'))
  writeFileSync(path, line(3))
  follow(t, path, ledger)
  await until('all', () => ledger.records.length === 3)
  t.same(ledger.records, ['c1', 'c2', 'c3'])
  t.equal(readFileSync(path, 'utf8'), line(3))
})
