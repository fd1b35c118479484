/**
 * A process that delivers numbered batches until it is killed; `delivery.test.ts` starts and kills it. Prints one JSON
 * line per event.
 */
import { shippedDelivery } from '../helpers/delivery.js'
import { fakeItem, type FakeMessage } from '../helpers/minimised.js'

const [bootstrap = '', cluster = '', first = '1', last = '1', rows = '50', guarantee = 'exactly-once'] =
  process.argv.slice(2)
const say = (event: object): void => {
  process.stdout.write(`${JSON.stringify(event)}\n`)
}

const delivery = shippedDelivery({
  bootstrap,
  topics: null,
  settings: {
    cluster,
    lingerMs: 2,
    maxMessages: 500,
    guarantee: guarantee === 'at-least-once' ? guarantee : 'exactly-once',
  },
  hooks: {
    onNotice: (e) => {
      say({ notice: e.code })
    },
    onFatal: (e) => {
      say({ fatal: e.code })
      process.exit(3)
    },
  },
})
await delivery.start()
// The ledger is one for all of them.
const incarnation = cluster
const taken = delivery.lastTaken({ source: 'node-a', incarnation })
say({ started: taken })
// From the first: what was taken must be skipped, not sent again.
for (let sequence = Number(first); sequence <= Number(last); sequence++) {
  const messages: FakeMessage[] = []
  for (let i = 0; i < Number(rows); i++) {
    messages.push({ topic: `${cluster}.one`, value: `${sequence}/${i}`, key: `k${i % 7}`, record: i })
    messages.push({ topic: `${cluster}.two`, value: `${sequence}/${i}`, key: null, record: i })
  }
  const item = fakeItem({ incarnation, sequence, messages })
  void item.done.then(
    () => {
      say({ committed: sequence })
    },
    () => undefined,
  )
  await delivery.offer(item)
}
await delivery.drain()
say({ drained: true, skipped: delivery.stats.skipped })
await delivery.stop()
