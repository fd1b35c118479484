/**
 * Vendors and models by name: what a device is called in a text, looked up in closed tables. Nothing of the text gets
 * out of here, only the table's own spelling of it.
 *
 * Case and ` `, `-`, `_`, `.`, `/` within a name do not count (`SIP-T46S`, `VVX_411`). A name of digits and one
 * letter at most is as good as an extension's number, so it counts only right behind its vendor's name.
 */
import type { OwnModels } from '../../flow/device-parts.js'
import { MODELS } from './models.js'

/** Longest name of a vendor or model. */
const NAME_MAX_BYTES = 32
/** Words of a text that may make up one name. */
const WORDS_OF_A_NAME = 6

/** A vendor's models by their squeezed spelling. */
interface Table {
  readonly models: ReadonlyMap<string, string>
  /** Names of the vendor as a model may stand behind them: the longest first. */
  readonly before: readonly string[]
}

/** One word of a text, with what may join it to the next one. */
interface Word {
  readonly key: string
  readonly end: number
  readonly joins: boolean
}

/** Further names that a vendor goes by: what it was called before, whom it bought. */
const ALSO_CALLED: Readonly<Record<string, readonly string[]>> = {
  Poly: ['Polycom', 'HP Poly', 'Plantronics', 'PolyEdge', 'PolyCCX', 'PolyRove', 'PolyTrio'],
  Obihai: ['Obihai Technology'],
  Yealink: ['Yealink Network Technology', 'SIP'],
  Grandstream: ['Grandstream Networks'],
  Cisco: ['Cisco Systems', 'Linksys', 'Sipura', 'Tandberg'],
  Snom: ['Snom Technology'],
  Gigaset: ['Siemens Gigaset', 'Gigaset Communications'],
  Mitel: ['Aastra', 'Aastra Telecom', 'Mitel Networks', 'MiVoice', 'Mitel MiVoice'],
  Panasonic: ['Panasonic MPR08'],
  AudioCodes: ['AUDC', 'AUDC IPPhone', 'Audiocodes Sip Gateway'],
  Avaya: ['Avaya Inc'],
  Htek: ['Hanlong', 'Hanlong Technology'],
  VTech: ['VTech ErisTerminal', 'ErisTerminal', 'Snom VTech'],
  Patton: ['SmartNode', 'Patton Electronics', 'Inalp'],
  Technicolor: ['Thomson', 'MediaAccess', 'Vantiva'],
  ZTE: ['ZXDSL', 'ZXHN', 'ZXV10', 'ZTE Corporation'],
  Huawei: ['Huawei Technologies'],
  Tilgin: ['Vood', 'Tilgin Vood'],
  ShoreTel: ['ShorePhone'],
  NEC: ['NEC i'],
  Unify: ['Siemens', 'Siemens Enterprise Communications', 'Atos Unify', 'OpenScape', 'Desk Phone IP'],
  Spectralink: ['Kirk', 'Polycom Kirk'],
  'Alcatel-Lucent': ['Alcatel', 'ALE', 'ALE International', 'Alcatel Lucent Enterprise'],
  Axis: ['Axis Communications'],
  Telekom: ['Deutsche Telekom', 'T-Com'],
  'bintec elmeg': ['bintec', 'elmeg', 'Teldat', 'Funkwerk'],
  Sangoma: ['Sangoma Technologies'],
  'Alcatel Temporis': ['Atlinks'],
}

/** A name as it is looked up. */
function squeezed(text: string): string {
  return text.toUpperCase().replace(/[^A-Z0-9]/g, '')
}

/** `a{b,c}d` → `abd`, `acd`. */
function expanded(text: string): string[] {
  const open = text.indexOf('{')
  if (open < 0) return [text]
  const close = text.indexOf('}', open)
  const rest = expanded(text.slice(close + 1))
  return text
    .slice(open + 1, close)
    .split(',')
    .flatMap((part) => rest.map((tail) => text.slice(0, open) + part + tail))
}

