/**
 * The program with a rule of delivery taken out, so that the torture run can be seen to fail. MINIM_TORTURE_SABOTAGE
 * says which:
 *
 * - `ledger`: what is written to the ledger is found by nobody who comes after; a start resumes everything from the
 *   beginning.
 * - `early-ack`: a batch is acknowledged when it was taken in, before the commit that holds it.
 * - `lease`: what one file's piece has filled of a batch that files share counts as its own, though another file has
 *   emptied it since.
 */
import { randomUUID } from 'node:crypto'
import { Delivery } from '../../src/deliver/delivery.js'
import type { SourceId, WorkItem } from '../../src/flow/work-item.js'
import { withoutLeases } from '../helpers/without-leases.js'

const rule = process.env['MINIM_TORTURE_SABOTAGE']
// eslint-disable-next-line @typescript-eslint/unbound-method -- called with `this` below
const { offer, lastTaken, streamsOf } = Delivery.prototype

if (rule === 'ledger') {
  const mine = randomUUID()
  const hidden = (id: SourceId): SourceId => ({ source: id.source, incarnation: `${id.incarnation}-${mine}` })
  Delivery.prototype.lastTaken = function (id) {
    return lastTaken.call(this, hidden(id))
  }
  Delivery.prototype.streamsOf = function (source) {
    return streamsOf
      .call(this, source)
      .filter(({ incarnation }) => incarnation.endsWith(mine))
      .map((s) => ({ ...s, incarnation: s.incarnation.slice(0, -mine.length - 1) }))
  }
  Delivery.prototype.offer = function (item) {
    return offer.call(this, { ...wrapped(item), id: hidden(item.id) })
  }
} else if (rule === 'early-ack') {
  Delivery.prototype.offer = function (item) {
    const taken = { ...wrapped(item), committed: () => undefined, failed: () => undefined }
    item.committed()
    return offer.call(this, taken)
  }
} else if (rule === 'lease') {
  withoutLeases()
} else {
  throw new Error('MINIM_TORTURE_SABOTAGE: ledger, early-ack or lease')
}

function wrapped(item: WorkItem): WorkItem {
  return {
    id: item.id,
    sequence: item.sequence,
    bytes: item.bytes,
    receivedAt: item.receivedAt,
    minimise: (excluded) => item.minimise(excluded),
    committed: () => {
      item.committed()
    },
    failed: (error) => {
      item.failed(error)
    },
    ...(item.received === undefined ? {} : { received: item.received.bind(item) }),
  }
}

await import('../../src/cli/main.js')
