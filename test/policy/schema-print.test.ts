import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import { Command } from 'commander'
import protobuf from 'protobufjs'
import t from 'tap'
import { stringify } from 'yaml'
import { catalogue, KINDS } from '../../src/catalogue/catalogue.js'
import { exitCode, explainError } from '../../src/cli/exit.js'
import { register } from '../../src/cli/schema.js'
import { inspectPolicy } from '../../src/policy/load.js'
import { jsonSchemaOf, printProto, printSchema } from '../../src/policy/schema-print.js'

/** Runs a command; its output, or its error's text and exit code. */
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
    await program.parseAsync(['schema', ...args], { from: 'user' })
    return { out, err, exitCode: 0 }
  } catch (error) {
    return { out, err: err + explainError(error), exitCode: exitCode(error) }
  }
}

for (const purpose of inspectPolicy().purposes) {
  for (const kind of KINDS) {
    const rules = purpose.kinds[kind]
    if (rules === undefined) continue
    t.test(`${purpose.id}.${kind} is a proto file that holds what the topic holds`, async (t) => {
      const text = printProto(purpose, [rules], catalogue())
      const { root, package: name } = protobuf.parse(text, { keepCase: true })
      root.resolveAll()
      t.equal(name, `pbx.${purpose.id.replace(/-/g, '_')}`)
      const type = root.lookupType(`${name}.${kind.charAt(0).toUpperCase()}${kind.slice(1)}`)
      t.same(
        type.fieldsArray.map((f) => [f.id, f.name]),
        [...rules.rules.map((r) => [r.field.number, r.field.name]), [15, 'tag']],
      )
      for (const { field, treatment } of rules.rules) {
        t.equal(
          type.fields[field.name].type,
          treatment.kind === 'token' ? 'bytes' : field.type === 'enum' ? field.enumName : field.type,
          field.name,
        )
      }
      const tag = root.lookupType(`${name}.Tag`)
      t.same(
        tag.fieldsArray.map((f) => [f.id, f.name, f.type]),
        catalogue()
          .root.lookupType('minim.v1.Tag')
          .fieldsArray.map((f) => [f.id, f.name, f.type]),
      )
      t.equal(text.split('\n').filter((l) => /^ {2}optional .* = \d+;$/.test(l)).length, rules.rules.length + 1)
    })
  }
}

t.test('a message of the input, with its fields as tokens, is read by the printed schema', async (t) => {
  const purpose = inspectPolicy().purposes.find((p) => p.id === 'billing')
  if (purpose?.kinds.call === undefined) throw new Error('no billing')
  const type = protobuf
    .parse(printProto(purpose, [purpose.kinds.call], catalogue()), { keepCase: true })
    .root.lookupType('pbx.billing.Call')
  const token = Buffer.alloc(16, 7)
  const bytes = type
    .encode({ account: token, billable_seconds: 61, disposition: 1, tag: { purpose: 'billing', retention_days: 30 } })
    .finish()
  t.match(type.toObject(type.decode(bytes), { enums: String }), {
    account: token,
    billable_seconds: 61,
    disposition: 'ANSWERED',
    tag: { purpose: 'billing', retention_days: 30 },
  })
})

t.test('a JSON topic gets a JSON Schema', async (t) => {
  const purpose = inspectPolicy().purposes.find((p) => p.id === 'partner-testimonial')
  if (purpose?.kinds.call === undefined) throw new Error('no partner')
  const schema = jsonSchemaOf(purpose, purpose.kinds.call, catalogue())
  t.same(JSON.parse(printSchema(purpose, [purpose.kinds.call], catalogue())), schema)
  const validate = new Ajv({ strict: true }).compile(schema)
  const tag = {
    purpose: 'partner-testimonial',
    basis: 'eu-gdpr:A6-1-a',
    policy: '0123456789ab',
    epoch: '2026-11',
    region: 'US',
    retention_days: 30,
    transfer: 'scc',
  }
  const account = Buffer.alloc(16, 7).toString('base64url')
  t.ok(validate({ account, start_ms: 0, billable_seconds: 60, tag }), JSON.stringify(validate.errors))
  t.notOk(validate({ account, start_ms: 0 }), 'the tag is always there')
  t.notOk(validate({ account: '+447700900123', tag }), 'a number is no token')
  t.notOk(validate({ calling: account, tag }), 'what the policy does not name is not in it')
})

t.test('minim schema', async (t) => {
  t.match(await minim('billing.call'), {
    exitCode: 0,
    out: /package pbx\.billing;[^]*message Call \{[^]*optional bytes calling = 5;/,
  })
  t.equal(
    (await minim('billing')).out.replace(/Printed by.*/, ''),
    (await minim('billing.call')).out.replace(/Printed by.*/, ''),
    'one kind needs no name',
  )
  t.equal((await minim('pbx.billing.call')).out, (await minim('billing.call')).out, 'a topic name does too')
  const { out } = await minim('quality')
  const { root } = protobuf.parse(out)
  for (const name of ['Call', 'Quality', 'Device'])
    t.ok(root.lookupType(`pbx.quality.${name}`), `all kinds in one file: ${name}`)
  t.match(await minim('biling'), {
    exitCode: 2,
    out: '',
    err: /MINIM_COMMAND_LINE[^]*"biling": is no purpose.*did you mean .*billing/,
  })
  t.match(await minim('billing.device'), { exitCode: 2, err: /billing\.call/ })
  t.match(await minim('billing.call.x'), { exitCode: 2 })
  t.match(await minim('zzzzzzzz'), { exitCode: 2, err: /use one of: service/ })
})

t.test('minim schema of a purpose with both formats prints both', async (t) => {
  const path = join(t.testdir({}), 'policy.yaml')
  const rest = {
    notice: 'P2',
    description: 'Both',
    purpose: 'dpv:PaymentManagement',
    basis: { term: 'eu-gdpr:A6-1-b', evidence: 'the contract' },
    recipients: ['billing'],
    region: 'UK',
    transfer: 'none-needed',
    retention_days: 30,
    epoch: 'month',
  }
  writeFileSync(
    path,
    stringify({
      purposes: {
        both: {
          ...rest,
          call: { fields: { start_ms: 'keep' } },
          device: { format: 'json', fields: { start_ms: 'keep' } },
        },
      },
    }),
  )
  const { out } = await minim('both', '--policy', path)
  t.match(out, /message Call \{/)
  t.match(JSON.parse(out.slice(out.indexOf('\n{\n'))), { title: 'pbx.both.device' })
  writeFileSync(path, 'purposes: {}')
  t.match(await minim('both', '--policy', path), { exitCode: 2, err: /MINIM_POLICY_INVALID/ })
})
