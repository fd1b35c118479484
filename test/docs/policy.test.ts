/** `docs/policy.md`: its purpose of one's own from the first block to the last, and its table of what fits. */
import t from 'tap'
import { catalogue, type Field, KINDS } from '../../src/catalogue/catalogue.js'
import { fitting } from '../../src/policy/fit.js'
import { codesOf, readPage, tableOf, walk } from './page.js'

t.test("a purpose of one's own works as it is written", { timeout: 110_000 }, async (t) => {
  await walk(t, 'policy.md', {
    instead: { '127.0.0.1:50051': '127.0.0.1:0', '127.0.0.1:9464': '127.0.0.1:0' },
    leaveOut: ({ language, text }) =>
      language === 'yaml' && text.startsWith('  billing:')
        ? 'a part of the default policy, which readme.test.ts loads'
        : null,
  })
})

t.test('what fits a field is what the program takes', (t) => {
  const fields = new Map<string, Field>()
  for (const kind of KINDS) for (const field of catalogue().kinds[kind].fields) fields.set(field.name, field)
  for (const [, names, treatments] of tableOf(readPage('policy.md'), 'what the field holds')) {
    for (const name of codesOf(names)) {
      const field = fields.get(name)
      if (field === undefined) {
        t.fail(`${name} is no field`)
        continue
      }
      t.same(
        codesOf(treatments),
        fitting(field, (other) => catalogue().kinds[field.kind].byName.get(other)),
        name,
      )
    }
  }
  const identifying = [...fields.values()]
    .filter((f) => f.identifier !== 'NOT_AN_IDENTIFIER' || f.derivedFrom !== null)
    .map((f) => f.name)
  const named = tableOf(readPage('policy.md'), 'what the field holds').flatMap(([, names]) => codesOf(names))
  t.same(
    identifying.filter((name) => !named.includes(name)),
    [],
    'no field that could identify somebody is left out',
  )
  t.end()
})
