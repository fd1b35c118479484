/** Quality of a leg, out of reports whose figures are cumulative. */
import t from 'tap'
import { type Event, listen, NOW, tell } from './events.js'

const PHONE = '192.0.2.44:40001'
const LEG = { Channel: 'PJSIP/447700900123-0000001a', Uniqueid: '1795526400.26', Linkedid: '1795526400.26' }
/** The clock of NTP at the start: seconds since 1900. */
const NTP = Math.floor(NOW / 1000) + 2_208_988_800

interface Report {
  readonly sent: boolean
  readonly ssrc: string
  readonly packets?: number
  readonly of?: string
  readonly lost?: number
  readonly sequence?: number
  readonly address?: string
  readonly more?: Event
}

function rtcp({ sent, ssrc, packets, of, lost, sequence, address = PHONE, more = {} }: Report): Event {
  return {
    Event: sent ? 'RTCPSent' : 'RTCPReceived',
    ...LEG,
    [sent ? 'To' : 'From']: address,
    SSRC: ssrc,
    PT: '200(SR)',
    ReportCount: lost === undefined ? 0 : 1,
    ...(packets === undefined ? {} : { SentPackets: packets }),
    ...(lost === undefined
      ? {}
      : { Report0SourceSSRC: of ?? '0x0000beef', Report0FractionLost: 0, Report0CumulativeLost: lost }),
    ...(sequence === undefined ? {} : { Report0HighestSequence: sequence }),
    ...more,
  }
}

const hex = (n: number): string => `0x${(n >>> 0).toString(16).padStart(8, '0')}`
const steps = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1)

/** The phone says each 5 s what it sent and of what source, the PBX what it sent and how much it missed. */
function leg(count: number, theirs: (i: number) => string, ours: (i: number) => string): Event[] {
  return steps(count).flatMap((i) => [
    rtcp({ sent: false, ssrc: theirs(i), packets: i * 250, of: ours(i), lost: 0 }),
    rtcp({ sent: true, ssrc: ours(i), packets: i * 250, of: '0x0000beef', lost: i * 25, sequence: 1000 + i * 250 }),
  ])
}

t.test('sources that change with each report: the last of the cumulative figures counts', async (t) => {
  const ntp = (i: number): string => hex(NTP + i * 5)
  for (const [name, theirs, ours] of [
    ['honest ones', () => '0x0000beef', () => '0x1a2b3c4d'],
    ["NTP's seconds where the phone's should be", ntp, () => '0x1a2b3c4d'],
    ['on both sides', ntp, ntp],
    ['in decimal', (i: number) => String(NTP + i * 5), () => '439041101'],
    ['others in each report, of no clock', (i: number) => hex(i * 0x0123_4567), () => '0x1a2b3c4d'],
  ] as const) {
    const { qualities } = tell(leg(9, theirs, ours))
    t.match(
      qualities,
      [{ packets_received: 2025, packets_sent: 2250, packets_lost: 225, loss_percent: 5, call_id: LEG.Uniqueid }],
      name,
    )
    t.equal(qualities.length, 1)
  }
  const { qualities } = tell(leg(300, ntp, ntp))
  t.match(qualities, [{ packets_received: 67_500, packets_sent: 75_000, loss_percent: 5 }], 'an hour of them')
})

t.test('one or two reports', async (t) => {
  const ntp = (i: number): string => hex(NTP + i * 5)
  t.match(tell(leg(1, ntp, () => '0x1a2b3c4d')).qualities, [{ packets_received: 225, loss_percent: 5 }])
  t.match(tell(leg(2, ntp, () => '0x1a2b3c4d')).qualities, [{ packets_received: 450, loss_percent: 5 }])
})

t.test('a counter that falls back is that of a new stream, and its totals add', async (t) => {
  const media = (sources: readonly string[]): Event[] =>
    [
      [250, 10],
      [500, 40],
      [250, 5],
      [500, 8],
    ].flatMap(([packets, lost], i) => [
      rtcp({ sent: false, ssrc: sources[i], packets }),
      rtcp({ sent: true, ssrc: '0x1a2b3c4d', of: sources[i], lost }),
    ])
  const wanted = [{ packets_received: 1000 - 48, packets_lost: 48 }]
  t.match(tell(media(['0xa', '0xa', '0xb', '0xb'])).qualities, wanted, 'another source')
  t.match(tell(media(['0xa', '0xa', '0xa', '0xa'])).qualities, wanted, 'the same source')
  t.match(tell(media(steps(4).map((i) => hex(NTP + i * 5)))).qualities, wanted, "NTP's seconds")
  t.match(
    tell([
      ...leg(
        2,
        () => '0xbeef',
        () => '0x1',
      ),
      ...leg(
        2,
        () => '0xcafe',
        () => '0x2',
      ).map((event) => ({ ...event, From: '192.0.2.45:40007', To: '192.0.2.45:40007' })),
    ]).qualities,
    [{ packets_sent: 1000 }],
    'another address',
  )
})

t.test('packets that come twice make the losses fall, and begin no stream', async (t) => {
  const events = [10, 12, 9, 11].map((lost, i) =>
    rtcp({ sent: true, ssrc: '0x1', of: hex(NTP + i * 5), lost, sequence: (65_000 + i * 250) % 65_536 }),
  )
  t.match(tell(events).qualities, [{ packets_lost: 11 }])
})

t.test('audio and video on one port are two streams', async (t) => {
  const events = steps(4).flatMap((i) => [
    rtcp({ sent: false, ssrc: '0xa', packets: i * 250 }),
    rtcp({ sent: false, ssrc: '0xb', packets: i * 900 }),
  ])
  t.match(tell(events).qualities, [{ packets_received: 1000 + 3600 }])
})

t.test("an event's own time is the record's", async (t) => {
  const listening = listen()
  const at = NOW - 3_600_000
  for (const i of steps(3)) listening.event(rtcp({ sent: false, ssrc: '0xa', packets: i * 250 }), 10, at + i * 5000)
  listening.event({ Event: 'PeerStatus', ChannelType: 'SIP', Peer: 'SIP/1003', PeerStatus: 'Registered' }, 10, at)
  listening.event(
    { Event: 'ContactStatus', URI: 'sip:1001@192.0.2.44', ContactStatus: 'Removed', AOR: '1001' },
    10,
    at + 1,
  )
  listening.event({ Event: 'ContactList', URI: 'sip:1001@192.0.2.44', Status: 'Reachable', AOR: '1001' }, 10, at + 2)
  listening.node.flush()
  t.match(listening.qualities, [{ start_ms: at + 5000, end_ms: at + 15_000, duration_seconds: 10 }])
  t.same(
    listening.devices.map((device) => device['start_ms']),
    [at, at + 1, at + 2],
  )
})
