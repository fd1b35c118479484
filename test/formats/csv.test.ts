import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { catalogue } from '../../src/catalogue/catalogue.js'
import { CsvReader } from '../../src/formats/csv.js'
import { JsonLinesReader } from '../../src/formats/json-lines.js'
import { builtInMapping, type Mapping, withColumns } from '../../src/formats/mapping.js'
import { checkMapping } from '../../src/formats/mapping-check.js'
import { repositoryRoot, shared } from '../helpers/shared.js'
import { type Outcome, readAll, type Row } from './reading.js'

const asterisk = builtInMapping('asterisk-cdr', catalogue(), { timeZone: 'Europe/London' })

function read(
  mapping: Mapping,
  text: string | Buffer,
  options: { last?: boolean; maxRecordBytes?: number; scratchBytes?: number; capacity?: number } = {},
): Outcome {
  return readAll(new CsvReader(mapping, catalogue(), options), mapping.kind, Buffer.from(text as string), options)
}

function present<T>(value: T | null | undefined): T {
  if (value === null || value === undefined) throw new Error('it is not there')
  return value
}

function fixture(name: string): Buffer {
  return readFileSync(join(repositoryRoot(), 'test', 'fixtures', name))
}

const head =
  '"acct","1001","+442079460101","ctx","""Ann"" <1001>","PJSIP/447700900123-1","PJSIP/x","Dial","PJSIP/+442079460101",'
const rest = '"2026-01-02 03:04:05","2026-01-02 03:04:09","2026-01-02 03:05:05",60,56,"ANSWERED","DOCUMENTATION"'
const base: Row = {
  account: 'acct',
  calling: '1001',
  called: '+442079460101',
  calling_name: 'Ann',
  start_ms: 1767323045000,
  answer_ms: 1767323049000,
  end_ms: 1767323105000,
  duration_seconds: 60,
  billable_seconds: 56,
  disposition: 1,
  origin: 1,
}

