import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { catalogue as shipped } from '../../../src/catalogue/catalogue.js'
import { cdrJson, MAX_DEPTH, MAX_PROFILES, readCdr } from '../../../src/formats/freeswitch/body.js'
import { type Legs, type Taken, writeCdr } from '../../../src/formats/freeswitch/records.js'
import { RecordWriter } from '../../../src/formats/record-writer.js'
import { given } from '../../helpers/given.js'
import { shared } from '../../helpers/shared.js'
import { B_UUID, type CdrOf, cdrText, FORMS, profile, START_US, UUID } from './cdr.js'

const catalogue = shipped()
const BatchMessage = catalogue.root.lookupType('minim.v1.Batch')
const writer = new RecordWriter(catalogue)
const MS = START_US / 1000

type Records = Readonly<Record<'calls' | 'qualities' | 'devices', Readonly<Record<string, unknown>>[]>>

function records(body: Buffer, legs: Legs = 'a'): Records & { taken: Taken | null } {
  const json = cdrJson(body)
  const cdr = json === null ? null : readCdr(json)
  if (cdr === null) throw new Error('no CDR')
  const taken = writeCdr(cdr, legs, writer)
  const { calls, qualities, devices } = BatchMessage.toObject(BatchMessage.decode(writer.take()), {
    longs: Number,
    enums: String,
    arrays: true,
  }) as Records
  return { calls, qualities, devices, taken }
}

const of = (cdr: CdrOf = {}, legs: Legs = 'a'): ReturnType<typeof records> => records(Buffer.from(cdrText(cdr)), legs)

const CALL = {
  account: 'ACME-101',
  call_id: 'b1acaf21@192.0.2.14',
  linked_id: UUID,
  calling: '1004',
  called: '07700 900123',
  calling_name: 'Extra 1004',
  start_ms: MS,
  answer_ms: MS + 8000,
  end_ms: MS + 137_000,
  duration_seconds: 137,
  billable_seconds: 129,
  disposition: 'ANSWERED',
  hangup_cause: 16,
  source_ip: '192.0.2.14',
  codec: 'PCMA',
  user_agent: 'Yealink SIP-T46S 66.85.0.5 00005e005304',
  usage_octets: 3000,
  origin: 'CDR',
}
const QUALITY = {
  account: 'ACME-101',
  call_id: 'b1acaf21@192.0.2.14',
  linked_id: UUID,
  local_party: '1004',
  remote_party: '07700 900123',
  start_ms: MS,
  end_ms: MS + 137_000,
  duration_seconds: 137,
  mos_lq: Math.fround(4.35),
  jitter_max_ms: 5,
  loss_percent: 2,
  packets_sent: 5990,
  packets_received: 6000,
  codec: 'PCMA',
  local_ip: '192.0.2.16',
  user_agent: 'Yealink SIP-T46S 66.85.0.5 00005e005304',
  origin: 'REPORT',
}
const DEVICE = {
  account: 'ACME-101',
  party: 'sip:1004@pbx.example',
  start_ms: MS,
  user_agent: 'Yealink SIP-T46S 66.85.0.5 00005e005304',
  contact_ip: '192.0.2.15',
  contact_port: 5062,
  origin: 'CDR',
}

for (const [form, body] of Object.entries(FORMS)) {
  for (const encodeValues of [false, true]) {
    t.test(`${form}, values ${encodeValues ? 'encoded' : 'as they are'}`, async (t) => {
      const { taken, ...got } = records(
        body(cdrText({ encodeValues, variables: { accountcode: 'A+B/%41 é', sip_user_agent: CALL.user_agent } })),
      )
      t.same(taken, { id: `${UUID} a`, records: 3 })
      const account = 'A+B/%41 é'
      t.same(got, {
        calls: [{ ...CALL, account }],
        qualities: [{ ...QUALITY, account }],
        devices: [{ ...DEVICE, account }],
      })
    })
  }
}

t.test('a plus survives base64 that no one url-encoded', async (t) => {
  // >>> and ~~~ give pluses and slashes in base64.
  const json = cdrText({ variables: { accountcode: '>>>~~~???' } })
  const body = FORMS['cdr= in base64, not url-encoded'](json)
  t.match(body.toString(), /\+/, 'there is one to lose')
  t.equal(records(body).calls[0]['account'], '>>>~~~???')
})

