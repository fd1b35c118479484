/**
 * What README.md and the pages of docs/ say is so: commands, settings, metrics, exit codes, formats and treatments are
 * the program's own.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command, CommanderError } from 'commander'
import t from 'tap'
import { parse } from 'yaml'
import { REFUSALS } from '../src/batch/batch.js'
import { catalogue } from '../src/catalogue/catalogue.js'
import { addCommands } from '../src/cli/commands.js'
import { EXIT } from '../src/cli/exit.js'
import { SOURCE_REFUSALS } from '../src/flow/counters.js'
import { BUILT_IN_MAPPINGS, DEFAULT_MAPPING, FILE_FORMATS } from '../src/flow/file-formats.js'
import { NO_PURPOSE, WITHHOLDINGS } from '../src/flow/outcome.js'
import { Metrics } from '../src/ops/metrics.js'
import { reloadCounter } from '../src/ops/reloads.js'
import { inspectPolicy, loadPolicy } from '../src/policy/load.js'
import { treatmentTable } from '../src/policy/treatment-text.js'
import { DEFAULTS } from '../src/settings/defaults.js'
import { SOURCE_DEFAULTS } from '../src/settings/sections.js'
import { TREATMENTS } from '../src/treatments/registry.js'
import { tableOf, withoutPadding } from './docs/page.js'
import { repositoryRoot } from './helpers/shared.js'

const root = repositoryRoot()
const page = (name: string): string => withoutPadding(readFileSync(join(root, name), 'utf8'))
const readme = page('README.md')
/** Pages with commands that are run from a checkout, beside those that test/docs/ walks through. */
const COMMAND_PAGES = ['README.md', 'docs/operations.md', 'docs/delivery.md']
const scripts = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> })
  .scripts

/** Fenced blocks of a language. */
function fenced(language: string, text: string = readme): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'gm'))].map(([, text]) => text)
}

/** Where each table stands, by its first head. */
const TABLES: Readonly<Record<string, string>> = {
  metric: 'docs/operations.md',
  code: 'docs/operations.md',
  setting: 'docs/settings.md',
  '`--format`': 'docs/sources/files.md',
  treatment: 'docs/policy.md',
}

/** The rows of the table whose first head it is. */
const table = (head: string): string[][] => tableOf(page(TABLES[head]), head)

