/** Calls that the PBX makes by itself, and the legs that are none. */
import t from 'tap'
import { type Event, listen, tell, type Told } from './events.js'

const TIMES = { StartTime: '2026-11-24 13:20:00', AnswerTime: '', EndTime: '2026-11-24 13:20:20' }
const ANSWERED = { AnswerTime: '2026-11-24 13:20:05', BillableSeconds: 15, Disposition: 'ANSWERED' }

function row(fields: Event): Event {
  return {
    Event: 'Cdr',
    AccountCode: '',
    Source: '',
    Destination: '',
    CallerID: '"" <02079460102>',
    Channel: '',
    DestinationChannel: '',
    LastApplication: '',
    LastData: '',
    ...TIMES,
    Duration: 20,
    BillableSeconds: 0,
    Disposition: 'NO ANSWER',
    UniqueID: '1795526400.0',
    ...fields,
  }
}

const U1 = '1795526400.30'
const U2 = '1795526400.31'
const U3 = '1795526400.32'
const near = (fields: Event = {}, name = '447700900123@out-00000003'): Event =>
  row({
    Channel: `Local/${name};1`,
    Destination: 'talk',
    LastApplication: 'AppDial2',
    LastData: '(Outgoing Line)',
    UniqueID: U1,
    LinkedID: U1,
    ...fields,
  })
const far = (fields: Event = {}, name = '447700900123@out-00000003'): Event =>
  row({
    Channel: `Local/${name};2`,
    Destination: '447700900123',
    DestinationChannel: 'IAX2/trunk-5',
    LastApplication: 'Dial',
    LastData: 'IAX2/trunk/447700900123,30',
    UniqueID: U2,
    LinkedID: U1,
    ...fields,
  })
const phantom = (fields: Event = {}): Event =>
  row({
    Channel: 'IAX2/trunk-5',
    LastApplication: 'AppDial',
    LastData: '(Outgoing Line)',
    Duration: 0,
    UniqueID: U3,
    LinkedID: U1,
    ...fields,
  })
const hangup = (Channel: string, Uniqueid: string, Cause: number): Event => ({
  Event: 'Hangup',
  Channel,
  Uniqueid,
  Linkedid: U1,
  Cause,
})
const hangups = (cause: number): Event[] => [
  hangup('IAX2/trunk-5', U3, cause),
  hangup('Local/447700900123@out-00000003;2', U2, cause),
  hangup('Local/447700900123@out-00000003;1', U1, 16),
]

const ofCalls = ({ calls }: Told): unknown[] =>
  calls.map(({ called, disposition, hangup_cause, call_id, linked_id, calling }) => ({
    called,
    disposition,
    hangup_cause,
    call_id,
    linked_id,
    calling,
  }))
const CALL = { called: '447700900123', call_id: U1, linked_id: U1, calling: '02079460102' }

t.test('outcome and number of an originated call are those of the far half', async (t) => {
  for (const [disposition, cause, told] of [
    ['BUSY', 17, 'BUSY'],
    ['CONGESTION', 34, 'CONGESTION'],
    ['FAILED', 1, 'FAILED'],
    ['NO ANSWER', 19, 'NO_ANSWER'],
  ] as const) {
    const wanted = [{ ...CALL, disposition: told, hangup_cause: cause }]
    const rows = [phantom(), far({ Disposition: disposition }), near()]
    t.same(ofCalls(tell([...hangups(cause), ...rows])), wanted, disposition)
    t.same(ofCalls(tell([...hangups(cause), ...rows.reverse()])), wanted, 'in any order')
    t.same(ofCalls(tell([...rows, ...hangups(cause)])), wanted, 'causes last')
    t.same(
      ofCalls(tell([hangup('Local/447700900123@out-00000003;1', U1, 16), hangup('IAX2/trunk-5', U3, cause), ...rows])),
      wanted,
      'the cause of the channel that it led to',
    )
    t.match(
      ofCalls(
        tell([hangup('Local/447700900123@out-00000003;2', U2, cause), ...rows.map((r) => ({ ...r, LinkedID: '' }))]),
      ),
      [{ called: CALL.called, disposition: told, hangup_cause: cause }],
      'no column has the LinkedID',
    )
  }
  t.same(ofCalls(tell([...hangups(16), phantom(), far(ANSWERED), near(ANSWERED)])), [
    { ...CALL, disposition: 'ANSWERED', hangup_cause: 16 },
  ])
  t.match(tell([far(ANSWERED), near(ANSWERED)]).calls, [{ billable_seconds: 15, duration_seconds: 20 }])
})

t.test('the number that was dialled, not an extension of the dialplan', async (t) => {
  for (const [name, local, farRow, called] of [
    ['the far half dialled it', '100@out-1', { Destination: '+447700900123' }, '+447700900123'],
    ['a subroutine dialled', '447700900123@from-internal-1/n', { Destination: 's' }, '447700900123'],
    ['a macro', 's@dialout-1', { Destination: 's', LastData: 'PJSIP/447700900123@trunk,300,T' }, '447700900123'],
    ['a trunk first', 's@dialout-1', { Destination: 's', LastData: 'SIP/trunk/447700900123,300' }, '447700900123'],
    ['a URI', 's@x-1', { Destination: '', LastData: 'PJSIP/trunk/sip:447700900123@192.0.2.7' }, '447700900123'],
    ['only a name', 'sales@x-1', { Destination: 'sales', LastData: 'PJSIP/alice' }, 'sales'],
  ] as const)
    t.match(tell([far(farRow, local), near({}, local)]).calls, [{ called }], name)
})

