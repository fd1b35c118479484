/**
 * Takes the leases of shared batches out: a batch is taken for what was read into it last, though another file has
 * emptied it since by finding half a line. So lines that wait for delivery are lost, and who watches for that can be
 * seen to notice.
 */
import { BatchLease } from '../../src/batch/lease.js'
import { FileChunk } from '../../src/sources/common/files.js'
import { given } from './given.js'

/** @returns what puts them back */
export function withoutLeases(): () => void {
  const held = given(Object.getOwnPropertyDescriptor(BatchLease.prototype, 'held'))
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with `this` below
  const { spend } = BatchLease.prototype
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with `this` below
  const { take } = FileChunk.prototype
  let filled: BatchLease | null = null
  Object.defineProperty(BatchLease.prototype, 'held', {
    ...held,
    get(this: BatchLease): boolean {
      return this === filled || held.get?.call(this) === true
    },
  })
  BatchLease.prototype.spend = function () {
    const batch = spend.call(this)
    filled = null
    return batch
  }
  FileChunk.prototype.take = function (reader, lease) {
    const piece = take.call(this, reader, lease)
    if (piece !== null) filled = lease
    return piece
  }
  return () => {
    Object.defineProperty(BatchLease.prototype, 'held', held)
    BatchLease.prototype.spend = spend
    FileChunk.prototype.take = take
  }
}
