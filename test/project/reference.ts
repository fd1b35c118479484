/**
 * The reference projection: what each purpose may see, worked out one record and one value at a time on plain objects.
 * Slow and obvious; shares no code with the columns, the packing, the tokens, the plan or the writers, which are held
 * against it byte for byte. (Shapes of kept texts, the reader of dial strings and the User-Agent parser are plain
 * functions of strings with tests of their own, and are called.)
 */
import { createCipheriv, createHmac } from 'node:crypto'
import { getCountries, getCountryCallingCode, PhoneNumber } from 'libphonenumber-js/max'
import protobuf from 'protobufjs'
import type { Kind } from '../../src/catalogue/catalogue.js'
import type { EpochKeys, EpochLength } from '../../src/keys/keyring.js'
import { isSafeText } from '../../src/normalise/clean-text.js'
import { codecOf } from '../../src/normalise/codec.js'
import { readGiven } from '../../src/normalise/device-reader.js'
import { extensionOf, numberOf } from '../../src/normalise/dial-string.js'
import { HelpNumbers } from '../../src/normalise/help-numbers.js'
import { dialPlanOf } from '../../src/normalise/numbering-plan.js'
import { OwnHosts, plainHost } from '../../src/normalise/own-hosts.js'
import { parseUserAgent, SHIPPED_NAMES } from '../../src/normalise/user-agent.js'
import type { KindRules, Policy, Purpose, Treatment } from '../../src/policy/model.js'

export interface ReferenceTenant {
  readonly name: string
  readonly id: number
  readonly region: string
  readonly extensionDigits: number
  readonly domains: readonly string[]
  readonly anyAddress?: boolean
  readonly prefixes?: readonly string[]
  readonly helplines?: readonly string[]
}

export interface ReferenceInput {
  readonly kind: Kind
  /** The record's protobuf encoding. */
  readonly bytes: Uint8Array
}

export interface ReferenceOptions {
  readonly root: protobuf.Root
  readonly policy: Policy
  readonly tenants: readonly ReferenceTenant[]
  readonly defaultTenant: string
  readonly keys: (purpose: string, epoch: string) => EpochKeys | null
  readonly nowMs: number
  readonly futureMs: number
}

export interface ReferenceMessage {
  readonly value: Buffer
  readonly key: Buffer | null
  readonly timestamp: number
}

export interface ReferenceResult {
  /** In the order of the records. */
  readonly messages: Record<string, ReferenceMessage[]>
  readonly quarantined: { readonly reason: string; readonly bytes: Uint8Array }[]
  readonly withheld: Record<string, number>
}

type Plain = Record<string, string | number>

const MESSAGES: Record<Kind, string> = { call: 'minim.v1.Call', quality: 'minim.v1.Quality', device: 'minim.v1.Device' }
const DAY = 86_400_000

export function referenceProjection(inputs: readonly ReferenceInput[], options: ReferenceOptions): ReferenceResult {
  const result: ReferenceResult = { messages: {}, quarantined: [], withheld: {} }
  for (const input of inputs) oneRecord(input, options, result)
  return result
}

function oneRecord({ kind, bytes }: ReferenceInput, options: ReferenceOptions, result: ReferenceResult): void {
  const record = decode(options.root.lookupType(MESSAGES[kind]), bytes)
  const refuse = (reason: string): void => {
    result.quarantined.push({ reason, bytes })
  }
  if (typeof record === 'string') {
    refuse(record)
    return
  }
  const start = record['start_ms']
  if (typeof start !== 'number') {
    refuse('no_start_time')
    return
  }
  const times = options.root
    .lookupType(MESSAGES[kind])
    .fieldsArray.filter(({ type, name }) => type === 'uint64' && name.endsWith('_ms'))
    .map(({ name }) => record[name])
  if (times.some((time) => Number(time) < Date.UTC(2000) || Number(time) > options.nowMs + options.futureMs)) {
    refuse('clock')
    return
  }
  const tenantName = String(record['tenant'] ?? options.defaultTenant)
  const tenant = options.tenants.find((t) => t.name === tenantName)
  if (tenant === undefined) {
    refuse('unknown_tenant')
    return
  }

  const withheld: string[] = []
  const seeing: { purpose: Purpose; rules: KindRules; keys: EpochKeys | null }[] = []
  for (const purpose of options.policy.purposes) {
    const rules = purpose.kinds[kind]
    if (rules === undefined) continue
    if (purpose.tenants !== null && !purpose.tenants.includes(tenant.name))
      withheld.push(`${purpose.id}\0${kind}\0other_tenant`)
    else if (options.nowMs - start > purpose.retentionDays * DAY) withheld.push(`${purpose.id}\0${kind}\0expired`)
    else {
      const needed = rules.rules.some((r) => r.treatment.kind === 'token')
      const keys = needed ? options.keys(purpose.id, epochOf(purpose.epoch, start).id) : null
      if (needed && keys === null) withheld.push(`${purpose.id}\0${kind}\0key_destroyed`)
      else seeing.push({ purpose, rules, keys })
    }
  }
  if (options.policy.purposes.every((purpose) => purpose.kinds[kind] === undefined))
    withheld.push(`\0${kind}\0no_purpose`)
  for (const reason of withheld) result.withheld[reason] = (result.withheld[reason] ?? 0) + 1
  for (const { purpose, rules, keys } of seeing) {
    ;(result.messages[rules.topic] ??= []).push(message(record, kind, tenant, start, purpose, rules, keys, options))
  }
}

