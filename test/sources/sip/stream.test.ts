import fc from 'fast-check'
import t from 'tap'
import { SipStream } from '../../../src/sources/sip/stream.js'
import { fuzzRuns } from '../../helpers/fuzz.js'
import { common, publish, register, sip, vqBody } from './messages.js'

interface Cut {
  readonly kinds: string[]
  readonly bodies: string[]
}

/** Feeds a stream in pieces, then is silent. */
function cut(bytes: Buffer, sizes: readonly number[] = [bytes.length], maxBytes = 16_384): Cut {
  const stream = new SipStream(maxBytes)
  const kinds: string[] = []
  const bodies: string[] = []
  const work = (next: () => ReturnType<SipStream['next']>): void => {
    for (let frame = next(); frame !== null; frame = next()) {
      kinds.push(frame.kind)
      if (frame.kind === 'message') bodies.push(Buffer.from(frame.message.body).toString())
    }
  }
  let at = 0
  for (let i = 0; at < bytes.length; i++) {
    const size = Math.max(1, sizes[i % sizes.length])
    stream.feed(bytes.subarray(at, at + size))
    at += size
    work(() => stream.next())
  }
  work(() => stream.flush())
  return { kinds, bodies }
}

const counted = (length: number | null, body = 'line one\r\nline two\r\n'): Buffer =>
  sip(
    ['PUBLISH sip:a SIP/2.0', ...common('PUBLISH'), ...(length === null ? ['X: y'] : [`Content-Length: ${length}`])],
    body,
  )
const uncounted = (): Buffer => Buffer.from(counted(0).toString().replace('Content-Length: 0\r\n', ''))
const BODY = 'line one\r\nline two\r\n'

t.test('messages one after the other, however they are cut', async (t) => {
  const bytes = Buffer.concat([publish(), register(), publish(vqBody('x')), Buffer.from('\r\n\r\n'), register()])
  const whole = cut(bytes)
  t.same(whole.kinds, ['message', 'message', 'message', 'ping', 'message'])
  t.same(whole.bodies, [vqBody(), '', vqBody('x'), ''])
  for (const size of [1, 2, 3, 7, 64, 1000]) t.same(cut(bytes, [size]).bodies, whole.bodies, `${size} at a time`)
})

t.test('Content-Length that is wrong', async (t) => {
  const rows: readonly (readonly [name: string, bytes: Buffer, bodies: readonly string[]])[] = [
    ['too long, and silence', counted(BODY.length + 5), [BODY]],
    ['too long, and another message', Buffer.concat([counted(BODY.length + 5), register()]), [BODY, '']],
    ['too short, and silence', counted(BODY.length - 5), [BODY]],
    ['too short, and another message', Buffer.concat([counted(BODY.length - 5), register()]), [BODY, '']],
    ["too short by a line's end", Buffer.concat([counted(BODY.length - 2), register()]), [BODY.slice(0, -2), '']],
    ['missing, and silence', uncounted(), [BODY]],
    ['missing, and another message', Buffer.concat([uncounted(), register()]), [BODY, '']],
    ['none, and another message', Buffer.concat([register(), register()]), ['', '']],
    ['too long by far: it is waited for, and nothing is taken', counted(BODY.length + 500), []],
  ]
  for (const [name, bytes, bodies] of rows) {
    t.same(cut(bytes).bodies, bodies, name)
    if (!name.startsWith('too short')) t.same(cut(bytes, [1]).bodies, bodies, `${name}, byte by byte`)
  }
})

t.test('what ends a stream', async (t) => {
  const rows: readonly (readonly [name: string, bytes: Buffer, kinds: readonly string[]])[] = [
    ['no SIP', Buffer.from('GET / HTTP/1.1\r\n\r\n'), ['malformed']],
    ['TLS to a port without it', Buffer.from('16030100a5010000a10303', 'hex'), ['malformed']],
    ['out of step', Buffer.concat([register(), Buffer.from('x'.repeat(100)), register()]), ['message', 'malformed']],
    ['a length that is none', sip(['PUBLISH sip:a SIP/2.0', 'Content-Length: many'], 'x'), ['malformed']],
    ['a length below nothing', sip(['PUBLISH sip:a SIP/2.0', 'Content-Length: -5'], 'x'), ['malformed']],
    ['a body that is too large', sip(['PUBLISH sip:a SIP/2.0', 'Content-Length: 99999999']), ['too_large']],
    ['headers without end', Buffer.from(`PUBLISH sip:a SIP/2.0\r\n${'X: y\r\n'.repeat(10_000)}`), ['too_large']],
    ['a line without end', Buffer.from(`PUBLISH ${'x'.repeat(100_000)}`), ['too_large']],
    ['ten thousand headers', sip(['PUBLISH sip:a SIP/2.0', ...Array<string>(10_000).fill('X: y')]), ['too_large']],
  ]
  for (const [name, bytes, kinds] of rows) {
    t.same(cut(bytes).kinds, kinds, name)
    t.same(cut(bytes, [1000]).kinds, kinds, `${name}, in pieces`)
  }
  const stream = new SipStream(1024)
  stream.feed(Buffer.from('x'))
  t.same(stream.next(), { kind: 'malformed' })
  stream.feed(register())
  t.equal(stream.next(), null, 'nothing more after that')
  t.equal(stream.length, 0, 'and nothing kept')
})

t.test('any bytes, in any pieces: nothing thrown, no more kept than is allowed', async (t) => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 64 }).map((b) => Buffer.from(b)),
    fc.constantFrom(
      register(),
      publish(),
      counted(3),
      counted(40),
      uncounted(),
      Buffer.from('\r\n\r\n'),
      Buffer.from('PUBLISH '),
      Buffer.from('\0'),
    ),
  )
  const seed = Math.floor(Math.random() * 2 ** 31)
  t.comment(`seed ${seed}`)
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 5 }),
      (pieces, sizes) => {
        const bytes = Buffer.concat(pieces)
        const stream = new SipStream(2048)
        let taken = 0
        for (let at = 0, i = 0; at < bytes.length; i++) {
          stream.feed(bytes.subarray(at, (at += sizes[i % sizes.length])))
          for (let frame = stream.next(); frame !== null; frame = stream.next())
            if (++taken > bytes.length) return false
          if (stream.length > 2048 + 700 + 64) return false
        }
        for (let frame = stream.flush(); frame !== null; frame = stream.flush())
          if (++taken > bytes.length) return false
        return true
      },
    ),
    { numRuns: fuzzRuns(), seed },
  )
})
