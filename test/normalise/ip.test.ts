/** IP addresses out of text. */
import { isIP } from 'node:net'
import fc from 'fast-check'
import t from 'tap'
import { ipBytes, parseIp } from '../../src/normalise/ip.js'
import { seed } from '../project/generate.js'
import { readAddress } from '../project/reference.js'

const SEED = seed()
t.comment(`seed ${SEED}: repeat with MINIM_TEST_SEED=${SEED}`)

function read(text: string): string | null {
  const bytes = Buffer.from(`7${text}7`)
  const length = parseIp(bytes, 1, bytes.length - 2)
  return length === 0 ? null : Buffer.from(ipBytes.subarray(0, length)).toString('hex')
}

const rows: { input: string; expected: string | null }[] = [
  { input: '192.0.2.1', expected: 'c0000201' },
  { input: '192.0.2.1:5060', expected: 'c0000201' },
  { input: '::ffff:192.0.2.1', expected: 'c0000201' },
  { input: '::FFFF:c000:201', expected: 'c0000201' },
  { input: '[::ffff:192.0.2.1]:5060', expected: 'c0000201' },
  { input: '2001:db8::1', expected: '20010db8000000000000000000000001' },
  { input: '[2001:DB8::1]:5061', expected: '20010db8000000000000000000000001' },
  { input: '2001:db8:0:0:0:0:0:1', expected: '20010db8000000000000000000000001' },
  { input: 'fe80::1%eth0', expected: 'fe800000000000000000000000000001' },
  { input: '::', expected: '0'.repeat(32) },
  { input: '::192.0.2.1', expected: '000000000000000000000000c0000201' },
  { input: '1:2:3:4:5:6:7::', expected: '00010002000300040005000600070000' },
  { input: '0.0.0.0', expected: '00000000' },
  ...[
    '',
    '1',
    '1.2.3',
    '1.2.3.4.5',
    '256.0.0.1',
    '1.2.3.4:x',
    '1.2.3.',
    '.1.2.3',
    '1..2.3',
    ':1',
    ':::',
    '2001:db8:::1',
    '1:2:3:4:5:6:7:8:9',
    'g::1',
    '[::1',
    'pbx.example',
    `${'1'.repeat(70)}.1.1.1`,
    '192.0.2.1 ',
  ].map((input) => ({ input, expected: null })),
]
for (const { input, expected } of rows) t.equal(read(input), expected, JSON.stringify(input))

t.test('as Node and the URL parser read them', (t) => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.ipV4(),
        fc.ipV6(),
        fc.string({ maxLength: 40 }),
        fc.array(fc.constantFrom(':', '::', '0', 'ffff', '.', '1', 'db8'), { maxLength: 16 }).map((a) => a.join('')),
      ),
      (text) => {
        const found = read(text)
        if (isIP(text) !== 0 && found === null) throw new Error(`${text} is one`)
        if (isIP(text) !== 0 && found !== readAddress(text)?.toString('hex')) throw new Error(`${text} is another`)
        // Brackets, zones and ports aside, nothing else is one.
        if (isIP(text) === 0 && found !== null && !/[[%]|^\d+\.\d+\.\d+\.\d+:/.test(text))
          throw new Error(`${text} is none`)
      },
    ),
    { seed: SEED, numRuns: 20_000 },
  )
  t.pass('20,000 runs')
  t.end()
})
