import { connect } from 'node:net'
import { Counter, Registry } from 'prom-client'
import t from 'tap'
import { type Readiness, startOps } from '../../src/ops/health.js'

function registry(): Registry {
  const made = new Registry()
  new Counter({ name: 'minim_test_total', help: 'a test', registers: [made] }).inc(3)
  return made
}

t.test('metrics, health and readiness', async (t) => {
  let readiness: Readiness = { ok: false, reasons: ['starting', 'no_broker'] }
  const ops = await startOps({ listen: '127.0.0.1:0', registry: registry(), ready: () => readiness })
  t.teardown(() => ops.close())
  t.equal(ops.host, '127.0.0.1')
  const get = async (
    path: string,
    init: RequestInit = {},
  ): Promise<{ status: number; type: string | null; text: string }> => {
    const response = await fetch(`http://${ops.host}:${ops.port}${path}`, init)
    return { status: response.status, type: response.headers.get('content-type'), text: await response.text() }
  }

  const metrics = await get('/metrics')
  t.equal(metrics.status, 200)
  t.match(metrics.type, /^text\/plain; version=0\.0\.4/)
  t.match(metrics.text, /^minim_test_total 3$/m)

  t.match(await get('/healthz'), { status: 200, text: '{"status":"ok"}' })
  t.match(await get('/readyz'), { status: 503, text: '{"ready":false,"reasons":["starting","no_broker"]}' })
  t.match(await get('/readyz', { method: 'HEAD' }), { status: 503, text: '' })
  readiness = { ok: true, reasons: ['stale'] }
  t.match(await get('/readyz'), { status: 200, text: '{"ready":true,"reasons":[]}' })
  readiness = { ok: false, reasons: ['+447700900123', 'no broker at 192.0.2.1', 'no_broker'] }
  t.match(await get('/readyz'), { status: 503, text: '{"ready":false,"reasons":["other","other","no_broker"]}' })

  const unknown = await get('/admin/+447700900123')
  t.equal(unknown.status, 404)
  t.notMatch(unknown.text, /4477/)
  t.equal((await get('/metrics', { method: 'POST', body: 'x' })).status, 404)
  const broken = await get('/%zz+447700900123')
  t.equal(broken.status, 400)
  t.notMatch(broken.text, /4477/)
})

t.test('a failure within answers 500 and says nothing of itself', async (t) => {
  const ops = await startOps({
    listen: '127.0.0.1:0',
    registry: registry(),
    ready: () => {
      throw new Error('+447700900123')
    },
  })
  t.teardown(() => ops.close())
  const response = await fetch(`http://127.0.0.1:${ops.port}/readyz`)
  t.equal(response.status, 500)
  t.notMatch(await response.text(), /4477/)
  t.equal((await fetch(`http://127.0.0.1:${ops.port}/healthz`)).status, 200)
})

t.test('an address that is taken is told, with its mend', async (t) => {
  const ops = await startOps({ listen: '127.0.0.1:0', registry: registry(), ready: () => ({ ok: true, reasons: [] }) })
  t.teardown(() => ops.close())
  await t.rejects(
    startOps({ listen: `127.0.0.1:${ops.port}`, registry: registry(), ready: () => ({ ok: true, reasons: [] }) }),
    { code: 'MINIM_OPS_LISTEN', message: /EADDRINUSE/ },
  )
})

t.test('closes in spite of idle connections, and is gone then', async (t) => {
  const ops = await startOps({ listen: '127.0.0.1:0', registry: registry(), ready: () => ({ ok: true, reasons: [] }) })
  const socket = connect(ops.port, '127.0.0.1')
  await new Promise<void>((resolve) => {
    socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')
    socket.once('data', () => {
      resolve()
    })
  })
  const ended = new Promise<void>((resolve) => {
    socket.once('close', () => {
      resolve()
    })
  })
  await ops.close()
  await ended
  await t.rejects(fetch(`http://127.0.0.1:${ops.port}/healthz`))
})
