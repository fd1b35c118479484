/**
 * User-Agent and Server headers, and what vendors write like them, taken apart: vendor, model, firmware, and the MAC
 * address and serial number that many of them carry, *out of* the text and into fields of their own.
 *
 * Nothing passes because it looked fine: vendor and model are written by this file out of a closed table (only a
 * model's letters and digits come from the text, through a pattern of that vendor's names), firmware through a
 * version's grammar. What is in no row is `other`. A softphone's text often holds its owner's or device's name, so its
 * model is the product's name.
 *
 * Cost is bounded by construction: the text is cut to {@link MAX_BYTES} first, and no pattern has an unbounded
 * repetition (a test reads them all).
 */
import { LRUCache } from 'lru-cache'
import { isSafeText, isSafeVersion } from './clean-text.js'
import { parseMac } from './mac.js'

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
export function parseUserAgent(source: string | Uint8Array): UserAgent {
  const text = bounded(source)
  const rule = RULES.find(({ sign }) => sign.test(text))
  const hardware = rule !== undefined && rule.software !== true
  const identified = takeIdentifiers(text, hardware)
  const found = { vendor: OTHER, model: OTHER, firmware: OTHER, mac: identified.mac, serial: identified.serial }
  // The sign must stand in what is left, too: a vendor's name inside an identifier is none.
  const sign = rule?.sign.exec(identified.rest)
  if (rule === undefined || sign === null || sign === undefined) return found
  found.vendor = rule.vendor
  let from = sign.index + sign[0].length
  if (rule.product !== undefined) found.model = rule.product
  // Written without a capital throughout: model names are found as if in capitals.
  const cased = /[A-Z]/.test(identified.rest) ? identified.rest : identified.rest.toUpperCase()
  for (const [pattern, name] of rule.models ?? []) {
    const match = pattern.exec(cased)
    if (match === null) continue
    found.model = name
      .replace('$1', match[1] ?? '')
      .replace('$2', match[2] ?? '')
      .replace('$3', match[3] ?? '')
      .trim()
      .replace(/ {2}/, ' ')
    from = match.index + match[0].length
    break
  }
  if (!isSafeText(found.model, 32)) found.model = OTHER
  const versions = rule.firmware ?? [VERSION, SUFFIXED_VERSION]
  const version =
    firstMatch(versions, identified.rest.slice(from)) ??
    firstMatch(versions, identified.rest.slice(sign.index + sign[0].length))
  if (version !== null && isSafeVersion(version)) found.firmware = version
  return found
}

/** Every pattern in use, for the test that looks for unbounded repetition. */
export function patterns(): RegExp[] {
  return [
    VERSION,
    SUFFIXED_VERSION,
    FOUR_GROUPS,
    MAC,
    LABELLED_SERIAL,
    UNLABELLED_SERIAL,
    LONG_GROUP,
    MORE_DIGITS,
    ...RULES.flatMap((rule) => [
      rule.sign,
      ...(rule.models ?? []).map(([pattern]) => pattern),
      ...(rule.firmware ?? []),
    ]),
  ]
}

/** Every vendor that the table knows. */
export function vendors(): string[] {
  return [...new Set(RULES.map(({ vendor }) => vendor))]
}

function firstMatch(patterns: readonly RegExp[], text: string): string | null {
  for (const pattern of patterns) {
    const match = pattern.exec(text)
    if (match === null) continue
    // `12.8.07700-900123`: a long group before more digits is where a number starts.
    return LONG_GROUP.test(match[1]) && MORE_DIGITS.test(text.slice(match.index + match[0].length)) ? null : match[1]
  }
  return null
}

function bounded(source: string | Uint8Array): string {
  return typeof source === 'string'
    ? source.slice(0, MAX_BYTES)
    : Buffer.from(source.buffer, source.byteOffset, Math.min(source.length, MAX_BYTES)).toString('utf8')
}

interface Identified {
  mac: string | null
  serial: string | null
  /** The text with them blanked out, so that nothing of them can reach a model or a version. */
  rest: string
}

function takeIdentifiers(text: string, hardware: boolean): Identified {
  let mac: string | null = null
  let serial: string | null = null
  let rest = text
  for (const match of text.matchAll(MAC)) {
    const written = match[1]
    // Twelve digits may as well be a phone number, whose first half must not become a "vendor part": taken for a MAC
    // address only in a phone's own text or with its label. Blanked out in any case.
    const sure =
      /[a-f:]/i.test(written) ||
      hardware ||
      /mac[=: ]{0,2}$/i.test(text.slice(Math.max(0, match.index - 5), match.index))
    // A commit's hash, as `git describe` writes it.
    const commit = /(?:~|-g|git)$/.test(text.slice(Math.max(0, match.index - 3), match.index))
    const parsed = sure && !commit ? parseMac(written) : null
    if (mac === null && parsed !== null && parsed !== '000000000000' && parsed !== 'ffffffffffff') mac = parsed
    rest = blank(rest, match.index, match.index + match[0].length)
  }
  for (const pattern of hardware ? [LABELLED_SERIAL, UNLABELLED_SERIAL] : [LABELLED_SERIAL]) {
    const match = pattern.exec(rest)
    if (match === null) continue
    const written = match[1] ?? match[2]
    if (serial === null && !/^0{1,24}$/.test(written)) serial = written
    rest = blank(rest, match.index, match.index + match[0].length)
  }
  return { mac, serial, rest }
}

