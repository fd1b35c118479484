/**
 * User-Agent and Server headers, and what vendors write like them, taken apart: vendor, model, firmware, and the MAC
 * address and serial number that many of them carry, *out of* the text and into fields of their own.
 *
 * Nothing passes because it looked fine: vendor and model are written out of closed tables (`devices/`), firmware
 * through a version's grammar. What is in no row is `other`. A softphone's text often holds its owner's or device's
 * name, so its model is the product's name.
 *
 * Cost is bounded by construction: the text is cut to {@link MAX_BYTES} first, and no pattern has an unbounded
 * repetition (a test reads them all).
 */
import { LRUCache } from 'lru-cache'
import type { OwnModels } from '../flow/device-parts.js'
import { HARDWARE } from './devices/hardware.js'
import { IDENTIFIER_PATTERNS, takeIdentifiers } from './devices/identifiers.js'
import { DeviceNames } from './devices/names.js'
import { FOUR_GROUPS, type Rule, SUFFIXED_VERSION, VERSION } from './devices/rule.js'
import { SCANNERS, SOFTWARE } from './devices/software.js'
import { isVersion } from './devices/version.js'

export interface UserAgent {
  readonly vendor: string
  /** Never holds a MAC address, serial number, phone number or name; `other` if it is not known. */
  readonly model: string
  readonly firmware: string
  /** Twelve lower-case hex digits. */
  readonly mac: string | null
  readonly serial: string | null
}

/** What is not known is called this. */
export const OTHER = 'other'

/** Longest text that is looked at. */
export const MAX_BYTES = 512

/** The first row that fits wins. */
const RULES: readonly Rule[] = [...SCANNERS, ...HARDWARE, ...SOFTWARE]

/** Every vendor that the tables know. */
export function vendors(): string[] {
  return [...new Set(RULES.map(({ vendor }) => vendor))]
}

/** The tables, and what the settings add to them. */
export function deviceNames(own: OwnModels = {}): DeviceNames {
  return new DeviceNames(vendors(), own)
}

/** The tables as they ship. */
export const SHIPPED_NAMES = deviceNames()

/** As {@link parseUserAgent}, each distinct text taken apart once: there are few, and they repeat. */
export function userAgent(source: string | Uint8Array): UserAgent {
  const text = bounded(source)
  let parsed = cache.get(text)
  if (parsed === undefined) {
    parsed = parseUserAgent(text)
    cache.set(text, parsed)
  }
  return parsed
}

/** Vendor, model, firmware, MAC address and serial number out of a User-Agent or Server header. */
export function parseUserAgent(source: string | Uint8Array, names: DeviceNames = SHIPPED_NAMES): UserAgent {
  const text = bounded(source)
  const rule = RULES.find(({ sign }) => sign.test(text)) ?? ownRule(text, names)
  const { mac, serial, rest } = takeIdentifiers(text, rule !== undefined && rule.software !== true)
  // The sign must stand in what is left, too: a vendor's name inside an identifier is none.
  const sign = rule?.sign.exec(rest)
  if (rule === undefined || sign === null || sign === undefined)
    return { vendor: OTHER, model: OTHER, firmware: OTHER, mac, serial }
  const behindSign = sign.index + sign[0].length
  const named = modelOf(rule, rest, names)
  return {
    vendor: rule.vendor,
    model: named?.model ?? rule.product ?? OTHER,
    firmware: firmwareOf(rule, rest, named?.end ?? behindSign) ?? firmwareOf(rule, rest, behindSign) ?? OTHER,
    mac,
    serial,
  }
}

/** Vendors of the settings have no row of their own: their name tells them. */
function ownRule(text: string, names: DeviceNames): Rule | undefined {
  const lower = text.toLowerCase()
  const vendor = names.ownVendors.find((name) => lower.includes(name.toLowerCase()))
  return vendor === undefined ? undefined : { vendor, sign: new RegExp(vendor.replace(/[^A-Za-z0-9]/g, '.'), 'i') }
}

function modelOf(rule: Rule, rest: string, names: DeviceNames): { model: string; end: number } | null {
  for (const [pattern, model] of rule.products ?? []) {
    const match = pattern.exec(rest)
    if (match !== null) return { model, end: match.index + match[0].length }
  }
  return rule.software === true ? null : names.modelIn(rest, rule.vendor)
}

function firmwareOf(rule: Rule, rest: string, from: number): string | null {
  const text = rest.slice(from)
  for (const pattern of rule.firmware ?? [VERSION, SUFFIXED_VERSION]) {
    const match = pattern.exec(text)
    if (match === null || !isVersion(match[1], rule.vendor)) continue
    // `12.8.07700-900123`: a long group before more digits is where a number starts.
    const startsNumber = LONG_GROUP.test(match[1]) && MORE_DIGITS.test(text.slice(match.index + match[0].length))
    return startsNumber ? null : match[1]
  }
  return null
}

function bounded(source: string | Uint8Array): string {
  return typeof source === 'string'
    ? source.slice(0, MAX_BYTES)
    : Buffer.from(source.buffer, source.byteOffset, Math.min(source.length, MAX_BYTES)).toString('utf8')
}

/** Every pattern in use, for the test that looks for unbounded repetition. */
export function patterns(): RegExp[] {
  return [
    VERSION,
    SUFFIXED_VERSION,
    FOUR_GROUPS,
    LONG_GROUP,
    MORE_DIGITS,
    ...IDENTIFIER_PATTERNS,
    ...RULES.flatMap((rule) => [
      rule.sign,
      ...(rule.products ?? []).map(([pattern]) => pattern),
      ...(rule.firmware ?? []),
    ]),
  ]
}

const LONG_GROUP = /\d{4}$/
const MORE_DIGITS = /^[ _/()-]{1,3}\d/

const cache = new LRUCache<string, UserAgent>({ max: 8192 })