/** The record as protobufjs reads it, with what minim documents to read otherwise; or why it is refused. */
function decode(type: protobuf.Type, bytes: Uint8Array): Plain | string {
  const record: Plain = {}
  const read: Readonly<Record<string, unknown>> = type.toObject(type.decode(bytes), { longs: Number })
  for (const field of type.fieldsArray) {
    const value = read[field.name]
    if (value === undefined || field.name === 'tag' || field.options?.['(derived_from)'] !== undefined) continue
    if (typeof value === 'number') {
      const numbers = field.resolvedType instanceof protobuf.Enum ? Object.values(field.resolvedType.values) : null
      if (numbers !== null && !numbers.includes(value)) continue
      if (field.type === 'uint64' && value > Number.MAX_SAFE_INTEGER)
        return field.name.endsWith('_ms') ? 'clock' : 'bad_value'
      if (!Number.isFinite(value)) continue
      if (value === 0 && field.type === 'uint64' && field.name.endsWith('_ms')) continue
    } else if (typeof value !== 'string' || value === '') continue
    record[field.name] = value
  }
  return record
}

function epochOf(length: EpochLength, time: number): { id: string; start: number } {
  if (length === 'contract') return { id: 'contract', start: 0 }
  const [year, month, day] = new Date(time).toISOString().slice(0, 10).split('-').map(Number)
  const two = (n: number): string => String(n).padStart(2, '0')
  switch (length) {
    case 'day':
      return { id: `${year}-${two(month)}-${two(day)}`, start: Date.UTC(year, month - 1, day) }
    case 'month':
      return { id: `${year}-${two(month)}`, start: Date.UTC(year, month - 1) }
    case 'quarter': {
      const quarter = Math.ceil(month / 3)
      return { id: `${year}-Q${quarter}`, start: Date.UTC(year, quarter * 3 - 3) }
    }
    case 'year':
      return { id: String(year), start: Date.UTC(year, 0) }
  }
}

/** A treated value: text, number, token; null where there is nothing to show. */
type Shown = { text: string } | { number: number } | { token: Buffer } | null

function message(
  record: Plain,
  kind: Kind,
  tenant: ReferenceTenant,
  start: number,
  purpose: Purpose,
  rules: KindRules,
  keys: EpochKeys | null,
  options: ReferenceOptions,
): ReferenceMessage {
  const type = options.root.lookupType(MESSAGES[kind])
  const epoch = epochOf(purpose.epoch, start)
  const shown = [...rules.rules]
    .sort((a, b) => a.field.number - b.field.number)
    .map(({ field, treatment }) => ({
      field: type.fields[field.name],
      value: treat(record, kind, type.fields[field.name], treatment, tenant, purpose, keys),
    }))
  const tag = {
    purpose: purpose.id,
    basis: purpose.basis,
    policy: options.policy.version,
    epoch: epoch.id,
    region: purpose.region,
    retention_days: purpose.retentionDays,
    transfer: purpose.transfer,
  }
  const keyValue = shown.find(({ field, value }) => field.name === rules.key?.name && value !== null)?.value as
    { token: Buffer } | undefined
  const token = keyValue?.token ?? null
  const json = rules.format === 'json'
  const startRule = rules.rules.find((r) => r.field.name === 'start_ms')?.treatment
  return {
    value: json ? Buffer.from(jsonOf(shown, tag)) : protobufOf(shown, tag),
    key: token === null ? null : json ? Buffer.from(token.toString('base64url')) : token,
    timestamp:
      startRule === undefined ? epoch.start : startRule.kind === 'time-bucket' ? start - (start % startRule.ms) : start,
  }
}

