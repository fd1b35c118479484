/** SIP messages from anybody: nothing is thrown, what is read is bounded, and no message says what was in one. */
import fc from 'fast-check'
import t from 'tap'
import { RecordWriter } from '../../src/formats/record-writer.js'
import { addressesOf, paramsOf, uriOf } from '../../src/formats/sip/address.js'
import { peekSip, readSip } from '../../src/formats/sip/message.js'
import {
  causeOf,
  inviteOf,
  publishToQuality,
  registerToDevice,
  statisticsToQuality,
} from '../../src/formats/sip/records.js'
import { FrameGuard } from '../../src/sources/sip/drachtio.js'
import { encodeAnswer } from '../../src/sources/sip/listener.js'
import { fuzzRuns } from '../helpers/fuzz.js'
import { common, publish, register, sip } from '../sources/sip/messages.js'
import { catalogue, rig } from '../sources/sip/rig.js'

const seed = Number(process.env['MINIM_FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const runs = fuzzRuns()
t.comment(`seed ${seed}, ${runs} runs`)

const NAMES = [
  'Via',
  'From',
  'To',
  'Call-ID',
  'CSeq',
  'Contact',
  'Expires',
  'Event',
  'User-Agent',
  'Reason',
  'X-RTP-Stat',
  'P-RTP-Stat',
  'Mac',
  'X-Serialnumber',
  'P-Station-Name',
  'SIP-If-Match',
  'Content-Type',
  'Content-Length',
  'v',
  'f',
  't',
  'i',
  'm',
  'o',
  'l',
  'X-Other',
]
const token = fc.constantFrom(
  'sip:',
  'sips:',
  'tel:',
  '1004',
  '@',
  '192.0.2.1',
  '[2001:db8::1]',
  ':5060',
  ';',
  '=',
  ',',
  '"',
  '<',
  '>',
  '\\',
  '*',
  '%',
  '%41',
  '%zz',
  'tag',
  'expires',
  '0',
  '9'.repeat(30),
  'branch',
  'rport',
  'received',
  '+sip.instance',
  '<urn:uuid:00000000-0000-1000-8000-00005E005304>',
  'Q.850',
  'cause',
  '16',
  'PS',
  'PR',
  'PL',
  'JI',
  'EN',
  ' ',
  '\t',
  '\r\n ',
  '\0',
  '\x7f',
  'é',
  '\ud83d\ude00',
  '\r',
  '\n',
)
const value = fc.oneof(
  fc.array(token, { maxLength: 30 }).map((parts) => parts.join('')),
  fc.string({ maxLength: 200 }),
  fc.string({ maxLength: 60, unit: 'binary' }),
)
const line = fc.oneof(
  fc
    .tuple(fc.constantFrom(...NAMES), fc.constantFrom(':', ' : ', ':\t', '', '=', '::'), value)
    .map((parts) => parts.join('')),
  value,
)
const first = fc.oneof(
  fc.constantFrom(
    'REGISTER sip:a SIP/2.0',
    'PUBLISH sip:a SIP/2.0',
    'INVITE sip:a@b SIP/2.0',
    'BYE sip:a SIP/2.0',
    'SIP/2.0 200 OK',
    'SIP/2.0 486 Busy',
    'SIP/2.0',
    'X Y SIP/2.0',
    '',
  ),
  value,
)
const written = fc
  .tuple(first, fc.array(line, { maxLength: 20 }), fc.constantFrom('\r\n', '\n', '\r'), value)
  .map(([start, lines, eol, body]) => Buffer.from([start, ...lines, '', body].join(eol)))
/** A good message with bytes changed, cut off, repeated. */
const broken = fc
  .tuple(
    fc.constantFrom(
      register(),
      publish(),
      sip(['BYE sip:a SIP/2.0', ...common('BYE', { 'X-RTP-Stat': 'PS=1;PR=2;PL=0', Reason: 'Q.850;cause=16' })]),
    ),
    fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 8 }),
    fc.nat(2000),
  )
  .map(([bytes, changes, cut]) => {
    const copy = Buffer.from(bytes)
    for (const [at, byte] of changes) copy[at % copy.length] = byte
    return copy.subarray(0, Math.min(copy.length, cut))
  })
const bytes = fc.oneof(
  written,
  broken,
  fc.uint8Array({ maxLength: 300 }).map((b) => Buffer.from(b)),
)