t.test('lines of cdr-csv', async (t) => {
  const cases: { name: string; line: string; row?: Row; refused?: string }[] = [
    { name: '16 columns', line: head + rest, row: base },
    {
      name: '17 columns, the last a unique id',
      line: `${head}${rest},"1767323045.1"`,
      row: { ...base, call_id: '1767323045.1' },
    },
    {
      name: '17 columns, with a system name in it',
      line: `${head}${rest},"pbx-1-1767323045.1"`,
      row: { ...base, call_id: 'pbx-1-1767323045.1' },
    },
    { name: '17 columns, the last a user field', line: `${head}${rest},"ring +447700900123"`, row: base },
    { name: '17 columns, a user field with a point', line: `${head}${rest},"+447700900123.5"`, row: base },
    { name: '18 columns', line: `${head}${rest},"1767323045.1","user"`, row: { ...base, call_id: '1767323045.1' } },
    { name: '19 columns', line: `${head}${rest},"peer","1767323045.0",7`, row: { ...base, linked_id: '1767323045.0' } },
    {
      name: '20 columns',
      line: `${head}${rest},"1767323045.1","peer","1767323045.0",7`,
      row: { ...base, call_id: '1767323045.1', linked_id: '1767323045.0' },
    },
    {
      name: '21 columns',
      line: `${head}${rest},"1767323045.1","user","peer","1767323045.0",7`,
      row: { ...base, call_id: '1767323045.1', linked_id: '1767323045.0' },
    },
    { name: '15 columns', line: `${head}${rest}`.replace(/,"DOCUMENTATION"/, ''), refused: 'malformed_csv' },
    {
      name: '22 columns, the last the SIP Call-ID',
      line: `${head}${rest},"1767323045.1","user","peer","1767323045.0",7,"a84b4c76@192.0.2.7"`,
      row: { ...base, call_id: 'a84b4c76@192.0.2.7', linked_id: '1767323045.0' },
    },
    {
      name: '22 columns, no SIP Call-ID',
      line: `${head}${rest},"1767323045.1","user","peer","1767323045.0",7,""`,
      row: { ...base, call_id: '1767323045.1', linked_id: '1767323045.0' },
    },
    { name: '23 columns', line: `${head}${rest},,,,,,,`, refused: 'malformed_csv' },
    {
      name: 'an unanswered call',
      line: head + rest.replace('"2026-01-02 03:04:09"', ''),
      row: without(base, 'answer_ms'),
    },
    {
      name: 'an unanswered call, quoted',
      line: head + rest.replace('"2026-01-02 03:04:09"', '""'),
      row: without(base, 'answer_ms'),
    },
    {
      name: 'NO ANSWER with billable seconds',
      line: head + rest.replace('ANSWERED', 'NO ANSWER'),
      row: { ...base, disposition: 2 },
    },
    {
      name: 'a backslash is no escape',
      line: head.replace('""Ann""', '""O\\""Quote""') + rest,
      row: { ...base, calling_name: 'O\\"Quote' },
    },
    {
      name: "a backslash at a field's end",
      line: head.replace('"acct"', '"acct\\"') + rest,
      row: { ...base, account: 'acct\\' },
    },
    { name: 'a comma in a field', line: head.replace('"acct"', '"a,c"') + rest, row: { ...base, account: 'a,c' } },
    { name: 'a field of quotes', line: head.replace('"acct"', '""""""') + rest, row: { ...base, account: '""' } },
    {
      name: 'a line feed in a field',
      line: head.replace('"ctx"', '"c\ntx"').replace('"acct"', '"a\r\nb"') + rest,
      row: { ...base, account: 'a\r\nb' },
    },
    { name: 'a quote in an unquoted field', line: head.replace('"acct"', 'ac"ct') + rest, refused: 'malformed_csv' },
    {
      name: 'something after a closing quote',
      line: head.replace('"acct"', '"acct"x') + rest,
      refused: 'malformed_csv',
    },
    { name: 'a space after a closing quote', line: head.replace('"acct"', '"acct" ') + rest, refused: 'malformed_csv' },
    {
      name: 'unquoted fields',
      line: head.replace('"acct"', 'acct') + rest.replace('"ANSWERED"', 'ANSWERED'),
      row: base,
    },
    { name: 'no src: the caller id has it', line: head.replace('"1001"', '') + rest, row: base },
    { name: 'UTF-8', line: head.replace('Ann', 'Zo\u00eb') + rest, row: { ...base, calling_name: 'Zo\u00eb' } },
    { name: 'a bad date', line: head + rest.replace('01-02', '13-02'), refused: 'bad_value' },
    { name: 'a bad number', line: head + rest.replace(',60,', ',6O,'), refused: 'bad_value' },
    { name: 'NULs, as a crash leaves them', line: '\0'.repeat(200), refused: 'malformed_csv' },
    { name: 'no CSV at all', line: 'hello', refused: 'malformed_csv' },
    { name: 'an open quote', line: '"acct","1001', refused: 'malformed_csv' },
  ]
  for (const c of cases) {
    t.test(c.name, async (t) => {
      for (const end of ['\n', '\r\n']) {
        // Between two good lines: what is bad hurts neither
        const got = read(asterisk, [head + rest, c.line, head + rest, ''].join(end))
        t.same(got.refused, c.refused === undefined ? [] : [c.refused])
        t.same(got.rows, c.row === undefined ? [base, base] : [base, c.row, base])
        if (c.refused !== undefined) t.equal(got.refusedRaw[0].trimEnd(), Buffer.from(c.line).toString('latin1'))
      }
      // And as a whole, in a file without a last line feed
      t.same(read(asterisk, c.line).refused, c.refused === undefined ? [] : [c.refused])
    })
  }
})

function without(row: Row, key: string): Row {
  return Object.fromEntries(Object.entries(row).filter(([k]) => k !== key))
}

t.test('a text that is not UTF-8 costs its own field and no other', async (t) => {
  const spoilt = (what: string, line = `${head}${rest}\n`): Outcome => {
    const bytes = Buffer.from(line)
    bytes[bytes.indexOf(what)] = 0xe9
    return read(asterisk, bytes)
  }
  for (const [name, outcome, row] of [
    ['an account', spoilt('acct'), without(base, 'account')],
    ["a caller's name, in doubled quotes", spoilt('Ann'), without(base, 'calling_name')],
    ['the number that was dialled', spoilt('+442'), without(base, 'called')],
    ['the caller: the number of the caller id stands in for it', spoilt('1001"'), base],
    ['the number of the caller id', spoilt('1001>'), base],
    ['a column that is not taken', spoilt('ctx'), base],
    [
      'both numbers of the caller',
      spoilt('1001>', `${head.replace('"1001"', '""')}${rest}\n`),
      without(base, 'calling'),
    ],
    [
      'a SIP Call-ID: the unique id stands in for it',
      spoilt('a84b', `${head}${rest},"1767323045.1","user","peer","1767323045.0",7,"a84b4c76@192.0.2.7"\n`),
      { ...base, call_id: '1767323045.1', linked_id: '1767323045.0' },
    ],
  ] as const) {
    t.same(outcome.refused, [], name)
    t.same(outcome.rows, [row], name)
  }
  const name = read(
    asterisk,
    Buffer.concat([Buffer.from(head.replace('""Ann""', '"Jos')), Buffer.from([0xe9]), Buffer.from('"')]),
  )
  t.same(name.refused, ['malformed_csv'], 'what is no CSV is none, whatever its bytes')
})

