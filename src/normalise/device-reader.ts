/**
 * What a device is, row by row: its User-Agent, and what its record says in fields of their own (vendor, model,
 * firmware, operating system), put together. Both are held against the same tables, so a field given by a source hides
 * no more than a User-Agent does.
 *
 * A given part goes before the User-Agent's; what is in no table is `other`. Each distinct combination is read once:
 * there are few, and they repeat.
 */
import { ByteTable } from '../base/byte-table.js'
import { BATCH_ROWS, type Columns, KEPT_TEXT_MAX_BYTES } from '../batch/columns.js'
import { DEVICE_PARTS, type DevicePart, type DeviceParts } from '../flow/device-parts.js'
import type { DeviceNames } from './devices/names.js'
import { systemOf } from './devices/systems.js'
import { isVersion } from './devices/version.js'
import { MAX_BYTES, OTHER, parseUserAgent } from './user-agent.js'

const COMBINATIONS_KEPT = 4096

/** In front of a combination's key: no UTF-8 text has this octet, so it is no User-Agent's alone. */
const COMBINED = 0xff
/** In place of a given part's length. */
const ABSENT = 0xff
/** Longer than any name: refused unread, and none of its octets is in the key. */
const TOO_LONG = 0xfe

/** A given part that is there and not to be read. */
const UNREADABLE: unique symbol = Symbol('unreadable')
type Given = string | typeof UNREADABLE | null

export class DeviceReader {
  /** Entry of {@link parts} of each row, -1 where a record says nothing of its device. */
  readonly rows: Int32Array
  readonly parts: DeviceParts[] = []
  readonly #names: DeviceNames
  readonly #known = new ByteTable(COMBINATIONS_KEPT)
  /** Given parts of each entry that are in no table. */
  readonly #refused: number[] = []
  readonly #key = Buffer.alloc(1 + DEVICE_PARTS.length * (1 + KEPT_TEXT_MAX_BYTES) + MAX_BYTES)

  constructor(names: DeviceNames, capacity: number = BATCH_ROWS) {
    this.#names = names
    this.rows = new Int32Array(capacity)
  }

