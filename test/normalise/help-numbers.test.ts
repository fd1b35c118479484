/** Numbers that one calls for help are told apart, by whichever spelling; and the table is libphonenumber's. */
import t from 'tap'
import { BLOCK_BYTES, PROTECTED } from '../../src/batch/block.js'
import type { Tenant } from '../../src/flow/tenant.js'
import { shortNumbersOf } from '../../src/normalise/help-numbers.js'
import { PartyReader } from '../../src/normalise/party.js'
import { shortNumbers } from '../helpers/short-numbers.js'

function isHelp(region: string, text: string, more: Partial<Tenant> = {}): boolean {
  const reader = new PartyReader({ name: 'one', id: 1, region, extensionDigits: 6, domains: [], ...more })
  const bytes = Buffer.from(text)
  const view = new DataView(new ArrayBuffer(BLOCK_BYTES))
  return (reader.read(bytes, 0, bytes.length, view, 0) & PROTECTED) !== 0
}

t.test('emergency numbers and helplines', (t) => {
  for (const [region, text] of [
    ['GB', '999'],
    ['GB', '112'],
    ['GB', '116123'],
    ['GB', '116 123'],
    ['GB', '+44 116 123'],
    ['GB', '+44116123'],
    ['GB', '0044116123'],
    ['GB', '+44999'],
    ['GB', '*67999'],
    ['GB', '141 999'],
    ['GB', '9,999'],
    ['GB', '999#'],
    ['GB', '٩٩٩'],
    ['GB', 'sip:999@192.0.2.1'],
    ['GB', 'sip:116123@other.example'],
    ['GB', 'urn:service:sos.police'],
    ['GB', '+49116111'],
    ['GB', '+1911'],
    ['US', '911'],
    ['US', '988'],
    ['DE', '110'],
    ['DE', '116117'],
    ['FR', '15'],
    ['FR', '3919'],
    ['ES', '016'],
    ['IT', '1522'],
    ['AU', '000'],
    ['AU', '13 11 14'],
  ] as const)
    t.ok(isHelp(region, text), `${region} ${text}`)
  t.ok(isHelp('GB', '9999', { prefixes: ['9'] }), 'behind an outside line')
  t.end()
})

t.test('all other numbers are not', (t) => {
  for (const text of [
    '1001',
    '07700900123',
    '+442079460123',
    '100999',
    '9999',
    '115',
    'alice',
    'sip:1001@other.example',
  ])
    t.notOk(isHelp('GB', text), text)
  t.notOk(isHelp('GB', '07700900999'), 'a number that ends like one')
  t.notOk(isHelp('US', '2025550911'))
  t.end()
})

t.test('helplines of the settings, by all their spellings', (t) => {
  const helplines = ['+44 808 157 0123', '5550', '0800 0113']
  for (const text of [
    '08081570123',
    '+448081570123',
    '00448081570123',
    'sip:+448081570123@other.example',
    '*67 0808 157 0123',
    '5550',
  ])
    t.ok(isHelp('GB', text, { helplines }), text)
  t.notOk(isHelp('GB', '08081570124', { helplines }))
  t.notOk(isHelp('GB', '07700900123', { helplines }), 'with the last four digits of one')
  t.end()
})

t.test("every emergency number of libphonenumber's metadata", (t) => {
  const table = shortNumbers()
  const missing = Object.entries(table).flatMap(([region, numbers]) =>
    numbers.filter((n) => !shortNumbersOf([region]).has(n)).map((n) => `${region} ${n}`),
  )
  t.same(missing, [])
  t.ok(Object.keys(table).length > 200, `${Object.keys(table).length} countries`)
  t.end()
})
