/** The shipped policy against the privacy notice: what each purpose sees, in which form, and nothing else. */
import t from 'tap'
import { catalogue, type Kind, KINDS } from '../../src/catalogue/catalogue.js'
import { type InspectedPurpose, inspectPolicy, loadPolicy } from '../../src/policy/load.js'
import type { Treatment } from '../../src/policy/model.js'
import { basisOf } from '../../src/policy/vocabulary.js'

const policy = loadPolicy()
const all = inspectPolicy().purposes

function purpose(id: string): InspectedPurpose {
  const found = all.find((p) => p.id === id)
  if (found === undefined) throw new Error(`no purpose ${id}`)
  return found
}

function short(treatment: Treatment): string {
  switch (treatment.kind) {
    case 'token':
      return treatment.reversible ? 'reversible' : 'token'
    case 'time-bucket':
      return `${treatment.ms} ms`
    case 'number-bucket':
      return treatment.step !== null ? `step ${treatment.step}` : `${treatment.bounds?.length} bounds`
    case 'e164-prefix':
      return `digits ${treatment.digits}`
    case 'ip-prefix':
      return `/${treatment.v4} /${treatment.v6}`
    case 'keep':
    case 'user-agent':
    case 'mac-vendor':
      return treatment.kind
  }
}

/** What a purpose sees of a kind: field → form. */
function sees(id: string, kind: Kind): Record<string, string> {
  return Object.fromEntries((purpose(id).kinds[kind]?.rules ?? []).map((r) => [r.field.name, short(r.treatment)]))
}

const second = '1000 ms'
const minute = '60000 ms'
const figures = [
  'mos_lq',
  'mos_cq',
  'r_factor',
  'jitter_ms',
  'jitter_max_ms',
  'loss_percent',
  'discard_percent',
  'round_trip_ms',
  'one_way_delay_ms',
  'end_system_delay_ms',
  'burst_loss_percent',
  'burst_ms',
  'gap_loss_percent',
  'gap_ms',
  'packets_sent',
  'packets_received',
  'packets_lost',
]