const codes = (text: string): string[] => [...text.matchAll(/`([^`]+)`/g)].map(([, code]) => code)

t.test('no placeholder is left', (t) => {
  for (const line of COMMAND_PAGES.flatMap((name) => page(name).split('\n')))
    if (/^\s*[A-Z]{4,}\s*$|\b(FIGURES|ERRORS|TODO|TBD|FIXME|XXX)\b/.test(line)) t.fail(line)
  t.ok(readme.length > 1000)
  t.end()
})

t.test('every command line parses', async (t) => {
  const lines = COMMAND_PAGES.flatMap((name) => fenced('sh', page(name)))
    .join('')
    .split('\n')
    .map((line) => line.replace(/ +#.*$/, '').trim())
    .filter((line) => line !== '' && !line.startsWith('export '))
  t.ok(lines.length >= 10)
  // The program as main.ts puts it together, but nothing is done.
  const program = new Command('minim')
    .exitOverride()
    .configureOutput({ writeOut: () => undefined, writeErr: () => undefined })
  await addCommands(program, null)
  const ran: string[] = []
  const disarm = (command: Command, path: string): void => {
    command.exitOverride().configureOutput({ writeOut: () => undefined, writeErr: () => undefined })
    for (const sub of command.commands) disarm(sub, `${path} ${sub.name()}`)
    if (command.commands.length === 0)
      command.action(() => {
        ran.push(path)
      })
  }
  for (const command of program.commands) disarm(command, command.name())
  const inline = codes(
    COMMAND_PAGES.map(page)
      .join('\n')
      .replace(/^```[^]*?^```$/gm, ''),
  ).filter((code) => /^(npx )?minim [a-z]/.test(code))
  let parsed = 0
  for (const line of [...lines.flatMap((l) => l.split(' && ')), ...inline]) {
    const words = line.split(' ')
    if (words[0] === 'npm') {
      const name = words[1] === 'run' ? words[2] : words[1]
      t.ok(name === 'install' || name in scripts, line)
      continue
    }
    if (words[0] === 'docker') continue
    const args = words.slice(words.indexOf('minim') + 1)
    // In running text a command may stand without what it needs: then its name must be one.
    const complete = lines.includes(line) || args.length > 2
    if (!complete) {
      t.ok(
        program.commands.some((command) => command.name() === args[0]),
        line,
      )
      continue
    }
    ran.length = 0
    try {
      await program.parseAsync(
        args.map((a) => a.replace(/^\[?FILE…?\]?$/, 'file').replace(/^F$/, 'jsonl')),
        { from: 'user' },
      )
    } catch (error) {
      t.fail(`${line}: ${error instanceof CommanderError ? error.message : 'unexpected'}`)
    }
    t.equal(ran.length, 1, line)
    parsed++
  }
  t.ok(parsed >= 9)
})

t.test('every metric of the page is counted, and every one that is counted is on the page', async (t) => {
  const named = table('metric').map(([name, labels]) => ({ names: codes(name), labels: codes(labels) }))
  const metrics = new Metrics({
    flows: [{ purpose: 'billing', kind: 'call', topic: 'pbx.billing.call' }],
    minimVersion: '0',
    policyVersion: '0',
    defaults: false,
  })
  reloadCounter(metrics.registry)
  const real = await metrics.registry.getMetricsAsJSON()
  t.same(named.flatMap(({ names }) => names).sort(), real.map(({ name }) => name).sort())
  for (const { names, labels } of named) {
    for (const name of names) {
      const metric = real.find((m) => m.name === name)
      if (metric === undefined || labels.length === 0) continue
      t.same(Object.keys(metric.values[0]?.labels ?? {}).sort(), [...labels].sort(), name)
    }
  }
  const withheld = table('metric').find(([name]) => name.includes('withheld'))?.[2] ?? ''
  t.same(codes(withheld).sort(), [...WITHHOLDINGS, NO_PURPOSE].sort(), 'reasons for withholding')
  const refused = table('metric').find(([name]) => name.includes('source_refused'))?.[2] ?? ''
  t.same(codes(refused).sort(), [...SOURCE_REFUSALS].sort(), 'reasons of sources')
  const [, quarantine] = /^Reasons for quarantine: (.*)$/m.exec(page('docs/operations.md')) ?? []
  t.same(codes(quarantine).sort(), [...REFUSALS].sort(), 'reasons for quarantine')
})

t.test('every exit code has its row', (t) => {
  t.same(
    table('code').map(([code]) => Number(code)),
    Object.values(EXIT).sort((a, b) => a - b),
  )
  t.end()
})

t.test('every setting has its row, with its default', (t) => {
  const rows = table('setting')
  // `tenant` and `file` are the defaults of each entry of tenants and files.
  t.same(
    rows.map(([name]) => codes(name)[0]).sort(),
    Object.keys({ ...DEFAULTS, ...SOURCE_DEFAULTS })
      .filter((key) => key !== 'tenant' && key !== 'file')
      .sort(),
  )
  for (const [cell, written] of rows) {
    const name = codes(cell)[0]
    const [text] = codes(written)
    const whole: unknown = /^[\w.]+: /.test(text) ? parse(`{ ${text} }`) : parse(text)
    const given = name === 'tenants' ? (whole as { default: unknown }).default : whole
    const wanted: unknown =
      name === 'tenants'
        ? { ...DEFAULTS.tenants.default, ...DEFAULTS.tenant }
        : ({ ...DEFAULTS, ...SOURCE_DEFAULTS } as Record<string, unknown>)[name]
    if (typeof given !== 'object' || given === null || Array.isArray(given)) {
      t.same(given, wanted, name)
      continue
    }
    // A row may leave settings out, but not name one that is none.
    for (const [key, value] of Object.entries(given))
      t.same(value, (wanted as Record<string, unknown>)[key], `${name}.${key}`)
  }
  t.end()
})

t.test('the policy block loads once it is completed', (t) => {
  const block = fenced('yaml', page('docs/policy.md')).find((text) => /^ {2}billing:/m.test(text))
  t.ok(block)
  const whole = `purposes:\n${block}`
    .replace(/^( {4})region:/m, '$1notice: P2\n$1description: Bill for calls\n$1recipients: [billing]\n$1region:')
    .replace(/^( {6})fields:$/m, '$1fields:\n$1  calling_name: drop')
  const { problems, purposes } = inspectPolicy({ text: whole }, catalogue())
  t.same(problems, [])
  t.equal(purposes.length, 1)
  t.end()
})

t.test("formats, mappings and treatments are the program's", (t) => {
  const formats = table('`--format`')
  t.same(formats.map(([name]) => codes(name)[0]).sort(), [...FILE_FORMATS].sort())
  for (const [name, , map] of formats) {
    const format = codes(name)[0] as keyof typeof DEFAULT_MAPPING
    const named = codes(map).filter((code) => (BUILT_IN_MAPPINGS as readonly string[]).includes(code))
    if (DEFAULT_MAPPING[format] === null) t.same(named, [], format)
    else t.equal(named[0], DEFAULT_MAPPING[format], format)
    if (format === 'jsonl') t.same([...named].sort(), [...BUILT_IN_MAPPINGS].sort())
  }
  const schemaText = readFileSync(join(root, 'config/policy.schema.json'), 'utf8')
  const treatments = new Set(
    table('treatment')
      .flatMap(([name]) => codes(name))
      .map((code) => code.split(':')[0]),
  )
  for (const treatment of treatments) t.ok(schemaText.includes(`"${treatment}"`), treatment)
  t.strictSame([...treatments].sort(), [...TREATMENTS.map(({ kind }) => kind), 'drop'].sort())
  t.ok(
    page('docs/policy.md').includes(`${treatmentTable().join('\n')}\n\n`),
    'the table is what the treatments say of themselves: npm run schemas',
  )
  t.end()
})

t.test('the records shown are as the default policy makes them', (t) => {
  const policy = parse(readFileSync(join(root, 'config/policy.yaml'), 'utf8')) as {
    purposes: Record<string, { call: { fields: Record<string, unknown> } }>
  }
  const shown = fenced('text').find((text) => text.includes('pbx.billing.call')) ?? ''
  const parts = [...shown.matchAll(/^pbx\.(\w+)\.call ([^]*?)(?=^pbx\.|$(?![^]))/gm)]
  t.equal(parts.length, 3)
  for (const [, purpose, text] of parts) {
    const fields = [...text.replace(/"tag":[^]*/, '').matchAll(/"(\w+)":/g)].map(([, name]) => name)
    t.ok(fields.length > 2, purpose)
    const rules = policy.purposes[purpose].call.fields
    for (const field of fields) t.ok(field in rules && rules[field] !== 'drop', `${purpose} sees ${field}`)
  }
  t.match(shown, `"policy":"${loadPolicy().version}"`, 'under the version that the default policy has')
  t.end()
})