function treat(
  record: Plain,
  kind: Kind,
  field: protobuf.Field,
  treatment: Treatment,
  tenant: ReferenceTenant,
  purpose: Purpose,
  keys: EpochKeys | null,
): Shown {
  const source = (field.options?.['(derived_from)'] as string | undefined) ?? field.name
  const held = ofAgent(source, record) ?? record[source]
  const value = typeof held === 'number' && !possible(source, held, record) ? undefined : held
  const text = (t: string): Shown => (t === '' ? null : { text: t })
  switch (treatment.kind) {
    case 'user-agent': {
      const agent = record['user_agent']
      const parsed = typeof agent === 'string' ? parseUserAgent(agent) : null
      // What a device says of itself goes before what its User-Agent says.
      const part = (name: string): string | null => {
        const given = kind === 'device' ? record[name] : undefined
        return typeof given !== 'string' ? null : Buffer.byteLength(given) > 64 ? '?' : given
      }
      const given = { vendor: part('vendor'), model: part('model'), firmware: part('firmware'), os: part('os') }
      const agentVendor = parsed === null || parsed.vendor === 'other' ? null : parsed.vendor
      const read = readGiven(given, agentVendor, SHIPPED_NAMES)[treatment.part]
      if (read !== null) return { text: read }
      const told = treatment.part === 'os' ? undefined : parsed?.[treatment.part]
      return text(told ?? (given[treatment.part] === null ? '' : 'other'))
    }
    case 'keep':
      if (field.name === 'tenant') return text(isSafeText(tenant.name, 64) ? tenant.name : '')
      if (value === undefined) return null
      if (typeof value === 'number') return { number: value }
      if (field.name === 'codec') return { text: Buffer.byteLength(value) > 64 ? 'other' : codecOf(value) }
      return Buffer.byteLength(value) <= 64 && isSafeText(value, 64) ? { text: value } : null
    case 'time-bucket':
      return typeof value === 'number' ? { number: value - (value % treatment.ms) } : null
    case 'number-bucket': {
      if (typeof value !== 'number') return null
      if (treatment.step !== null) return { number: Math.floor(value / treatment.step) * treatment.step }
      const under = (treatment.bounds ?? []).filter((b) => b <= value)
      return under.length === 0 ? null : { number: under[under.length - 1] }
    }
    case 'token': {
      const packed = typeof value === 'string' ? identify(field, value, tenant, purpose) : null
      return packed === null ? null : { token: encrypt(packed, keys as EpochKeys, treatment.reversible) }
    }
    case 'e164-prefix': {
      const party = typeof value === 'string' ? readParty(value, tenant) : null
      if (party?.kind !== 'e164' || (purpose.helplines !== 'named' && isHelp(party, tenant))) return null
      return text(numberPrefix(party.text, treatment.digits))
    }
    case 'ip-prefix': {
      const address = typeof value === 'string' ? readAddress(value) : null
      return address === null ? null : text(network(address, address.length === 4 ? treatment.v4 : treatment.v6))
    }
    case 'mac-vendor': {
      const mac = typeof value === 'string' ? readMac(value) : null
      return mac === null
        ? null
        : text([...mac.subarray(0, 3)].map((b) => b.toString(16).padStart(2, '0').toUpperCase()).join(':'))
    }
  }
}

/** A MAC address or serial number out of the User-Agent, where the record has none that is one. */
function ofAgent(name: string, record: Plain): string | null {
  const own = record[name]
  const agent = record['user_agent']
  if ((name !== 'mac' && name !== 'serial') || typeof agent !== 'string') return null
  if (typeof own === 'string' && (name === 'mac' ? readMac(own) !== null : Buffer.byteLength(own) <= 512)) return null
  return parseUserAgent(agent)[name]
}

