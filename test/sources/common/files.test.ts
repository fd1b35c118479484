import { appendFileSync, copyFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { Batch } from '../../../src/batch/batch.js'
import { SharedBatch } from '../../../src/batch/lease.js'
import { catalogue } from '../../../src/catalogue/catalogue.js'
import { MinimError } from '../../../src/errors/catalogue.js'
import type { SourceId } from '../../../src/flow/work-item.js'
import { CsvReader } from '../../../src/formats/csv.js'
import { JsonLinesReader } from '../../../src/formats/json-lines.js'
import { builtInMapping } from '../../../src/formats/mapping.js'
import {
  ChunkPool,
  type FileChunk,
  type FilePiece,
  FileSource,
  type FileSourceOptions,
} from '../../../src/sources/common/files.js'
import { collect, nothing, type Outcome, readAll } from '../../formats/reading.js'
import { contentsName } from '../../helpers/contents.js'

const mapping = builtInMapping('minim', catalogue())
const folder = mkdtempSync(join(tmpdir(), 'minim-files-'))
t.teardown(() => {
  rmSync(folder, { recursive: true, force: true })
})
let files = 0

function file(content: string | Buffer): string {
  const path = join(folder, `f${files++}`)
  writeFileSync(path, content)
  return path
}

const small = { chunkBytes: 64, maxRecordBytes: 60, scratchBytes: 64, buffers: 3 }

/** Reads a file piece by piece, releasing each at once, and says where each ended. */
async function readFile(
  path: string,
  options: FileSourceOptions & { from?: number; capacity?: number } = {},
): Promise<Outcome & { ends: number[]; used: number }> {
  const pool = options.pool ?? new ChunkPool(small)
  const source = await FileSource.open(path, { ...options, pool })
  const reader = new JsonLinesReader(mapping, catalogue(), { maxRecordBytes: pool.maxRecordBytes })
  const batch = new Batch(catalogue(), options.capacity ?? 3)
  const shared = new SharedBatch(batch)
  const out = nothing()
  const ends: number[] = []
  for await (const chunk of source.chunks(options.from)) {
    for (let piece = chunk.take(reader, shared.lease()); piece !== null; piece = chunk.take(reader, shared.lease())) {
      const first = nothing()
      const second = nothing()
      collect(batch, 'call', first)
      t.equal(piece.records, batch.taken)
      collect(piece.batch(), 'call', out)
      shared.lease().batch().reset(Buffer.alloc(10))
      collect(piece.batch(), 'call', second)
      t.same(second, first, 'filled again, it is the same')
      ends.push(piece.endOffset)
      piece.release()
    }
  }
  await source.close()
  return { ...out, ends, used: pool.used }
}

const line = (n: number): string =>
  JSON.stringify({ calling: `+4477009${String(n).padStart(5, '0')}`, duration_seconds: n })

t.test('a file of many chunks gives what its bytes give at once', async (t) => {
  const text = Array.from({ length: 200 }, (_, i) => (i % 7 === 0 ? 'bad' : line(i))).join('\n')
  const whole = readAll(new JsonLinesReader(mapping, catalogue(), small), 'call', Buffer.from(text))
  const got = await readFile(file(text))
  t.same([got.rows, got.refused, got.raw, got.refusedRaw], [whole.rows, whole.refused, whole.raw, whole.refusedRaw])
  t.equal(got.ends.at(-1), text.length)
  t.equal(got.used, 0, 'every buffer is back in the pool')
})

t.test('it can be resumed behind every piece', async (t) => {
  const text = Array.from({ length: 40 }, (_, i) => (i % 5 === 0 ? 'x'.repeat(i * 4) : line(i))).join('\n')
  const path = file(text)
  const all = await readFile(path)
  t.ok(all.refused.includes('too_large') && all.ends.length > 10)
  let rows = 0
  for (const from of [0, ...all.ends]) {
    const rest = await readFile(path, { from })
    t.same(rest.rows, all.rows.slice(all.rows.length - rest.rows.length))
    t.same(rest.refused, all.refused.slice(all.refused.length - rest.refused.length))
    rows = Math.max(rows, rest.rows.length + rest.refused.length)
  }
  t.equal(rows, all.rows.length + all.refused.length)
  t.same((await readFile(path, { from: text.length })).rows, [])
})

t.test('a line that spans chunks is refused once, and reading goes on behind it', async (t) => {
  const cases = [
    { name: 'in the middle', text: `${line(1)}\n${'x'.repeat(500)}\n${line(2)}\n`, rows: 2 },
    { name: 'at the start', text: `${'{'.repeat(1000)}\n${line(2)}\n`, rows: 1 },
    { name: 'at the end, with a line end', text: `${line(1)}\n${'x'.repeat(500)}\n`, rows: 1 },
    { name: 'at the end, without one', text: `${line(1)}\n${'x'.repeat(500)}`, rows: 1 },
    {
      name: 'that holds what looks like a record',
      text: `${'x'.repeat(64 - line(1).length)}${line(1).repeat(8)}\n${line(2)}\n`,
      rows: 1,
    },
    { name: 'two of them', text: `${'x'.repeat(300)}\n${'y'.repeat(300)}\n${line(1)}\n`, rows: 1, refused: 2 },
  ]
  for (const c of cases) {
    const got = await readFile(file(c.text))
    t.equal(got.rows.length, c.rows, c.name)
    t.same(got.refused, Array(c.refused ?? 1).fill('too_large'), c.name)
    t.equal(got.refusedRaw[0].length, small.maxRecordBytes, c.name)
    t.equal(got.ends.at(-1), c.text.length, c.name)
    t.equal(got.used, 0, c.name)
  }
})

t.test('whatever the sizes, nothing is lost and nothing is counted twice', async () => {
  const anyLine = fc.oneof(
    { weight: 5, arbitrary: fc.nat(99_999).map(line) },
    fc.nat(200).map((n) => 'x'.repeat(n)),
    fc.constant('{"calling":"\\u0031"}'),
    fc.constant(''),
  )
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyLine, { maxLength: 20 }),
      fc.integer({ min: 1, max: 200 }),
      fc.integer({ min: 50, max: 90 }),
      fc.integer({ min: 1, max: 4 }),
      async (lines, chunkBytes, maxRecordBytes, capacity) => {
        const text = lines.join('\n')
        const whole = readAll(new JsonLinesReader(mapping, catalogue(), { maxRecordBytes }), 'call', Buffer.from(text))
        const pool = new ChunkPool({ chunkBytes, maxRecordBytes, buffers: 3 })
        const path = join(folder, 'generated')
        writeFileSync(path, text)
        const source = await FileSource.open(path, { pool })
        const reader = new JsonLinesReader(mapping, catalogue(), { maxRecordBytes })
        const batch = new Batch(catalogue(), capacity)
        const shared = new SharedBatch(batch)
        const out = nothing()
        let end = 0
        for await (const chunk of source.chunks()) {
          for (
            let piece = chunk.take(reader, shared.lease());
            piece !== null;
            piece = chunk.take(reader, shared.lease())
          ) {
            collect(batch, 'call', out)
            if (piece.endOffset <= end) throw new Error(`offset ${piece.endOffset} after ${end}`)
            end = piece.endOffset
            piece.release()
          }
        }
        await source.close()
        if (pool.used !== 0) throw new Error(`${pool.used} buffers are lost`)
        for (const what of ['rows', 'raw', 'refused', 'refusedRaw', 'unknown'] as const) {
          if (JSON.stringify(out[what]) !== JSON.stringify(whole[what]))
            throw new Error(`${what}: ${JSON.stringify(out[what])}, not ${JSON.stringify(whole[what])}`)
        }
      },
    ),
    { numRuns: 1000 },
  )
})

