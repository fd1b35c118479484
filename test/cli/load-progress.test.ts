import { PassThrough } from 'node:stream'
import t from 'tap'
import { labelOf, loadFailure, type LoadReport } from '../../src/cli/load.js'
import { duration, LoadProgress } from '../../src/cli/load-progress.js'
import { readInput } from '../../src/cli/read-input.js'

/** A terminal, and what a person would see in its lines. */
function terminal(isTTY = true): { stream: NodeJS.WriteStream; text: () => string; lines: () => string[] } {
  const stream = new PassThrough() as unknown as NodeJS.WriteStream
  let written = ''
  stream.on('data', (chunk: Buffer) => {
    written += chunk.toString()
  })
  Object.assign(stream, {
    isTTY,
    columns: 200,
    cursorTo: () => stream.write('\r'),
    clearLine: () => stream.write('\u001b[K'),
    moveCursor: () => true,
  })
  // A carriage return begins the line anew, and what follows stands over what was there.
  const lines = (): string[] =>
    written.split('\n').map(
      (line) =>
        line
          .split(/\r/)
          .pop()
          ?.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, '') ?? '',
    )
  return { stream, text: () => written, lines }
}

t.test('the bar has rate and time left, and lines stand above it', (t) => {
  let now = 0
  const { stream, text, lines } = terminal()
  const progress = new LoadProgress(stream, () => now)
  progress.begin('input file')
  progress.at({ done: 1000, size: 11_000, from: 1000, records: 0 })
  now = 5000
  progress.at({ done: 6000, size: 11_000, from: 1000, records: 250 })
  progress.say('minim: something was said\n')
  progress.end()
  t.match(text(), /250 records {2}50 records\/s {2}5 s left/)
  t.ok(lines().includes('minim: something was said'), JSON.stringify(lines()))
  t.match(progress.place(), '6000 of 11000 bytes of input file are committed; the same command goes on from there')
  progress.begin('input file 2 of the 2 given')
  t.match(progress.place(), /nothing of input file 2 of the 2 given/)
  t.end()
})

t.test('without a terminal there are only lines', (t) => {
  const { stream, text } = terminal(false)
  const progress = new LoadProgress(stream)
  progress.begin('input file')
  progress.at({ done: 5, size: NaN, from: 0, records: 1 })
  progress.say('a line\n')
  progress.end()
  t.equal(text(), 'a line\n')
  t.match(progress.place(), '5 bytes of input file are committed')
  t.end()
})

t.test('times left', (t) => {
  t.same([0.2, 59, 60, 200, 7500].map(duration), ['1 s', '59 s', '1 min 0 s', '3 min 20 s', '2 h 5 min'])
  t.end()
})

t.test('what a load must not pass over in silence', (t) => {
  const report: LoadReport = {
    ...{ records: 10, produced: {}, withheld: {}, quarantined: 0, seconds: 1, cpuSeconds: 1, skippedBytes: 0 },
    ...{ quarantinedByReason: {}, unknownFields: 0, unsafeFields: 0 },
  }
  const code = (over: Partial<LoadReport>): string | null => loadFailure({ ...report, ...over })?.code ?? null
  t.equal(code({ produced: { a: 10 } }), null)
  t.equal(code({ withheld: { expired: 70 } }), 'MINIM_LOAD_WITHHELD', 'nothing was produced')
  t.equal(code({ quarantined: 10 }), 'MINIM_LOAD_WITHHELD')
  t.equal(code({ records: 0 }), 'MINIM_LOAD_WITHHELD', 'an empty file')
  t.equal(code({ records: 0, skippedBytes: 9 }), null, 'an earlier run had taken it')
  t.equal(code({ produced: { a: 34 }, withheld: { expired: 36 } }), 'MINIM_LOAD_WITHHELD', 'more than half')
  t.equal(code({ produced: { a: 35 }, withheld: { expired: 35 } }), null, 'half')
  t.equal(
    code({ produced: { a: 10 }, withheld: { no_consent: 60 } }),
    null,
    'for another reason it is as the policy says',
  )
  t.end()
})

t.test('a name that was typed is repeated on a terminal only, and cannot command it', (t) => {
  const files = ['anna smith.csv', '-', 'a\u001b]0;title\u0007\u009b2J\u202e\n.csv']
  t.equal(labelOf(files, 0, true), 'input file 1 of the 3 given, anna smith.csv')
  t.equal(labelOf(files, 2, true), 'input file 3 of the 3 given, a\\u{1b}]0;title\\u{7}\\u{9b}2J\\u{202e}\\u{a}.csv')
  t.notMatch(labelOf(files, 0, false), /anna/)
  t.equal(labelOf(files, 1, false), 'standard input')
  t.throws(() => readInput('none\u001b[2J.csv'), { message: 'none\\u{1b}[2J.csv: cannot be read (ENOENT)' })
  t.end()
})