function blank(text: string, start: number, end: number): string {
  return text.slice(0, start) + ' '.repeat(end - start) + text.slice(end)
}

/** A MAC address in any notation of `mac.ts` that is no part of a longer run of hex digits; its label may touch it. */
const MAC =
  /(?:(?<![0-9a-f])|(?<=mac))([0-9a-f]{12}|[0-9a-f]{2}([:._-])[0-9a-f]{2}(?:\2[0-9a-f]{2}){4}|[0-9a-f]{4}([.-])[0-9a-f]{4}\3[0-9a-f]{4}|[0-9a-f]{6}-[0-9a-f]{6})(?![0-9a-f])/gi
/** `SN/VI12345678`, `S/N: …`, `SER= …`, `serial=…`, `Serial Number …`. */
const LABELLED_SERIAL =
  /(?<![A-Za-z0-9])(?:SN|S\/N|SER|serial(?:[ _-]?(?:no|number|nr))?)\.?[ ]?[/=:#][ ]?([A-Za-z0-9-]{4,24})(?![A-Za-z0-9])/i
/**
 * A serial number on its own: letters, four digits and more capitals and digits (Cisco `CCQ1825…`, Technicolor
 * `CP1916…`), anything like it in brackets, or 13 to 16 digits (Yealink). Longer than any model's name.
 */
const UNLABELLED_SERIAL =
  /(?<![A-Za-z0-9.-])(?:(?<=\()(?=[A-Z]{0,4}\d{4})(?=([A-Z0-9]{8,16})\))|(?=([A-Z]{1,4}\d{4}[A-Z0-9]{4,10}|\d{13,16})(?![A-Za-z0-9._/-])))[A-Z0-9]{8,18}/

/**
 * A version: up to five groups, digits or one or two capitals each (`10.5.8.Y.GX`, `12.x`, `1.4.1SR1`). A digit or
 * letter next to it makes it something else, and a longer row of groups too.
 */
const VERSION =
  /(?<![0-9A-Za-z.])(?:[Vv]|sw|rv)?\.?(\d{1,3}(?:\.(?:\d{1,5}(?:(?:[A-Za-z]|SR|RC|rc)\d{0,2})?|[A-Z]{1,2}\d{0,2}|x)){1,4})(?![0-9A-Za-z]|\.[0-9A-Za-z])/

/**
 * The digits of a version whose build is written on without a separator: `3.2.2.8680EX-1144`, `8.1SP1`,
 * `11.3.1MPP0001`.
 */
const SUFFIXED_VERSION = /(?<![0-9A-Za-z.])[Vv]?(\d{1,2}(?:\.\d{1,4}){1,3})(?=[A-Z]{1,3}\d{0,4}(?![0-9A-Za-z.]))/

/** Four groups, where boards have versions of fewer in the same text. */
const FOUR_GROUPS = /(?<![0-9A-Za-z.])(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})(?![0-9A-Za-z]|\.\d)/

const LONG_GROUP = /\d{4}$/
const MORE_DIGITS = /^[ _/()-]{1,3}\d/

interface Rule {
  readonly vendor: string
  /** What makes a text this vendor's. The first row that fits wins. */
  readonly sign: RegExp
  /** Programs, not devices: what could be a name or number is taken for one. */
  readonly software?: true
  /** Model where no pattern fits, or where the text's own words are not to be trusted. */
  readonly product?: string
  /** The vendor's model names and how they are written here: `$1` and `$2` are what the pattern found. */
  readonly models?: readonly (readonly [RegExp, string])[]
  /** Where the firmware stands and how it is written; {@link VERSION} if not given. Looked for after the model. */
  readonly firmware?: readonly RegExp[]
}

/**
 * A model's name with nothing alphanumeric next to it. Without a letter of its own it must stand behind its vendor's:
 * an extension has no more digits.
 */
function model(source: string, name = '$1', flags = ''): readonly [RegExp, string] {
  return [new RegExp(`(?<![A-Za-z0-9])${source}(?![A-Za-z0-9])`, flags), name]
}