t.test('reading waits while all buffers are kept', async (t) => {
  const pool = new ChunkPool({ ...small, buffers: 4 })
  const source = await FileSource.open(file(`${line(1)}\n`.repeat(200)), { pool })
  const reader = new JsonLinesReader(mapping, catalogue(), small)
  const shared = new SharedBatch(new Batch(catalogue()))
  const kept: FilePiece[] = []
  const chunks = source.chunks()
  let waiting: Promise<IteratorResult<FileChunk, void>> | null = null
  for (let i = 0; i < 50 && waiting === null; i++) {
    const next = chunks.next()
    const got = await Promise.race([next, new Promise<null>((resolve) => setTimeout(resolve, 100, null))])
    if (got === null) waiting = next
    else {
      const piece = (got.value as FileChunk).take(reader, shared.lease())
      if (piece !== null) kept.push(piece)
    }
  }
  t.not(waiting, null, 'it waits')
  t.equal(pool.used, 4)
  for (const piece of kept) {
    piece.release()
    piece.release()
  }
  t.equal((await waiting)?.done, false, 'and goes on when they are released')
  await chunks.return()
  await source.close()
  t.equal(pool.used, 0, 'left early, every buffer is back')
})

t.test('a file that may still grow keeps its unfinished line', async (t) => {
  const path = file(`${line(1)}\n${line(2)}`)
  const got = await readFile(path, { finished: false })
  t.equal(got.rows.length, 1)
  t.same(got.ends, [line(1).length + 1])
  appendFileSync(path, '\n')
  const rest = await readFile(path, { finished: false, from: got.ends[0] })
  t.equal(rest.rows.length, 1)
  t.equal(
    (await readFile(file('x'.repeat(500)), { finished: false })).ends.length,
    0,
    'even one that is too long already',
  )
})

t.test('after a length-delimited record that is too long nothing is read', async (t) => {
  const got = await readFile(file(`${line(1)}\n${'x'.repeat(500)}\n${line(2)}\n`), { framing: 'length-delimited' })
  t.equal(got.rows.length, 1)
  t.same(got.refused, ['too_large'])
})