/** A number that its field can have. */
function possible(name: string, value: number, record: Plain): boolean {
  const within = (least: number, greatest: number): boolean => value >= least && value <= greatest
  const time = (field: string): number => Number(record[field] ?? NaN)
  switch (name) {
    case 'hangup_cause':
      return within(1, 127)
    case 'mos_lq':
    case 'mos_cq':
      return within(1, 5)
    case 'r_factor':
      return within(0, 120)
    case 'duration_seconds':
    case 'billable_seconds':
      return within(0, 31 * 86_400)
    case 'burst_ms':
    case 'gap_ms':
      return within(0, 3_600_000)
    case 'jitter_ms':
    case 'jitter_max_ms':
    case 'round_trip_ms':
    case 'one_way_delay_ms':
    case 'end_system_delay_ms':
      return within(0, 65_535)
    case 'contact_port':
      return within(1, 65_535)
    case 'expires_seconds':
      return within(0, 365 * 86_400)
    case 'answer_ms':
    case 'end_ms':
      return value >= time('start_ms') - 60_000 && value <= time('start_ms') + 31 * DAY
    case 'packets_sent':
    case 'packets_received':
    case 'packets_lost':
    case 'usage_octets': {
      const lengths = [time('duration_seconds'), (time('end_ms') - time('start_ms')) / 1000].filter((s) => s >= 0)
      const seconds = Math.min(lengths.length === 0 ? 3600 : Math.max(...lengths), 31 * 86_400) + 60
      return value <= seconds * (name === 'usage_octets' ? 12_500_000 : 2000)
    }
    default:
      return !name.endsWith('_percent') || within(0, 100)
  }
}

// ---- identifiers

interface Party {
  readonly kind: 'e164' | 'local' | 'uri'
  readonly text: string
}

/** Whether somebody called it for help. */
export function isHelp({ kind, text }: Party, tenant: ReferenceTenant): boolean {
  const numbers = new HelpNumbers(tenant)
  if (kind === 'e164') return numbers.hasNumber(text)
  return numbers.hasDialled(kind === 'uri' ? text.replace(/@[^@]*$/, '') : text)
}

const NOBODY = [
  '',
  'anonymous',
  'unknown',
  '<unknown>',
  'unavailable',
  'restricted',
  'private',
  'withheld',
  'asterisk',
  's',
  'h',
  'i',
  't',
]

/** Who a dial string, URI or channel name stands for; null for nobody. */
export function readParty(raw: string, tenant: ReferenceTenant, depth = 0): Party | null {
  const text = raw.trim()
  if (NOBODY.includes(text.toLowerCase()) || depth > 3) return null
  const open = text.lastIndexOf('<')
  const close = text.indexOf('>', open)
  if (open >= 0 && close > open && !text.slice(close + 1).includes('>'))
    return readParty(text.slice(open + 1, close), tenant, depth + 1)
  const lower = text.toLowerCase()
  if (lower.startsWith('tel:')) {
    let rest = text.slice(4)
    try {
      rest = decodeURIComponent(rest)
    } catch {
      /* as it is */
    }
    const [number, ...parameters] = rest.split(';')
    const context = parameters
      .map((p) => p.split('='))
      .find(([name]) => name.trim().toLowerCase() === 'phone-context')?.[1]
    if (
      context === undefined ||
      context === '' ||
      context.startsWith('+') ||
      number.trimStart().startsWith('+') ||
      isOwnHost(context, tenant)
    )
      return dialled(rest, tenant)
    const foreign = e164(number, tenant)
    return foreign === null ? { kind: 'uri', text: `${number}@${context}` } : { kind: 'e164', text: foreign }
  }
  if (lower.startsWith('sip:') || lower.startsWith('sips:')) return sipUri(text.slice(text.indexOf(':') + 1), tenant)
  for (const technology of ['sip/', 'pjsip/', 'local/', 'iax2/', 'dahdi/']) {
    if (!lower.startsWith(technology)) continue
    let endpoint = text
      .slice(technology.length)
      .replace(/;[0-9]$/, '')
      .replace(/-[0-9a-fA-F]{8}$/, '')
    if (technology === 'local/' && endpoint.includes('@')) endpoint = endpoint.slice(0, endpoint.indexOf('@'))
    return readParty(endpoint, tenant, depth + 1)
  }
  const parts = text.split('@')
  if (parts.length === 2 && parts[0] !== '' && parts[1] !== '' && !/\s/.test(text)) return sipUri(text, tenant)
  return dialled(text, tenant)
}

