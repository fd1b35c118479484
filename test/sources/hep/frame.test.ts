/** HEP3 frames: chunk by chunk, in any order, broken in every way; and put together out of pieces. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { inflateSync } from 'node:zlib'
import t from 'tap'
import { frameLength, HepFrame } from '../../../src/sources/hep/frame.js'
import { FrameStream } from '../../../src/sources/hep/streams.js'
import { given } from '../../helpers/given.js'
import { shared } from '../../helpers/shared.js'
import { chunk, frame, hep } from './frames.js'

function read(bytes: Buffer): HepFrame | null {
  const found = new HepFrame()
  return found.read(bytes, 0, bytes.length) ? found : null
}

t.test('a whole frame', async (t) => {
  for (const asterisk of [false, true]) {
    const bytes = hep({
      payload: 'OPTIONS',
      from: '192.0.2.10:5061',
      to: '198.51.100.7:5060',
      atMs: 1_795_514_445_123,
      captureId: 4_000_000_001,
      key: 'k3y',
      correlation: 'c@x',
      asterisk,
    })
    t.equal(frameLength(bytes, 0, bytes.length), bytes.length)
    const found = given(read(bytes))
    t.match(found, {
      kind: 1,
      captureId: 4_000_000_001,
      sourcePort: 5061,
      destinationPort: 5060,
      compressed: false,
      capturedMs: 1_795_514_445_123,
    })
    t.equal(found.sourceIp(bytes), '192.0.2.10')
    t.equal(found.destinationIp(bytes), '198.51.100.7')
    t.equal(bytes.toString('latin1', found.payloadAt, found.payloadEnd), 'OPTIONS')
    t.equal(bytes.toString('latin1', found.keyAt, found.keyEnd), 'k3y')
    t.equal(bytes.toString('latin1', found.correlationAt, found.correlationEnd), 'c@x')
  }
})

t.test('IPv6, and what an earlier frame had is forgotten', async (t) => {
  const found = new HepFrame()
  const first = hep({ payload: 'x', key: 'k', correlation: 'c', atMs: 1000, captureId: 9 })
  t.ok(found.read(first, 0, first.length))
  const six = hep({ payload: 'y', from: '[2001:db8::1]:5060', to: '[2001:db8::2:0:3]:5070' })
  t.ok(found.read(six, 0, six.length))
  t.equal(found.sourceIp(six), '2001:db8:0:0:0:0:0:1')
  t.equal(found.destinationIp(six), '2001:db8:0:0:0:2:0:3')
  const bare = frame([chunk(11, Buffer.from([100]))])
  t.ok(found.read(bare, 0, bare.length))
  t.match(found, {
    ipVersion: 0,
    sourceAt: -1,
    captureId: -1,
    keyAt: -1,
    correlationAt: -1,
    payloadAt: -1,
    capturedMs: 0,
    kind: 100,
  })
  t.equal(found.sourceIp(bare), '')
})

t.test('unknown vendors and types are stepped over', async (t) => {
  const found = given(
    read(
      frame([
        chunk(15, 'not this', 3),
        chunk(999, 'x'),
        chunk(19, 'node name'),
        chunk(11, Buffer.from([1])),
        chunk(15, 'this'),
      ]),
    ),
  )
  t.equal(found.kind, 1)
  t.equal(found.payloadEnd - found.payloadAt, 4)
})

t.test('broken chunks', async (t) => {
  const payload = chunk(15, 'payload')
  const rows: Readonly<Record<string, Buffer>> = {
    'a length of 0': frame([chunk(11, Buffer.from([1]), 0, 0), payload]),
    'a length of 5': frame([chunk(15, 'x', 0, 5)]),
    'a length of 65535': frame([chunk(15, 'payload', 0, 65_535)]),
    'one octet too many': frame([chunk(15, 'payload', 0, 14)]),
    'of another vendor': frame([chunk(1, 'x', 77, 0)]),
    'half a header': frame([payload, Buffer.from([0, 0, 0])]),
    'a port of three octets': frame([chunk(7, Buffer.from([1, 2, 3])), payload]),
    'an IPv4 address of six octets': frame([chunk(3, Buffer.alloc(6)), payload]),
    'an IPv4 source and an IPv6 destination': frame([chunk(3, Buffer.alloc(4)), chunk(6, Buffer.alloc(16)), payload]),
    'a frame within a chunk header': frame([Buffer.from('HEP3HEP3HEP3')]),
  }
  for (const [name, bytes] of Object.entries(rows)) t.equal(read(bytes), null, name)
  t.not(read(frame([])), null, 'no chunk at all is a frame')
  t.not(read(frame([chunk(15, '')])), null, 'an empty payload is one')
})

t.test('where a frame begins', async (t) => {
  t.equal(frameLength(Buffer.from('HEP2\0\x10'), 0, 6), -1)
  t.equal(frameLength(Buffer.from('HEP3\0\x05'), 0, 6), -1, 'shorter than its own header')
  t.equal(frameLength(Buffer.from('HEP3\xff\xff', 'latin1'), 0, 6), 65_535)
  t.equal(frameLength(Buffer.from('HE'), 0, 2), 0, 'not there yet')
  t.equal(frameLength(Buffer.from('GET / HTTP/1.1'), 0, 14), -1)
})

t.test('frames of a stream, split anywhere', async (t) => {
  const frames = [
    hep({ payload: 'one' }),
    frame([]),
    hep({ payload: 'two'.repeat(300), captureId: 2 }),
    hep({ payload: '' }),
    hep({ payload: 'x'.repeat(65_000) }),
  ]
  const all = Buffer.concat(frames)
  const small = Buffer.concat(frames.slice(0, 4))
  const pieces = (bytes: Buffer, size: number): Buffer[] =>
    Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
      Buffer.from(bytes.subarray(i * size, (i + 1) * size)),
    )
  for (const [bytes, sizes] of [
    [small, [1, 2, 3, 5, 6, 7, 64, 500, 2000]],
    [all, [7, 1000, 16_384, 65_536, 100_000]],
  ] as const) {
    for (const size of sizes) {
      const got: Buffer[] = []
      const stream = new FrameStream((from, at, end) => got.push(Buffer.from(from.subarray(at, end))))
      for (const piece of pieces(bytes, size)) t.ok(stream.push(piece))
      t.same(got, frames.slice(0, got.length), `pieces of ${size}`)
      t.equal(Buffer.concat(got).length, bytes.length)
    }
  }
})

t.test('a stream that is out of step', async (t) => {
  for (const size of [1, 3, 1000]) {
    let frames = 0
    const stream = new FrameStream(() => {
      frames++
    })
    const bytes = Buffer.concat([hep({ payload: 'one' }), Buffer.from('garbage'), hep({ payload: 'two' })])
    let whole = true
    for (let at = 0; at < bytes.length && whole; at += size) whole = stream.push(bytes.subarray(at, at + size))
    t.equal(whole, false, `pieces of ${size}`)
    t.equal(frames, 1)
  }
})

t.test('real packets', async (t) => {
  const folder = shared('fixtures/hep3')
  if (folder === null) {
    t.comment('../shared/fixtures/hep3 is not there: real packets were not read')
    return
  }
  interface Chunk {
    readonly vendor: number
    readonly type: number
    readonly value: string
  }
  for (const name of [
    'captagent-zlib-00',
    'captagent-zlib-03',
    'captagent-zlib-06',
    'hepgen-00-type1',
    'hepgen-02-type1',
    'hepgen-04-type100',
    'hepgen-07-type5',
  ]) {
    const bytes = readFileSync(join(folder, `${name}.bin`))
    const { chunks } = JSON.parse(readFileSync(join(folder, `${name}.decoded.json`), 'utf8')) as { chunks: Chunk[] }
    const value = (...types: number[]): string => chunks.find(({ type }) => types.includes(type))?.value ?? ''
    const found = given(read(bytes))
    t.equal(frameLength(bytes, 0, bytes.length), bytes.length, name)
    t.equal(found.kind, parseInt(value(11), 16))
    t.equal(found.captureId, parseInt(value(12), 16))
    t.equal(found.seconds, parseInt(value(9), 16))
    t.equal(found.sourcePort, parseInt(value(7), 16))
    t.equal(
      found
        .sourceIp(bytes)
        .split('.')
        .map((n) => Number(n).toString(16).padStart(2, '0'))
        .join(''),
      value(3),
    )
    t.equal(bytes.toString('utf8', found.keyAt, found.keyEnd), value(14))
    const payload = bytes.subarray(found.payloadAt, found.payloadEnd)
    t.equal(
      (found.compressed ? `zlib:${inflateSync(payload).toString('utf8')}` : payload.toString('utf8')).slice(0, 100),
      value(15, 16).slice(0, 100),
    )
  }
  const spec = readFileSync(join(folder, 'spec-example-113.bin'))
  t.equal(spec.length, 113)
  t.equal(frameLength(spec, 0, spec.length), 113)
  t.ok(read(spec), 'the example of the specification')
})