t.test(
  'a transferred call: each party that it was put through to is a call, in every spelling of callflow',
  async (t) => {
    const profiles = [
      profile({ index: 1, destination: '5000', createdUs: START_US }),
      profile({ index: 2, destination: '1001', createdUs: START_US + 1_000_000, bridgedUs: START_US + 9_000_000 }),
      profile({
        index: 3,
        destination: '+442079460001',
        createdUs: START_US + 60_000_000,
        bridgedUs: START_US + 61_000_000,
      }),
    ]
    const first = {
      ...CALL,
      called: '5000',
      end_ms: MS + 60_000,
      duration_seconds: 60,
      billable_seconds: 52,
    } as Partial<typeof CALL>
    delete first.hangup_cause
    delete first.usage_octets
    const second = {
      ...CALL,
      called: '+442079460001',
      start_ms: MS + 60_000,
      answer_ms: MS + 60_000,
      duration_seconds: 77,
      billable_seconds: 77,
    }
    for (const callflow of ['array', 'keys'] as const) {
      const { taken, calls, qualities } = of({ profiles, callflow })
      t.equal(taken?.records, 4)
      t.same(calls, [first, second], callflow)
      t.equal(qualities.length, 1, 'one stream of audio')
    }
    t.equal(
      (JSON.parse(cdrText({ profiles, callflow: 'keys' })) as { callflow: { profile_index: string } }).callflow
        .profile_index,
      '1',
      'JSON.parse would have lost two',
    )
    t.same(
      of({ profiles: profiles.slice(0, 2), callflow: 'keys' }).calls,
      [{ ...CALL, called: '5000' }],
      'a way through the dialplan to one party is one call, to what was dialled',
    )
  },
)

t.test('profiles without a number are taken last one first', async (t) => {
  const nameless = (destination: string, at: number): object => ({
    ...profile({ index: 0, destination, createdUs: START_US + at, bridgedUs: START_US + at + 1 }),
    profile_index: undefined,
  })
  t.same(
    of({ profiles: [nameless('1001', 0), nameless('1002', 9_000_000)], callflow: 'keys' }).calls.map(
      (call) => call['called'],
    ),
    ['1001', '1002'],
  )
})

t.test('a b-leg is no second call, unless the settings want both', async (t) => {
  const b: CdrOf = {
    variables: {
      direction: 'outbound',
      uuid: B_UUID,
      call_uuid: UUID,
      originator: UUID,
      sip_call_id: 'b-leg@192.0.2.1',
      dialed_user: '1005',
      dialed_domain: 'pbx.example',
      sip_auth_username: undefined,
      sip_gateway_name: 'carrier-1',
      sip_network_ip: '198.51.100.7',
    },
    profiles: [profile({ index: 1, destination: '1005', createdUs: START_US, originator: true })],
  }
  const alone = of(b)
  t.same(alone.taken, { id: `${B_UUID} b`, records: 2 })
  t.match(alone, {
    calls: [],
    qualities: [{ call_id: 'b-leg@192.0.2.1', linked_id: UUID, local_party: '1005', remote_party: '1004' }],
    devices: [{ party: 'sip:1005@pbx.example' }],
  })
  const both = of(b, 'both')
  t.match(both.calls, [
    { calling: '1004', called: '1005', linked_id: UUID, trunk: 'carrier-1', destination_ip: '198.51.100.7' },
  ])
  t.notOk('source_ip' in both.calls[0])
  for (const name of ['originator', 'originating_leg_uuid'])
    t.equal(of({ variables: { [name]: UUID }, profiles: [] }).calls.length, 0, `${name} alone says it`)
  t.equal(
    of({ variables: { direction: 'outbound' } }).calls.length,
    1,
    "a channel that a command made is nobody's b-leg",
  )
})