t.test('any byte above ASCII is found at any place in a field', async (t) => {
  for (const quote of ['"', '']) {
    for (let byte = 0x80; byte <= 0xff; byte++) {
      for (let before = 0; before < 8; before++) {
        const line = Buffer.from(head.replace('"acct"', `${quote}${'x'.repeat(before)}#yyyyy${quote}`) + rest)
        line[line.indexOf('#')] = byte
        const { rows, refused } = read(asterisk, line)
        if (refused.length > 0 || rows[0].account !== undefined) t.fail(`0x${byte.toString(16)} after ${before}`)
      }
    }
  }
  t.pass()
})

t.test('a last line without its line feed', async (t) => {
  const custom = present(withColumns(asterisk, ['src', 'start', 'billsec'], 'columns').mapping)
  const whole = '"1001","2026-01-02 03:04:05",56'
  t.equal(read(custom, `${whole}\n`).rows.length, 1)
  t.same(read(custom, whole).refused, ['malformed_csv'], 'its last number may be torn')
  t.equal(read(custom, '"1001","2026-01-02 03:04:05","56"').rows.length, 1, 'closed by a quote it is whole')
  t.same(read(custom, '"1001","2026-01-02 03:04:05","56').refused, ['malformed_csv'])
  t.same(read(custom, '"1001","2026-01-02 03:04:05"').refused, ['malformed_csv'])
  t.equal(
    read(asterisk, `${head}${rest},"1767323045.1","user","peer","1767323045.0",7`).rows.length,
    1,
    'a torn number that is not taken does not matter',
  )
  for (const line of [whole, '"1001","2026-01-02 03:04:05","56"', '"1001', '"10\n01'])
    t.equal(read(custom, line, { last: false }).consumed, 0, 'while the file may grow it waits')
})

t.test('records that are too long', async (t) => {
  const line = head + rest
  const long = `"${'a'.repeat(line.length + 10)}"`
  const got = read(asterisk, `${line}\n${long}\n${line}\n`, { maxRecordBytes: line.length })
  t.equal(got.rows.length, 2)
  t.same(got.refused, ['too_large'])
  t.equal(got.refusedRaw[0].length, line.length)
  t.equal(read(asterisk, `${line}\n`, { maxRecordBytes: line.length - 1 }).refused[0], 'too_large')
  // An open quote swallows no more than that
  const open = read(asterisk, `"a\n${'x\n'.repeat(200)}${line}\n`, { maxRecordBytes: 300 })
  t.equal(open.refused.length, 201)
  t.same(open.rows, [base])
})

t.test('the batch ends where the columns or the scratch space are full', async (t) => {
  const text = Array.from({ length: 50 }, (_, i) => (i % 4 === 0 ? 'bad' : head.replace('1001', `${i}`) + rest)).join(
    '\n',
  )
  const all = read(asterisk, text)
  for (const options of [{ capacity: 7 }, { scratchBytes: 20 }, { capacity: 3, scratchBytes: 30 }])
    t.same(read(asterisk, text, options), all)
  t.same(read(asterisk, head + rest, { scratchBytes: 5 }).refused, ['too_large'])
})

