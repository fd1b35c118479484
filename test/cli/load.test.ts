/** What `minim load` says while it waits. */
import t from 'tap'
import { noticePrinter } from '../../src/cli/load.js'
import { MinimError } from '../../src/errors/catalogue.js'

t.test('a notice comes again after half a minute, not with each try', async (t) => {
  let now = 0
  const lines: string[] = []
  const notice = noticePrinter(
    (line) => lines.push(line),
    () => now,
  )
  const away = (what: string): void => {
    notice(new MinimError('MINIM_KAFKA_NO_BROKER', { bootstrap: '127.0.0.1:1', what, delayMs: 1000 }))
  }
  for (; now < 65_000; now += 1000) away('ECONNREFUSED')
  t.equal(lines.length, 3)
  away('no answer')
  t.equal(lines.length, 4, 'another reason is said at once')
  t.equal(
    lines[0],
    'minim: MINIM_KAFKA_NO_BROKER: 127.0.0.1:1: no broker answers (ECONNREFUSED); trying again in 1000 ms\n',
  )
})
