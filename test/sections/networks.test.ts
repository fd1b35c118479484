import t from 'tap'
import type { ProblemsError } from '../../src/errors/problems.js'
import { EVERYBODY, LOOPBACK, networkOf } from '../../src/sections/networks.js'
import { loadSettings } from '../../src/settings/load.js'

for (const [text, expected] of [
  ['192.0.2.0/24', { address: '192.0.2.0', prefix: 24, family: 'ipv4' }],
  ['192.0.2.7', { address: '192.0.2.7', prefix: 32, family: 'ipv4' }],
  ['0.0.0.0/0', { address: '0.0.0.0', prefix: 0, family: 'ipv4' }],
  ['2001:db8::/32', { address: '2001:db8::', prefix: 32, family: 'ipv6' }],
  ['::1', { address: '::1', prefix: 128, family: 'ipv6' }],
  ['::/0', { address: '::', prefix: 0, family: 'ipv6' }],
  ['192.0.2.0/33', null],
  ['2001:db8::/129', null],
  ['192.0.2.0/', null],
  ['192.0.2.0/-1', null],
  ['192.0.2.0/24/1', null],
  ['pbx.example', null],
  ['', null],
  ['192.0.2/24', null],
] as const)
  t.test(`network: ${text}`, async (t) => {
    t.same(networkOf(text), expected)
  })

/** [section's settings, what its problem says; null: none] */
const cases: [over: Record<string, unknown>, what: RegExp | null][] = [
  [{ udp: '127.0.0.1:9060' }, null],
  [{ tcp: 'localhost:9060' }, null],
  [{ udp: '[::1]:9060' }, null],
  [{}, null],
  [{ allow: [] }, null],
  [{ udp: '127.0.0.1:9060', allow: [] }, /names nobody/],
  [{ udp: '192.0.2.7:9060' }, /lets only this machine send/],
  [{ udp: '127.0.0.1:9060', tcp: '0.0.0.0:9060' }, /lets only this machine send/],
  [{ udp: '[2001:db8::7]:9060', allow: ['::1', '127.0.0.1'] }, /lets only this machine send/],
  [{ udp: '0.0.0.0:9060', allow: ['192.0.2.0/24'] }, null],
  [{ udp: '0.0.0.0:9060', allow: [...LOOPBACK, '192.0.2.9'] }, null],
  [{ udp: '0.0.0.0:9060', allow: EVERYBODY }, null],
  [{ udp: '0.0.0.0:9060', allow: ['192.0.2.0/24', '192.0.2.0/40'] }, /is no network/],
]
for (const section of ['hep', 'sip']) {
  for (const [over, what] of cases) {
    t.test(`${section}: ${JSON.stringify(over)}`, async (t) => {
      let problems: readonly { readonly path: string; readonly what: string; readonly mend: string }[] = []
      try {
        loadSettings(null, { [section]: over })
      } catch (error) {
        ;({ problems } = error as ProblemsError)
      }
      if (what === null) return t.same(problems, [])
      t.match(problems, [{ path: new RegExp(`^${section}\\.allow`), what, mend: /192\.0\.2\.0\/24/ }])
      t.equal(problems.length, 1)
    })
  }
}
