import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import t from 'tap'
import { catalogue, KINDS } from '../../src/catalogue/catalogue.js'
import { exitCode, explainError } from '../../src/cli/exit.js'
import { register } from '../../src/cli/explain.js'
import { explanationLines, overviewLines } from '../../src/cli/explain-text.js'
import { explain, type FieldExplained, overview, type PurposeExplained } from '../../src/policy/explain.js'
import { inspectPolicy } from '../../src/policy/load.js'
import type { Treatment } from '../../src/policy/model.js'
import { treatmentText } from '../../src/policy/treatment-text.js'

const WIDE = { width: Infinity, markdown: false }

async function minim(...args: string[]): Promise<{ out: string; err: string; exitCode: number }> {
  let out = ''
  let err = ''
  const program = new Command('minim').exitOverride().configureOutput({
    writeOut: (text) => {
      out += text
    },
    writeErr: (text) => {
      err += text
    },
  })
  register(program)
  try {
    await program.parseAsync(['explain', ...args], { from: 'user' })
    return { out, err, exitCode: 0 }
  } catch (error) {
    return { out, err: err + explainError(error), exitCode: exitCode(error) }
  }
}

const policy = inspectPolicy()

function field(name: string): FieldExplained {
  const explained = explain(policy, catalogue(), name)
  if (explained.about !== 'field') throw new Error(explained.about)
  return explained
}

function purposes(name: string): readonly PurposeExplained[] {
  const explained = explain(policy, catalogue(), name)
  if (explained.about !== 'purposes') throw new Error(explained.about)
  return explained.purposes
}

t.test('a field: who sees it, in which form, on which basis', async (t) => {
  const { sights, unseenBy, fields } = field('called')
  t.same(
    fields.map((f) => f.field),
    ['call.called', 'call.called_prefix'],
    'what is made from it is it too',
  )
  t.match(
    sights.find((s) => s.purpose === 'billing' && s.field === 'call.called'),
    {
      notice: 'P2',
      enabled: true,
      treatment: 'token',
      form: 'reversible token, the same as long as the contract',
      reversible: "by the holder of this purpose's key",
      basis: 'contract (eu-gdpr:A6-1-b)',
      retentionDays: 30,
      recipients: ['billing'],
      region: 'UK',
      transfer: 'adequacy',
      topic: 'pbx.billing.call',
      key: false,
    },
  )
  t.match(
    sights.find((s) => s.purpose === 'research'),
    { field: 'call.called_prefix', madeFrom: 'called', form: 'country code' },
  )
  t.same(unseenBy, ['marketing', 'partner-testimonial'])
})

t.test('every sight is a rule, and every rule a sight', async (t) => {
  for (const kind of KINDS) {
    for (const f of catalogue().kinds[kind].fields) {
      const { sights, unseenBy } = field(`${kind}.${f.name}`)
      const direct = sights.filter((s) => s.field === `${kind}.${f.name}`).map((s) => s.purpose)
      t.same(
        direct,
        policy.purposes.filter((p) => p.kinds[kind]?.rules.some((r) => r.field === f)).map((p) => p.id),
        `${kind}.${f.name}`,
      )
      for (const p of unseenBy) t.notOk(sights.some((s) => s.purpose === p))
    }
  }
})

t.test('a field name without a kind is looked up in all kinds', async (t) => {
  t.same(
    field('mac').fields.map((f) => f.field),
    ['call.mac', 'call.mac_vendor', 'quality.mac', 'quality.mac_vendor', 'device.mac', 'device.mac_vendor'],
  )
  t.same(
    field('device.mac').fields.map((f) => f.field),
    ['device.mac', 'device.mac_vendor'],
  )
})

t.test('a purpose, by its id or by its row of the notice', async (t) => {
  t.same(
    purposes('billing').map((p) => p.id),
    ['billing'],
  )
  t.same(
    purposes('P2').map((p) => p.id),
    ['billing', 'settlement', 'billing-partner'],
  )
  t.same(
    purposes('p7').map((p) => p.id),
    ['legal'],
  )
  const [research] = purposes('research')
  t.match(research, {
    basis: 'legitimate interest (eu-gdpr:A6-1-f)',
    tenants: null,
    topics: [{ topic: 'pbx.research.call', format: 'protobuf', key: null }],
  })
  t.same(
    research.sights.map((s) => s.field),
    ['call.start_ms', 'call.duration_seconds', 'call.called_prefix', 'call.device_model'],
  )
  t.same(
    [...research.sights.map((s) => s.field.slice(5)), ...(research.dropped.call ?? [])].sort(),
    catalogue()
      .kinds.call.fields.map((f) => f.name)
      .sort(),
    'seen and dropped are all there is',
  )
  t.match(
    explanationLines(research, WIDE).join('\n'),
    /purpose +research \(P5\)\n[^]*key: none[^]*call\.start_ms +rounded down to the hour[^]*dropped of call: tenant,/,
  )
})

