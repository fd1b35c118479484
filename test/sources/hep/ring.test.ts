/** The ring between threads: everything comes out once, whole and in order, however full it runs. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import t from 'tap'
import { Ring, ringMemory } from '../../../src/sources/hep/ring.js'
import { fuzzRuns } from '../../helpers/fuzz.js'

t.test('what goes in comes out', async (t) => {
  const seed = Number(process.env['MINIM_FUZZ_SEED'] ?? Date.now() & 0x7fff_ffff)
  t.comment(`seed ${seed}`)
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 65_535 })), { maxLength: 60 }), (steps) => {
      const memory = ringMemory(0)
      const [writer, reader] = [new Ring(memory), new Ring(memory)]
      const waiting: { length: number; mark: number }[] = []
      let held = 0
      let mark = 0
      const read = (atMost: number): boolean =>
        reader.read(atMost, (bytes, at, end) => {
          const first = waiting.shift()
          if (
            first === undefined ||
            end - at !== first.length ||
            (first.length > 0 && (bytes[at] !== first.mark || bytes[end - 1] !== first.mark))
          )
            throw new Error('not what went in')
          held -= first.length
        })
      for (const [write, length] of steps) {
        if (!write) {
          read(length % 5)
          continue
        }
        mark = (mark + 1) % 256
        if (writer.write(Buffer.alloc(length, mark))) {
          waiting.push({ length, mark })
          held += length
        } else if (held + length < memory.data.byteLength - 2 * 65_600 - waiting.length * 8)
          throw new Error('there was room')
      }
      while (read(1000));
      if (waiting.length > 0) throw new Error('something has not come out')
    }),
    { seed, numRuns: Math.ceil(fuzzRuns() / 10) },
  )
  const full = new Ring(ringMemory(0))
  let taken = 0
  while (taken < 10_000 && full.write(Buffer.alloc(65_535))) taken++
  t.ok(taken > 0 && taken < 10_000, `it is full after ${taken} of the largest`)
})

t.test('two threads', async (t) => {
  const memory = ringMemory(0)
  const source = `
    const { workerData, parentPort } = require('node:worker_threads')
    import(${JSON.stringify(new URL('../../../src/sources/hep/ring.js', import.meta.url).href)}).then(({ Ring }) => {
      const ring = new Ring(workerData)
      for (let n = 0; n < 50000;) {
        const packet = Buffer.alloc(4 + n % 700, n % 251)
        packet.writeUInt32BE(n, 0)
        if (ring.write(packet)) n++
      }
      parentPort.postMessage('done')
    })`
  const worker = new Worker(source, { eval: true, workerData: memory })
  const done = once(worker, 'message')
  const ring = new Ring(memory)
  let next = 0
  let wrong = 0
  const deadline = Date.now() + 20_000
  while (next < 50_000 && Date.now() < deadline) {
    ring.read(10_000, (bytes, at, end) => {
      if (
        bytes.readUInt32BE(at) !== next ||
        end - at !== 4 + (next % 700) ||
        (end - at > 4 && bytes[end - 1] !== next % 251)
      )
        wrong++
      next++
    })
    await new Promise((resolve) => setImmediate(resolve))
  }
  await done
  await worker.terminate()
  t.equal(next, 50_000)
  t.equal(wrong, 0)
})

t.test('counts, and who is woken', async (t) => {
  const memory = ringMemory(0)
  const [writer, reader] = [new Ring(memory), new Ring(memory)]
  t.same([writer.wake(), writer.wake()], [true, false])
  reader.woken()
  t.equal(writer.wake(), true)
  writer.count('dropped')
  writer.count('dropped')
  t.same([reader.takeCount('dropped'), reader.takeCount('dropped'), reader.takeCount('rate')], [2, 0, 0])
})