/** The whole of what each purpose sees. A field more is a promise broken; a field less is a purpose not served. */
const views: [promise: string, id: string, kind: Kind, key: string | null, fields: Record<string, string>][] = [
  [
    'P1',
    'service',
    'call',
    'account',
    {
      account: 'token',
      calling: 'token',
      called: 'token',
      start_ms: second,
      answer_ms: second,
      end_ms: second,
      disposition: 'keep',
      hangup_cause: 'keep',
      device_model: 'user-agent',
      device_firmware: 'user-agent',
    },
  ],
  [
    'P1',
    'service',
    'device',
    'account',
    {
      account: 'token',
      party: 'token',
      start_ms: second,
      model: 'user-agent',
      firmware: 'user-agent',
      device_model: 'user-agent',
      device_firmware: 'user-agent',
    },
  ],
  [
    'P2',
    'billing',
    'call',
    'account',
    {
      account: 'token',
      calling: 'reversible',
      called: 'reversible',
      start_ms: second,
      billable_seconds: 'keep',
      disposition: 'keep',
      called_prefix: 'digits 5',
    },
  ],
  [
    'P3',
    'fraud',
    'call',
    'calling',
    {
      calling: 'token',
      called: 'token',
      start_ms: 'keep',
      answer_ms: 'keep',
      end_ms: 'keep',
      hangup_cause: 'keep',
      source_ip: 'token',
      mac: 'token',
      called_prefix: 'digits 5',
      device_vendor: 'user-agent',
    },
  ],
  [
    'P3',
    'fraud',
    'device',
    'mac',
    { party: 'token', start_ms: 'keep', mac: 'token', contact_ip: 'token', device_vendor: 'user-agent' },
  ],
  [
    'P4',
    'quality',
    'call',
    'call_id',
    {
      call_id: 'token',
      calling: 'token',
      called: 'token',
      start_ms: minute,
      codec: 'keep',
      device_model: 'user-agent',
      device_firmware: 'user-agent',
      mac_vendor: 'mac-vendor',
      source_network: '/24 /48',
      destination_network: '/24 /48',
    },
  ],
  [
    'P4',
    'quality',
    'quality',
    'call_id',
    {
      call_id: 'token',
      local_party: 'token',
      remote_party: 'token',
      start_ms: minute,
      ...Object.fromEntries(figures.map((f) => [f, 'keep'])),
      codec: 'keep',
      device_model: 'user-agent',
      device_firmware: 'user-agent',
      mac_vendor: 'mac-vendor',
      local_network: '/24 /48',
      remote_network: '/24 /48',
    },
  ],
  [
    'P4',
    'quality',
    'device',
    'party',
    {
      party: 'token',
      start_ms: minute,
      model: 'user-agent',
      firmware: 'user-agent',
      device_model: 'user-agent',
      device_firmware: 'user-agent',
      mac_vendor: 'mac-vendor',
      contact_network: '/24 /48',
    },
  ],
  [
    'P5',
    'research',
    'call',
    null,
    {
      start_ms: '3600000 ms',
      duration_seconds: '6 bounds',
      called_prefix: 'digits country',
      device_model: 'user-agent',
    },
  ],
  [
    'P6',
    'marketing',
    'call',
    'account',
    { account: 'token', start_ms: '86400000 ms', billable_seconds: '4 bounds', usage_octets: '4 bounds' },
  ],
  [
    'P7',
    'legal',
    'call',
    'account',
    {
      tenant: 'keep',
      account: 'reversible',
      call_id: 'reversible',
      linked_id: 'reversible',
      calling: 'reversible',
      called: 'reversible',
      direction: 'keep',
      start_ms: 'keep',
      answer_ms: 'keep',
      end_ms: 'keep',
      duration_seconds: 'keep',
      billable_seconds: 'keep',
      disposition: 'keep',
      hangup_cause: 'keep',
      trunk: 'keep',
      source_ip: 'reversible',
      destination_ip: 'reversible',
      codec: 'keep',
      usage_octets: 'keep',
      origin: 'keep',
      mac: 'reversible',
      device_vendor: 'user-agent',
      device_model: 'user-agent',
      device_firmware: 'user-agent',
    },
  ],
  [
    'P7',
    'legal',
    'device',
    'mac',
    {
      tenant: 'keep',
      account: 'reversible',
      party: 'reversible',
      start_ms: 'keep',
      mac: 'reversible',
      serial: 'reversible',
      contact_ip: 'reversible',
      contact_port: 'keep',
      event: 'keep',
      expires_seconds: 'keep',
      origin: 'keep',
      device_vendor: 'user-agent',
      device_model: 'user-agent',
      device_firmware: 'user-agent',
    },
  ],
  [
    'T1',
    'settlement',
    'call',
    null,
    { start_ms: '86400000 ms', billable_seconds: 'keep', trunk: 'keep', called_prefix: 'digits 5' },
  ],
  [
    'T3',
    'billing-partner',
    'call',
    'account',
    {
      account: 'token',
      calling: 'reversible',
      called: 'reversible',
      start_ms: second,
      billable_seconds: 'keep',
      disposition: 'keep',
      called_prefix: 'digits 5',
    },
  ],
  [
    'P9',
    'partner-testimonial',
    'call',
    'account',
    { account: 'reversible', start_ms: '86400000 ms', billable_seconds: 'step 60' },
  ],
]

for (const [promise, id, kind, key, fields] of views) {
  t.test(`${promise}: what ${id} sees of ${kind} records`, async (t) => {
    t.same(sees(id, kind), fields)
    t.equal(purpose(id).kinds[kind]?.key?.name ?? null, key)
    t.equal(purpose(id).kinds[kind]?.topic, `pbx.${id}.${kind}`)
  })
}

t.test('no purpose sees a kind that is not in that list', async (t) => {
  const found = all.flatMap((p) => KINDS.filter((k) => p.kinds[k] !== undefined).map((k) => `${p.id}.${k}`))
  t.same(found.sort(), views.map(([, id, kind]) => `${id}.${kind}`).sort())
})

