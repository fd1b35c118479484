/**
 * Followed files and agents against a real broker: the real programs, killed at any moment, while the file is written,
 * renamed, copied and truncated. Each line is in each topic once.
 */
import { appendFileSync, copyFileSync, existsSync, readFileSync, renameSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { get, metric, Place, Program, ROOT, sleep, until } from '../e2e/program.js'
import { canariesIn } from '../e2e/records.js'
import { spawnSync } from '../helpers/child-process.js'
import { freePort } from '../helpers/free-port.js'
import { kafkaAvailable, type KafkaCluster, startKafka } from '../helpers/kafka.js'

const reason = kafkaAvailable()
t.setTimeout(900_000)
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

const common = {
  description: 'Test',
  basis: { term: 'eu-gdpr:A6-1-b', evidence: 'contract' },
  recipients: ['operations'],
  region: 'UK',
  transfer: 'adequacy',
  retention_days: 14,
}
const POLICY = {
  purposes: {
    quality: {
      ...common,
      notice: 'P4',
      purpose: 'https://w3id.org/dpv#ServiceMonitoring',
      epoch: 'day',
      call: {
        key: 'call_id',
        format: 'json',
        fields: { call_id: 'token', calling_name: 'drop', start_ms: { 'time-bucket': 'minute' } },
      },
    },
    research: {
      ...common,
      notice: 'P5',
      purpose: 'https://w3id.org/dpv#ResearchAndDevelopment',
      epoch: 'day',
      call: { fields: { calling_name: 'drop', start_ms: { 'time-bucket': 'hour' } } },
    },
  },
}

const stamp = (ms: number): string => new Date(ms).toISOString().slice(0, 19).replace('T', ' ')

/**
 * Writes Master.csv as Asterisk does: a line at a time, the file opened for each; and in between half a line, as a full
 * disk leaves it.
 */
class Pbx {
  lines = 0
  broken = 0
  rotations = 0
  #stopped = false
  readonly #path: string
  readonly #done: Promise<void>

  constructor(path: string) {
    this.#path = path
    this.#done = this.#write()
  }

  async #write(): Promise<void> {
    const start = Date.now() - 3_600_000
    for (let n = 0; !this.#stopped; n++) {
      const id = this.lines++
      const line = [
        '"canary-account","07700 900417","020 7946 0918","from-internal","""Xanthippe Quagmire"" <07700900417>"',
        `"PJSIP/1","","Dial","x${id % 7 === 0 ? '\ny' : ''}","${stamp(start)}",,"${stamp(start + 60_000)}",60,0`,
        `"NO ANSWER","DOCUMENTATION","call-${id}","u"\n`,
      ].join(',')
      if (n % 50 === 7) {
        appendFileSync(this.#path, line.slice(0, 60))
        await sleep(20)
        appendFileSync(this.#path, line.slice(60))
      } else appendFileSync(this.#path, line)
      if (n % 97 === 5) {
        appendFileSync(this.#path, 'not a line of it\n')
        this.broken++
      }
      if (n % 10 === 0) await sleep(8)
      if (n % 500 === 499) this.#rotate()
    }
  }

  #rotate(): void {
    for (let i = this.rotations; i >= 1; i--)
      if (existsSync(`${this.#path}.${i}`)) renameSync(`${this.#path}.${i}`, `${this.#path}.${i + 1}`)
    this.rotations++
    // Every second rotation is by copytruncate.
    if (this.rotations % 2 === 0) {
      copyFileSync(this.#path, `${this.#path}.1`)
      truncateSync(this.#path, 0)
    } else renameSync(this.#path, `${this.#path}.1`)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#done
  }
}

t.test('a broker', { skip: reason ?? false, timeout: 900_000 }, async (t) => {
  const cluster = async (t: Test): Promise<KafkaCluster> => {
    const kafka = await startKafka({ heap: '512m' })
    t.teardown(() => kafka.stop())
    return kafka
  }
  const proxySettings = (place: Place, kafka: KafkaCluster, over: Record<string, unknown>): string =>
    place.settings({
      embedded: false,
      kafka: { 'bootstrap.servers': kafka.bootstrap },
      topics: { partitions: 2, replication: 1 },
      policy: place.write('policy.yaml', JSON.stringify(POLICY)),
      ...over,
    })
  const onceEach = async (t: Test, kafka: KafkaCluster, pbx: Pbx): Promise<void> => {
    const quality = (await kafka.consoleConsumer('pbx.quality.call', { timeoutMs: 4000 })).map(
      ({ value }) => (JSON.parse(value.toString()) as { call_id: string }).call_id,
    )
    t.equal(quality.length, pbx.lines, 'as many records as lines')
    t.equal(new Set(quality).size, pbx.lines, 'each once')
    t.equal((await kafka.consoleConsumer('pbx.research.call', { timeoutMs: 4000 })).length, pbx.lines)
    t.equal(
      (await kafka.consoleConsumer('minim.quarantine', { timeoutMs: 4000 })).length,
      pbx.broken,
      'what is no line is in quarantine, once',
    )
  }
  /** Nothing is behind, and stays so: the measure is taken every second. */
  const caughtUp = async (ops: string): Promise<void> => {
    for (let still = 0; still < 3;) {
      await until('it is ready', async () => (await get(ops, '/readyz')).status === 200, 120_000)
      still =
        metric((await get(ops, '/metrics')).body, 'minim_source_lag_seconds')['source_kind="file"'] === 0
          ? still + 1
          : 0
      await sleep(1100)
    }
  }
  const file = { format: 'asterisk-csv', pollMs: 50, settleMs: 300 }

  t.test('minim run follows a file, and is killed again and again', async (t) => {
    const kafka = await cluster(t)
    const place = new Place(t)
    place.makeStore()
    const path = place.path('Master.csv')
    const settings = proxySettings(place, kafka, {
      files: [
        { path, ...file },
        { path: place.path('none.jsonl'), format: 'jsonl', pollMs: 50 },
      ],
    })
    const start = async (): Promise<Program> => {
      const program = new Program(t, ['run', '--config', settings], place)
      await program.line('ready')
      return program
    }
    let program = await start()
    // What is there before the first start, under other names, is not read.
    const pbx = new Pbx(path)
    t.teardown(() => pbx.stop())
    await program.line('file followed')
    await until(
      'the first lines are taken',
      async () =>
        (metric(
          (await get(String((await program.line('ready'))['ops']), '/metrics')).body,
          'minim_records_received_total',
        )['source_kind="file"'] ?? 0) > 0,
    )
    for (let kills = 0; kills < 6; kills++) {
      await sleep(500 + Math.random() * 1500)
      program.kill('SIGKILL')
      t.equal((await program.end()).signal, 'SIGKILL')
      if (kills % 2 === 0) await sleep(1000)
      program = await start()
    }
    await pbx.stop()
    const ops = String((await program.line('ready'))['ops'])
    await program.line('file followed')
    await caughtUp(ops)
    const memory = metric((await get(ops, '/metrics')).body, 'process_resident_memory_bytes')['']
    t.comment(`${pbx.lines} lines, ${pbx.rotations} rotations, ${Math.round(memory / 1e6)} MB`)
    program.kill('SIGTERM')
    const ended = await program.end()
    t.equal(ended.code, 0, ended.stderr)
    t.ok(pbx.rotations >= 4, `${pbx.rotations} rotations`)
    t.same(canariesIn(ended.stdout + ended.stderr), [])
    await onceEach(t, kafka, pbx)
  })

  t.test('an agent streams a file to a proxy with certificates on both sides, and both are killed', async (t) => {
    const kafka = await cluster(t)
    const [proxyPlace, node] = [new Place(t), new Place(t)]
    proxyPlace.makeStore()
    const [, commands] = /^```bash\n([^]*?)^```$/m.exec(readFileSync(join(ROOT, 'docs/sources/agent.md'), 'utf8')) ?? []
    const made = spawnSync('bash', ['-e', '-c', commands ?? 'false'], { cwd: node.folder, encoding: 'utf8' })
    t.equal(made.status, 0, made.stderr)
    const port = await freePort()
    const settings = proxySettings(proxyPlace, kafka, {
      grpc: {
        listen: `127.0.0.1:${port}`,
        tls: { cert: node.path('proxy.pem'), key: node.path('proxy.key'), clientCa: node.path('ca.pem') },
      },
    })
    const path = node.path('Master.csv')
    const agentSettings = (over: object = {}, name = 'agent.yaml'): string =>
      node.write(
        name,
        JSON.stringify({
          ops: { listen: '127.0.0.1:0' },
          files: [{ path, ...file }],
          agent: {
            proxy: `127.0.0.1:${port}`,
            source: 'pbx-1',
            windowBatches: 4,
            batchBytes: 16_384,
            reconnectMaxMs: 500,
            tls: { ca: 'ca.pem', cert: 'pbx-1.pem', key: 'pbx-1.key', serverName: 'proxy' },
            ...over,
          },
        }),
      )
    const proxy = async (): Promise<Program> => {
      const program = new Program(t, ['run', '--config', settings], proxyPlace)
      await program.line('ready')
      return program
    }
    // No keys, no policy: an agent needs neither.
    const agent = async (): Promise<Program> => {
      const program = new Program(t, ['agent', '--config', agentSettings()], node)
      await program.line('ready')
      return program
    }
    let a = await agent()
    const pbx = new Pbx(path)
    t.teardown(() => pbx.stop())
    await a.line('file followed')
    // The file is cut and waits; batches go once there is a proxy.
    let p = await proxy()
    await a.line('connected to the proxy')

    // Without a certificate nobody is heard; a second agent with the same state does not run.
    const stranger = new Program(
      t,
      [
        'agent',
        '--config',
        agentSettings(
          { stateFile: 'stranger.json', source: 'stranger', tls: { ca: 'ca.pem', serverName: 'proxy' } },
          'stranger.yaml',
        ),
      ],
      node,
    )
    await until('refused', () =>
      stranger
        .log()
        .some(
          (l) => l.msg.includes('MINIM_AGENT_DISCONNECTED') || JSON.stringify(l).includes('MINIM_AGENT_DISCONNECTED'),
        ),
    )
    t.notOk(stranger.log().some((l) => l.msg === 'connected to the proxy'))
    stranger.kill('SIGKILL')
    const second = await new Program(t, ['agent', '--config', agentSettings()], node).end()
    t.match(second.stderr, /MINIM_AGENT_LOCKED/)
    t.equal(second.code, 1)

    let resumed = 0
    for (let kills = 0; kills < 10; kills++) {
      await sleep(300 + Math.random() * 1200)
      if (kills % 2 === 0) {
        a.kill('SIGKILL')
        await a.end()
        if (kills % 4 === 0) await sleep(800)
        a = await agent()
      } else {
        p.kill('SIGKILL')
        await p.end()
        p = await proxy()
      }
      resumed += Number((await a.line('connected to the proxy'))['again'])
    }
    await pbx.stop()
    const ops = String((await a.line('ready'))['ops'])
    await a.line('file followed')
    await caughtUp(ops)
    const bytes = metric((await get(ops, '/metrics')).body, 'process_resident_memory_bytes')['']
    t.comment(
      `${pbx.lines} lines, ${pbx.rotations} rotations, ${resumed} batches sent again after a start, ${Math.round(bytes / 1e6)} MB`,
    )
    a.kill('SIGTERM')
    const ended = await a.end()
    t.equal(ended.code, 0, ended.stderr)
    p.kill('SIGTERM')
    const proxyEnded = await p.end()
    t.equal(proxyEnded.code, 0, proxyEnded.stderr)
    t.same(canariesIn(ended.stderr + proxyEnded.stderr + readFileSync(node.path('minim-agent.json'), 'utf8')), [])
    t.ok(pbx.rotations >= 3, `${pbx.rotations} rotations`)
    await onceEach(t, kafka, pbx)
  })
})