t.test('what was not measured is absent, not zero', async (t) => {
  const quality = (variables: CdrOf['variables'], stats?: object): Readonly<Record<string, unknown>> =>
    of({ variables: variables ?? {}, ...(stats === undefined ? {} : { stats }) }).qualities[0] ?? {}
  const untimed = quality({
    rtp_audio_in_mean_interval: '0.00',
    rtp_audio_in_mos: '4.50',
    rtp_audio_in_jitter_loss_rate: '0.00',
    rtp_audio_in_jitter_max_variance: '0.00',
  })
  for (const name of ['mos_lq', 'loss_percent', 'jitter_max_ms'])
    t.notOk(name in untimed, `${name} of audio that nobody timed`)
  t.equal(untimed['packets_received'], 6000)
  t.notOk('loss_percent' in quality({ rtp_audio_in_jitter_loss_rate: '90.83' }), 'a rate above 1 is none')
  t.notOk('mos_lq' in quality({ rtp_audio_in_mos: '0.00' }))
  const unheard = quality({ rtp_audio_in_packet_count: '0' })
  t.match(unheard, { packets_received: 0, packets_sent: 5990 })
  t.notOk('mos_lq' in unheard)
  const without = Object.fromEntries(
    Object.keys(cdrVariables())
      .filter((name) => name.startsWith('rtp_audio'))
      .map((name) => [name, undefined]),
  )
  t.same(of({ variables: without }).qualities, [], 'no audio, no quality')
  t.same(
    of({ variables: { ...without, rtp_audio_in_packet_count: '0', rtp_audio_out_packet_count: '0' } }).qualities,
    [],
  )
  t.match(
    quality(without, {
      audio: {
        inbound: { packet_count: 10, mean_interval: 20, mos: 3.5, jitter_loss_rate: 0.1 },
        outbound: { packet_count: 11 },
      },
    }),
    { packets_received: 10, packets_sent: 11, mos_lq: 3.5, loss_percent: 10 },
    'callStats where the variables are not there',
  )
})

function cdrVariables(): Record<string, string> {
  return (JSON.parse(cdrText()) as { variables: Record<string, string> }).variables
}

t.test('no device where the other end said nothing', async (t) => {
  t.same(of({ variables: { sip_user_agent: undefined } }).devices, [])
  const trunk = of({ variables: { sip_auth_username: undefined, sip_contact_host: 'sbc.example.net' } }).devices[0]
  t.notOk('party' in trunk, "a stranger's device is not that of the number that called through it")
  t.match(trunk, { contact_ip: '192.0.2.14', contact_port: 5060 }, 'a host name is no address')
})

const ENDS = [
  { cause: 'NORMAL_CLEARING', q850: '16', disposition: 'NO_ANSWER', hangup: 16 },
  { cause: 'NO_ANSWER', q850: '19', disposition: 'NO_ANSWER', hangup: 19 },
  { cause: 'USER_BUSY', q850: undefined, disposition: 'BUSY', hangup: 17 },
  { cause: 'ORIGINATOR_CANCEL', q850: '0', disposition: 'CANCELLED', hangup: undefined },
  { cause: 'NORMAL_CIRCUIT_CONGESTION', q850: '34', disposition: 'CONGESTION', hangup: 34 },
  { cause: 'UNALLOCATED_NUMBER', q850: '1', disposition: 'FAILED', hangup: 1 },
  { cause: 'constructor', q850: '487', disposition: 'FAILED', hangup: undefined },
  { cause: undefined, q850: undefined, disposition: undefined, hangup: undefined },
]
for (const { cause, q850, disposition, hangup } of ENDS) {
  t.test(`unanswered: ${cause}`, async (t) => {
    const none = profile({ index: 1, destination: '1', createdUs: START_US })
    const call = of({
      variables: {
        hangup_cause: cause,
        hangup_cause_q850: q850,
        answer_uepoch: '0',
        answer_epoch: '0',
        billsec: '0',
        call_direction: 'local',
      },
      profiles: [{ ...none, times: { created_time: String(START_US), answered_time: '0' } }],
    }).calls[0]
    t.match(
      {
        disposition: call['disposition'],
        hangup: call['hangup_cause'],
        answer: call['answer_ms'],
        direction: call['direction'],
        billable: call['billable_seconds'],
      },
      { disposition, hangup, answer: undefined, direction: 'INTERNAL', billable: 0 },
    )
  })
}

t.test("seconds, the callflow's own times, and no time at all", async (t) => {
  const none = { start_uepoch: undefined, answer_uepoch: undefined, end_uepoch: undefined }
  t.match(of({ variables: none }).calls[0], { start_ms: MS, answer_ms: MS + 8000, end_ms: MS + 137_000 })
  const less = {
    ...none,
    start_epoch: '0',
    answer_epoch: undefined,
    end_epoch: undefined,
    duration: undefined,
    billsec: undefined,
    mduration: '136999',
    billmsec: undefined,
  }
  t.match(of({ variables: less }).calls[0], {
    start_ms: MS,
    answer_ms: MS + 8000,
    end_ms: MS + 137_000,
    duration_seconds: 136,
    billable_seconds: 129,
  })
  const cdr = given(readCdr(Buffer.from(cdrText({ variables: less, profiles: [] }))))
  t.equal(writeCdr(cdr, 'a', writer), null)
  t.equal(writer.records, 0, 'nothing of it is written')
})