const RULES: readonly Rule[] = [
  // Scanners first: they borrow other names.
  {
    vendor: 'scanner',
    software: true,
    product: OTHER,
    firmware: [],
    sign: /friendly-scanner|sipvicious|sip-scan|sundayddr|sipsak|sipcli|\biWar\b|pplsip|\bsmap\b|SIVuS|\bsipptk\b|VaxSIPUserAgent|VaxIPUserAgent|\bnmap\b|Test Agent|\beyeBeam release 1\.0\b|\bcheck_sip\b/i,
  },

  {
    vendor: 'Poly',
    sign: /Polycom|PolyEdge|PolyCCX|Poly[ _-](?:Edge|CCX|VVX|Trio|Rove)|PolyTrio/,
    models: [
      model('VVX[ _-]?(D?\\d{3,4}x?)', 'VVX $1'),
      model('SPIP[ _-]?(\\d{3})', 'SoundPoint IP $1'),
      model('SoundPoint[ _-]?IP[ _-]?(\\d{3})', 'SoundPoint IP $1'),
      model('SSIP[ _-]?(\\d{4})', 'SoundStation IP $1'),
      model('SSDUO', 'SoundStation Duo'),
      model('Trio[ _-]?(C60|\\d{4}|Visual(?:Plus|Pro))', 'Trio $1'),
      model('Edge[ _-]?([BE]\\d{2,3})', 'Edge $1'),
      model('CCX[ _-]?(\\d{3})', 'CCX $1'),
      model('Rove[ _-]?([BR]?\\d{1,2})', 'Rove $1'),
      model('HDX (\\d{4})', 'HDX $1'),
      [/RealPresenceGroup(\d{3})(?![0-9A-Za-z])/, 'RealPresence Group $1'],
    ],
  },
  // OBi devices say Obihai or Polycom; Poly's own rule has none of their models.
  { vendor: 'Obihai', sign: /OBIHAI|\bOBi\d{3,4}/i, models: [[/OBi(\d{3,4}(?:vs|it)?)(?![A-Za-z0-9])/i, 'OBi$1']] },
  {
    vendor: 'Yealink',
    sign: /Yealink/i,
    models: [
      model('(?:SIP[-_ ]?)?(?:VP[-_]?)?(T\\d{2}[A-Z]{0,2}\\d?[A-Z]?)'),
      model(
        '(?:SIP[-_ ]?)?(W\\d{2,3}[A-Z]{0,2}|AX\\d{2}[A-Z]{0,2}|VP\\d{2,3}[A-Z]?|CP\\d{3}[A-Z]?|VC\\d{2,4}|MP\\d{2}|DD\\d{2}[A-Z]?|RT\\d{2}[A-Z]?|A\\d{2})',
      ),
    ],
    firmware: [FOUR_GROUPS],
  },
  {
    vendor: 'Grandstream',
    sign: /Grandstream/i,
    models: [
      model('(UCM\\d{4}[A-Z]?)(?:V\\d{1,2}\\.\\d{1,2}[A-Z]?)?'),
      model(
        '((?:GXP|GRP|GXV|GXW|GVC|GAC|GDS|GSC|GHP|GMD|GCC|GWN|HT|HandyTone-?|DP|WP|BT-?|GS)\\d{3,4}[A-Z]{0,2}|HandyTone-\\d{3})',
      ),
      model('(GXP|HT|BT)-(\\d{3,4})', '$1$2'),
      model('Wave', 'Wave'),
    ],
    firmware: [FOUR_GROUPS, VERSION],
  },
  // TelePresence: model numbers after the slash, and the endpoint's name where the text has it.
  {
    vendor: 'Cisco',
    sign: /TANDBERG/,
    models: [
      model('Cisco-(EX\\d{2}|SX\\d{2}|MX\\d{3}|RoomKit|DX\\d{2})'),
      model('(RoomKit)'),
      model('TANDBERG/(\\d{3,4})', 'TANDBERG $1'),
    ],
    firmware: [/\(((?:X|ce|TC|TE|F)?\d{1,2}(?:\.\d{1,2}){1,2}(?:\.\d{1,3}(?=\)))?)(?=[.)(])/],
  },
  {
    vendor: 'Cisco',
    sign: /Cisco-SIPGateway/,
    product: 'SIPGateway',
    firmware: [
      /IOS-(\d{1,2}\.(?:x|\d{1,2})(?:\.\d{1,2}[A-Za-z]{0,2}\d{0,2})?(?:\.[A-Z]{1,3}\d{0,2}[a-z]?)?)(?![0-9A-Za-z])/,
    ],
  },
  { vendor: 'Cisco', sign: /Cisco-CUCM/, product: 'CUCM', firmware: [/^(\d{1,2}\.\d{1,2})(?![0-9A-Za-z])/] },
  {
    vendor: 'Cisco',
    sign: /(?<![A-Za-z])(?:Cisco|Linksys|Sipura)(?![A-Za-z])/i,
    models: [
      model('CP-?(\\d{4}[A-Z]{0,2}\\d?(?:-3PCC|-K9)?)', 'CP-$1'),
      model('(?:ATA[ -]?)(\\d{3})(?:-MPP)?', 'ATA $1'),
      model(
        '((?:SPA|PAP|WRP|SRP|WRTP|RTP|WAG|WIP|WRT|RT|SPA-|PAP-|SPA ?)\\d{1,4}[A-Z]{0,2}\\d{0,2}[A-Z]?(?:-[A-Z]{2})?)(?:-EU|-NA)?',
      ),
      model('Cisco[ /-](\\d{4})(?=[/-])', 'CP-$1'),
    ],
  },
  {
    vendor: 'Snom',
    sign: /(?<![A-Za-z])snom/i,
    models: [[/snom[ _/-]?((?:PA|MP|M|C|D)?\d{1,3}[A-Z]{0,2}|HM\d{3})(?![A-Za-z0-9])/i, '$1']],
    // 10.1.169.16 is a version of theirs and a private address: three groups of it pass, like an address cut to /24.
    firmware: [/(?<![0-9A-Za-z.])(10\.1\.\d{1,3})\.\d{1,3}(?![0-9A-Za-z]|\.\d)/, VERSION],
  },
  {
    vendor: 'Fanvil',
    sign: /Fanvil/i,
    models: [
      model(
        '(X\\d{1,3}[A-Z]{0,3}(?:[ -](?:Pro|V2|Lite))?|[CHVWiIAYJ]\\d{1,3}[A-Z]{0,3}|PA\\d|LINKVIL-W\\d{3}[A-Z]?|FV\\d{3})',
      ),
    ],
  },
  {
    vendor: 'Gigaset',
    sign: /Gigaset|(?<![A-Za-z0-9])[ACNSE][LX]?\d{3}[A-Z]?(?:[ ]?IP(?:[ ]PRO|[ ]R|[ ]GO)?|[ ]GO)\/\d{2}\./i,
    models: [
      model(
        '([ACNSE][LX]?\\d{3}[A-Z]?(?:[ ]?IP)?(?:[ ](?:DM|R))?(?:[ ](?:PRO|GO))?|DE\\d{3}(?:[ ]IP)?[ ]PRO|Maxwell[ ]\\d|GO-Box-100)',
      ),
    ],
    firmware: [
      /(?<![0-9A-Za-z.])\d{2,3}\.V(\d{1,2}\.\d{1,3}\.\d{1,3})(?![0-9A-Za-z]|\.\d)/,
      /(?<![0-9A-Za-z.])(\d{2,3}\.\d{1,3})(?:\.\d{1,3}){0,3}(?![0-9A-Za-z])/,
      VERSION,
    ],
  },
  {
    vendor: 'AVM',
    sign: /(?<![A-Za-z])AVM(?![A-Za-z])|FRITZ!/,
    models: [
      [
        /(FRITZ!(?:Box|Fon|App|Powerline|Repeater)(?:[ ](?:Fon|WLAN|SL|Cable|ATA)){0,2})(?:[ ]([A-Z]?\d{4}[A-Z]{0,2}|[CM]\d{1,2}|Fon))?(?:[ ](AX|Cable|Fiber|LTE|5G))?(?![0-9A-Za-z])/,
        '$1 $2 $3',
      ],
      model('(Multibox[ ]\\d{4}(?:[ ]NGN)?)'),
    ],
    // From 200 on, the board's number in front could begin a subscriber number of seven digits: FRITZ!OS' own number is
    // what follows.
    firmware: [/(?<![0-9A-Za-z.])2\d{2}\.(\d{2}\.\d{2})(?![0-9A-Za-z]|\.\d)/, VERSION],
  },
  {
    vendor: 'Mitel',
    sign: /(?<![A-Za-z])(?:Mitel|Aastra)/i,
    models: [
      model('(Border[ ]GW)'),
      model('(?:Aastra|Mitel)[ _/-]?(?:MiVoice[ ])?((?:\\d{4}|\\d{2})(?:i|ip|w)?(?:[ ]?CT)?)'),
      model('(RFP[ ]?\\d{2}|OMM|MiVoice[ ]Business|MiVoice[ ]Office)'),
    ],
  },
  {
    vendor: 'Panasonic',
    sign: /Panasonic|(?<![A-Za-z])KX-/i,
    models: [model('(KX-(?:UT|HDV|TGP|HTS|NS|NSX|TDE|NCP|NT|HGT|TPA)X?\\d{2,4}[A-Z]{0,2}\\d{0,2})')],
  },
  {
    vendor: 'AudioCodes',
    sign: /Audiocodes|AUDC|(?<![A-Za-z])MP-1(?:12|14|18|24)(?![0-9])|(?<![A-Za-z])Mediant/i,
    models: [model('(MP-?\\d{3,4}|M(?:ediant)?[ -]?\\d{3,4}[A-Z]?|\\d{3}HD|C\\d{3}HD|RX\\d{2})(?:E)?')],
    firmware: [/(?<![0-9A-Za-z.])v?\.?(\d{1,2}\.\d{1,3}[A-Z]?(?:\.\d{1,4}){1,3})(?![0-9A-Za-z]|\.\d)/],
  },
  {
    vendor: 'Avaya',
    sign: /(?<![A-Za-z])Avaya/i,
    models: [
      model('(J\\d{3})'),
      model('(K\\d{3}|B\\d{3}|E\\d{3}|L\\d{3}|H\\d{3})'),
      model('Avaya[ ]((?:1|9)\\d{3}[A-Z]{0,2})'),
      model('one-X[ ]Deskphone', 'one-X Deskphone'),
      model('one-X[ ]Communicator', 'one-X Communicator'),
      model('SM', 'Session Manager'),
      model('CM', 'Communication Manager'),
      model('Workplace|Equinox', 'Workplace'),
      model('IP[ ]Office', 'IP Office'),
    ],
  },
  { vendor: 'Htek', sign: /(?<![A-Za-z])(?:Htek|Hanlong)/i, models: [model('(UC\\d{3}[A-Z]{0,2}|UCV\\d{2})')] },
  {
    vendor: 'VTech',
    sign: /(?<![A-Za-z])VTech|ErisTerminal/i,
    models: [model('(VSP\\d{3}[A-Z]?|VCS\\d{3}[A-Z]?|ET\\d{3}|CTM-S?\\d{3,4}[A-Z]?)')],
  },
  {
    vendor: 'Patton',
    sign: /(?<![A-Za-z])(?:Patton|SmartNode)/i,
    models: [model('(SN-?(?:DTA|\\d{3,5}[A-Z]?))')],
    firmware: [/(?<![0-9A-Za-z])(R\d{1,2}\.(?:[A-Z]|\d{1,2})(?:\.\d{1,3})?)(?![0-9A-Za-z]|\.\d)/, VERSION],
  },
  {
    vendor: 'Technicolor',
    sign: /Technicolor|(?<![A-Za-z])Thomson|MediaAccess|SpeedTouch/i,
    models: [
      model('((?:TG|DGA|DWA|CGA|ST)\\d{3,4}[a-z]{0,4})'),
      model('(VANT-[A-Z0-9]|DANT-[A-Z0-9])'),
      model('SpeedTouch[ ](\\d{3})', 'SpeedTouch $1'),
    ],
  },
  {
    vendor: 'Eltex',
    sign: /(?<![A-Za-z])(?:Eltex|smg_pa_sip|TAU-\d|RG-\d{4})/,
    models: [
      model('(TAU-\\d{1,2}M?(?:\\.IP)?|RG-\\d{4}[A-Z]{0,2}|ESR-\\d{2,4}[A-Z]{0,2}|SMG-\\d{3,4}[A-Z]?|VP-\\d{2}[A-Z]?)'),
      model('(smg)_pa_sip', 'SMG'),
    ],
    firmware: [/(?<![0-9A-Za-z.])(\d{1,2}(?:\.\d{1,3}){1,3})(?![0-9A-Za-z]|\.\d)/],
  },
  { vendor: 'Axis', sign: /(?<![A-Za-z])AXIS(?![A-Za-z])/, models: [model('([AICMPQV]\\d{4}(?:-[A-Z]{1,3})?)')] },
  {
    vendor: 'Huawei',
    sign: /(?<![A-Za-z])Huawei/i,
    models: [model('(SoftX\\d{4}|HomeGateway|eSpace[ ]\\d{4}|H[GS]\\d{3,4}[a-z]?)')],
    firmware: [/(?<![0-9A-Za-z])(V\d{3}R\d{3}(?:C\d{2})?)(?![0-9A-Za-z])/],
  },
  {
    vendor: 'ZTE',
    sign: /(?<![A-Za-z])(?:ZTE|ZXDSL|ZXHN|ZXV10|F6\d{2}\/V)/,
    models: [model('(?:ZXDSL|ZXHN|ZXV10)[ ]([FH]\\d{3}[A-Z]?|\\d{3}[A-Z]{0,3})'), model('(F6\\d{2}[A-Z]?)')],
    firmware: [/V(\d{1,2}\.\d{1,2}\.\d{1,3}(?:[A-Z]\d{1,2}){0,3}[A-Z]?)(?:\.[A-Z]{4}\d{2})?(?![0-9A-Za-z]|\.\d)/],
  },
  { vendor: 'Tilgin', sign: /(?<![A-Za-z])Tilgin/, models: [[/Vood (HG\d{3,4}x?|\d{3}W)(?![A-Za-z0-9])/, '$1']] },
  { vendor: 'RTX', sign: /(?<![A-Za-z])IPDECT(?![A-Za-z])/, product: 'IPDECT' },
  {
    vendor: 'ShoreTel',
    sign: /ShoreGear|ShoreTel|ShorePhone/i,
    models: [model('ShoreGear', 'ShoreGear'), model('(IP\\d{3}[a-z]?)')],
  },
  {
    vendor: 'Fortinet',
    sign: /FortiVoice|FortiFone/,
    models: [
      model('FortiVoice-(\\d{2,4}[A-Z]{1,2}\\d?)', 'FortiVoice $1'),
      model('FortiFone-(\\d{3}[a-z]?)', 'FortiFone $1'),
      model('FortiVoice', 'FortiVoice'),
    ],
  },
  { vendor: 'Valcom', sign: /(?<![A-Za-z])Valcom/, models: [model('(VIP-\\d{3,4}[A-Z]?)')] },
  {
    vendor: 'NEC',
    sign: /(?<![A-Za-z])NEC(?:-i)?(?![A-Za-z])/,
    models: [model('(Aspire[ ](?:UX|X|WX)|S[LV]\\d{4}(?:-[A-Z]{2})?|DT\\d{3}|ITX?-\\d{4}[A-Z]?)')],
  },
  {
    vendor: 'Unify',
    sign: /OpenStage|OpenScape|Desk_?Phone_IP|Desk Phone IP|(?<![A-Za-z])Unify/,
    models: [
      model('OpenStage_(\\d{2})', 'OpenStage $1'),
      model('(CP\\d{3})'),
      model('OpenScape[ _](?:Business|4000|Voice)', 'OpenScape'),
    ],
    firmware: [/(?<![0-9A-Za-z])(V\d R\d{1,2}\.\d{1,2}\.\d{1,2})(?![0-9A-Za-z])/, VERSION],
  },
  { vendor: 'Wildix', sign: /(?<![A-Za-z])Wildix/, models: [model('GW', 'GW'), model('(WP\\d{3}[A-Z]?|W-AIR)')] },
  { vendor: 'Algo', sign: /(?<![A-Za-z])Algo-\d{4}/, models: [[/Algo-(\d{4})(?![0-9A-Za-z])/, '$1']] },
  { vendor: 'Ingate', sign: /SIParator|(?<![A-Za-z])Ingate/, product: 'SIParator' },
  {
    vendor: 'Sangoma',
    sign: /(?<![A-Za-z])Sangoma|(?<![A-Za-z])Vega[ -]?\d/,
    models: [model('([SP]\\d{3}|Vega[ -]?\\d{2,4}[A-Z]?)')],
  },
  {
    vendor: 'Digium',
    sign: /(?<![A-Za-z])Digium/,
    models: [model('([AD]\\d{2})')],
    firmware: [/(?<![0-9A-Za-z_])(\d{1,2}(?:_\d{1,2}){1,3})(?![0-9A-Za-z_])/],
  },
  { vendor: 'Akuvox', sign: /(?<![A-Za-z])Akuvox/i, models: [model('([CERXS]\\d{2,3}[A-Z]?)')] },
  {
    vendor: '2N',
    sign: /(?<![A-Za-z0-9])2N[ _-]/,
    models: [model('IP[ ](Verso|Base|Style|Force|Solo|Vario|Uni)', 'IP $1'), model('Helios', 'Helios')],
  },
  {
    vendor: 'innovaphone',
    sign: /innovaphone/i,
    models: [model('(IP\\d{2,4}[A-Z]?)')],
    firmware: [/(?<![0-9A-Za-z])(\d{1,2}r\d{1,2}(?:sr\d{1,3})?)(?![0-9A-Za-z])/],
  },
  { vendor: 'Spectralink', sign: /Spectralink/i, models: [model('Spectralink[ -](?:IP-DECT[ ]Server[ ])?(\\d{2,4})')] },
  {
    vendor: 'Alcatel-Lucent',
    sign: /(?<![A-Za-z])Alcatel|(?<![A-Za-z])OmniPCX/,
    models: [
      model('Alcatel(?:-Lucent)?[ _/-](8\\d{3}|M\\d{1,2}|H\\d[A-Z]?)'),
      model('OXE', 'OXE'),
      model('OmniPCX', 'OmniPCX'),
    ],
  },
  {
    vendor: 'Dinstar',
    sign: /(?<![A-Za-z])Dinstar/i,
    models: [model('(DAG\\d{4}[A-Z0-9]{0,4}|MTG\\d{3,4}|UC\\d{3,4}|C\\d{2}[A-Z]{0,2})')],
  },
  { vendor: 'Ooma', sign: /(?<![A-Za-z])Ooma/i, models: [model('(Telo|Office|Butterfleye)(?:2)?')] },
  {
    vendor: 'D-Link',
    sign: /(?<![A-Za-z])D-?Link(?![A-Za-z])/i,
    models: [model('(DVG-\\d{4}[A-Z]{0,2}|DPH-\\d{3}[A-Z]{0,2}|DVA-\\d{4})')],
  },
  { vendor: 'EnGenius', sign: /EnGenius_Router/, product: 'Router' },
  {
    vendor: 'TP-Link',
    sign: /(?<![A-Za-z])TP-?Link/i,
    models: [model('(VR\\d{3,4}[a-z]{0,2}|Archer[ ][A-Z]{1,2}\\d{2,4}[a-z]?)')],
  },
  { vendor: 'Zyxel', sign: /(?<![A-Za-z])Zyxel/i, models: [model('([VP]MG\\d{4}|P-?\\d{3,4}[A-Z]{0,2})')] },
  { vendor: 'Sagemcom', sign: /Sagemcom/i, models: [model('(F@ST[ ]?\\d{4})', 'FAST')] },
  { vendor: 'M5T', sign: /(?<![A-Za-z])M5T(?![A-Za-z])/, product: 'SIP-UA SAFE' },

  // Programs. Whatever else the text says (the owner's, the computer's, the handset's name) stays out.
  {
    vendor: 'Zoiper',
    software: true,
    sign: /Zoiper|(?:^|[ ])Z[ ]\d\.\d/i,
    product: 'Zoiper',
    firmware: [/(?<![0-9A-Za-z.])(?:r?v)?(\d{1,2}(?:\.\d{1,3}){1,3})(?![0-9A-Za-z]|\.\d)/],
  },
  {
    vendor: 'Linphone',
    software: true,
    sign: /Linphone|belle-sip/i,
    product: 'Linphone',
    models: [
      [/Linphone[ -]?Android/i, 'Linphone Android'],
      [/Linphone[ -]?(?:iPhone|iOS)/i, 'Linphone iOS'],
      [/Linphone[ -]?Desktop/i, 'Linphone Desktop'],
    ],
    firmware: [/^\/(\d{1,2}(?:\.\d{1,3}){1,3})(?![0-9A-Za-z]|\.\d)/],
  },
  {
    vendor: 'CounterPath',
    software: true,
    sign: /(?<![A-Za-z])(?:Bria|X-?Lite|eyeBeam|CounterPath)(?![a-z])/i,
    product: 'Bria',
    models: [
      [/X-?Lite/i, 'X-Lite'],
      [/eyeBeam/i, 'eyeBeam'],
      [/Bria[ ](?:(?:Mobile|Teams|Solo|Enterprise)[ ])?(?:iOS|iPhone|iPad)/i, 'Bria iOS'],
      [/Bria[ ](?:(?:Mobile|Teams|Solo|Enterprise)[ ])?Android/i, 'Bria Android'],
    ],
  },
  { vendor: 'MicroSIP', software: true, sign: /MicroSIP/i, product: 'MicroSIP' },
  {
    vendor: '3CX',
    software: true,
    sign: /(?<![A-Za-z0-9])3CX/i,
    product: '3CX',
    models: [
      [/3CXPhoneSystem|3CX[ ]Phone[ ]System/, 'Phone System'],
      [/3CXPhone|3CX[ ]?(?:Mobile|Windows|Mac)?[ ]?Client/, '3CXPhone'],
    ],
  },
  {
    vendor: 'Acrobits',
    software: true,
    sign: /Acrobits|Groundwire|Cloud Softphone/i,
    product: 'Acrobits',
    models: [
      [/Groundwire/i, 'Groundwire'],
      [/Acrobits[ ]Softphone/i, 'Acrobits Softphone'],
      [/Cloud[ ]Softphone/i, 'Cloud Softphone'],
    ],
    firmware: [/^\/(\d{1,2}(?:\.\d{1,3}){1,3})(?![0-9A-Za-z]|\.\d)/],
  },
  {
    vendor: 'Jitsi',
    software: true,
    sign: /(?<![A-Za-z])Jitsi/,
    product: 'Jitsi',
    firmware: [/^(\d{1,2}(?:\.\d{1,4}){1,2})(?![0-9.])/],
  },
  { vendor: 'PortSIP', software: true, sign: /(?<![A-Za-z])PortSIP/i, product: 'PortSIP' },
  { vendor: 'Telephone', software: true, sign: /^Telephone(?=[ ]\d\.)/, product: 'Telephone' },
  { vendor: 'Microsoft', software: true, sign: /^Microsoft\.PSTNHub/, product: 'Teams', firmware: [] },
  { vendor: 'Ribbon', software: true, sign: /(?<![A-Za-z])(?:Sonus|Ribbon)[ _-]/, product: OTHER, firmware: [] },
  {
    vendor: 'Mizu',
    software: true,
    sign: /(?<![A-Za-z])Mizu(?:Phone|Droid|-?WebPhone|[ ]softphone)/i,
    product: 'Mizu',
  },
  { vendor: 'SessionTalk', software: true, sign: /(?<![A-Za-z])SessionTalk/i, product: 'SessionTalk' },
  { vendor: 'Ringotel', software: true, sign: /(?<![A-Za-z])Ringotel/i, product: 'Ringotel' },
  { vendor: 'Twinkle', software: true, sign: /^Twinkle\//, product: 'Twinkle' },
  { vendor: 'Jami', software: true, sign: /^(?:Jami|SFLphone|Ring)(?=[ /]\d)/, product: 'Jami' },
  { vendor: 'Yate', software: true, sign: /^YATE\//i, product: 'Yate' },
  { vendor: 'Ekiga', software: true, sign: /(?<![A-Za-z])Ekiga/, product: 'Ekiga' },
  {
    vendor: 'PhonerLite',
    software: true,
    sign: /PhonerLite|SIPPER for PhonerLite|(?<![A-Za-z])Phoner(?![A-Za-z])/,
    product: 'PhonerLite',
  },
  {
    vendor: 'CSipSimple',
    software: true,
    sign: /CSipSimple/i,
    product: 'CSipSimple',
    firmware: [/\/(r\d{3,5})(?![0-9A-Za-z])/],
  },
  { vendor: 'AG Projects', software: true, sign: /(?<![A-Za-z])Blink(?![A-Za-z])/, product: 'Blink' },
  {
    vendor: 'Grandstream',
    software: true,
    sign: /GS Wave|(?<![A-Za-z])Wave[ ](?:Desktop|Android|iOS)/,
    product: 'Wave',
  },
  { vendor: 'baresip', software: true, sign: /(?<![A-Za-z])baresip(?![A-Za-z])/i, product: 'baresip' },
  { vendor: 'SIPp', software: true, sign: /(?<![A-Za-z])SIPp(?![A-Za-z])/, product: 'SIPp' },
  { vendor: 'JsSIP', software: true, sign: /(?<![A-Za-z])JsSIP/, product: 'JsSIP' },
  { vendor: 'SIP.js', software: true, sign: /(?<![A-Za-z])SIP\.js/, product: 'SIP.js' },
  { vendor: 'PJSIP', software: true, sign: /(?<![A-Za-z])(?:PJSUA|PJSIP|pjsip|pjproject)/i, product: 'PJSIP' },
  { vendor: 'Twilio', software: true, sign: /(?<![A-Za-z])Twilio/i, product: 'Twilio' },
  { vendor: 'Telnyx', software: true, sign: /(?<![A-Za-z])Telnyx/i, product: 'Telnyx' },
  { vendor: 'FreePBX', software: true, sign: /(?<![A-Za-z])(?:FPBX|FreePBX)/, product: 'FreePBX' },
  {
    vendor: 'Asterisk',
    software: true,
    sign: /(?<![A-Za-z])Asterisk/i,
    product: 'Asterisk PBX',
    firmware: [
      /^(?:[ ]PBX)?[ /](?:certified[ /-])?(\d{1,2}(?:\.\d{1,3}){1,3}(?:-cert\d{1,2}|-rc\d{1,2})?)(?![0-9A-Za-z]|\.\d)/,
    ],
  },
  { vendor: 'FreeSWITCH', software: true, sign: /FreeSWITCH/i, product: 'FreeSWITCH' },
  { vendor: 'Kamailio', software: true, sign: /(?<![A-Za-z])kamailio/i, product: 'Kamailio' },
  { vendor: 'OpenSIPS', software: true, sign: /(?<![A-Za-z])OpenSIPS/i, product: 'OpenSIPS' },
  { vendor: 'OpenSER', software: true, sign: /(?<![A-Za-z])(?:OpenSER|Sip EXpress router)/i, product: 'OpenSER' },
  {
    vendor: 'CommuniGate',
    software: true,
    sign: /CommuniGatePro/,
    product: 'CommuniGate Pro',
    firmware: [/^\/(\d{1,2}\.\d{1,2}(?:c\d{1,2}[a-z]?)?)(?![0-9A-Za-z])/],
  },
  { vendor: 'drachtio', software: true, sign: /(?<![A-Za-z])drachtio/i, product: 'drachtio' },
  { vendor: 'sofia-sip', software: true, sign: /(?<![A-Za-z])sofia-sip/i, product: 'sofia-sip' },
]

const cache = new LRUCache<string, UserAgent>({ max: 8192 })
