/**
 * Normalisation: the identifiers of a batch, column by column, to one form each. What comes out is the same whichever
 * source the record came from: packed blocks (`block.ts`) for parties, addresses, MACs, accounts and calls; the parts
 * of User-Agents.
 *
 * Done once per batch, for the fields that some purpose treats; every purpose then encrypts or cuts the same blocks
 * under its own key. Text that a purpose would keep as it is (codec, trunk, a device's given model) is checked here:
 * what could hide an identifier is emptied and counted.
 */
import { ByteTable } from '../base/byte-table.js'
import { BLOCK_BYTES, FORM, longLength, packBytes, packLong, packText, packUuid, SLOT, TYPES } from '../batch/block.js'
import { BATCH_ROWS, type Columns, KEPT_TEXT_MAX_BYTES, unreadableStart } from '../batch/columns.js'
import type { DeviceParts } from '../flow/device-parts.js'
import type { NormalisePlan } from '../flow/normalise-plan.js'
import type { NormalisedColumns } from '../flow/normalised.js'
import { FOREIGN_TENANT, type Tenant } from '../flow/tenant.js'
import { isSafeText, safeText } from './clean-text.js'
import { codecOf, CODECS, OTHER_CODEC } from './codec.js'
import { DeviceReader } from './device-reader.js'
import type { DeviceNames } from './devices/names.js'
import { ipBytes, parseIp } from './ip.js'
import { macInto } from './mac.js'
import { NumberDomains } from './number-domains.js'
import { PartyReader } from './party.js'
import { SHIPPED_NAMES } from './user-agent.js'

/** Identifiers longer than this are no identifiers: left out and counted. */
const IDENTIFIER_MAX = 512

/** Distinct spellings of named fields that are remembered. */
const SPELLINGS_KEPT = 512

/** The names of a closed table as bytes, and spellings found by theirs. */
class NameTable {
  readonly names: readonly Uint8Array[] = CODECS.map((name) => Buffer.from(name))
  readonly #table = new ByteTable(SPELLINGS_KEPT)
  readonly #entries = new Int16Array(SPELLINGS_KEPT)

  /** Place of the name that is spelt so. */
  of(src: Buffer, off: number, len: number): number {
    if (len > KEPT_TEXT_MAX_BYTES) return CODECS.indexOf(OTHER_CODEC)
    let entry = this.#table.find(src, off, len)
    if (entry < 0) {
      if (this.#table.size === SPELLINGS_KEPT) this.#table.clear()
      entry = this.#table.add(src, off, len)
      this.#entries[entry] = CODECS.indexOf(codecOf(src.toString('utf8', off, off + len)))
    }
    return this.#entries[entry]
  }
}

/** Tenants by number, as the batch's rows name them. Shared by the normalisers of all kinds. */
export class Tenants {
  readonly list: readonly Tenant[]
  readonly parties: readonly PartyReader[]
  readonly #indexes: ReadonlyMap<string, number>

  constructor(tenants: readonly Tenant[]) {
    this.list = tenants
    this.parties = tenants.map((t) => new PartyReader(t))
    this.#indexes = new Map(tenants.map((t, i) => [t.name, i]))
  }

  /**
   * Number of a tenant, -1 if the settings do not name it, {@link FOREIGN_TENANT} if it is none of those allowed.
   * @param allowed null: any
   */
  index(name: string, allowed: ReadonlySet<string> | null = null): number {
    const index = this.#indexes.get(name) ?? -1
    return index >= 0 && allowed !== null && !allowed.has(name) ? FOREIGN_TENANT : index
  }
}

export class Normalised implements NormalisedColumns {
  readonly plan: NormalisePlan
  /** Tenant of each row, negative where the settings do not know it or its sender may not use it. */
  readonly tenant: Int16Array
  readonly tenantNames: readonly Uint8Array[]
  /** Field-major: slot number × capacity + row. */
  readonly slots: Uint8Array
  readonly blocks: Buffer
  readonly #view: DataView
  /** Where the long form of a slot is in {@link long}. */
  readonly longOff: Int32Array
  readonly longLen: Int32Array
  long: Buffer = Buffer.allocUnsafeSlow(16_384)
  #longEnd = 0
  readonly named: Int16Array
  /**
   * Values left out or called `other`: no identifier of their type, a text that could hide one or is not UTF-8, an
   * impossible number.
   */
  unsafe = 0
  /** Whether any slot of the column needs more than the block key. */
  readonly special: Uint8Array
  readonly #capacity: number
  readonly #tenants: Tenants
  readonly #devices: DeviceReader
  readonly #nameTable = new NameTable()
  readonly #domains: NumberDomains