function sipUri(rest: string, tenant: ReferenceTenant): Party | null {
  const at = rest.indexOf('@')
  if (at < 0) return null
  const [name, ...parameters] = rest.slice(0, at).split(':')[0].split(';')
  const context = parameters.find((p) => /^phone-context=(\+|%\+|%)?\d/i.test(p))
  let user = context === undefined ? name : `${name};${context}`
  try {
    user = decodeURIComponent(user)
  } catch {
    /* as it is */
  }
  let host = rest
    .slice(at + 1)
    .split(/[;?>]/)[0]
    .toLowerCase()
  if (host.startsWith('[')) host = host.slice(1, host.indexOf(']'))
  else if (/^[^:]*:\d+$/.test(host)) host = host.split(':')[0]
  host = plainHost(host)
  if (NOBODY.includes(user.toLowerCase()) || host === 'anonymous.invalid') return null
  if (isOwnHost(host, tenant)) return dialled(user, tenant)
  const number = e164(user, tenant)
  return number === null ? { kind: 'uri', text: `${user.split(';')[0]}@${host}` } : { kind: 'e164', text: number }
}

function isOwnHost(host: string, tenant: ReferenceTenant): boolean {
  return new OwnHosts(tenant.domains, tenant.anyAddress ?? false).has(plainHost(host))
}

function dialled(text: string, tenant: ReferenceTenant): Party | null {
  if (NOBODY.includes(text.trim().toLowerCase())) return null
  const number = e164(text, tenant)
  if (number !== null) return { kind: 'e164', text: number }
  return { kind: 'local', text: extensionOf(text.trim()) ?? text.trim() }
}

/** Digits of the E.164 number; null for extensions, names and what is none. */
export function e164(text: string, tenant: ReferenceTenant): string | null {
  return numberOf(text, dialPlanOf(tenant))
}

const CALLING_CODES = new Set<string>([
  ...getCountries().map((country) => getCountryCallingCode(country)),
  '800',
  '808',
  '870',
  '878',
  '881',
  '882',
  '883',
  '888',
  '979',
])

function numberPrefix(digits: string, shown: number | 'country'): string {
  const code = [1, 2, 3].map((n) => digits.slice(0, n)).find((c) => CALLING_CODES.has(c))
  if (code === undefined) return ''
  const most = digits.length - 4
  // As it is written from abroad: the calling code, the destination code, and only then the subscriber.
  const groups = new PhoneNumber(`+${digits}`)
    .formatInternational()
    .slice(code.length + 2)
    .split(/[ -]/)
  const destination = code.length + (groups.length > 1 ? groups[0].length : 0)
  const wanted = Math.min(shown === 'country' ? code.length : shown, most, destination)
  return wanted < code.length ? '' : `+${digits.slice(0, wanted)}`
}

/** 4 or 16 bytes; an IPv4-mapped address is the IPv4 one. */
export function readAddress(text: string): Buffer | null {
  const v4 = /^(\d+)\.(\d+)\.(\d+)\.(\d+)(:\d*)?$/.exec(text)
  if (v4 !== null) {
    const octets = v4.slice(1, 5).map(Number)
    return octets.every((o) => o <= 255) && text.length <= 64 ? Buffer.from(octets) : null
  }
  let host: string
  try {
    host = new URL(`http://[${text.replace(/^\[(.*?)\].*$/, '$1').replace(/%.*$/, '')}]/`).hostname.slice(1, -1)
  } catch {
    return null
  }
  const [head, tail] = host.split('::')
  const groups = (part: string | undefined): string[] => (part === undefined || part === '' ? [] : part.split(':'))
  const all =
    tail === undefined
      ? groups(head)
      : [...groups(head), ...Array<string>(8 - groups(head).length - groups(tail).length).fill('0'), ...groups(tail)]
  const bytes = Buffer.from(all.map((g) => g.padStart(4, '0')).join(''), 'hex')
  return bytes.toString('hex', 0, 12) === '00000000000000000000ffff' ? bytes.subarray(12) : bytes
}

function network(address: Buffer, bits: number): string {
  const masked = Buffer.from(
    [...address].map((b, i) => b & (0xff << Math.max(0, 8 - Math.max(0, bits - 8 * i))) & 0xff),
  )
  if (address.length === 4) return `${[...masked].join('.')}/${bits}`
  return `${new URL(`http://[${masked.toString('hex').replace(/(....)(?=.)/g, '$1:')}]/`).hostname.slice(1, -1)}/${bits}`
}

