import t from 'tap'
import { readSip, type SipMessage } from '../../../src/formats/sip/message.js'
import {
  causeOf,
  dispositionOf,
  inviteOf,
  registerToDevice,
  statisticsToQuality,
} from '../../../src/formats/sip/records.js'
import { rtpStatisticsOf } from '../../../src/formats/sip/rtp-stat.js'
import { given } from '../../helpers/given.js'
import { common, register, sip } from '../../sources/sip/messages.js'

const registered = (over: Readonly<Record<string, string>>): object[] =>
  registerToDevice(given(readSip(register(over))), { seenMs: 1000, remoteIp: '203.0.113.9' })
const message = (first: string, method: string, over: Readonly<Record<string, string>> = {}): SipMessage =>
  given(readSip(sip([first, ...common(method, over)])))
const bye = (over: Readonly<Record<string, string>>): SipMessage => message('BYE sip:a@b SIP/2.0', 'BYE', over)

t.test('REGISTER', async (t) => {
  t.same(registered({}), [
    {
      party: 'sip:+447700900123@pbx.example',
      start_ms: 1000,
      user_agent: 'Yealink SIP-T46S 66.85.0.5',
      origin: 'REGISTRATION',
      mac: null,
      serial: null,
      contact_ip: '192.0.2.14',
      contact_port: 5062,
      expires_seconds: 3600,
      event: 'REGISTERED',
    },
  ])
  const rows: readonly (readonly [
    name: string,
    over: Readonly<Record<string, string>>,
    expected: readonly object[],
  ])[] = [
    [
      'unregistered by the contact',
      { Contact: '<sip:1004@192.0.2.14>;expires=0', Expires: '3600' },
      [{ event: 'UNREGISTERED', expires_seconds: 0 }],
    ],
    ['unregistered by the message', { Contact: '<sip:1004@192.0.2.14>', Expires: '0' }, [{ event: 'UNREGISTERED' }]],
    ['all of them', { Contact: '*', Expires: '0' }, [{ event: 'UNREGISTERED', contact_ip: null }]],
    [
      'a name for a contact: where it came from',
      { Contact: '<sip:1004@phone.example>' },
      [{ contact_ip: '203.0.113.9', contact_port: null }],
    ],
    ['IPv6', { Contact: '<sip:1004@[2001:db8::14]:5061>' }, [{ contact_ip: '2001:db8::14', contact_port: 5061 }]],
    [
      'two contacts',
      { Contact: '<sip:a@192.0.2.1>;expires=60, <sip:a@192.0.2.2>;expires=0' },
      [
        { contact_ip: '192.0.2.1', event: 'REGISTERED' },
        { contact_ip: '192.0.2.2', event: 'UNREGISTERED' },
      ],
    ],
    [
      'a bad time',
      { Contact: '<sip:1004@192.0.2.14>;expires=soon', Expires: '-1' },
      [{ event: 'REGISTERED', expires_seconds: null }],
    ],
    ['Fanvil', { Mac: '00:00:5E:00:53:01', 'User-Agent': 'Fanvil X4U 2.4.0' }, [{ mac: '00005e005301' }]],
    [
      'snom',
      { 'X-Serialnumber': '00005E005302', 'User-Agent': 'snomD785/10.1.54.13' },
      [{ mac: '00005e005302', serial: '00005E005302' }],
    ],
    [
      'Linksys',
      { 'P-Station-Name': 'LinksysPAP2;mac=00005E005303;display=x', 'User-Agent': 'Linksys/PAP2T-5.1.6(LS)' },
      [{ mac: '00005e005303' }],
    ],
    [
      'an instance with a MAC address',
      { Contact: '<sip:1004@192.0.2.14>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-00005E005304>"' },
      [{ mac: '00005e005304' }],
    ],
    [
      'an instance of random numbers',
      { Contact: '<sip:1004@192.0.2.14>;+sip.instance="<urn:uuid:f81d4fae-7dec-41d0-a765-00005E005304>"' },
      [{ mac: null }],
    ],
    [
      'a node that is random',
      { Contact: '<sip:1004@192.0.2.14>;+sip.instance="<urn:uuid:f81d4fae-7dec-11d0-a765-01005E005304>"' },
      [{ mac: null }],
    ],
    ...[
      // Made by phones of random numbers, of serial numbers, or of hashes: none of them is a clock and an address.
      ['b4e7175d-3a37-194a-1cff-0c175aea6cbd', 'version 1 without the variant of RFC 9562'],
      ['f81d4fae-7dec-11d0-c765-00005e005304', "Microsoft's variant"],
      ['f81d4fae-7dec-11d0-7765-00005e005304', "Apollo's variant"],
      ['00000000-0000-0000-8000-00005e005304', 'version 0'],
      ['f81d4fae-7dec-21d0-a765-00005e005304', 'version 2'],
      ['1ec9414c-232a-6b00-b3c8-00005e005304', 'version 6'],
      ['f81d4fae-7dec-11d0-a765-03005e005304', 'a node of random bits'],
      ['f81d4fae-7dec-11d0-a765-02005e005304', 'a node that somebody made up'],
      ['f81d4fae-7dec-11d0-a765-000000000000', 'no node'],
      ['f81d4fae-7dec-11d0-a765-00005e0053041', 'a digit too many'],
    ].map(
      ([uuid, name]) =>
        [
          `an instance: ${name}`,
          { Contact: `<sip:1004@192.0.2.14>;+sip.instance="<urn:uuid:${uuid}>"` },
          [{ mac: null }],
        ] as const,
    ),
    [
      'an instance of the clock and an address, in capitals',
      { Contact: '<sip:1004@192.0.2.14>;+sip.instance="<URN:UUID:F81D4FAE-7DEC-11D0-A765-00005E005304>"' },
      [{ mac: '00005e005304' }],
    ],
    [
      'a MAC address in the User-Agent',
      { 'User-Agent': 'Yealink SIP-T46S 66.85.0.5 00005e005305' },
      [{ mac: '00005e005305', user_agent: 'Yealink SIP-T46S 66.85.0.5 00005e005305' }],
    ],
  ]
  for (const [name, over, expected] of rows) {
    const found = registered(over)
    t.equal(found.length, expected.length, name)
    t.match(found, expected, name)
  }
  t.same(
    registerToDevice(given(readSip(sip(['REGISTER sip:pbx.example SIP/2.0', ...common('REGISTER')]))), { seenMs: 1 }),
    [],
    'a query',
  )
  t.same(
    registerToDevice(message('OPTIONS sip:a SIP/2.0', 'OPTIONS', { Contact: '<sip:a@192.0.2.1>' }), { seenMs: 1 }),
    [],
    'no REGISTER',
  )
  t.equal(registered({ Contact: '<sip:a@192.0.2.1>,'.repeat(100) }).length, 8, 'so many at most')
})