t.test('whatever comes: read or not, and no more than there was', async () => {
  const writer = new RecordWriter(catalogue)
  fc.assert(
    fc.property(bytes, (input) => {
      const peek = peekSip(input)
      const message = readSip(input)
      if (peek !== null && peek.callId.length > input.length) return false
      if (message === null) return true
      // Whatever is read in full has the same Call-ID at a glance.
      if (message.callId !== '' && peek !== null && peek.callId !== message.callId) return false
      const records = [
        ...registerToDevice(message, { seenMs: 1 }).map((record) => ['device', record] as const),
        ...(publishToQuality(message, { seenMs: 1 }) ?? []).map((record) => ['quality', record] as const),
        ...[statisticsToQuality(message, { seenMs: 1 })]
          .filter((record) => record !== null)
          .map((record) => ['quality', record] as const),
      ]
      inviteOf(message)
      causeOf(message)
      for (const contact of message.headers('contact').flatMap(addressesOf)) uriOf(contact.uri)
      paramsOf(message.header('via') ?? '')
      for (const [kind, record] of records) {
        writer.add(kind, record)
        for (const text of Object.values(record))
          if (typeof text === 'string' && text.length > 2 * input.length + 64) return false
      }
      const size = writer.take().length
      if (size > 200 * input.length + 4096) return false
      const answer = encodeAnswer(
        message,
        { status: 200, reason: 'OK', headers: [], more: [] },
        '192.0.2.1',
        5060,
        Infinity,
      )
      // No header of a request ends a line of the answer.
      return (
        answer !== null &&
        answer
          .toString('latin1')
          .split('\r\n')
          .slice(0, -2)
          .every((row) => !/[\r\n\0]/.test(row)) &&
        answer.length <= 4 * input.length + 512
      )
    }),
    { numRuns: runs, seed },
  )
})

t.test('the service answers whatever can be read, and never throws', async () => {
  const { service, inlet, broken: faults } = rig()
  await fc.assert(
    fc.asyncProperty(bytes, async (input) => {
      const message = readSip(input)
      if (message === null) return true
      const answer = await service.handle(message, '192.0.2.1')
      inlet.clear()
      return (
        faults.length === 0 &&
        (answer === null || (answer.status >= 200 && answer.status < 600 && answer.status !== 500))
      )
    }),
    { numRuns: runs, seed },
  )
})

t.test('hostile ones take no more than their size allows', async (t) => {
  const n = 60_000
  const hostile: readonly (readonly [name: string, bytes: Buffer])[] = [
    ['ten thousand headers', sip(['REGISTER sip:a SIP/2.0', ...Array<string>(10_000).fill('X: y')])],
    ['deep folds', sip(['REGISTER sip:a SIP/2.0', `Contact: a${'\r\n '.repeat(2700)}`])],
    ['one line', Buffer.from(`REGISTER sip:a SIP/2.0\r\nContact: ${'<'.repeat(8000)}\r\n\r\n`)],
    ['commas', Buffer.from(`REGISTER sip:a SIP/2.0\r\nContact: ${','.repeat(8000)}\r\n\r\n`)],
    ['quotes', Buffer.from(`REGISTER sip:a SIP/2.0\r\nContact: ${'"\\'.repeat(4000)}\r\n\r\n`)],
    ['semicolons', Buffer.from(`REGISTER sip:a SIP/2.0\r\nContact: <sip:a@b>${';a='.repeat(2600)}\r\n\r\n`)],
    ['spaces', Buffer.from(`REGISTER sip:a SIP/2.0\r\nContact: <sip:a@b>${' '.repeat(8000)}x\r\n\r\n`)],
    ['NULs', Buffer.from(`REGISTER sip:a SIP/2.0\r\nContact: ${'\0'.repeat(8000)}x\r\n\r\n`)],
    ['a URI for the grammar', Buffer.from(`REGISTER sip:a SIP/2.0\r\nContact: <sip:${'%41'.repeat(2500)}@b>\r\n\r\n`)],
    ['statistics', Buffer.from(`BYE sip:a SIP/2.0\r\nX-RTP-Stat: ${'PS=1;'.repeat(1600)}\r\n\r\n`)],
    ['reasons', Buffer.from(`BYE sip:a SIP/2.0\r\nReason: ${'Q.850;'.repeat(1300)}\r\n\r\n`)],
    [
      'many large headers',
      sip(['REGISTER sip:a SIP/2.0', ...Array<string>(7).fill(`Contact: ${'<sip:a@b>,'.repeat(800)}`)]),
    ],
    ['all NUL', Buffer.alloc(n)],
    ['all line ends', Buffer.alloc(n, 10)],
    ['all colons', Buffer.alloc(n, 58)],
  ]
  for (const [name, input] of hostile) {
    const message = readSip(input)
    peekSip(input)
    if (message === null) {
      t.pass(`${name}: not read`)
      continue
    }
    const devices = registerToDevice(message, { seenMs: 1 })
    t.ok(devices.length <= 8, name)
    statisticsToQuality(message, { seenMs: 1 })
    causeOf(message)
  }
})

t.test("drachtio's frames", async () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.uint8Array({ maxLength: 50 }).map((b) => Buffer.from(b)),
          fc.constantFrom(Buffer.from('5#a|b|c'), Buffer.from('14#a|response|b|'), Buffer.from('99999999#')),
        ),
        { maxLength: 10 },
      ),
      (chunks) => {
        const guard = new FrameGuard(1000, () => undefined)
        let fed = 0
        let passed = 0
        for (const chunk of chunks) {
          fed += chunk.length
          const frames = guard.feed(chunk)
          if (frames === null) return true
          // U+FFFD takes three octets where there was one that is none.
          passed += frames.reduce((sum, frame) => sum + frame.length, 0)
          if (passed > 3 * fed + 16 * chunks.length) return false
        }
        return true
      },
    ),
    { numRuns: runs, seed },
  )
})