t.test('the fixtures', async (t) => {
  const expected: Row[] = [
    {
      account: 'acct-0001',
      calling: '+447700900123',
      called: '+442079460101',
      calling_name: 'Ann Example',
      call_id: '1774742390.26',
      linked_id: '1774742390.26',
      origin: 1,
      start_ms: Date.UTC(2026, 2, 28, 23, 59, 50),
      answer_ms: Date.UTC(2026, 2, 28, 23, 59, 58),
      end_ms: Date.UTC(2026, 2, 29, 0, 1, 58),
      duration_seconds: 128,
      billable_seconds: 120,
      disposition: 1,
    },
    {
      account: 'acct-0001',
      calling: '1001',
      called: '+442079460102',
      calling_name: 'O\\"Quote',
      call_id: '1774747800.28',
      linked_id: '1774747800.28',
      origin: 1,
      start_ms: Date.UTC(2026, 2, 29, 1, 30),
      end_ms: Date.UTC(2026, 2, 29, 1, 30, 20),
      duration_seconds: 20,
      billable_seconds: 3,
      disposition: 2,
    },
    {
      calling: '+447700900456',
      called: '+442079460103',
      calling_name: 'Zo\u00eb',
      call_id: 'pbx1-1792888200.30',
      linked_id: 'pbx1-1792888200.30',
      origin: 1,
      start_ms: Date.UTC(2026, 9, 25, 0, 30),
      end_ms: Date.UTC(2026, 9, 25, 0, 30, 1),
      duration_seconds: 1,
      billable_seconds: 0,
      disposition: 3,
    },
  ]
  const master = read(asterisk, fixture('csv/Master.csv'))
  t.same([master.rows, master.refused], [expected, []])
  const json = readAll(new JsonLinesReader(asterisk, catalogue()), 'call', fixture('json-lines/cdr.jsonl'))
  t.same([json.rows, json.refused, json.unknown], [expected, [], 0], 'the same calls as JSON Lines give the same')
  const torn = read(asterisk, fixture('csv/Master-18.csv'))
  t.same(
    torn.rows,
    expected.slice(0, 2).map((row) => without(row, 'linked_id')),
  )
  t.same(torn.refused, ['malformed_csv'])

  const { mapping, problems } = checkMapping(
    {
      columns: ['clid', 'from', 'to', 'at', 'how', 'secs', 'cause'],
      fields: {
        from: 'calling',
        to: 'called',
        at: { field: 'start_ms', as: 'epoch-seconds' },
        how: 'disposition',
        secs: 'billable_seconds',
        cause: 'hangup_cause',
      },
      drop: ['clid'],
    },
    catalogue(),
    'custom',
    'mappings.custom',
  )
  t.same(problems, [])
  t.same(read(present(mapping), fixture('csv/custom.csv')).rows, [
    {
      calling: '+447700900123',
      called: '+442079460101',
      start_ms: 1774742390123,
      disposition: 1,
      billable_seconds: 120,
      hangup_cause: 16,
      origin: 1,
    },
  ])
})

t.test("Asterisk's own Master.csv", async (t) => {
  const path = shared('fixtures/csv/testsuite-Master.csv')
  if (path === null) {
    t.comment('../shared is not there: left out')
    return
  }
  const got = read(builtInMapping('asterisk-cdr', catalogue()), readFileSync(path))
  t.same(got.refused, [])
  t.same(got.rows, [
    {
      called: '1',
      start_ms: 1270167992000,
      answer_ms: 1270167992000,
      end_ms: 1270167999000,
      duration_seconds: 7,
      billable_seconds: 7,
      disposition: 1,
      call_id: '1270167992.0',
      origin: 1,
    },
    {
      called: '1',
      start_ms: 1270168442000,
      answer_ms: 1270168442000,
      end_ms: 1270168449000,
      duration_seconds: 7,
      billable_seconds: 7,
      disposition: 1,
      call_id: '1270168442.0',
      origin: 1,
    },
  ])
  const cel = shared('fixtures/csv/testsuite-CELMaster1.csv')
  if (cel !== null)
    t.same(
      new Set(read(asterisk, readFileSync(cel)).refused),
      new Set(['bad_value']),
      'channel events are no call records',
    )
})

t.test('a mapping without columns is refused', async (t) => {
  t.throws(() => new CsvReader(builtInMapping('minim', catalogue()), catalogue()), { code: 'MINIM_CSV_NO_COLUMNS' })
})

// A slow and obvious reader: one character at a time, a column as a string
const letters = present(withColumns(asterisk, ['accountcode', 'src', 'userfield', 'uniqueid'], 'columns').mapping)

function reference(text: string): { rows: Row[]; refused: number } {
  const rows: Row[] = []
  let refused = 0
  let at = 0
  while (at < text.length) {
    if (text[at] === '\n' || text.startsWith('\r\n', at) || text.slice(at) === '\r') {
      at += text[at] === '\n' ? 1 : 2
      continue
    }
    const record = referenceRecord(text, at)
    if (record === null) {
      refused++
      const lf = text.indexOf('\n', at)
      at = lf < 0 ? text.length : lf + 1
      continue
    }
    const [account, calling, , callId] = record.columns
    const row: Row = {}
    if (account !== '') row['account'] = account
    if (callId !== '') row['call_id'] = callId
    if (calling !== '') row['calling'] = calling
    rows.push({ ...row, origin: 1 })
    at = record.end
  }
  return { rows, refused }
}

