/**
 * AMI's parsers on bytes and stanzas that nobody would send: no exception, bounded memory and work, and nothing of the
 * input in any error.
 */
import fc from 'fast-check'
import t from 'tap'
import { catalogue } from '../../src/catalogue/catalogue.js'
import { type RecordFields, RecordWriter } from '../../src/formats/record-writer.js'
import { AmiNode } from '../../src/sources/ami/node.js'
import { AMI_ENTRY, type AmiSettings } from '../../src/sources/ami/settings.js'
import { type Stanza, StanzaParser, type StanzaSink } from '../../src/sources/ami/stanzas.js'
import { fuzzRuns } from '../helpers/fuzz.js'

const seed = Number(process.env['MINIM_FUZZ_SEED'] ?? Date.now() & 0x7fffffff)
const options = { numRuns: fuzzRuns(), seed }
t.comment(`seed ${seed}, ${options.numRuns} runs`)

const MAX = 1024

class Collected implements StanzaSink {
  bannerLine: string | null | undefined
  readonly stanzas: string[] = []
  large = 0
  banner(line: string | null): void {
    this.bannerLine = line
  }

  stanza(stanza: Stanza): void {
    this.stanzas.push(stanza.text)
  }

  tooLarge(): void {
    this.large++
  }
}

/** What the parser should find, by the plainest means: lines of the whole, gathered up to each empty one. */
function reference(bytes: Buffer): { readonly stanzas: string[]; readonly large: number } {
  const lines = bytes.toString('latin1').split('\n')
  // Behind the last line feed there is no line yet.
  const rest = lines.pop() ?? ''
  if (lines.length === 0) return { stanzas: [], large: 0 }
  const stanzas: string[] = []
  let large = 0
  let text = ''
  for (const line of lines.slice(1)) {
    if (line !== '' && line !== '\r') {
      text += `${line}\n`
      continue
    }
    // The limit is on what comes before the last line's line feed.
    if (text.length - 1 > MAX) large++
    else if (text !== '') stanzas.push(Buffer.from(text, 'latin1').toString('utf8'))
    text = ''
  }
  // Neither does it count that the empty line has begun.
  if ((rest === '' || rest === '\r' ? text.length - 1 : text.length + rest.length) > MAX) large++
  return { stanzas, large }
}

const piece = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom(
      'Event: Cdr',
      'Event: CEL',
      'Response: Success',
      'ActionID: 1',
      'Key:',
      ': value',
      'a: b: c',
      'ChanVariable(Local/+442079460101@x;1): y',
    ),
  },
  { weight: 8, arbitrary: fc.constantFrom('\r\n', '\n', '\r\n\r\n', '\n\n', '\r', '\n\r', '\r\r\n') },
  { weight: 1, arbitrary: fc.string({ maxLength: 40 }) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 3 * MAX }).map((n) => 'x'.repeat(n)) },
)
const stream = fc
  .array(piece, { maxLength: 60 })
  .map((parts) => Buffer.from(`Asterisk Call Manager/9.0.0\r\n${parts.join('')}`))

t.test('stanzas are the same wherever the bytes are split, and what is kept is bounded', async (t) => {
  fc.assert(
    fc.property(
      fc.oneof(
        { weight: 4, arbitrary: stream },
        { weight: 1, arbitrary: fc.uint8Array({ maxLength: 4000 }).map((b) => Buffer.from(b)) },
      ),
      fc.array(fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 300 })), {
        minLength: 1,
        maxLength: 20,
      }),
      (bytes, sizes) => {
        const parser = new StanzaParser(MAX)
        const found = new Collected()
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const size = sizes[i % sizes.length]
          parser.push(bytes.subarray(at, at + size), found)
          at += size
          if (parser.held > 16_384) throw new Error('it keeps too much')
        }
        if (bytes.indexOf(10) > 256 || (bytes.indexOf(10) < 0 && bytes.length > 256)) return found.bannerLine === null
        const wanted = reference(bytes)
        return JSON.stringify(found.stanzas) === JSON.stringify(wanted.stanzas) && found.large === wanted.large
      },
    ),
    options,
  )
  t.pass()
})