t.test('an agent is rung first and put through: the call is the one to the number', async (t) => {
  const agent = '1001@agents-00000007'
  const rung = far({ Destination: '1001', DestinationChannel: 'PJSIP/1001-1', LastData: 'PJSIP/1001' }, agent)
  const put = near(
    { ...ANSWERED, Destination: '447700900123', DestinationChannel: 'PJSIP/trunk-2', LastApplication: 'Dial' },
    agent,
  )
  t.match(ofCalls(tell([{ ...rung, ...ANSWERED }, put])), [{ called: '447700900123', disposition: 'ANSWERED' }])
  t.match(
    ofCalls(
      tell([
        hangup('PJSIP/trunk-2', U3, 17),
        { ...rung, ...ANSWERED },
        { ...put, Disposition: 'BUSY', BillableSeconds: 0 },
      ]),
    ),
    [{ called: '447700900123', disposition: 'BUSY', hangup_cause: 17 }],
  )
  t.match(ofCalls(tell([rung, near({ Destination: '447700900123' }, agent)])), [
    { called: '1001', disposition: 'NO_ANSWER' },
  ])
})

t.test('originated to a channel that is no Local one, with an extension or an application', async (t) => {
  const phone = { Channel: 'PJSIP/1001-1', UniqueID: U1, LinkedID: U1 }
  t.match(ofCalls(tell([row({ ...phone, ...ANSWERED, Destination: '447700900123', LastApplication: 'Dial' })])), [
    { called: '447700900123', disposition: 'ANSWERED' },
  ])
  for (const LinkedID of [U1, ''])
    t.match(
      ofCalls(tell([row({ ...phone, LinkedID, LastApplication: 'AppDial2', LastData: '(Outgoing Line)' })])),
      [{ disposition: 'NO_ANSWER', call_id: U1 }],
      'nobody answered: a call all the same',
    )
})

t.test('one half alone', async (t) => {
  const wanted = [{ called: CALL.called, call_id: U1, disposition: 'BUSY' }]
  t.match(ofCalls(tell([far({ Disposition: 'BUSY' })])), wanted, 'ids that are neighbours: the other half began it')
  t.match(
    ofCalls(
      tell([
        hangup('Local/447700900123@out-00000003;1', U1, 16),
        far({ Disposition: 'BUSY', UniqueID: '1795526400.39' }),
      ]),
    ),
    wanted,
    'another event named the other half',
  )
  t.match(ofCalls(tell([near()])), [{ called: '447700900123', disposition: 'NO_ANSWER' }], 'the first alone')
  const late = listen()
  late.event(far({ Disposition: 'BUSY' }))
  late.event(near(), 5000)
  late.node.flush()
  t.match(ofCalls(late), wanted, 'the other half much later is no second call')
  t.equal(late.refused.unused, 1)
})

t.test('legs that another channel has made are no calls; its own record is', async (t) => {
  const U0 = '1795526400.10'
  const caller = row({ ...ANSWERED, Channel: 'PJSIP/trunk-1', Destination: '800', UniqueID: U0, LinkedID: U0 })
  const member = '1001@agents-00000009'
  for (const [name, app] of [
    ['a ring group', 'AppDial'],
    ['a queue', 'AppQueue'],
    ['a page', 'AppDial2'],
    ['FollowMe', 'FollowMe'],
  ] as const) {
    const legs = [
      near({ LinkedID: U0, Destination: '', LastApplication: app }, member),
      far({ ...ANSWERED, LinkedID: U0, Destination: '1001', DestinationChannel: 'PJSIP/1001-1' }, member),
      row({
        Channel: 'PJSIP/1001-1',
        LastApplication: app,
        LastData: '(Outgoing Line)',
        UniqueID: U3,
        LinkedID: U0,
        Duration: 0,
      }),
      row({
        Channel: 'PJSIP/1002-1',
        LastApplication: app,
        LastData: '(Outgoing Line)',
        UniqueID: '1795526400.40',
        LinkedID: U0,
        Duration: 0,
      }),
    ]
    const { calls, refused } = tell([...legs, { ...caller, DestinationChannel: 'Local/1001@agents-00000009;1' }])
    t.match(calls, [{ called: '800', call_id: U0 }], name)
    t.equal(calls.length, 1)
    t.equal(refused.unused, 4, 'and counted')
  }
  t.same(tell([phantom()]).calls, [], 'the far end of a call')
  t.same(tell([phantom({ LinkedID: '' })]).calls, [], 'no column has the LinkedID')
})

t.test('in doubt a call is kept', async (t) => {
  const talked = { ...ANSWERED, DestinationChannel: 'PJSIP/1003-1' }
  t.equal(tell([phantom(talked)]).calls.length, 1, 'an outgoing leg that talked to somebody after a transfer')
  t.same(
    tell([phantom(talked), far(ANSWERED), near(ANSWERED)]).calls.length,
    1,
    "but where a caller's record tells of it, it is the far end",
  )
  t.equal(tell([phantom({ Destination: '1003' })]).calls.length, 1, 'it was put through to a number')
  t.equal(tell([phantom({ LinkedID: U3 })]).calls.length, 1, 'it began everything')
  t.match(
    ofCalls(tell([far(), near(ANSWERED)])),
    [{ called: CALL.called, disposition: 'ANSWERED' }],
    'answered by the dialplan itself',
  )
})

t.test('rows: all takes each', async (t) => {
  t.equal(tell([phantom(), far(), near()], { rows: 'all' }).calls.length, 3)
})