function readMac(text: string): Buffer | null {
  const t = text.trim()
  if (/^[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}$/i.test(t)) return Buffer.from(t.split(':').map((o) => parseInt(o, 16)))
  const digits = t.replace(/[-.]/g, '')
  const grouped = /^(..)-(..)-(..)-(..)-(..)-(..)$|^(....)\.(....)\.(....)$|^(......)-(......)$|^.{12}$/.test(t)
  return grouped && /^[0-9a-f]{12}$/i.test(digits) ? Buffer.from(digits, 'hex') : null
}

// ---- packing (src/batch/block.ts, the comment on top)

type Packed = { form: 'block' | 'uuid' | 'ipv6' | 'long'; bytes: Buffer }

const TYPE = { e164: 1, local: 2, account: 3, ipv4: 4, mac: 5, call: 6, serial: 7, trunk: 8, uri: 9, help: 10 }
const SYMBOLS = '0123456789.-+:*'

function identify(field: protobuf.Field, value: string, tenant: ReferenceTenant, purpose: Purpose): Packed | null {
  const identifier = field.options?.['(identifier)'] as string
  if (identifier === 'IP') {
    const address = readAddress(value)
    if (address === null) return null
    return address.length === 16
      ? { form: 'ipv6', bytes: address }
      : { form: 'block', bytes: blockOf(TYPE.ipv4, 4, 0, address) }
  }
  if (identifier === 'MAC') {
    const mac = readMac(value)
    return mac === null ? null : { form: 'block', bytes: blockOf(TYPE.mac, 6, 0, mac) }
  }
  if (Buffer.byteLength(value) > 512) return null
  switch (identifier) {
    case 'PARTY': {
      const party = readParty(value, tenant)
      if (party === null) return null
      if (purpose.helplines !== 'named' && isHelp(party, tenant)) return packText(TYPE.help, 0, 'helpline')
      if (party.kind === 'e164')
        return {
          form: 'block',
          bytes: blockOf(TYPE.e164, party.text.length, 0, Buffer.from(party.text.padEnd(20, '0'), 'hex')),
        }
      return packText(TYPE[party.kind], party.kind === 'uri' ? 0 : tenant.id, party.text)
    }
    case 'ACCOUNT_CODE':
      return packText(TYPE.account, tenant.id, value)
    case 'SERIAL':
      return packText(TYPE.serial, 0, value)
    case 'TRUNK_NAME':
      return packText(TYPE.trunk, tenant.id, value)
    case 'CALL':
      value = value.replace(/^[ \t\r\n<>"]+|[ \t\r\n<>"]+$/g, '')
      if (value === '') return null
      if (/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(value))
        return { form: 'uuid', bytes: Buffer.from(value.replaceAll('-', ''), 'hex') }
      return packText(TYPE.call, tenant.id, value)
    default:
      throw new TypeError(`${field.name} has no tokens`)
  }
}

function blockOf(type: number, form: number, tenant: number, payload: Uint8Array): Buffer {
  const block = Buffer.alloc(16)
  block[0] = type * 16 + form
  block.writeUInt32BE(tenant, 2)
  block.set(payload.subarray(0, 10), 6)
  return block
}

function packText(type: number, tenant: number, text: string): Packed {
  const bytes = Buffer.from(text)
  if (bytes.length <= 10) return { form: 'block', bytes: blockOf(type, bytes.length, tenant, bytes) }
  if (bytes.length <= 20 && Array.from(text).every((c) => SYMBOLS.includes(c))) {
    const hex = Array.from(text)
      .map((c) => SYMBOLS.indexOf(c).toString(16))
      .join('')
      .padEnd(20, 'f')
    return { form: 'block', bytes: blockOf(type, 15, tenant, Buffer.from(hex, 'hex')) }
  }
  return { form: 'long', bytes: Buffer.concat([blockOf(type, 14, tenant, Buffer.alloc(0)).subarray(0, 6), bytes]) }
}

// ---- tokens

function aes(algorithm: string, key: Buffer, data: Uint8Array, iv: Buffer | null = null): Buffer {
  const cipher = createCipheriv(algorithm, key, iv)
  cipher.setAutoPadding(false)
  return Buffer.concat([cipher.update(data), cipher.final()])
}

