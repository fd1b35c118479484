import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { API, FaultProxy } from './fault-proxy.js'

/** A server that keeps what it gets and, with `echo`, sends it back. */
async function server(t: Test, echo: boolean): Promise<{ port: number; got: () => string; sockets: Socket[] }> {
  const chunks: Buffer[] = []
  const sockets: Socket[] = []
  const listener = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
    socket.on('data', (bytes) => {
      chunks.push(bytes)
      if (echo) socket.write(bytes)
    })
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  t.teardown(() => {
    listener.close()
    for (const socket of sockets) socket.destroy()
  })
  return {
    port: (listener.address() as AddressInfo).port,
    got: () => Buffer.concat(chunks).toString('latin1'),
    sockets,
  }
}

async function proxyTo(t: Test, target: number, frames = false): Promise<FaultProxy> {
  const proxy = await FaultProxy.start({ target, frames })
  t.teardown(() => proxy.stop())
  return proxy
}

async function client(
  t: Test,
  proxy: FaultProxy,
): Promise<{ socket: Socket; got: () => string; read: (length: number) => Promise<void> }> {
  const socket = connect(proxy.port, '127.0.0.1')
  let text = ''
  socket
    .on('data', (bytes) => {
      text += bytes.toString('latin1')
    })
    .on('error', () => undefined)
  await once(socket, 'connect')
  t.teardown(() => socket.destroy())
  return {
    socket,
    got: () => text,
    read: async (length) => {
      while (text.length < length) await once(socket, 'data')
    },
  }
}

const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

/**
 * A frame of Kafka's: its length, then API key, version and correlation id of a request, or the correlation id of a
 * response.
 */
function request(apiKey: number, correlation: number, body: string): Buffer {
  const frame = Buffer.alloc(12 + body.length)
  frame.writeInt32BE(8 + body.length, 0)
  frame.writeInt16BE(apiKey, 4)
  frame.writeInt32BE(correlation, 8)
  frame.write(body, 12, 'latin1')
  return frame
}

t.test('bytes pass as they are, slowly if asked', async (t) => {
  const { port } = await server(t, true)
  const proxy = await proxyTo(t, port)
  const { socket, got, read } = await client(t, proxy)
  const sent = 'x'.repeat(100_000) + 'y'
  socket.write(sent)
  await read(sent.length)
  t.equal(got(), sent)
  proxy.latencyMs = 60
  const begun = performance.now()
  socket.write('z')
  await read(sent.length + 1)
  t.ok(performance.now() - begun >= 100, 'once in each direction')
  proxy.latencyMs = 0
  proxy.bytesPerSecond = 10_000
  const limited = performance.now()
  socket.write('w'.repeat(1_000))
  await read(sent.length + 1_001)
  t.ok(performance.now() - limited >= 150, 'at the rate that it was given')
})

t.test('cut: both ends are told', async (t) => {
  const { port, sockets } = await server(t, true)
  const proxy = await proxyTo(t, port)
  const { socket, read } = await client(t, proxy)
  socket.write('a')
  await read(1)
  const closed = [once(socket, 'close'), once(sockets[0], 'close')]
  proxy.cut()
  await Promise.all(closed)
  t.equal(proxy.cuts, 1)
})

t.test('silence: nothing arrives and nobody is told; afterwards it does', async (t) => {
  const { port, got } = await server(t, true)
  const proxy = await proxyTo(t, port)
  const { socket, read } = await client(t, proxy)
  proxy.hush()
  socket.write('later')
  await sleep(50)
  t.equal(got(), '')
  t.equal(socket.destroyed, false)
  proxy.speak()
  await read(5)
  t.equal(got(), 'later')
  proxy.hush(['client'])
  socket.write('!')
  await sleep(50)
  t.equal(got(), 'later!', 'one direction only')
})

t.test("half-open: the server's end is gone, the client is not told", async (t) => {
  const { port, sockets } = await server(t, true)
  const proxy = await proxyTo(t, port)
  const { socket, read } = await client(t, proxy)
  socket.write('a')
  await read(1)
  const closed = once(sockets[0], 'close')
  proxy.halfOpen()
  await closed
  socket.write('b')
  await sleep(50)
  t.equal(socket.destroyed, false)
  const second = await client(t, proxy)
  second.socket.write('c')
  await second.read(1)
  const told = once(socket, 'close')
  proxy.heal()
  await told
})

t.test('a response is held back, those before it are not', async (t) => {
  const { port, sockets } = await server(t, false)
  const proxy = await proxyTo(t, port, true)
  const { socket, got, read } = await client(t, proxy)
  const held = proxy.holdBack('client', API.endTxn)
  socket.write(Buffer.concat([request(API.produce, 1, 'p'), request(API.endTxn, 2, 'e')]))
  while (sockets.length === 0 || sockets[0].bytesRead < 26) await sleep(5)
  // The server's frames: length and correlation id.
  sockets[0].write(request(0, 0, 'PPPP').fill(0, 4, 8).fill(1, 7, 8))
  sockets[0].write(request(0, 0, 'EEEE').fill(0, 4, 8).fill(2, 7, 8))
  await held.caught
  await read(16)
  await sleep(30)
  t.equal(got().length, 16)
  held.release()
  await read(32)
  t.ok(got().endsWith('EEEE'))
})

t.test('a request that is held back reaches the server though its client has gone', async (t) => {
  const { port, got } = await server(t, false)
  const proxy = await proxyTo(t, port, true)
  const { socket } = await client(t, proxy)
  const held = proxy.holdBack('server', API.endTxn)
  const frame = request(API.endTxn, 7, 'commit')
  // Cut anywhere.
  socket.write(frame.subarray(0, 9))
  await sleep(20)
  socket.write(frame.subarray(9))
  await held.caught
  socket.destroy()
  await sleep(50)
  t.equal(got(), '')
  held.release()
  while (got() !== frame.toString('latin1')) await sleep(5)
  t.pass()
})