const facts: [id: string, notice: string, basis: string, epoch: string, on: boolean][] = [
  ['service', 'P1', 'contract', 'month', true],
  ['billing', 'P2', 'contract', 'contract', true],
  ['fraud', 'P3', 'contract', 'month', true],
  ['quality', 'P4', 'contract', 'day', true],
  ['research', 'P5', 'legitimate interest', 'day', true],
  ['marketing', 'P6', 'legitimate interest', 'month', true],
  ['legal', 'P7', 'legal obligation', 'month', true],
  ['settlement', 'P2', 'contract', 'day', false],
  ['billing-partner', 'P2', 'contract', 'contract', false],
  ['partner-testimonial', 'P9', 'consent', 'month', false],
]
for (const [id, notice, basis, epoch, on] of facts) {
  t.test(`${notice}: on which basis ${id} stands`, async (t) => {
    const p = purpose(id)
    t.same([p.notice, basisOf(p.basis).name, p.epoch, p.enabled], [notice, basis, epoch, on])
  })
}

t.test('P4: a party can be followed within a day only', async (t) => {
  t.equal(purpose('quality').epoch, 'day')
})

t.test('P5: research sees no token, and no key', async (t) => {
  for (const rules of Object.values(purpose('research').kinds)) {
    t.notOk(rules.rules.some((r) => r.treatment.kind === 'token'))
    t.equal(rules.key, null)
  }
})

t.test('P6: marketing never sees who called whom', async (t) => {
  for (const rules of Object.values(purpose('marketing').kinds)) {
    for (const { field } of rules.rules)
      t.notOk(field.identifier === 'PARTY' || /^(calling|called)/.test(field.derivedFrom ?? ''), field.name)
  }
})

t.test('P7: all that identifies is sealed, and can be opened', async (t) => {
  for (const rules of Object.values(purpose('legal').kinds)) {
    for (const { field, treatment } of rules.rules) {
      if (['NOT_AN_IDENTIFIER', 'TENANT', 'TRUNK_NAME', 'USER_AGENT_TEXT'].includes(field.identifier)) continue
      t.same(treatment, { kind: 'token', reversible: true }, field.name)
    }
  }
})

t.test('P8: claims and audits have no topic', async (t) => {
  t.notOk(all.some((p) => p.notice === 'P8'))
})

t.test('P9: nothing that rests on consent is on', async (t) => {
  t.notOk(policy.purposes.some((p) => basisOf(p.basis).name === 'consent'))
})

t.test('D1, D6: no identifier passes in clear', async (t) => {
  for (const p of all) {
    for (const rules of Object.values(p.kinds)) {
      for (const { field, treatment } of rules.rules) {
        if (treatment.kind === 'keep')
          t.ok(['NOT_AN_IDENTIFIER', 'TENANT', 'TRUNK_NAME'].includes(field.identifier), `${p.id} ${field.name}`)
      }
    }
  }
})

t.test('D2: no field could hold what was said', async (t) => {
  for (const kind of KINDS) {
    for (const { name } of catalogue().kinds[kind].fields)
      t.notMatch(name, /message|voicemail|record(ing)?|body|text|dtmf|content/, `${kind}.${name}`)
  }
})

t.test('D3: device data is a category of its own', async (t) => {
  for (const name of ['mos_lq', 'jitter_ms', 'loss_percent'])
    t.equal(catalogue().kinds.quality.byName.get(name)?.category, 'DEVICE')
  for (const name of ['mac', 'serial', 'model', 'firmware'])
    t.equal(catalogue().kinds.device.byName.get(name)?.category, 'DEVICE')
})

t.test('D4, D5: names and free text pass for no purpose', async (t) => {
  for (const p of all) {
    for (const rules of Object.values(p.kinds)) {
      for (const { field } of rules.rules) {
        t.notOk(['NAME', 'FREE_TEXT'].includes(field.identifier), `${p.id} ${field.name}`)
        t.not(field.category, 'CONTACT', `${p.id} ${field.name}`)
      }
    }
  }
})

t.test('T3: a partner sees its own customers only', async (t) => {
  for (const id of ['billing-partner', 'partner-testimonial']) t.same(purpose(id).tenants, ['acme'])
  for (const p of policy.purposes)
    t.notMatch(p.recipients.join(), /partner/, `${p.id} is for all tenants, so no partner reads it`)
})

t.test('K1, K3: each purpose has its own days, and what is erasable 30 at most', async (t) => {
  for (const p of policy.purposes) if (basisOf(p.basis).erasable) t.ok(p.retentionDays <= 30, p.id)
  t.ok(new Set(policy.purposes.map((p) => p.retentionDays)).size > 1)
  t.equal(purpose('legal').retentionDays, 365)
})
