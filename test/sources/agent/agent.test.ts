/**
 * The agent against a gRPC source in this process: what it does when state and proxy do not fit, and when lines are
 * gone.
 */
import {
  appendFileSync,
  copyFileSync,
  readFileSync,
  renameSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { readEnvelope } from '../../../src/batch/scanner.js'
import { catalogue } from '../../../src/catalogue/catalogue.js'
import type { FileFormat } from '../../../src/flow/file-formats.js'
import type { Intake } from '../../../src/flow/intake.js'
import type { Minimised } from '../../../src/flow/minimised.js'
import type { WorkItem } from '../../../src/flow/work-item.js'
import { createLog } from '../../../src/ops/log.js'
import { loadSettings } from '../../../src/settings/load.js'
import { type Agent, startAgent } from '../../../src/sources/agent/agent.js'
import { AgentState } from '../../../src/sources/agent/state.js'
import { GrpcSource } from '../../../src/sources/grpc/grpc.js'
import { contentsName } from '../../helpers/contents.js'
import { minimisedOf } from '../../helpers/minimised.js'

/** What the delivery that is stood in for takes: no message. */
const NOTHING = minimisedOf([])

const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
async function until(what: string, probe: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 20_000; !probe();) {
    if (Date.now() > deadline) throw new Error(`never: ${what}`)
    await sleep(5)
  }
}

/** A ledger with one stream, and how many records and refusals each batch had. */
class Ledger implements Intake {
  taken = 0
  readonly batches: number[] = []
  bytes = Buffer.alloc(0)
  held: WorkItem[] | null = null
  lastTaken(): number {
    return this.taken
  }
  readonly contentsName = contentsName
  streamsOf(): [] {
    return []
  }
  mark(): Uint8Array {
    return Buffer.alloc(8)
  }
  differs(): boolean {
    return false
  }
  offer(item: WorkItem): Promise<void> {
    if (this.held !== null) this.held.push(item)
    else this.commit(item)
    return Promise.resolve()
  }
  commit(item: WorkItem): void {
    item.minimise()
    this.taken = item.sequence
    item.committed()
  }
  minimise({ arena, start, end }: { arena: Buffer; start: number; end: number }): Minimised {
    this.batches.push(readEnvelope(arena, start, end).records)
    this.bytes = Buffer.concat([this.bytes, arena.subarray(start, end)])
    return NOTHING
  }
  minimiseFilled(): Minimised {
    throw new Error('not here')
  }
}

interface Started {
  readonly agent: Agent
  readonly log: string[]
}

async function place(
  t: Test,
  format: FileFormat = 'jsonl',
): Promise<{ file: string; stateFile: string; ledger: Ledger; start: () => Started }> {
  const folder = t.testdir()
  const file = join(folder, 'calls.jsonl')
  const stateFile = join(folder, 'agent.json')
  const ledger = new Ledger()
  const source = new GrpcSource({
    listen: '127.0.0.1:0',
    maxMessageBytes: 4_194_304,
    maxStreams: 8,
    idleMs: 60_000,
    tls: null,
    catalogue: catalogue(),
    intake: ledger,
    tenant: 'default',
  })
  const proxy = await source.start()
  t.teardown(() => source.stop())
  const settings = loadSettings(null, {
    agent: { proxy, source: 'pbx-1', stateFile, reconnectMaxMs: 250, windowBatches: 4 },
    files: [{ path: file, format, pollMs: 10, settleMs: 50 }],
  })
  const none = (): void => undefined
  return {
    file,
    stateFile,
    ledger,
    start: () => {
      const log: string[] = []
      const agent = startAgent({
        settings,
        catalogue: catalogue(),
        log: createLog('info', {
          write: (line: string) => {
            log.push(line)
          },
        }),
        counters: { received: none, refused: none, lag: none, connections: none, gap: none, left: none },
      })
      return { agent, log }
    },
  }
}

t.test('batches are counted on over restarts, and refused lines go along', async (t) => {
  const { file, ledger, start } = await place(t)
  writeFileSync(file, '{"call_id":"a"}\nnonsense\n')
  const first = start()
  await until('one batch', () => ledger.taken === 1)
  await first.agent.stop()
  appendFileSync(file, '{"call_id":"b"}\n')
  const second = start()
  await until('the next', () => ledger.taken === 2)
  await second.agent.stop()
  t.same(ledger.batches, [2, 1])
})

t.test('a byte order mark at the beginning of a file is no part of its first line', async (t) => {
  const { file, ledger, start } = await place(t, 'asterisk-csv')
  const cdr = (account: string): string =>
    `${account},1001,+442079460101,ctx,,PJSIP/1,,Dial,,2026-01-02 03:04:05,,2026-01-02 03:05:05,60,0,NO ANSWER,DOCUMENTATION,u\n`
  writeFileSync(file, `\ufeff${cdr('acct-1')}${cdr('acct-2')}`)
  const { agent } = start()
  await until('one batch', () => ledger.taken === 1)
  await agent.stop()
  t.same(ledger.batches, [2])
  t.ok(ledger.bytes.includes('acct-1'))
  t.notOk(ledger.bytes.includes('\ufeff'), 'also not of its account')
})