/** Splits at a separator that is not within braces. */
function split(text: string, separator: ',' | ' '): string[] {
  const parts: string[] = []
  let depth = 0
  let start = 0
  for (let at = 0; at <= text.length; at++) {
    if (text[at] === '{') depth++
    else if (text[at] === '}') depth--
    else if (at === text.length || (depth === 0 && text[at] === separator)) {
      const part = text.slice(start, at).trim()
      if (part !== '') parts.push(part)
      start = at + 1
    }
  }
  return parts
}

/** Adds an entry `name | other spelling | …`, each with `#` for one of the values. */
function addEntry(models: Map<string, string>, entry: string, values: readonly string[]): void {
  const [name, ...others] = entry.split('|').map((spelling) => spelling.trim())
  for (const value of values) {
    const written = name === '#' ? [value] : expanded(name.replace('#', value))
    for (const model of written) add(models, model, model)
    if (written.length > 1) continue
    for (const other of others)
      for (const spelling of expanded(other.replace('#', value))) add(models, spelling, written[0])
  }
}

function add(models: Map<string, string>, spelling: string, model: string): void {
  const key = squeezed(spelling)
  if (key !== '' && !models.has(key)) models.set(key, model.trim())
}

/** Reads a vendor's rows of the table in `models.ts`, whose head says how they are written. */
function readModels(text: string): Map<string, string> {
  const models = new Map<string, string>()
  const lines = text.replace(/,\n {6,}/g, ',').replace(/\n {6,}/g, ' ')
  for (const line of lines.split('\n')) {
    const [head, values] = line.split(' : ')
    const entries = split(head, ',')
    const family = values === undefined ? undefined : entries.pop()
    for (const entry of entries) {
      const hash = entry.startsWith('# |') || entry.startsWith('#|')
      if (!hash) addEntry(models, entry, [''])
    }
    if (family !== undefined) addEntry(models, family, split(values, ' ').flatMap(expanded))
  }
  return models
}

export class DeviceNames {
  readonly #tables = new Map<string, Table>()
  readonly #vendors = new Map<string, string>()
  readonly #own: OwnModels
  #ofAll: ReadonlyMap<string, { readonly vendor: string; readonly model: string }> | null = null