t.test('without a uuid, or with one that is none, nothing is taken for a repeat', async (t) => {
  t.equal(of({ variables: { uuid: undefined }, profiles: [] }).taken?.id, null)
  t.equal(of({ variables: { uuid: 'x'.repeat(129) } }).taken?.id, null)
  t.equal(of({ variables: { uuid: undefined } }).taken?.id, `${UUID} a`, 'the callflow has it too')
  t.equal(
    of({ variables: { sip_call_id: undefined } }).calls[0]['call_id'],
    UUID,
    'and it stands for the call where SIP has no name for it',
  )
})

t.test('NaN, Infinity, null, numbers, escapes and double keys', async (t) => {
  const text = cdrText({ variables: { accountcode: 'n' } })
    .replace(
      '"accountcode":"n"',
      '"accountcode":"x","accountcode":null,"odd":NaN,"odder":-Infinity,"accountcode":"\\u00e9\\ud83d\\ude00\\"\\/\\n"',
    )
    .replace('"duration":"137"', '"duration":137')
    .replace('"billsec":"129"', '"billsec":NaN')
  t.match(of().calls[0], CALL)
  const call = records(Buffer.from(text)).calls[0]
  t.match(call, { account: 'é😀"/\n', duration_seconds: 137 })
  t.equal(call['billable_seconds'], 129, 'NaN is nothing: the times say it')
  t.notOk(
    'account' in
      records(Buffer.from(cdrText().replace('"accountcode":"ACME-101"', '"accountcode":"x","accountcode":null')))
        .calls[0],
    'the last of equal keys',
  )
})

t.test('what is no CDR', async (t) => {
  const good = cdrText()
  for (const bad of [
    '',
    ' ',
    '[]',
    'null',
    'cdr=',
    'cdr=%',
    'cdr=eyJ2',
    'hello',
    '{',
    good.slice(0, -1),
    `${good}x`,
    `${good}{}`,
    good.replace('"variables":{', '"variables":{,'),
    '{"variables":{"a"}}',
    '{"a":}',
    '{"a":[}]}',
    '{"a":"\\',
  ]) {
    const json = cdrJson(Buffer.from(bad))
    t.equal(json === null ? null : readCdr(json), null, JSON.stringify(bad.slice(0, 20)))
  }
  const deep = (depth: number): string => `{"x":${'['.repeat(depth)}${']'.repeat(depth)}}`
  t.ok(readCdr(Buffer.from(deep(MAX_DEPTH - 1))))
  t.equal(readCdr(Buffer.from(deep(MAX_DEPTH))), null)
  t.equal(readCdr(Buffer.from(deep(500_000))), null, 'and no stack is used up')
  t.equal(readCdr(Buffer.from(`{"variables":${'{"uuid":'.repeat(100_000)}`)), null)
  t.equal(readCdr(Buffer.from(`{"callflow":[${Array(1000).fill('{}').join(',')}]}`))?.profiles.length, MAX_PROFILES)
  t.equal(readCdr(Buffer.from('{"variables":{}}'))?.variables.size, 0)
})

t.test('CDRs of real installations', async (t) => {
  const folder = shared('fixtures/freeswitch')
  if (folder === null) {
    t.comment('../shared/fixtures is not here')
    return
  }
  const names = readdirSync(folder).filter((name) => name.endsWith('.json'))
  t.equal(names.length, 3)
  for (const name of names) {
    const bytes = readFileSync(join(folder, name))
    for (const [form, body] of Object.entries(FORMS)) {
      const { calls, qualities, devices, taken } = records(body(bytes.toString()))
      t.equal(taken?.records, 3, `${name} ${form}`)
      // All three are calls from 1001 that were parked by the dialplan and then bridged.
      t.match(
        [calls, qualities, devices],
        [
          [{ calling: '1001', called: /^100[23]$/, disposition: 'ANSWERED', hangup_cause: 16, account: '1001' }],
          [{ packets_received: Number }],
          [{ contact_ip: String }],
        ],
      )
      t.equal(readCdr(given(cdrJson(body(bytes.toString()))))?.profiles.length, 2, 'no entry of callflow is lost')
    }
  }
  const wrapped = records(readFileSync(join(folder, 'cgrates-61b38010-2018-4.json'))).qualities[0]
  t.notOk('loss_percent' in wrapped, 'a loss rate of 90.83')
  t.equal(wrapped['mos_lq'], Math.fround(4.49))
})
