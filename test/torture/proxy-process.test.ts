import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type ProxyOptions, ProxyProcess } from './proxy-process.js'

const READY = 'console.error(JSON.stringify({ msg: "ready", grpc: "127.0.0.1:1", ops: "127.0.0.1:2" }));'
const STAYS = 'setInterval(() => {}, 1000);'
const DEAF = 'process.on("SIGTERM", () => {});'
const FATAL = 'console.error(JSON.stringify({ level: "fatal", err: { code: "MINIM_DELIVERY_FENCED" } }));'

/** A process of this script; resolves when it is ready. */
async function started(t: Test, script: string, over: Partial<ProxyOptions> = {}): Promise<ProxyProcess> {
  const folder = t.testdir()
  let markReady = (): void => undefined
  const ready = new Promise<void>((resolve) => {
    markReady = resolve
  })
  const proxy = new ProxyProcess(
    {
      command: [process.execPath, '-e', script],
      cwd: folder,
      env: {},
      logFile: join(folder, 'out'),
      stopLimitMs: 700,
      fatalLimitMs: 700,
      ...over,
    },
    () => {
      markReady()
    },
  )
  t.teardown(() => proxy.kill9())
  proxy.start()
  await ready
  return proxy
}

t.test('told to end, it ends in time', async (t) => {
  const proxy = await started(t, `process.on("SIGTERM", () => process.exit(0)); ${READY}${STAYS}`)
  const { code, ms } = await proxy.stop()
  t.equal(code, 0)
  t.ok(ms < 700, `${ms} ms`)
  t.match(proxy, { starts: 1, endedInTime: 1, notEnded: [], unplanned: [] })
})

t.test('told to end, it does not: killed after its limit, and told', async (t) => {
  const proxy = await started(t, `${DEAF}${READY}${STAYS}`)
  const { code, ms } = await proxy.stop()
  t.equal(code, null)
  t.ok(ms >= 690, `${ms} ms`)
  t.match(proxy, { starts: 1, endedInTime: 0 })
  t.same(proxy.notEnded, ['told to end, and not within 0.7 s'])
})

t.test('after a fatal error it has to end without being told', async (t) => {
  const proxy = await started(t, `${READY}${FATAL}${STAYS}`)
  proxy.retire()
  t.equal(await proxy.end(), null)
  t.same(proxy.notEnded, ['after MINIM_DELIVERY_FENCED, and not within 0.7 s'])
  t.equal(proxy.endedBy, 'MINIM_DELIVERY_FENCED')
})

t.test('while it is stopped no time passes for it', async (t) => {
  const proxy = await started(
    t,
    `process.on("SIGTERM", () => setTimeout(() => process.exit(0), 200)); ${READY}${STAYS}`,
  )
  proxy.retire()
  proxy.kill('SIGTERM')
  proxy.kill('SIGSTOP')
  await sleep(1_200)
  t.ok(proxy.running)
  proxy.kill('SIGCONT')
  t.equal(await proxy.end(), 0)
  t.match(proxy, { endedInTime: 1, notEnded: [] })
})

t.test('one that nobody brings back may have hung, too', async (t) => {
  const proxy = await started(t, `${READY}${STAYS}`)
  proxy.retire()
  proxy.mustEnd(300, 'another had its shard')
  proxy.mustEnd(60_000, 'the first limit counts')
  await proxy.end()
  t.same(proxy.notEnded, ['another had its shard, and not within 0.3 s'])
})

t.test('brought back, it is counted anew', async (t) => {
  const proxy = await started(t, `${READY}${STAYS}`)
  proxy.kill('SIGKILL')
  await proxy.end()
  for (let i = 0; i < 100 && proxy.starts < 2; i++) await sleep(50)
  await proxy.kill9()
  t.match(proxy, { starts: 2, endedInTime: 2, notEnded: [], unplanned: [] })
  t.match(readFileSync(join(t.testdirName, 'out'), 'utf8'), /ready/)
})

t.test('what stops a start is told in words: its code is kept', async (t) => {
  const folder = t.testdir()
  const script =
    'console.error("MINIM_SPOOL_LOCKED: /a: another runs with this spool\\n  → end the other one"); process.exitCode = 1'
  const proxy = new ProxyProcess(
    { command: [process.execPath, '-e', script], cwd: folder, env: {}, logFile: join(folder, 'out') },
    () => undefined,
  )
  proxy.start(false)
  t.equal(await proxy.end(), 1)
  t.equal(proxy.endedBy, 'MINIM_SPOOL_LOCKED')
  t.match(proxy, { starts: 1, endedInTime: 1, notEnded: [], unplanned: [] }, 'and nobody brings it back')
})
