/** What the rows of single sources send is what they count on: each unit gives the records that are expected of it. */
import { createSocket } from 'node:dgram'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { AMI_SECRET, AMI_USER, amiEvents, AmiServer, EVENTS_OF_CALL, RECORDS_OF_CALL } from '../../bench/ami.js'
import { CdrTemplate, RECORDS_OF_CDR } from '../../bench/freeswitch.js'
import { Captures, PACKETS_OF_CALL } from '../../bench/hep.js'
import { bodiesOf, Poster } from '../../bench/http.js'
import { Server } from '../../bench/minim.js'
import { Disqualified } from '../../bench/row.js'
import { Scrape } from '../../bench/scrape.js'
import { Template } from '../../bench/template.js'
import { RECORDS_OF_BODY, VqTemplate } from '../../bench/vq.js'
import { catalogue } from '../../src/catalogue/catalogue.js'
import { cdrJson, readCdr } from '../../src/formats/freeswitch/body.js'
import { writeCdr } from '../../src/formats/freeswitch/records.js'
import { RecordWriter } from '../../src/formats/record-writer.js'
import { vqToQuality } from '../../src/formats/sip/records.js'
import { readVqRtcpxr } from '../../src/formats/sip/vq-rtcpxr.js'
import { challengeKey, encodeAction } from '../../src/sources/ami/actions.js'
import { AmiNode } from '../../src/sources/ami/node.js'
import { AMI_ENTRY } from '../../src/sources/ami/settings.js'
import { StanzaParser } from '../../src/sources/ami/stanzas.js'
import { frameLength } from '../../src/sources/hep/frame.js'
import { execFile } from '../helpers/child-process.js'
import { given } from '../helpers/given.js'
import { repositoryRoot } from '../helpers/shared.js'
import { reading } from '../sources/hep/reader.js'

const NOW_MS = 1_795_514_445_000
const CALLS = 700
/**
 * Numbers, addresses and MACs that are nobody's; what is longer than seven digits must be one, a time or a name of the
 * bench's own.
 */
const NUMBERS = /(?<![\d.:a-f-])\+?(?:44|0)\d{9,11}(?!\d)/g
const RESERVED = /^(?:\+?44|0)(?:7700900|2079460)\d{3}$/

function onlyReserved(t: Test, text: string): void {
  for (const [number] of text.matchAll(NUMBERS)) if (!RESERVED.test(number)) t.fail(`number ${number}`)
  for (const [ip] of text.matchAll(/(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])/g))
    if (!/^(192\.0\.2|198\.51\.100|203\.0\.113)\.|^(66\.85\.0\.5)$/.test(ip)) t.fail(`address ${ip}`)
  for (const [mac] of text.matchAll(/00005e\w{6}/gi)) if (!/^00005e0053\d\d$/i.test(mac)) t.fail(`MAC ${mac}`)
}

void t.test('a template: numbers in their places, filled up, cut to the last digits', (t) => {
  const template = new Template('<{{a:3}}|{{b:2}}|{{a:5}}>', ['a', 'b'])
  const into = Buffer.alloc(32)
  t.equal(template.append(into, 1, [1234, 7]), 15)
  t.equal(into.toString('latin1', 1, 15), '<234|07|01234>')
  t.throws(() => new Template('{{c:1}}', ['a']))
  t.end()
})

void t.test('CDRs of FreeSWITCH: of real size, each another call, each three records', (t) => {
  const template = new CdrTemplate(NOW_MS)
  t.ok(template.length > 11_000 && template.length < 16_000, `${template.length} octets`)
  const body = template.body()
  const writer = new RecordWriter(catalogue())
  const ids = new Set<string | null>()
  for (let i = 0; i < CALLS; i++) {
    template.write(body, i)
    const cdr = given(readCdr(given(cdrJson(body))))
    t.ok(cdr.variables.size > 40)
    const taken = given(writeCdr(cdr, 'a', writer))
    if (taken.records !== RECORDS_OF_CDR) t.fail(`${taken.records} records of ${i}`)
    ids.add(taken.id)
    JSON.parse(body.toString('utf8'))
  }
  t.equal(ids.size, CALLS, 'no uuid twice')
  t.notOk(ids.has(null))
  onlyReserved(t, body.toString('utf8'))
  t.end()
})

void t.test('captured SIP: whole frames, each call taken once, none but whole calls', async (t) => {
  const captures = new Captures(NOW_MS)
  const bytes = captures.of(500, CALLS)
  const it = reading()
  let packets = 0
  for (let at = 0; at < bytes.length; packets++) {
    const length = frameLength(bytes, at, bytes.length)
    if (!it.reader.packet(bytes, at, at + length, ++it.now)) t.fail(`packet ${packets}`)
    at += length
  }
  it.reader.sweep(it.now)
  t.equal(packets, CALLS * PACKETS_OF_CALL)
  t.equal(it.received, packets)
  t.same(it.refused, {})
  const calls = await it.of('call')
  t.equal(calls.length, CALLS)
  t.equal(new Set(calls.map((call) => call['callId'] ?? call['call_id'])).size, CALLS)
  t.equal(it.reader.followed, 0)
  t.ok(captures.callBytes / PACKETS_OF_CALL > 600, 'of real size')
  onlyReserved(t, bytes.toString('latin1'))
})