const EVENTS = [
  'Cdr',
  'CEL',
  'Hangup',
  'RTCPSent',
  'RTCPReceived',
  'ContactStatus',
  'ContactList',
  'ContactStatusDetail',
  'PeerStatus',
  'Other',
]
const KEYS = [
  'UniqueID',
  'Uniqueid',
  'LinkedID',
  'Linkedid',
  'Channel',
  'DestinationChannel',
  'Source',
  'Destination',
  'CallerID',
  'StartTime',
  'AnswerTime',
  'EndTime',
  'Duration',
  'BillableSeconds',
  'Disposition',
  'sipcallid',
  'EventName',
  'EventTime',
  'Extra',
  'Cause',
  'SSRC',
  'PT',
  'ReportCount',
  'To',
  'From',
  'RTT',
  'MES',
  'SentNTP',
  'SentRTP',
  'SentPackets',
  'Report0SourceSSRC',
  'Report0FractionLost',
  'Report0CumulativeLost',
  'Report0IAJitter',
  'IAJitter',
  'PacketsLost',
  'CumulativeLoss',
  'FractionLost',
  'ReceptionReports',
  'URI',
  'AOR',
  'Status',
  'ContactStatus',
  'UserAgent',
  'ViaAddress',
  'RegExpire',
  'Peer',
  'PeerStatus',
  'Address',
  'ChannelType',
  '__proto__',
  'constructor',
]
const CANARY = '447700900123'
const VALUES = [
  '',
  '1',
  '2',
  '1795526400.1',
  '-1',
  '4294967295',
  '16777215',
  '1e99',
  'NaN',
  '0x1a',
  '0.0400',
  '65535.9993',
  '2026-11-24 13:20:00',
  '2026-11-24 13:20:05',
  '0000-00-00 00:00:00',
  '9999-12-31 23:59:59',
  'ANSWERED',
  'NO ANSWER',
  'BUSY',
  'ANSWER',
  'HANGUP',
  '16,x,ANSWER',
  '{"hangupcause":16}',
  '{"hangupcause":',
  'Local/1@x-1;1',
  'Local/1@x-1;2',
  `PJSIP/${CANARY}-1`,
  `"O\\"Q" <${CANARY}>`,
  '<<<>>>',
  '"',
  'h',
  '192.0.2.1:5060',
  '[2001:db8::1]:5060',
  '[',
  ':::',
  'IPV4/UDP/192.0.2.1/99999',
  `sip:${CANARY}@192.0.2.1:5060;x=y`,
  'sip:',
  'Reachable',
  'constructor',
  '__proto__',
  'toString',
  '1795526400.000001',
  '200(SR)',
  '31',
  '1000000',
]
const stanzas = fc.array(
  fc.record({
    event: fc.constantFrom(...EVENTS),
    keys: fc.array(
      fc.tuple(
        fc.constantFrom(...KEYS),
        fc.oneof(
          { weight: 5, arbitrary: fc.constantFrom(...VALUES) },
          { weight: 1, arbitrary: fc.string({ maxLength: 30 }).map((v) => v.replace(/[\r\n]/g, '')) },
        ),
      ),
      { maxLength: 20 },
    ),
  }),
  { maxLength: 20 },
)

t.test('events of any keys and values give records that can be written, and no exception', async (t) => {
  const writer = new RecordWriter(catalogue())
  const settings: AmiSettings = {
    ...AMI_ENTRY,
    node: 'pbx1',
    host: '127.0.0.1',
    user: 'minim',
    secretEnv: 'X',
    maxFollowed: 8,
  }
  fc.assert(
    fc.property(stanzas, fc.constantFrom('calls', 'all'), (events, rows) => {
      let kept = 0
      const add = (kind: 'call' | 'quality' | 'device', fields: RecordFields): void => {
        kept++
        writer.add(kind, fields)
        if (writer.length > 65_536) throw new Error('a record has no bound')
        writer.take()
        if (!(Number(fields['start_ms']) > 0)) throw new Error('no start time')
      }
      const node = new AmiNode({
        settings: { ...settings, rows: rows },
        callsElsewhere: false,
        onUnknownContact: () => undefined,
        counters: {
          received: () => undefined,
          refused: () => undefined,
          lag: () => undefined,
          connections: () => undefined,
          gap: () => undefined,
          left: () => undefined,
        },
        outbox: {
          add,
          call: (fields, id) => {
            if (id.includes(CANARY)) throw new Error('an id in clear')
            add('call', fields)
          },
          refuse: () => undefined,
        },
      })
      const parser = new StanzaParser(65_536)
      let now = 1_795_526_400_000
      const sink: StanzaSink = {
        banner: () => undefined,
        tooLarge: () => {
          throw new Error('too large')
        },
        stanza: (stanza) => {
          node.event(stanza, stanza.event, (now += 100))
          node.sweep(now)
        },
      }
      parser.push(Buffer.from('Asterisk Call Manager/9.0.0\r\n'), sink)
      try {
        parser.push(
          Buffer.from(
            events
              .map(
                ({ event, keys }) =>
                  `Event: ${event}\r\n${keys.map(([key, value]) => `${key}: ${value}\r\n`).join('')}\r\n`,
              )
              .join(''),
          ),
          sink,
        )
        if (node.following > 4 * 8) throw new Error('it follows too much')
        node.flush()
      } catch (error) {
        if (error instanceof Error && error.message.includes(CANARY)) throw new Error('an identifier in an error')
        throw error
      }
      return kept <= events.length
    }),
    options,
  )
  t.pass()
})