t.test('INVITE', async (t) => {
  t.same(
    inviteOf(
      message('INVITE sip:+442079460101@pbx.example SIP/2.0', 'INVITE', {
        'Call-ID': 'x',
        To: '<sip:1005@pbx.example>',
        'User-Agent': 'u',
      }),
    ),
    {
      callId: 'x',
      calling: 'sip:+447700900123@pbx.example',
      called: 'sip:1005@pbx.example',
      userAgent: 'u',
      again: false,
    },
  )
  t.match(
    inviteOf(
      message('INVITE sip:1005@pbx.example SIP/2.0', 'INVITE', {
        To: '',
        'P-Asserted-Identity': '"A" <tel:+447700900555>',
      }),
    ),
    { calling: 'tel:+447700900555', called: 'sip:1005@pbx.example' },
  )
  t.match(inviteOf(message('INVITE sip:1005@pbx.example SIP/2.0', 'INVITE', { To: '<sip:1005@pbx.example>;tag=9' })), {
    again: true,
  })
  t.equal(inviteOf(bye({})), null)
})

t.test('how a call ended', async (t) => {
  for (const [status, expected] of [
    [100, null],
    [183, null],
    [200, 'ANSWERED'],
    [401, null],
    [407, null],
    [404, 'FAILED'],
    [408, 'NO_ANSWER'],
    [480, 'NO_ANSWER'],
    [486, 'BUSY'],
    [600, 'BUSY'],
    [487, 'CANCELLED'],
    [503, 'CONGESTION'],
    [603, 'FAILED'],
  ] as const) {
    t.equal(dispositionOf(status), expected, String(status))
  }
  const rows: readonly (readonly [string, SipMessage, number | null])[] = [
    ['Reason', bye({ Reason: 'Q.850;cause=16;text="Normal call clearing"' }), 16],
    ['with spaces and a text before', bye({ Reason: 'Q.850 ;text="local" ;cause=31' }), 31],
    ["SIP's before Q.850's", bye({ Reason: 'SIP;cause=200;text="x", Q.850;cause=17' }), 17],
    ["SIP's alone", bye({ Reason: 'SIP;cause=486' }), null],
    ['out of range', bye({ Reason: 'Q.850;cause=128' }), null],
    ['none', bye({}), null],
    ['a status of failure', message('SIP/2.0 486 Busy Here', 'INVITE'), 17],
    ['one with a Reason of its own', message('SIP/2.0 480 No', 'INVITE', { Reason: 'Q.850;cause=19' }), 19],
  ]
  for (const [name, from, expected] of rows) t.equal(causeOf(from), expected, name)
})