void t.test('AMI events: a call, a quality and a device of each call', (t) => {
  const bytes = amiEvents(CALLS, NOW_MS)
  const records: Record<string, number> = { call: 0, quality: 0, device: 0 }
  const refused: Record<string, number> = {}
  const ids = new Set<string>()
  const node = new AmiNode({
    settings: { ...AMI_ENTRY, node: 'bench', host: 'pbx.example', user: 'bench' },
    counters: {
      received: () => undefined,
      refused: (reason, n = 1) => {
        refused[reason] = (refused[reason] ?? 0) + n
      },
      lag: () => undefined,
      connections: () => undefined,
      gap: () => undefined,
      left: () => undefined,
    },
    outbox: {
      add: (kind) => {
        records[kind]++
      },
      call: (fields, id) => {
        records['call']++
        ids.add(id)
        t.ok(Number(fields['end_ms']) < NOW_MS && fields['duration_seconds'] === 60)
      },
      refuse: (_, reason) => {
        t.fail(reason)
      },
    },
    callsElsewhere: false,
    onUnknownContact: () => undefined,
  })
  let events = 0
  const parser = new StanzaParser(65_536)
  const sink = {
    banner: () => undefined,
    tooLarge: () => {
      t.fail('too large')
    },
    stanza: (stanza: Parameters<AmiNode['event']>[0]) => {
      events++
      node.event(stanza, stanza.event, NOW_MS)
    },
  }
  parser.push(Buffer.from('Asterisk Call Manager/9.0.0\r\n'), sink)
  parser.push(bytes, sink)
  node.sweep(NOW_MS + 60_000)
  t.equal(events, CALLS * EVENTS_OF_CALL)
  t.same(records, { call: CALLS, quality: CALLS, device: CALLS })
  t.equal(Object.keys(records).length, RECORDS_OF_CALL)
  t.equal(ids.size, CALLS)
  t.same(refused, {})
  onlyReserved(t, bytes.toString('latin1'))
  t.end()
})

void t.test('the manager interface lets in who has the secret, and says all', async (t) => {
  const server = await AmiServer.start()
  t.teardown(() => {
    server.close()
  })
  const socket = connect(server.port, '127.0.0.1')
  t.teardown(() => {
    socket.destroy()
  })
  let text = ''
  const heard = async (pattern: RegExp): Promise<RegExpExecArray> => {
    for (;;) {
      const found = pattern.exec(text)
      if (found !== null) return found
      await new Promise((resolve) => {
        setTimeout(resolve, 2)
      })
    }
  }
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
  })
  await heard(/^Asterisk Call Manager/)
  socket.write(encodeAction('Challenge', '1', { AuthType: 'MD5' }))
  const [, challenge] = await heard(/Challenge: (\d+)/)
  socket.write(
    encodeAction('Login', '2', { AuthType: 'MD5', Username: AMI_USER, Key: challengeKey(challenge, AMI_SECRET) }),
  )
  await heard(/Success\r\nActionID: 2/)
  socket.write(encodeAction('PJSIPShowContacts', '3', {}))
  await server.listening
  await heard(/ActionID: 3/)
  text = ''
  const events = amiEvents(20, NOW_MS)
  await server.send(events)
  while (text.length < events.length)
    await new Promise((resolve) => {
      setTimeout(resolve, 2)
    })
  t.equal(text, events.toString('latin1'))
})

void t.test('quality reports: two records of each body', (t) => {
  const template = new VqTemplate()
  const body = template.body()
  const ids = new Set<unknown>()
  for (let i = 0; i < CALLS; i++) {
    template.write(body, i)
    const records = vqToQuality(given(readVqRtcpxr(body)), null, { seenMs: NOW_MS })
    if (records.length !== RECORDS_OF_BODY) t.fail(`${records.length} records of ${i}`)
    ids.add(records[0]['call_id'])
    t.equal(records[0]['mos_lq'], 4.2)
  }
  t.equal(ids.size, CALLS)
  onlyReserved(t, body.toString('latin1'))
  t.end()
})

void t.test('lines in bodies of so many', (t) => {
  const file = Buffer.from(Array.from({ length: 23 }, (_, i) => `{"n":${i}}\n`).join(''))
  const bodies = bodiesOf(file, 10)
  t.same(
    bodies.map((body) => body.toString('latin1').split('\n').length - 1),
    [10, 10, 3],
  )
  t.ok(Buffer.concat(bodies).equals(file))
  t.same(
    bodiesOf(file.subarray(0, -1), 23).map(({ length }) => length),
    [file.length - 1],
    'a last line without its end',
  )
  t.end()
})

