/** `docs/mappings.md`: its example from the first block to the last, and each conversion of its table. */
import t from 'tap'
import { catalogue } from '../../src/catalogue/catalogue.js'
import { JsonLinesReader } from '../../src/formats/json-lines.js'
import { CONVERSIONS } from '../../src/formats/mapping.js'
import { checkMapping } from '../../src/formats/mapping-check.js'
import { readAll } from '../formats/reading.js'
import { given } from '../helpers/given.js'
import { codesOf, readPage, tableOf, walk } from './page.js'

const page = readPage('mappings.md')
const rows = tableOf(page, '`as:`')

t.test('the example works as it is written', async (t) => {
  await walk(t, 'mappings.md', { instead: { '127.0.0.1:50051': '127.0.0.1:0', '127.0.0.1:9464': '127.0.0.1:0' } })
})

t.test('every conversion has its row, and does what it says', (t) => {
  t.same(
    rows.map(([as]) => codesOf(as)[0]),
    [...CONVERSIONS],
  )
  for (const [as, , fieldCell, examples] of rows) {
    const [name] = codesOf(as)
    const [target] = codesOf(fieldCell)
    const kind = catalogue().kinds.call.byName.has(target) ? 'call' : 'quality'
    const { mapping, problems } = checkMapping(
      {
        kind,
        timeZone: 'Europe/London',
        fields: { when: { field: 'start_ms', as: 'epoch-ms' }, it: { field: target, as: name } },
      },
      catalogue(),
      'x',
      'x',
    )
    if (target !== 'start_ms') t.same(problems, [], name)
    // An example of a time stands alone; the others need one beside them.
    const shown = examples.split(';').map((example) => codesOf(example))
    t.ok(shown.length > 0, name)
    for (const [input, output] of shown) {
      const lone =
        target === 'start_ms'
          ? checkMapping(
              { kind, timeZone: 'Europe/London', fields: { it: { field: target, as: name } } },
              catalogue(),
              'x',
              'x',
            ).mapping
          : mapping
      const { rows: read, refused } = readAll(
        new JsonLinesReader(given(lone), catalogue()),
        kind,
        Buffer.from(`{"when":1,"it":${input}}\n`),
      )
      const value = refused.length > 0 ? refused[0] : (read[0][target] ?? 'absent')
      const { enumNames } = given(catalogue().kinds[kind].byName.get(target))
      t.equal(typeof value === 'number' ? (enumNames[value] ?? String(value)) : value, output, `${name}: ${input}`)
    }
  }
  t.end()
})
