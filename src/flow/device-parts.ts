/**
 * The parts of a device that can be shown: who made it, which one it is, what runs on it. They come out of a User-Agent
 * or out of fields of the same names, and nowhere else are they listed.
 */
export const DEVICE_PARTS = ['vendor', 'model', 'firmware', 'os'] as const
export type DevicePart = (typeof DEVICE_PARTS)[number]

/** What operators add to the tables: models by their vendor's name, which may be a new one. */
export type OwnModels = Readonly<Record<string, readonly string[]>>

/** As UTF-8, ready to be copied; empty where nothing is known. */
export interface DeviceParts extends Readonly<Record<DevicePart, Uint8Array>> {
  /** Six octets; null where the User-Agent has none. */
  readonly mac: Uint8Array | null
  readonly serial: Uint8Array | null
}
