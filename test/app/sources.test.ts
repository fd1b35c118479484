/**
 * A defect in one source: a mistake that its code throws, which nothing foresaw. The others, and the process, go on.
 */
import { createSocket } from 'node:dgram'
import t from 'tap'
import { SPOOLED, startSources, stopSources } from '../../src/app/sources.js'
import { catalogue } from '../../src/catalogue/catalogue.js'
import type { Inlet, SourceContext } from '../../src/flow/source.js'
import { createLog } from '../../src/ops/log.js'
import { loadSettings } from '../../src/settings/load.js'
import type { Settings } from '../../src/settings/schema.js'
import { collectingInlet } from '../helpers/inlet.js'
import { hep, request, response } from '../sources/hep/frames.js'
import { publish, vqBody } from '../sources/sip/messages.js'
import { counters, UdpClient, until } from '../sources/sip/rig.js'

const SECRET = 'a message that holds +447700900123'

for (const how of ['throws', 'rejects'] as const) {
  t.test(`a source whose code ${how}`, async (t) => {
    const collected = collectingInlet(catalogue())
    let defective = ''
    const inlet: Inlet = {
      trouble: null,
      get full() {
        return collected.full
      },
      put: (records) => {
        if (records.source !== defective) return collected.put(records)
        if (how === 'throws') throw new TypeError(SECRET)
        return Promise.reject(new TypeError(SECRET))
      },
    }
    const broken: string[] = []
    const log: string[] = []
    const context: SourceContext<Settings> = {
      settings: loadSettings(null, {
        http: { listen: '127.0.0.1:0' },
        sip: { udp: '127.0.0.1:0' },
        hep: { udp: '127.0.0.1:0' },
      }),
      catalogue: catalogue(),
      inlet,
      counters: () => counters(),
      intake: () => {
        throw new Error('not a source that can send again')
      },
      log: createLog('info', {
        write: (line) => {
          log.push(line)
        },
      }),
      onBroken: (source) => {
        broken.push(source)
      },
    }
    const sources = await startSources(SPOOLED, context)
    t.teardown(() => stopSources(sources))
    const addresses = Object.assign({}, ...sources.map((source) => source.addresses)) as Record<string, string>
    const portOf = (name: string): number => Number(addresses[name].split(':').pop())
    const phone = await UdpClient.open(t, portOf('sipUdp'))
    const agent = createSocket('udp4')
    t.teardown(() => {
      agent.close()
    })

    let n = 0
    const post = async (): Promise<number> => {
      const answer = await fetch(`http://${addresses['http']}/v1/calls`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ call_id: `http-${n++}`, start_ms: 1_795_514_445_000 }),
      })
      await answer.text()
      return answer.status
    }
    const report = async (): Promise<string> =>
      (await phone.ask(publish(vqBody(`sip-${n++}@192.0.2.14`)))).split(' ')[1]
    /** A registration that was captured on its way to somebody else. */
    const capture = (): void => {
      const of = { callId: `hep-${n++}`, method: 'REGISTER', headers: ['Contact: <sip:1001@192.0.2.10>'] }
      for (const payload of [request(of), response(200, of)])
        agent.send(hep({ payload, atMs: Date.now() }), portOf('hepUdp'), '127.0.0.1')
    }
    const taken = (source: string): number => collected.entries.filter((entry) => entry.source === source).length

    // An inlet that throws is none that hep can have: it answers nobody.
    for (defective of how === 'throws' ? ['http', 'sip'] : ['http', 'sip', 'hep']) {
      const before = { http: taken('http'), sip: taken('sip'), hep: taken('hep') }
      const status = await post()
      t.equal(status, defective === 'http' ? 503 : 202, `${defective} is defective: http`)
      t.equal(await report(), defective === 'sip' ? '500' : '200', `${defective} is defective: sip`)
      capture()
      if (defective !== 'hep') await until('hep takes', () => taken('hep') > before.hep)
      for (const source of ['http', 'sip'] as const)
        t.equal(
          taken(source) > before[source],
          source !== defective,
          `${defective} is defective: ${source} ${source === defective ? 'has not' : 'has'} taken`,
        )
    }
    defective = ''
    t.equal(await post(), 202, 'and http takes again')
    t.equal(await report(), '200', 'and sip')
    capture()
    const before = taken('hep')
    await until('and hep', () => taken('hep') > before)
    t.same(new Set(broken), new Set(['sip']), 'of sip the program is told')
    t.ok(
      log.some((line) => line.includes('a post could not be made safe')),
      'of http the log tells',
    )
    t.notOk(
      log.some((line) => line.includes('7700900123')),
      'and never what the mistake said',
    )
  })
}