void t.test('the poster: one after the other on one connection, every answer told', async (t) => {
  const got: string[] = []
  const ports = new Set<number | undefined>()
  const server = createServer((request, response) => {
    ports.add(request.socket.remotePort)
    let text = ''
    request
      .on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1')
      })
      .on('end', () => {
        got.push(`${request.url} ${request.headers['content-type']} ${text}`)
        const answer = `{"got":${text.length}}`
        response.writeHead(202, { 'content-length': answer.length })
        // In two pieces.
        response.write(answer.slice(0, 3))
        setTimeout(() => {
          response.end(answer.slice(3))
        }, 2)
      })
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  t.teardown(() => {
    server.close()
  })
  const poster = await Poster.open({
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    path: '/x',
    contentType: 'text/plain',
  })
  const bodies = ['one', 'three', 'x'.repeat(100_000)]
  const answers: string[] = []
  const next = (): Buffer | null => {
    const body = bodies.shift()
    return body === undefined ? null : Buffer.from(body)
  }
  await poster.run(next, (answer) => {
    answers.push(answer)
  })
  t.same(answers, ['202 {"got":3}', '202 {"got":5}', '202 {"got":100000}'])
  t.same(got.slice(0, 2), ['/x text/plain one', '/x text/plain three'])
  t.equal(ports.size, 1)
  bodies.push('one')
  await t.rejects(
    poster.run(next, () => {
      throw new Error('wrong')
    }),
    { message: 'wrong' },
  )
  poster.close()
})

void t.test('a page of metrics', (t) => {
  const page = new Scrape(
    [
      '# HELP minim_messages_produced_total x',
      'minim_messages_produced_total{topic="a"} 12',
      'minim_messages_produced_total{topic="b"} 1.5e+3',
      'process_cpu_seconds_total 1.25',
      'minim_source_refused_total{source_kind="hep",reason="no_room"} 3',
      'minim_source_refused_total{source_kind="hep",reason="unused"} 0',
      '',
    ].join('\n'),
  )
  t.equal(page.produced, 1512)
  t.equal(page.cpuSeconds, 1.25)
  t.equal(page.total('minim_source_refused_total', { reason: 'no_room', source_kind: 'hep' }), 3)
  t.equal(page.troubles(), ' (minim_source_refused_total{source_kind="hep",reason="no_room"} 3)')
  t.equal(new Scrape('').troubles(), '')
  t.end()
})

void t.test('a count that is reached, and one that is more than it must be', async (t) => {
  let produced = 0
  const ops = createServer((_, response) => {
    response.end(
      `minim_messages_produced_total{topic="a"} ${++produced}\nminim_records_quarantined_total{reason="bad_value"} 2\n`,
    )
  })
  await new Promise<void>((resolve) => {
    ops.listen(0, '127.0.0.1', resolve)
  })
  t.teardown(() => {
    ops.close()
  })
  const server = new Server(`http://127.0.0.1:${(ops.address() as AddressInfo).port}`, new Promise(() => undefined))
  const { page } = await server.until('messages', 3, (of) => of.produced)
  t.equal(page.produced, 3)
  await t.rejects(
    server.until('messages', 2, (of) => of.produced),
    new Disqualified('messages: 4, expected 2 (minim_records_quarantined_total{reason="bad_value"} 2)'),
  )
  const dead = new Server('http://127.0.0.1:1', Promise.reject(new Error('it has ended')))
  await t.rejects(
    dead.until('messages', 2, (of) => of.produced),
    { message: 'it has ended' },
  )
})

void t.test('UDP: every frame is sent, as it is', async (t) => {
  const bytes = new Captures(NOW_MS).of(0, 10)
  const path = join(t.testdir({}), 'frames.bin')
  writeFileSync(path, bytes)
  const socket = createSocket('udp4')
  await new Promise<void>((resolve) => {
    socket.bind(0, '127.0.0.1', resolve)
  })
  const got: Buffer[] = []
  socket.on('message', (message) => {
    got.push(message)
  })
  const { stdout } = await promisify(execFile)('python3', [
    join(repositoryRoot(), 'bench/udp-send.py'),
    '127.0.0.1',
    String(socket.address().port),
    path,
    '2000',
  ])
  while (got.length < 10 * PACKETS_OF_CALL)
    await new Promise((resolve) => {
      setTimeout(resolve, 5)
    })
  socket.close()
  t.ok(Buffer.concat(got).equals(bytes))
  const report = JSON.parse(stdout) as { sent: number; seconds: number }
  t.equal(report.sent, 10 * PACKETS_OF_CALL)
  t.ok(report.seconds >= (report.sent - 1) / 2000, 'not faster than it was told')
})
