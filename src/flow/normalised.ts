/**
 * The identifiers of a batch in one form each, column by column, as `src/normalise` leaves them and `src/project` reads
 * them.
 */

/** The parts of a User-Agent as UTF-8, ready to be copied. */
export interface UserAgentParts {
  readonly vendor: Uint8Array
  readonly model: Uint8Array
  readonly firmware: Uint8Array
  /** Six octets; null where it has none. */
  readonly mac: Uint8Array | null
  readonly serial: Uint8Array | null
}

export interface NormalisedColumns {
  /** Tenant of each row, negative where the settings do not know it or its sender may not use it. */
  readonly tenant: Int16Array
  /** Field-major: slot number × capacity + row. */
  readonly slots: Uint8Array
  readonly blocks: Buffer
  /** Long forms of slots, and where each lies in them. */
  readonly long: Buffer
  readonly longOff: Int32Array
  readonly longLen: Int32Array
  /** Whether any slot of the column needs more than the block key. */
  readonly special: Uint8Array
  /** Entry of {@link parts} of each row, -1 where there is no User-Agent. */
  readonly userAgent: Int32Array
  readonly parts: readonly UserAgentParts[]
}