t.test('a proxy that knows more, or less, than was sent gets nothing', async (t) => {
  const { file, ledger, start } = await place(t)
  writeFileSync(file, '{"call_id":"a"}\n')
  ledger.taken = 99
  const { agent, log } = start()
  await until('said', () => log.some((l) => l.includes('MINIM_AGENT_RESUME')))
  t.notOk(agent.connected)
  t.same(ledger.batches, [])
  await agent.stop()
  ledger.taken = 0
  const second = start()
  await until('sent', () => ledger.taken === 1)
  await second.agent.stop()
  ledger.taken = 0
  const third = start()
  await until('said', () => third.log.some((l) => l.includes('MINIM_AGENT_RESUME')))
  await third.agent.stop()
  t.same(ledger.batches, [1])
})

t.test('a proxy that is not there: a short line with the code, and the mend the first time', async (t) => {
  const folder = t.testdir()
  const file = join(folder, 'calls.jsonl')
  writeFileSync(file, '{"call_id":"a"}\n')
  const ledger = new Ledger()
  const proxy = (listen: string): GrpcSource =>
    new GrpcSource({
      listen,
      maxMessageBytes: 4_194_304,
      maxStreams: 8,
      idleMs: 60_000,
      tls: null,
      catalogue: catalogue(),
      intake: ledger,
      tenant: 'default',
    })
  const first = proxy('127.0.0.1:0')
  const address = await first.start()
  await first.stop()
  const settings = loadSettings(null, {
    agent: { proxy: address, source: 'pbx-1', stateFile: join(folder, 'agent.json'), reconnectMaxMs: 250 },
    files: [{ path: file, format: 'jsonl', pollMs: 10 }],
  })
  const none = (): void => undefined
  const log: { msg: string; code?: string; err?: { code: string; fix: string } }[] = []
  const agent = startAgent({
    settings,
    catalogue: catalogue(),
    log: createLog('warn', {
      write: (line: string) => {
        log.push(JSON.parse(line) as (typeof log)[number])
      },
    }),
    counters: { received: none, refused: none, lag: none, connections: none, gap: none, left: none },
  })
  t.teardown(() => agent.stop())
  await until('said', () => log.length > 0)
  t.match(log[0], { err: { code: 'MINIM_AGENT_DISCONNECTED', fix: /agent\.proxy/ } })
  for (let lines = 1; lines < 3; lines++) {
    const again = proxy(address)
    await again.start()
    await until('connected', () => agent.connected)
    await again.stop()
    await until('said again', () => log.length > lines)
  }
  for (const [i, { msg, code, err }] of log.entries()) {
    t.match(msg, /^files\.0: not connected to the proxy \([A-Z]+: .{3,81}\); trying again$/)
    t.notMatch(msg, /Resolution|T\d\d:|No connection established/)
    if (i > 0) t.match({ code, err }, { code: 'MINIM_AGENT_DISCONNECTED', err: undefined })
  }
})

t.test('lines that were cut, and whose file was copied, emptied, and renamed since', async (t) => {
  const { file, ledger, start } = await place(t)
  writeFileSync(file, '{"call_id":"a"}\n{"call_id":"b"}\n')
  ledger.held = []
  const first = start()
  await until('offered', () => ledger.held?.length === 1)
  await first.agent.stop()
  copyFileSync(file, `${file}.2`)
  truncateSync(file)
  appendFileSync(file, '{"call_id":"c"}\n')
  renameSync(file, `${file}.1`)
  writeFileSync(file, '{"call_id":"d"}\n')
  ledger.held = null
  const second = start()
  await until('all', () => ledger.taken === 3)
  t.notMatch(second.log.join(''), /MINIM_AGENT_LOST/)
  t.same(ledger.batches, [2, 1, 1])
  await second.agent.stop()
})

t.test('lines that were cut, and whose file is gone: said, and the numbers go on', async (t) => {
  const { file, ledger, start } = await place(t)
  writeFileSync(file, '{"call_id":"a"}\n{"call_id":"b"}\n')
  ledger.held = []
  const first = start()
  await until('offered', () => ledger.held?.length === 1)
  await first.agent.stop()
  unlinkSync(file)
  writeFileSync(file, '{"call_id":"c"}\n')
  ledger.held = null
  const second = start()
  await until('both', () => ledger.taken === 2)
  t.match(second.log.join(''), /MINIM_AGENT_LOST.*32 octets/)
  t.same(ledger.batches, [0, 1])
  await second.agent.stop()
})

t.test('a state file that is damaged, or in use', async (t) => {
  const { file, stateFile, start } = await place(t)
  writeFileSync(file, '{"call_id":"a"}\n')
  writeFileSync(
    stateFile,
    '{"version":1,"streams":{"x":{"incarnation":"i","acknowledged":0,"cuts":[{"sequence":1}],"places":[]}}}',
  )
  t.throws(start, { code: 'MINIM_AGENT_STATE', message: /is damaged/ })
  unlinkSync(stateFile)
  const state = AgentState.open(stateFile)
  t.throws(start, { code: 'MINIM_AGENT_LOCKED' })
  state.stream('s').acknowledged = 7
  const saved = [state.save(), state.save()]
  state.stream('s').acknowledged = 8
  await Promise.all([...saved, state.save()])
  t.match(
    JSON.parse(readFileSync(stateFile, 'utf8')),
    { streams: { s: { acknowledged: 8 } } },
    'what was changed while it was written is written as well',
  )
  state.close()
  const again = start()
  await again.agent.stop()
})