  constructor(
    plan: NormalisePlan,
    tenants: Tenants,
    capacity: number = BATCH_ROWS,
    deviceNames: DeviceNames = SHIPPED_NAMES,
  ) {
    this.plan = plan
    this.#tenants = tenants
    this.#capacity = capacity
    const cells = plan.identifiers.length * capacity
    this.tenant = new Int16Array(capacity)
    this.tenantNames = tenants.list.map(({ name }) => Buffer.from(isSafeText(name, KEPT_TEXT_MAX_BYTES) ? name : ''))
    this.slots = new Uint8Array(cells)
    this.blocks = Buffer.alloc(cells * BLOCK_BYTES)
    this.#view = new DataView(this.blocks.buffer, this.blocks.byteOffset, this.blocks.length)
    this.longOff = new Int32Array(cells)
    this.longLen = new Int32Array(cells)
    this.named = new Int16Array(plan.named.length * capacity)
    this.#devices = new DeviceReader(deviceNames, capacity)
    this.#domains = new NumberDomains(plan.kind, plan.numbers)
    this.special = new Uint8Array(plan.identifiers.length)
  }

  /** Entry of {@link parts} of each row, -1 where a record says nothing of its device. */
  get device(): Int32Array {
    return this.#devices.rows
  }

  get parts(): readonly DeviceParts[] {
    return this.#devices.parts
  }

  get names(): readonly Uint8Array[] {
    return this.#nameTable.names
  }

  /**
   * Normalises all rows of the columns.
   * @param defaultTenant number of the tenant of rows that name none
   * @param allowed tenants that their sender may use; null: any
   */
  run(arena: Buffer, columns: Columns, defaultTenant: number, allowed: ReadonlySet<string> | null = null): void {
    this.#longEnd = 0
    this.unsafe = columns.anyUnreadable ? this.#unreadable(columns) : 0
    this.#findTenants(arena, columns, defaultTenant, allowed)
    this.plan.identifiers.forEach((field, slot) => {
      this.special[slot] = 0
      switch (field.identifier) {
        case 'PARTY': {
          this.#parties(arena, columns, field.index, slot)
          return
        }
        case 'IP': {
          this.#addresses(arena, columns, field.index, slot)
          return
        }
        case 'MAC': {
          this.#macs(arena, columns, field.index, slot)
          return
        }
        case 'ACCOUNT_CODE': {
          this.#codes(arena, columns, field.index, slot, TYPES.account, true)
          return
        }
        case 'CALL': {
          this.#codes(arena, columns, field.index, slot, TYPES.call, true)
          return
        }
        case 'TRUNK_NAME': {
          this.#codes(arena, columns, field.index, slot, TYPES.trunk, true)
          return
        }
        case 'SERIAL': {
          this.#codes(arena, columns, field.index, slot, TYPES.serial, false)
          return
        }
        case 'NOT_AN_IDENTIFIER':
        case 'USER_AGENT_TEXT':
        case 'NAME':
        case 'TENANT':
        case 'FREE_TEXT':
          throw new TypeError(`${field.kind}.${field.name} cannot be packed`)
      }
    })
    // Last, since it empties what a purpose may not keep and another may still have a token of.
    for (const index of this.plan.texts) this.#checkTexts(arena, columns, index)
    this.plan.named.forEach((index, slot) => {
      this.#nameFields(arena, columns, index, slot)
    })
    if (this.plan.userAgent < 0) return
    this.unsafe += this.#devices.run(arena, columns, this.plan.userAgent, this.plan.given)
    this.plan.identifiers.forEach((field, slot) => {
      if (field.identifier === 'MAC') this.#agentMacs(columns.rows, slot)
      else if (field.identifier === 'SERIAL') this.#agentSerials(columns.rows, slot)
    })
  }

  /** Texts that are not UTF-8, of the fields that some purpose treats: nobody misses what nobody would have seen. */
  #unreadable({ rows, width, off }: Columns): number {
    const { identifiers, texts, named, given, userAgent } = this.plan
    let count = 0
    for (const index of new Set([...identifiers.map((field) => field.index), ...texts, ...named, ...given, userAgent]))
      for (let r = 0, cell = index; index >= 0 && r < rows; r++, cell += width)
        if (unreadableStart(off[cell]) >= 0) count++
    return count
  }