  /**
   * Reads the devices of all rows.
   * @param agent column of the User-Agent, -1 where there is none
   * @param given columns of the parts, in the order of `DEVICE_PARTS`; -1 where there is none; empty: none is read
   * @returns how many given parts were in no table
   */
  run(arena: Buffer, columns: Columns, agent: number, given: readonly number[]): number {
    const { rows, width, off, len } = columns
    let refused = 0
    if (!this.#known.roomFor(rows)) this.#known.clear()
    this.parts.length = Math.min(this.parts.length, this.#known.capacity)
    for (let r = 0, cell = 0; r < rows; r++, cell += width) {
      const at = agent < 0 ? -1 : off[cell + agent]
      let anyGiven = false
      for (const column of given) if (column >= 0 && off[cell + column] >= 0) anyGiven = true
      if (!anyGiven) {
        this.rows[r] = at < 0 ? -1 : this.#entry(arena, at, len[cell + agent])
        continue
      }
      const key = this.#combine(arena, columns, cell, agent, given)
      const entry = this.#entry(this.#key, 0, key)
      this.rows[r] = entry
      refused += this.#refused[entry]
    }
    return refused
  }

  /** Writes the key of a row's combination. Returns its length. */
  #combine(arena: Buffer, columns: Columns, cell: number, agent: number, given: readonly number[]): number {
    const { off, len } = columns
    const key = this.#key
    let end = 0
    key[end++] = COMBINED
    for (const column of given) {
      const at = column < 0 ? -1 : off[cell + column]
      const length = at < 0 ? 0 : len[cell + column]
      if (at < 0) key[end++] = ABSENT
      else if (length > KEPT_TEXT_MAX_BYTES) key[end++] = TOO_LONG
      else {
        key[end++] = length
        end += arena.copy(key, end, at, at + length)
      }
    }
    const at = agent < 0 ? -1 : off[cell + agent]
    return at < 0 ? end : end + arena.copy(key, end, at, at + Math.min(len[cell + agent], MAX_BYTES))
  }

  #entry(src: Buffer, off: number, len: number): number {
    let entry = this.#known.find(src, off, len)
    if (entry >= 0) return entry
    entry = this.#known.add(src, off, len)
    // Table full in the middle of a batch: kept beside it until the next one.
    if (entry < 0) entry = Math.max(this.parts.length, this.#known.capacity)
    if (src[off] === COMBINED) this.#readCombination(entry, src, off, off + len)
    else {
      this.parts[entry] = partsOf(src.toString('utf8', off, off + Math.min(len, MAX_BYTES)), this.#names)
      this.#refused[entry] = 0
    }
    return entry
  }

  #readCombination(entry: number, key: Buffer, off: number, end: number): void {
    let at = off + 1
    const next = (): Given => {
      const length = key[at++]
      if (length === ABSENT) return null
      if (length === TOO_LONG) return UNREADABLE
      at += length
      return key.toString('utf8', at - length, at)
    }
    const given: Readonly<Record<DevicePart, Given>> = { vendor: next(), model: next(), firmware: next(), os: next() }
    const agent = at === end ? null : parseUserAgent(key.subarray(at, end), this.#names)
    const read = readGiven(given, known(agent?.vendor), this.#names)
    this.#refused[entry] = DEVICE_PARTS.filter((part) => given[part] !== null && read[part] === null).length
    const shown = (part: 'vendor' | 'model' | 'firmware'): Uint8Array =>
      Buffer.from(read[part] ?? known(agent?.[part]) ?? (given[part] !== null || agent !== null ? OTHER : ''))
    this.parts[entry] = {
      vendor: shown('vendor'),
      model: shown('model'),
      firmware: shown('firmware'),
      os: Buffer.from(read.os ?? (given.os === null ? '' : OTHER)),
      mac: macOf(agent?.mac),
      serial: serialOf(agent?.serial),
    }
  }
}

type Read = Readonly<Record<DevicePart, string | null>>

/**
 * Given parts as the tables write them; null where they are in none.
 * @param agentVendor what the User-Agent says, if it says so
 */
export function readGiven(
  given: Readonly<Record<DevicePart, Given>>,
  agentVendor: string | null,
  names: DeviceNames,
): Read {
  const text = (part: DevicePart): string | null => {
    const value = given[part]
    return typeof value === 'string' ? value : null
  }
  const [vendor, model, firmware, os] = DEVICE_PARTS.map(text)
  const vendorRead = vendor === null ? null : names.vendor(vendor)
  const modelRead = model === null ? null : names.model(model, vendorRead ?? agentVendor)
  // Whose numbering the firmware follows: as somebody says, else as the model's maker does.
  const maker = vendorRead ?? modelRead?.vendor ?? agentVendor
  return {
    vendor: vendorRead,
    model: modelRead?.model ?? null,
    firmware: firmware !== null && isVersion(firmware, maker) ? firmware : null,
    os: os === null ? null : systemOf(os),
  }
}

function partsOf(text: string, names: DeviceNames): DeviceParts {
  const { vendor, model, firmware, mac, serial } = parseUserAgent(text, names)
  return {
    vendor: Buffer.from(vendor),
    model: Buffer.from(model),
    firmware: Buffer.from(firmware),
    os: NOTHING,
    mac: macOf(mac),
    serial: serialOf(serial),
  }
}

const NOTHING = new Uint8Array(0)

function known(part: string | undefined): string | null {
  return part === undefined || part === OTHER ? null : part
}

function macOf(mac: string | null | undefined): Uint8Array | null {
  return mac === null || mac === undefined ? null : Buffer.from(mac, 'hex')
}

function serialOf(serial: string | null | undefined): Uint8Array | null {
  return serial === null || serial === undefined ? null : Buffer.from(serial, 'latin1')
}
