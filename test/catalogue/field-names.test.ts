/** The names of fields that code may write are those of `proto/`, and a misspelt one does not compile. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { catalogue, type Field, KINDS } from '../../src/catalogue/catalogue.js'
import { FIELD_NAMES, type FieldName } from '../../src/catalogue/field-names.js'
import { printFieldNames } from '../../src/catalogue/print-field-names.js'
import { repositoryRoot } from '../helpers/shared.js'

t.test('the checked-in file is what proto/ gives', async (t) => {
  const checkedIn = readFileSync(join(repositoryRoot(), 'src/catalogue/field-names.ts'), 'utf8')
  t.equal(checkedIn, printFieldNames(catalogue()), 'run npm run field-names')
  for (const kind of KINDS)
    t.strictSame(
      FIELD_NAMES[kind],
      catalogue().kinds[kind].fields.map(({ name }) => name),
    )
})

t.test('names in code are checked by the compiler, names from outside are any string', async (t) => {
  const { byName } = catalogue().kinds.call
  const outside: string = 'strat_ms'
  t.equal(byName.get(outside), undefined)
  t.equal(byName.get('start_ms')?.name, 'start_ms')
  // Each of these lines must be a mistake to the compiler: it refuses a directive that expects one where there is none.
  // @ts-expect-error -- no field of any kind
  t.equal(byName.get('strat_ms'), undefined)
  // @ts-expect-error -- no field of any kind
  const wrong: FieldName = 'strat_ms'
  // @ts-expect-error -- a comparison with what can never be
  const never = (field: Field): boolean => field.name === 'strat_ms'
  t.ok(typeof wrong === 'string' && typeof never === 'function')
})