  /**
   * Empties numbers outside of their domain. After it is decided who may see the batch: a time that cannot be is a reason
   * for quarantine, and one that is emptied could be none.
   * @returns how many there were
   */
  dropOutside(columns: Columns): number {
    return this.#domains.run(columns)
  }

  /** MAC addresses out of User-Agents, for rows that have none of their own. */
  #agentMacs(rows: number, slot: number): void {
    const { slots, device, parts } = this
    const view = this.#view
    const base = slot * this.#capacity
    for (let r = 0; r < rows; r++) {
      if (slots[base + r] !== SLOT.absent || device[r] < 0) continue
      const { mac } = parts[device[r]]
      if (mac === null) continue
      packBytes(TYPES.mac, mac, 6, view, (base + r) * BLOCK_BYTES)
      slots[base + r] = SLOT.block
    }
  }

  #agentSerials(rows: number, slot: number): void {
    const { slots, device, parts } = this
    const view = this.#view
    const base = slot * this.#capacity
    for (let r = 0; r < rows; r++) {
      if (slots[base + r] !== SLOT.absent || device[r] < 0 || this.tenant[r] < 0) continue
      const { serial } = parts[device[r]]
      if (serial === null) continue
      if (packText(TYPES.serial, 0, serial, 0, serial.length, view, (base + r) * BLOCK_BYTES))
        slots[base + r] = SLOT.block
      else this.#packLong(base + r, slot, TYPES.serial, 0, serial, 0, serial.length)
    }
  }

  #packLong(cell: number, slot: number, type: number, tenant: number, src: Uint8Array, off: number, len: number): void {
    const bytes = longLength(len)
    this.#reserveLong(bytes)
    packLong(type, tenant, src, off, len, this.long, this.#longEnd)
    this.slots[cell] = SLOT.long
    this.longOff[cell] = this.#longEnd
    this.longLen[cell] = bytes
    this.#longEnd += bytes
    this.special[slot] = 1
  }

  #findTenants(arena: Buffer, columns: Columns, defaultTenant: number, allowed: ReadonlySet<string> | null): void {
    const { rows, width, off, len } = columns
    const index = this.plan.kind.byName.get('tenant')?.index ?? -1
    let lastOff = -1
    let lastLen = 0
    let last = -1
    for (let r = 0, cell = index; r < rows; r++, cell += width) {
      const at = off[cell]
      if (at < 0) {
        // A name that cannot be read is not the name of the tenant that is meant where there is none.
        this.tenant[r] = unreadableStart(at) < 0 ? defaultTenant : -1
        continue
      }
      const length = len[cell]
      let same = lastOff >= 0 && lastLen === length
      for (let i = 0; same && i < length; i++) same = arena[lastOff + i] === arena[at + i]
      if (!same) {
        last = length <= 64 ? this.#tenants.index(arena.toString('utf8', at, at + length), allowed) : -1
        lastOff = at
        lastLen = length
      }
      this.tenant[r] = last
    }
  }

  #checkTexts(arena: Buffer, columns: Columns, index: number): void {
    const { rows, width, off, len } = columns
    for (let r = 0, cell = index; r < rows; r++, cell += width) {
      if (off[cell] < 0 || safeText(arena, off[cell], len[cell], KEPT_TEXT_MAX_BYTES)) continue
      off[cell] = -1
      this.unsafe++
    }
  }

  #nameFields(arena: Buffer, columns: Columns, index: number, slot: number): void {
    const { rows, width, off, len } = columns
    const other = CODECS.indexOf(OTHER_CODEC)
    const base = slot * this.#capacity
    for (let r = 0, cell = index; r < rows; r++, cell += width) {
      const name = off[cell] < 0 ? -1 : this.#nameTable.of(arena, off[cell], len[cell])
      this.named[base + r] = name
      if (name === other) this.unsafe++
    }
  }

  #parties(arena: Buffer, columns: Columns, index: number, slot: number): void {
    const { rows, width, off, len } = columns
    const { slots } = this
    const view = this.#view
    const base = slot * this.#capacity
    for (let r = 0, cell = index; r < rows; r++, cell += width) {
      slots[base + r] = SLOT.absent
      const tenant = this.tenant[r]
      if (off[cell] < 0 || tenant < 0) continue
      if (len[cell] > IDENTIFIER_MAX) {
        this.unsafe++
        continue
      }
      const reader = this.#tenants.parties[tenant]
      const found = reader.read(arena, off[cell], len[cell], view, (base + r) * BLOCK_BYTES)
      slots[base + r] = found
      if ((found & FORM) === SLOT.long) this.#keepLong(base + r, slot, reader.long)
      if (found > FORM) this.special[slot] = 1
    }
  }

  #keepLong(cell: number, slot: number, long: Uint8Array): void {
    this.#reserveLong(long.length)
    this.long.set(long, this.#longEnd)
    this.longOff[cell] = this.#longEnd
    this.longLen[cell] = long.length
    this.#longEnd += long.length
    this.special[slot] = 1
  }

  #reserveLong(bytes: number): void {
    if (this.#longEnd + bytes <= this.long.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(this.long.length * 2, this.#longEnd + bytes))
    this.long.copy(grown, 0, 0, this.#longEnd)
    this.long = grown
  }

  #addresses(arena: Buffer, columns: Columns, index: number, slot: number): void {
    const { rows, width, off, len } = columns
    const { slots } = this
    const view = this.#view
    const base = slot * this.#capacity
    for (let r = 0, cell = index; r < rows; r++, cell += width) {
      slots[base + r] = SLOT.absent
      if (off[cell] < 0) continue
      const bytes = parseIp(arena, off[cell], len[cell])
      const at = (base + r) * BLOCK_BYTES
      if (bytes === 4) {
        packBytes(TYPES.ipv4, ipBytes, 4, view, at)
        slots[base + r] = SLOT.block
      } else if (bytes === 16) {
        for (let i = 0; i < 16; i++) view.setUint8(at + i, ipBytes[i])
        slots[base + r] = SLOT.ipv6
        this.special[slot] = 1
      } else this.unsafe++
    }
  }

  #macs(arena: Buffer, columns: Columns, index: number, slot: number): void {
    const { rows, width, off, len } = columns
    const { slots } = this
    const view = this.#view
    const base = slot * this.#capacity
    for (let r = 0, cell = index; r < rows; r++, cell += width) {
      slots[base + r] = SLOT.absent
      if (off[cell] < 0) continue
      if (macInto(arena, off[cell], len[cell], ipBytes, 0)) {
        packBytes(TYPES.mac, ipBytes, 6, view, (base + r) * BLOCK_BYTES)
        slots[base + r] = SLOT.block
      } else this.unsafe++
    }
  }

  #codes(arena: Buffer, columns: Columns, index: number, slot: number, type: number, ofTenant: boolean): void {
    const { rows, width, off, len } = columns
    const { slots } = this
    const view = this.#view
    const base = slot * this.#capacity
    for (let r = 0, cell = index; r < rows; r++, cell += width) {
      slots[base + r] = SLOT.absent
      let at = off[cell]
      if (at < 0 || this.tenant[r] < 0) continue
      let length = len[cell]
      if (type === TYPES.call && !isPlainCallId(arena, at, length)) {
        // One source quotes the header as it stands, another reads it: spaces and brackets around it are none of its
        // own.
        const end = at + length
        at = callIdStart(arena, at, end)
        length = callIdEnd(arena, at, end) - at
        if (length === 0) continue
      }
      const tenant = ofTenant ? this.#tenants.list[this.tenant[r]].id : 0
      const block = (base + r) * BLOCK_BYTES
      if (packText(type, tenant, arena, at, length, view, block)) slots[base + r] = SLOT.block
      else if (type === TYPES.call && packUuid(arena, at, length, view, block)) {
        slots[base + r] = SLOT.uuid
        this.special[slot] = 1
      } else if (length <= IDENTIFIER_MAX) this.#packLong(base + r, slot, type, tenant, arena, at, length)
      else this.unsafe++
    }
  }
}

/** Nothing stands around a Call-ID that is not its own: true of nearly all, and told by two bytes. */
function isPlainCallId(src: Uint8Array, off: number, len: number): boolean {
  return len > 0 && !CALL_ID_AROUND[src[off]] && !CALL_ID_AROUND[src[off + len - 1]]
}

function callIdStart(src: Uint8Array, off: number, end: number): number {
  while (off < end && CALL_ID_AROUND[src[off]] === 1) off++
  return off
}

function callIdEnd(src: Uint8Array, off: number, end: number): number {
  while (end > off && CALL_ID_AROUND[src[end - 1]] === 1) end--
  return end
}

const CALL_ID_AROUND = new Uint8Array(256)
for (const around of ' \t\r\n<>"') CALL_ID_AROUND[around.charCodeAt(0)] = 1
