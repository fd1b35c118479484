/** Which hosts are a tenant's own since the settings name them. */
import t from 'tap'
import { OwnHosts } from '../../src/normalise/own-hosts.js'
import { loadSettings } from '../../src/settings/load.js'
import { tenantsOf } from '../../src/settings/tenants.js'

t.test('nodes and sources that the settings name', (t) => {
  const settings = loadSettings(null, {
    tenants: { default: { id: 1 }, acme: { id: 7, domains: ['acme.example', '2001:db8:7::/48'] } },
    sip: { udp: '192.0.2.10:5060', allow: ['198.51.100.0/24', { network: '203.0.113.0/24', tenants: ['acme'] }] },
    hep: { udp: '192.0.2.20:9060', tenant: 'acme', allow: ['192.0.2.20/32'] },
    numbers: { prefixes: ['9'], helplines: ['5550'] },
  })
  const [first, acme] = tenantsOf(settings)
  const own = new OwnHosts(first.domains, false)
  const theirs = new OwnHosts(acme.domains, false)
  for (const host of ['192.0.2.10', '198.51.100.77', '10.1.2.3', 'localhost', 'fd00::1']) t.ok(own.has(host), host)
  for (const host of ['203.0.113.5', '192.0.2.20', 'acme.example', '2001:db8:7::1', '8.8.8.8', 'other.example'])
    t.notOk(own.has(host), `${host} is another's`)
  for (const host of ['203.0.113.5', '192.0.2.20', 'acme.example', '2001:db8:7::1'])
    t.ok(theirs.has(host), `${host} is the tenant's that the settings name for it`)
  t.notOk(theirs.has('198.51.100.77'))
  t.same([first.prefixes, acme.helplines], [['9'], ['5550']])
  t.end()
})

t.test('everybody who may send is no node of the tenant', (t) => {
  const settings = loadSettings(null, { sip: { udp: '0.0.0.0:5060', allow: ['0.0.0.0/0', '::/0'] } })
  const own = new OwnHosts(tenantsOf(settings)[0].domains, false)
  t.notOk(own.has('192.0.2.1'))
  t.notOk(own.has('2001:db8::1'))
  t.end()
})
