/** Only the projection makes what leaves the proxy: what merely looks like it is refused, types or no types. */
import t from 'tap'
import { isMinted, type Minimised } from '../../src/flow/minimised.js'
import { Output } from '../../src/flow/output.js'
import { minimisedOf } from '../helpers/minimised.js'

const minted = (): Minimised => minimisedOf([{ topic: 'one', value: 'v', key: 'k', timestamp: 1 }])

t.test('what the mint has made is known as such', (t) => {
  const messages = minted()
  t.ok(isMinted(messages))
  t.same([messages.count, messages.topics, messages.timestamp[0]], [1, ['one'], 1])
  t.notOk(messages.stale())
  t.end()
})

t.test('what looks like it was not minted', (t) => {
  const messages = minted()
  const prototype = Object.getPrototypeOf(messages) as object
  const forged: readonly { readonly name: string; readonly value: object }[] = [
    { name: 'a copy', value: Object.assign({}, messages) },
    { name: 'a copy with its methods', value: Object.assign(Object.create(prototype) as object, messages) },
    {
      name: 'one that inherits from it',
      value: Object.create(messages, { bytes: { value: Buffer.from('raw') } }) as object,
    },
    { name: 'one with its prototype alone', value: Object.create(prototype) as object },
    { name: 'a proxy of it', value: new Proxy(messages, {}) },
    { name: 'nothing', value: {} },
  ]
  for (const { name, value } of forged) t.notOk(isMinted(value), name)
  t.end()
})

t.test('its constructor makes none, and none is altered', (t) => {
  const messages = minted()
  const Made = messages.constructor as new (...parts: unknown[]) => object
  for (const right of [undefined, Symbol('mint'), Symbol.for('mint')])
    t.throws(() => new Made(right, messages, () => false), TypeError)
  t.throws(() => Object.assign(messages, { bytes: Buffer.from('raw') }), TypeError)
  t.throws(() => {
    class Heir extends Made {}
    return new Heir(undefined, messages, () => false)
  }, TypeError)
  t.end()
})

t.test('what was minted is stale once its memory holds another batch', (t) => {
  const output = new Output()
  const outcome = { records: 0, produced: {}, withheld: {}, quarantined: {}, unknownFields: 0, unsafeFields: 0 }
  const messages = output.mint([], [], outcome)
  t.notOk(messages.stale())
  output.clear()
  t.ok(messages.stale())
  t.end()
})
