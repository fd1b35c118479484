import { PassThrough } from 'node:stream'
import t from 'tap'
import { isConfirmed } from '../../src/cli/confirm.js'

t.test('only y and yes are a yes', async (t) => {
  for (const [said, expected] of [
    ['y\n', true],
    ['YES\n', true],
    ['n\n', false],
    ['\n', false],
    ['yesterday\n', false],
    ['', false],
  ] as const) {
    const [input, output] = [new PassThrough(), new PassThrough()]
    const answer = isConfirmed('Do it?', input, output)
    input.end(said)
    t.equal(await answer, expected, JSON.stringify(said))
    t.match(String(output.read()), /^Do it\? \[y\/N\] /)
  }
})
