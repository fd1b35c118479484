/**
 * The identifiers of a batch in one form each, column by column, as `src/normalise` leaves them and `src/project` reads
 * them.
 */
import type { DeviceParts } from './device-parts.js'

export interface NormalisedColumns {
  /** Tenant of each row, negative where the settings do not know it or its sender may not use it. */
  readonly tenant: Int16Array
  /** By tenant: its name as UTF-8, empty where its shape could hide an identifier. */
  readonly tenantNames: readonly Uint8Array[]
  /** Field-major: slot number × capacity + row. */
  readonly slots: Uint8Array
  readonly blocks: Buffer
  /** Long forms of slots, and where each lies in them. */
  readonly long: Buffer
  readonly longOff: Int32Array
  readonly longLen: Int32Array
  /** Whether any slot of the column needs more than the block key. */
  readonly special: Uint8Array
  /** Entry of {@link parts} of each row, -1 where a record says nothing of its device. */
  readonly device: Int32Array
  readonly parts: readonly DeviceParts[]
  /** Field-major, as {@link slots}: entry of {@link names} of each named field, -1 where it is absent. */
  readonly named: Int16Array
  readonly names: readonly Uint8Array[]
}