function encrypt(packed: Packed, keys: EpochKeys, reversible: boolean): Buffer {
  switch (packed.form) {
    case 'block':
      return aes('aes-256-ecb', keys.block, packed.bytes)
    case 'uuid':
      return aes('aes-256-ecb', keys.uuid, packed.bytes)
    case 'ipv6':
      return aes('aes-128-ecb', keys.ipv6, packed.bytes)
    case 'long':
      return reversible
        ? siv(
            keys.siv,
            Buffer.concat([packed.bytes, Buffer.from([0x80]), Buffer.alloc(15 - (packed.bytes.length % 16))]),
          )
        : createHmac('sha256', keys.hmac).update(packed.bytes).digest().subarray(0, 16)
  }
}

function doubled(block: Buffer): Buffer {
  let n = BigInt(`0x${block.toString('hex')}`) << 1n
  if (n >> 128n !== 0n) n ^= (1n << 128n) | 0x87n
  return Buffer.from(n.toString(16).padStart(32, '0'), 'hex')
}

function xor(a: Uint8Array, b: Uint8Array): Buffer {
  return Buffer.from(a.map((x, i) => x ^ b[i]))
}

/** RFC 4493. */
function cmac(key: Buffer, data: Buffer): Buffer {
  const k1 = doubled(aes('aes-256-ecb', key, Buffer.alloc(16)))
  const whole = data.length > 0 && data.length % 16 === 0
  const padded = whole
    ? Buffer.from(data)
    : Buffer.concat([data, Buffer.from([0x80]), Buffer.alloc(15 - (data.length % 16))])
  const last = padded.subarray(padded.length - 16)
  xor(last, whole ? k1 : doubled(k1)).copy(last)
  return aes('aes-256-cbc', key, padded, Buffer.alloc(16)).subarray(-16)
}

/** RFC 5297 without associated data. */
function siv(key: Buffer, plain: Buffer): Buffer {
  const mac = key.subarray(0, 32)
  const d = cmac(mac, Buffer.alloc(16))
  const t =
    plain.length >= 16
      ? Buffer.concat([plain.subarray(0, -16), xor(plain.subarray(-16), d)])
      : xor(doubled(d), Buffer.concat([plain, Buffer.from([0x80]), Buffer.alloc(16)]).subarray(0, 16))
  const v = cmac(mac, t)
  const q = Buffer.from(v)
  q[8] &= 0x7f
  q[12] &= 0x7f
  return Buffer.concat([v, aes('aes-256-ctr', key.subarray(32), plain, q)])
}

// ---- writers

function varint(value: number): Buffer {
  const out: number[] = []
  let n = BigInt(value)
  for (; n >= 128n; n >>= 7n) out.push(Number(n & 127n) + 128)
  return Buffer.from([...out, Number(n)])
}

function delimited(number: number, bytes: Uint8Array): Buffer {
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes])
}

type Tag = Record<string, string | number>
type ShownField = { readonly field: protobuf.Field; readonly value: Shown }

function protobufOf(shown: readonly ShownField[], tag: Tag): Buffer {
  const fields = shown.flatMap(({ field, value }): Buffer[] => {
    if (value === null) return []
    if ('token' in value) return [delimited(field.id, value.token)]
    if ('text' in value) return [delimited(field.id, Buffer.from(value.text))]
    if (field.type !== 'float') return [varint(field.id * 8), varint(value.number)]
    const float = Buffer.alloc(4)
    float.writeFloatLE(value.number)
    return [varint(field.id * 8 + 5), float]
  })
  const inner = Object.values(tag).map((v, i) =>
    typeof v === 'number' ? Buffer.concat([varint((i + 1) * 8), varint(v)]) : delimited(i + 1, Buffer.from(v)),
  )
  return Buffer.concat([...fields, delimited(15, Buffer.concat(inner))])
}

function jsonOf(shown: readonly ShownField[], tag: Tag): string {
  const members = shown.flatMap(({ field, value }): string[] => {
    if (value === null) return []
    let written: string
    if ('token' in value) written = JSON.stringify(value.token.toString('base64url'))
    else if ('text' in value) written = JSON.stringify(value.text)
    else if (field.resolvedType instanceof protobuf.Enum)
      written = JSON.stringify(field.resolvedType.valuesById[value.number])
    else if (field.type !== 'float') written = String(value.number)
    // At most three places, and no more than 10^12.
    else written = `${value.number < 0 ? '-' : ''}${String(Number(Math.min(Math.abs(value.number), 1e12).toFixed(3)))}`
    return [`${JSON.stringify(field.name)}:${written}`]
  })
  return `{${[...members, `"tag":${JSON.stringify(tag)}`].join()}}`
}