function referenceRecord(text: string, at: number): { columns: string[]; end: number } | null {
  const columns: string[] = []
  let whole = true
  for (;;) {
    let column = ''
    whole = text[at] === '"'
    if (whole) {
      at++
      for (;;) {
        if (at >= text.length) return null
        if (text[at] === '"' && text[at + 1] === '"') {
          column += '"'
          at += 2
        } else if (text[at] === '"') break
        else column += text[at++]
      }
      at++
    } else {
      while (at < text.length && text[at] !== ',' && text[at] !== '\n') {
        if (text[at] === '"') return null
        column += text[at++]
      }
      if (column.endsWith('\r') && text[at] !== ',') column = column.slice(0, -1)
    }
    columns.push(column)
    if (text[at] === ',') {
      at++
      continue
    }
    const rest = text.slice(at)
    if (rest === '' || rest === '\r') return columns.length === 4 && whole ? { columns, end: text.length } : null
    if (!rest.startsWith('\n') && !rest.startsWith('\r\n')) return null
    return columns.length === 4 ? { columns, end: at + rest.indexOf('\n') + 1 } : null
  }
}

const cellText = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('', 'a"b', '"', '""', 'a,b', 'a\nb', '\r', '\r\n', '\\', '\\"', '<x>', 'abc\u00e9'),
  fc.string({ unit: fc.constantFrom('"', ',', '\n', '\r', 'x', '\u00e9') }),
)
const cell = fc
  .tuple(cellText, fc.boolean())
  .map(([text, quoted]) => (quoted || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text))
const goodLine = fc.array(cell, { minLength: 4, maxLength: 4 }).map((cells) => cells.join(','))
const anyLine = fc.oneof(
  { weight: 4, arbitrary: goodLine },
  fc.array(cell, { maxLength: 6 }).map((cells) => cells.join(',')),
  fc.string({ unit: fc.constantFrom('"', '"', ',', '\n', '\r', 'x', '\u00e9', '\0') }),
)
const document = fc
  .tuple(fc.array(anyLine, { maxLength: 6 }), fc.constantFrom('\n', '\n', '\r\n'), fc.boolean())
  .map(([lines, end, ended]) => lines.join(end) + (ended ? end : ''))

t.test('the same as a slow and obvious reader', async () => {
  const reader = new CsvReader(letters, catalogue())
  fc.assert(
    fc.property(document, (text) => {
      const got = readAll(reader, 'call', Buffer.from(text))
      const expected = reference(Buffer.from(text).toString())
      if (JSON.stringify(got.rows) !== JSON.stringify(expected.rows) || got.refused.length !== expected.refused) {
        throw new Error(`got ${JSON.stringify(got)}, not ${JSON.stringify(expected)}`)
      }
    }),
    { numRuns: 3000 },
  )
})

t.test('however the bytes come in chunks, the records are the same', async () => {
  fc.assert(
    fc.property(
      document,
      fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 20 }),
      fc.integer({ min: 1, max: 5 }),
      (text, cuts, capacity) => {
        const reader = new CsvReader(letters, catalogue())
        const input = Buffer.from(text)
        const whole = readAll(reader, 'call', input)
        const parts = readAll(reader, 'call', input, { cuts, capacity })
        if (JSON.stringify(parts) !== JSON.stringify(whole))
          throw new Error(`${JSON.stringify(parts)} is not ${JSON.stringify(whole)}`)
      },
    ),
    { numRuns: 1500 },
  )
})

t.test('no input makes it throw, and all of it is consumed', async () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc
      .array(fc.constantFrom(...Array.from('",\n\r\0x\u00ff\\1-:')), { maxLength: 200 })
      .map((a) => Buffer.from(a.join(''), 'latin1')),
  )
  const reader = new CsvReader(asterisk, catalogue(), { maxRecordBytes: 100 })
  fc.assert(
    fc.property(bytes, fc.integer({ min: 1, max: 5 }), (input, capacity) => {
      const got = readAll(reader, 'call', Buffer.from(input), { capacity, scratchBytes: 10 })
      if (got.consumed !== input.length) throw new Error(`${got.consumed} of ${input.length}`)
    }),
    { numRuns: 2000 },
  )
})