t.test('statistics in a BYE', async (t) => {
  const rows: readonly (readonly [name: string, over: Readonly<Record<string, string>>, expected: object | null])[] = [
    [
      'AVM',
      {
        'X-RTP-Stat':
          'CS=1788;PS=1433;ES=1525;OS=229280;SP=0/0;SO=0;QS=-;PR=1500;ER=1525;OR=243520;CR=0;SR=0;QR=-;' +
          'PL=100,3;BL=0;LS=0;RB=0/0;SB=-/-;EN=PCMA,FAX;DE=PCMU;JI=23,2;DL=20,20,21;' +
          'IP=192.0.2.14:7082,198.51.100.7:25132',
      },
      {
        packets_sent: 1433,
        packets_received: 1500,
        packets_lost: 100,
        jitter_ms: 23,
        codec: 'PCMU',
        loss_percent: 6.25,
        local_ip: '192.0.2.14',
        remote_ip: '198.51.100.7',
      },
    ],
    [
      'AudioCodes, folded',
      { 'X-RTP-Stat': '\r\n PS=207;OS=49680;;PR=314;OR=50240;PL=0;JI=600;LA=40;' },
      { packets_sent: 207, packets_received: 314, packets_lost: 0, loss_percent: 0, jitter_ms: 600, round_trip_ms: 40 },
    ],
    [
      'Cisco',
      { 'P-RTP-Stat': 'PS=300,OS=48000,PR=365,OR=58400,PL=0,JI=0,LA=0,DU=7,EN=G711u' },
      {
        packets_sent: 300,
        packets_received: 365,
        packets_lost: 0,
        loss_percent: 0,
        jitter_ms: 0,
        round_trip_ms: 0,
        duration_seconds: 7,
        codec: 'G711u',
      },
    ],
    [
      "Poly's adapters: LA is the depth of their jitter buffer",
      { 'X-RTP-Stat': 'PS=1234,OS=34560,PR=1236,OR=24720,JI=1,DU=1230,PL=0,LA=60,EN=G711U,DE=G711U,MOS=4.0' },
      {
        packets_sent: 1234,
        packets_received: 1236,
        packets_lost: 0,
        loss_percent: 0,
        jitter_ms: 1,
        duration_seconds: 1230,
        codec: 'G711U',
        mos_lq: 4,
      },
    ],
    [
      'baresip: set-up in ms, duration in s, jitter in timestamp units',
      {
        'X-RTP-Stat':
          'EX=BareSip;CS=2000;CD=29;PR=1440;PS=1490;PL=60,2;PD=0,1;JI=24.0,40.0;' +
          'IP=192.0.2.14:48926,198.51.100.7:12856;EN=PCMA/8000;DE=PCMA/8000',
      },
      {
        packets_sent: 1490,
        packets_received: 1440,
        packets_lost: 60,
        loss_percent: 4,
        jitter_ms: 3,
        duration_seconds: 29,
        codec: 'PCMA',
        local_ip: '192.0.2.14',
        remote_ip: '198.51.100.7',
      },
    ],
    [
      'baresip with a wide-band codec, IPv6, and more that came than was sent',
      {
        'X-RTP-Stat':
          'EX=BareSip;CS=0;CD=3;PR=150;PS=149;PL=-1,0;PD=0,0;JI=48.0,8.0;' +
          'IP=[2001:db8::14]:48926,[2001:db8::7]:12856;EN=PCMA/8000;DE=opus/48000',
      },
      {
        packets_sent: 149,
        packets_received: 150,
        jitter_ms: 1,
        duration_seconds: 3,
        codec: 'opus',
        local_ip: '2001:db8::14',
        remote_ip: '2001:db8::7',
      },
    ],
    [
      'baresip without a codec and without an address of its own',
      { 'X-RTP-Stat': 'EX=BareSip;CS=0;CD=3;PR=150;PS=149;PL=0,0;JI=16.0,8.0;IP=0.0.0.0:48926,198.51.100.7:12856' },
      {
        packets_sent: 149,
        packets_received: 150,
        packets_lost: 0,
        loss_percent: 0,
        jitter_ms: 2,
        duration_seconds: 3,
        remote_ip: '198.51.100.7',
      },
    ],
    [
      'a reporter that nobody knows: what it counts, but nothing whose unit would be a guess',
      { 'X-RTP-Stat': 'EX=Whoever;CS=900;CD=29;PR=96;PS=100;PL=4,0;JI=24.0,40.0;LA=3;DU=5;EN=PCMA' },
      { packets_sent: 100, packets_received: 96, packets_lost: 4, loss_percent: 4, codec: 'PCMA' },
    ],
    [
      'a duration that no call has',
      { 'P-RTP-Stat': 'PS=3,PR=3,DU=4294967295' },
      { packets_sent: 3, packets_received: 3 },
    ],
    ['no media at all', { 'X-RTP-Stat': 'PS=0;PR=0;PL=0' }, null],
    ['nothing that is known', { 'X-RTP-Stat': 'hello' }, null],
    ['no such header', {}, null],
  ]
  for (const [name, over, expected] of rows) t.same(rtpStatisticsOf(bye(over)), expected, name)
  const stat = {
    'X-RTP-Stat': 'EX=BareSip;CS=2000;CD=10;PS=1;PR=1;PL=0',
    'Call-ID': 'x',
    From: '<sip:1@a>;tag=1',
    To: '<sip:2@a>;tag=2',
    'User-Agent': 'u',
  }
  t.match(statisticsToQuality(bye(stat), { seenMs: 20_000 }), {
    call_id: 'x',
    local_party: 'sip:1@a',
    remote_party: 'sip:2@a',
    start_ms: 10_000,
    end_ms: 20_000,
    duration_seconds: 10,
    user_agent: 'u',
    origin: 'REPORT',
  })
  t.match(
    statisticsToQuality(
      message('SIP/2.0 200 OK', 'BYE', stat),
      { seenMs: 20_000 },
      { startMs: 15_000, localIp: '192.0.2.1' },
    ),
    { local_party: 'sip:2@a', remote_party: 'sip:1@a', start_ms: 15_000, duration_seconds: 5, local_ip: '192.0.2.1' },
  )
  t.equal(statisticsToQuality(bye({}), { seenMs: 1 }), null)
})