t.test('the whole policy in short: what shows most of somebody stands there', async (t) => {
  const policy = inspectPolicy()
  const rows = overview(policy)
  t.same(new Set(rows.map(({ purpose }) => purpose)), new Set(policy.purposes.map(({ id }) => id)))
  t.match(
    rows.find(({ purpose, kind }) => purpose === 'billing' && kind === 'call'),
    { enabled: true, strongest: { field: 'calling', form: /^reversible token/ }, retentionDays: 30 },
  )
  t.match(
    rows.find(({ purpose }) => purpose === 'research'),
    { fields: 4, strongest: { field: /./ } },
  )
  t.match((await minim()).out, /^purpose +kind +fields/)
  t.match(JSON.parse((await minim('--json')).out), { about: 'policy', purposes: rows })
})

t.test('it fits the terminal, and Markdown is Markdown', async (t) => {
  const policy = inspectPolicy()
  const names = ['calling', 'P2', 'fraud', 'device.mac', 'legal']
  for (const width of [80, 100, 132])
    for (const lines of [
      overviewLines(overview(policy), { width, markdown: false }),
      ...names.flatMap((name) => {
        const explained = explain(policy, catalogue(), name)
        if (explained.about === 'unknown') throw new Error(name)
        const parts = explained.about === 'purposes' ? explained.purposes : [explained]
        return parts.map((part) => explanationLines(part, { width, markdown: false }))
      }),
    ])
      for (const line of lines) if (line.length > width) t.fail(`${line.length} of ${width}: ${line}`)
  t.match((await minim('billing', '--markdown')).out, /^\| {2}\| billing \|\n\| --- \| --- \|\n/)
  t.match((await minim('--markdown')).out, /^\| purpose \| kind \|/)
})

t.test('minim explain', async (t) => {
  const { out, exitCode } = await minim('calling')
  t.equal(exitCode, 0)
  t.match(
    out,
    /^call\.calling: traffic data of caller\ncall\.calling_prefix: traffic data of caller, made from calling\n/,
  )
  t.match(out, /billing-partner \(off\)/)
  t.match(out, /\ndropped for: research, marketing/)
  const rows = out.split('\n').filter((l) => / {2}call\.calling/.test(l))
  t.equal(new Set(rows.map((l) => l.indexOf('call.calling'))).size, 1, 'columns are straight')
  t.match(await minim('calling_name'), { out: /no purpose sees it/ })
  t.match(await minim('P2'), { out: /billing \(P2\)[^]*settlement \(P2\), off/ })
  t.match(await minim('callng'), {
    exitCode: 2,
    out: '',
    err: /MINIM_COMMAND_LINE[^]*"callng": is no field.*did you mean calling/,
  })
  t.match(await minim('call.callng'), { exitCode: 2, err: /did you mean calling/ })
  t.match(await minim('P10'), { exitCode: 2 })
  t.match(await minim('constructor'), { exitCode: 2 })
  t.match(JSON.parse((await minim('calling', '--json')).out), {
    policy: policy.version,
    about: 'field',
    sights: [{ purpose: 'service', form: 'token, the same for a month' }],
  })
  t.match(JSON.parse((await minim('billing', '--json')).out), {
    about: 'purposes',
    purposes: [{ id: 'billing', retentionDays: 30 }],
  })
  const path = join(t.testdir({}), 'policy.yaml')
  writeFileSync(path, 'purposes: {}')
  t.match(await minim('calling', '--policy', path), { exitCode: 2, err: /MINIM_POLICY_INVALID/ })
})

const forms: [treatment: Treatment, form: string][] = [
  [{ kind: 'keep' }, 'as it is'],
  [{ kind: 'token', reversible: false }, 'token, the same for a day'],
  [{ kind: 'token', reversible: true }, 'reversible token, the same for a day'],
  [{ kind: 'e164-prefix', digits: 'country' }, 'country code'],
  [{ kind: 'e164-prefix', digits: 5 }, 'first 5 digits'],
  [{ kind: 'ip-prefix', v4: 24, v6: 48 }, 'network, /24 or /48'],
  [{ kind: 'time-bucket', ms: 1000 }, 'rounded down to the second'],
  [{ kind: 'time-bucket', ms: 60_000 }, 'rounded down to the minute'],
  [{ kind: 'time-bucket', ms: 15_000 }, 'rounded down to 15 seconds'],
  [{ kind: 'time-bucket', ms: 900_000 }, 'rounded down to 15 minutes'],
  [{ kind: 'time-bucket', ms: 7_200_000 }, 'rounded down to 2 hours'],
  [{ kind: 'time-bucket', ms: 604_800_000 }, 'rounded down to 7 days'],
  [{ kind: 'time-bucket', ms: 1500 }, 'rounded down to 1500 ms'],
  [{ kind: 'number-bucket', step: 60, bounds: null }, 'rounded down to a multiple of 60'],
  [{ kind: 'number-bucket', step: null, bounds: [0, 60] }, 'the lower bound of 0, 60'],
  [{ kind: 'user-agent', part: 'model' }, 'model of the device'],
  [{ kind: 'mac-vendor' }, 'vendor part (first three octets)'],
]
for (const [treatment, form] of forms)
  t.test(`in words: ${JSON.stringify(treatment)}`, async (t) => t.equal(treatmentText(treatment, 'day').form, form))