  /**
   * @param vendors vendors that are known beside those with models
   * @param own what the settings add
   */
  constructor(vendors: readonly string[], own: OwnModels = {}) {
    for (const vendor of [...Object.keys(MODELS), ...vendors]) this.#vendors.set(squeezed(vendor), vendor)
    for (const [vendor, others] of Object.entries(ALSO_CALLED))
      for (const other of others) if (other !== 'SIP') this.#vendors.set(squeezed(other), vendor)
    this.#own = Object.fromEntries(
      Object.entries(own).map(([vendor, models]) => {
        const known = this.#vendors.get(squeezed(vendor)) ?? vendor
        this.#vendors.set(squeezed(vendor), known)
        return [known, models]
      }),
    )
  }

  /** Vendors that only the settings name. */
  get ownVendors(): string[] {
    return Object.keys(this.#own).filter((vendor) => !(vendor in MODELS))
  }

  /** A vendor by any of its names; null where a text is no vendor's name. */
  vendor(text: string): string | null {
    if (text.length > 2 * NAME_MAX_BYTES) return null
    const key = squeezed(text)
    return this.#vendors.get(key) ?? this.#vendors.get(key.replace(/(?:INC|LTD|GMBH|AG|CORP|COLTD|LLC)$/, '')) ?? null
  }

  /**
   * A model by its name, the whole text.
   * @param vendor whose; null where nobody says, then a name of digits is none
   */
  model(text: string, vendor: string | null): { readonly vendor: string; readonly model: string } | null {
    if (text.length > 2 * NAME_MAX_BYTES) return null
    const key = squeezed(text)
    if (vendor !== null) {
      const { models, before } = this.#table(vendor)
      const model = models.get(key) ?? behind(key, before, models)
      if (model !== undefined) return { vendor, model }
    }
    const found = this.#all().get(key) ?? this.#all().get(key.replace(/^SIP/, ''))
    if (found !== undefined) return found
    for (const [name, named] of this.#vendors) {
      if (!key.startsWith(name)) continue
      const { models, before } = this.#table(named)
      const model = behind(key, before, models)
      if (model !== undefined) return { vendor: named, model }
    }
    return null
  }

  /** The first model of a vendor in a text, and where it ends. */
  modelIn(text: string, vendor: string): { readonly model: string; readonly end: number } | null {
    const { models, before } = this.#table(vendor)
    if (models.size === 0) return null
    const words = wordsOf(text)
    // A name with a letter in front says enough by itself; one without only behind the vendor's name.
    for (const bare of [false, true]) {
      for (let first = 0; first < words.length; first++) {
        const found = longestAt(words, first, models, before, bare)
        if (found !== null) return found
      }
    }
    return null
  }

  #table(vendor: string): Table {
    const known = this.#tables.get(vendor)
    if (known !== undefined) return known
    const models = readModels(MODELS[vendor] ?? '')
    for (const model of this.#own[vendor] ?? []) add(models, model, model)
    const before = [vendor, ...(ALSO_CALLED[vendor] ?? [])].map(squeezed).sort((a, b) => b.length - a.length)
    const table = { models, before }
    this.#tables.set(vendor, table)
    return table
  }

  /** Every model that says enough by itself. Made on first use: most records name the vendor too. */
  #all(): ReadonlyMap<string, { readonly vendor: string; readonly model: string }> {
    if (this.#ofAll !== null) return this.#ofAll
    const all = new Map<string, { vendor: string; model: string }>()
    for (const vendor of new Set([...Object.keys(MODELS), ...Object.keys(this.#own)]))
      for (const [key, model] of this.#table(vendor).models)
        if (!isBare(key) && !all.has(key)) all.set(key, { vendor, model })
    this.#ofAll = all
    return all
  }
}

/** The model whose name follows the vendor's in one key: `SNOM370`, `AASTRA57I`. */
function behind(key: string, before: readonly string[], models: ReadonlyMap<string, string>): string | undefined {
  for (const name of before) {
    if (!key.startsWith(name) || key.length === name.length) continue
    const model = models.get(key.slice(name.length)) ?? behind(key.slice(name.length), before, models)
    if (model !== undefined) return model
  }
  return undefined
}

function longestAt(
  words: readonly Word[],
  first: number,
  models: ReadonlyMap<string, string>,
  before: readonly string[],
  bare: boolean,
): { readonly model: string; readonly end: number } | null {
  let key = ''
  let found: { model: string; end: number } | null = null
  for (let last = first; last < words.length && last < first + WORDS_OF_A_NAME; last++) {
    key += words[last].key
    const own = isBare(key) && !bare ? undefined : models.get(key)
    const follows = !isBare(key) || (first > 0 && before.includes(words[first - 1].key))
    const model = (follows ? own : undefined) ?? behind(key, before, models) ?? models.get(withoutBoard(key))
    if (model !== undefined && (bare || !isBare(key))) found = { model, end: words[last].end }
    if (!words[last].joins) break
  }
  return found
}

/** `UCM6302V1` of `UCM6302V1.2B`: the board's revision is no part of the name. */
function withoutBoard(key: string): string {
  return isBare(key) ? '' : key.replace(/V\d{1,2}$/, '')
}

/** Digits and a letter at most, as extensions and flats have them. */
function isBare(key: string): boolean {
  return /^\d{1,64}[A-Z]?$/.test(key)
}

/** Words of letters and digits; a name may go on over ` `, `-`, `_`, `!`, `@` and a dot before a letter. */
function wordsOf(text: string): Word[] {
  const words: Word[] = []
  for (const match of text.matchAll(/[A-Za-z0-9]{1,64}/g)) {
    const end = match.index + match[0].length
    words.push({
      end,
      key: match[0].toUpperCase(),
      joins: /^(?:[ _!@-]{1,2}[A-Za-z0-9]|\.[A-Za-z])/.test(text.slice(end, end + 3)),
    })
  }
  return words
}
