/** A batch that several fill in turn has one holder: whoever was before is told so, and reads nothing. */
import t from 'tap'
import { Batch } from '../../src/batch/batch.js'
import { LeaseLost, SharedBatch } from '../../src/batch/lease.js'
import { catalogue } from '../../src/catalogue/catalogue.js'

const refused = (batch: Batch, count: number): void => {
  batch.reset(Buffer.alloc(count))
  for (let i = 0; i < count; i++) batch.refuse('too_large', i, i + 1)
}

t.test('whoever takes the batch has it, and nobody before', (t) => {
  const batch = new Batch(catalogue())
  const shared = new SharedBatch(batch)
  const first = shared.lease()
  t.ok(first.held)
  refused(first.batch(), 3)
  t.equal(first.batch(), batch, 'looked at as often as need be')
  const second = shared.lease()
  t.notOk(first.held, 'taken, though nothing was filled yet')
  t.throws(() => first.batch(), LeaseLost)
  t.throws(() => first.spend(), LeaseLost)
  t.ok(second.held)
  t.equal(second.batch().taken, 3)
  t.end()
})

t.test('a batch is used up once', (t) => {
  const shared = new SharedBatch(new Batch(catalogue()))
  const lease = shared.lease()
  refused(lease.batch(), 2)
  t.equal(lease.spend().taken, 2)
  t.notOk(lease.held)
  t.throws(() => lease.spend(), LeaseLost)
  t.throws(() => lease.batch(), { name: 'LeaseLost', message: /other records/ })
  t.end()
})

t.test('a lost lease is renewed, and takes the batch from who has it', (t) => {
  const shared = new SharedBatch(new Batch(catalogue()))
  const lost = shared.lease()
  const other = shared.lease()
  const renewed = lost.renew()
  t.ok(renewed.held)
  t.notOk(lost.held, 'the old one stays lost')
  t.notOk(other.held)
  t.throws(() => other.spend(), LeaseLost)
  t.equal(shared.generation, 3)
  t.end()
})

t.test('two that are shared have nothing to do with each other', (t) => {
  const [a, b] = [new SharedBatch(new Batch(catalogue())), new SharedBatch(new Batch(catalogue()))]
  const lease = a.lease()
  b.lease()
  b.revoke()
  t.ok(lease.held)
  a.revoke()
  t.notOk(lease.held)
  t.end()
})