t.test('which file it is', async (t) => {
  const text = `${line(1)}\n`.repeat(200)
  const path = file(text)
  const id = async (path: string, source?: string) => {
    const opened = await FileSource.open(path, source === undefined ? {} : { source })
    await opened.close()
    return opened.identity.idAt(opened.size, { contentsName })
  }
  const first = await id(path)
  t.match(first.source, /^file-[0-9a-f]{12}$/)
  t.match(first.incarnation, /^hmac-[0-9a-f]{32}$/)
  t.notOk(JSON.stringify(first).includes(path))
  t.same(await id(path), first)
  const moved = `${path}.1`
  renameSync(path, moved)
  t.same(await id(moved), first, 'a rotated file is the same')
  appendFileSync(moved, text)
  t.same(await id(moved), first, 'and when it grows')
  copyFileSync(moved, path)
  t.not((await id(path)).incarnation, first.incarnation, 'a copy is another')
  t.same(await id(path, 'pbx-1'), await id(moved, 'pbx-1'), 'unless the source is named: then the contents tell')
  t.equal((await id(path, 'pbx-1')).source, 'pbx-1')
  writeFileSync(moved, `x${text}`)
  t.not((await id(moved)).incarnation, first.incarnation, 'other contents in the same place are another file')
})

t.test('a short file that grew can be known again by where it was', async (t) => {
  const path = file(`${line(1)}\n`)
  const before = await FileSource.open(path)
  const length = before.size
  appendFileSync(path, `${line(2)}\n`)
  const after = await FileSource.open(path)
  const idAt = (opened: FileSource, offset = opened.size): SourceId => opened.identity.idAt(offset, { contentsName })
  t.not(idAt(after).incarnation, idAt(before).incarnation)
  t.same(idAt(after, length), idAt(before))
  t.not(idAt(after, length - 1).incarnation, idAt(before).incarnation)
  t.same(idAt(after, 1e6), idAt(after))
  await before.close()
  await after.close()
})

t.test('what cannot be read says so without the path', async (t) => {
  const failure = async (action: () => Promise<unknown>): Promise<MinimError> => {
    try {
      await action()
    } catch (error) {
      if (error instanceof MinimError) return error
      throw error
    }
    throw new Error('it did not fail')
  }
  const missing = await failure(() => FileSource.open(join(folder, '+447700900123.csv'), { label: 'file 2' }))
  t.equal(missing.code, 'MINIM_FILE_UNREADABLE')
  t.match(missing.message, /file 2: cannot be read \(ENOENT\)/)
  t.notMatch(`${missing.stack} ${JSON.stringify(missing)}`, /447700900123/)
  t.equal((await failure(() => FileSource.open(folder))).details.code, 'NOT_A_FILE')

  const path = file(`${line(1)}\n`.repeat(100))
  const pool = new ChunkPool(small)
  const source = await FileSource.open(path, { pool })
  truncateSync(path, 100)
  const shrunk = await failure(async () => {
    for await (const chunk of source.chunks()) t.ok(chunk)
  })
  t.equal(shrunk.code, 'MINIM_FILE_CHANGED')
  t.equal(pool.used, 0)
  t.equal((await failure(() => source.chunks(1e9).next())).code, 'MINIM_FILE_CHANGED')
  await source.close()
})

t.test('an empty file has nothing', async (t) => {
  const got = await readFile(file(''))
  t.same([got.rows, got.refused, got.ends], [[], [], []])
})

t.test('CSV over many chunks, with records on several lines and torn ones', async (t) => {
  const cdr = builtInMapping('asterisk-cdr', catalogue())
  const record = (i: number): string =>
    `"a","${1000 + i}","+442079460101","x","""A"" <1>","PJSIP/1","","Dial","x\ny","2026-01-02 03:04:05",,` +
    `"2026-01-02 03:05:05",60,0,"NO ANSWER","DOCUMENTATION"`
  const text =
    Array.from({ length: 300 }, (_, i) => (i % 10 === 3 ? record(i).slice(0, 70) : record(i))).join('\n') + '\n'
  const pool = new ChunkPool({ chunkBytes: 300, maxRecordBytes: 1024, buffers: 3 })
  const source = await FileSource.open(file(text), { pool })
  const reader = new CsvReader(cdr, catalogue(), { maxRecordBytes: 1024 })
  const batch = new Batch(catalogue(), 16)
  const shared = new SharedBatch(batch)
  const out = nothing()
  for await (const chunk of source.chunks()) {
    for (let piece = chunk.take(reader, shared.lease()); piece !== null; piece = chunk.take(reader, shared.lease())) {
      collect(batch, 'call', out)
      piece.release()
    }
  }
  await source.close()
  const whole = readAll(reader, 'call', Buffer.from(text))
  t.same([out.rows, out.refused, out.refusedRaw], [whole.rows, whole.refused, whole.refusedRaw])
  t.equal(out.rows.length, 270)
  t.same(new Set(out.refused), new Set(['malformed_csv']))
})
