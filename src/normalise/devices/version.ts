/**
 * What a firmware's version looks like: a grammar, since versions cannot be listed. It is cut so that no version can
 * carry a phone number, a MAC or IP address, a serial number or a name, whoever writes it and however he splits it.
 *
 * - Two to five groups of digits, joined by one and the same separator; letters only as a closed word at its end
 *   (`-rc1`, `SR2`, `-beta`) or one letter right behind the last group.
 * - Of a vendor that nobody named: six digits in all, and no four groups that could be an IPv4 address. A number has
 *   seven digits or more, an address four groups.
 * - Of a vendor that is known: nine digits in all, in shapes that no E.164 or national number of ten digits or more can
 *   be written in.
 * - Four groups up to 255 are an address, whosever device it is, unless its vendor numbers its firmware so: a line of
 *   that vendor's own in {@link LINES}. So is what goes beyond the grammar (Gigaset's `42.259.00.000.000`).
 *
 * What stays possible: a local number of seven to nine digits written exactly as the version that its vendor writes,
 * half a MAC address (six digits without a letter), and an address that lies within a line of its vendor's. No grammar
 * tells these from versions.
 */

/**
 * How a vendor numbers its firmware where the common grammar does not hold; each is the whole version. A vendor without
 * a line has no version of four groups up to 255. No line but Snom's has room for a private or link-local address.
 */
const LINES: Readonly<Record<string, readonly RegExp[]>> = {
  // Since 2017 all of their desk phones have a version that is a private address by its shape.
  Snom: [
    /^10\.1\.(?:[2-9]\d|1\d{2}|2[0-2]\d)\.[1-3]?\d$/,
    /^[678]\.\d\.\d{1,2}\.\d{1,3}(?:\.\d{1,2})?$/,
    /^8[0-9]{2}_[0-9]{2}$/,
  ],
  // The product's number, then the release: 60 and up. No product has the number of a network that nobody routes.
  Yealink: [/^(?!(?:0|10|100|127)\.)(?:\d|[1-9]\d|1\d{2})\.(?:6[0-3]|7[0-3]|8\d)\.(?:0\.\d{1,3}|\d{1,3}\.\d{1,2})$/],
  Akuvox: [/^(?!(?:0\d|10|127|172)\.)\d{2,3}\.30\.(?:\d|1\d)\.\d{1,3}$/],
  // Those of the phones end in a build of four digits and are none; it is video systems that have a short one.
  Poly: [/^[2-6]\.[0-6]\.\d\.\d{1,2}$/],
  Obihai: [/^[1-6]\.\d\.\d\.\d{1,2}$/],
  Grandstream: [/^1\.0\.(?:1?\d\.\d{1,3}|[2-6]\d\.\d{1,2})$/, /^1\.[12]\.[0-6]\.\d{1,2}$/, /^0\.0\.1\.\d{1,2}$/],
  Fanvil: [/^(?:1\.\d|2\.(?:\d|1\d))\.[1-6]?\d\.\d{1,3}$/],
  Avaya: [/^(?:[1-9]|1[12])\.[0-3]\.\d{1,2}\.\d{1,2}(?:\.\d{1,2})?$/],
  Htek: [/^[23]\.0\.\d\.\d{1,2}(?:\.\d{1,2})?$/],
  VTech: [/^[12]\.\d\.\d\.\d{1,2}$/],
  Eltex: [/^[1-3]\.[1-3]?\d\.\d\.\d{1,3}$/],
  Axis: [/^[1-9]\.\d{2}\.\d\.\d{1,2}$/],
  Sangoma: [/^[1-4]\.\d\.\d{1,2}\.\d{1,3}$/],
  Wildix: [/^[1-6]\.\d\.\d{1,2}\.\d{1,2}$/],
  'bintec elmeg': [/^1\.0\.\d{1,2}\.\d{1,3}$/],
  M5T: [/^[1-5]\.\d\.\d\.\d{1,2}$/],
  Zoiper: [/^(?:2\.1?\d|[35]\.\d)\.\d{1,2}\.\d{1,2}$/],
  '3CX': [/^(?:[5-9]|1[1-9]|20)\.[05]\.\d{1,2}\.\d{1,3}$/],
  FreePBX: [/^(?:2\.(?:\d|1[01])|1[2-7]\.0)\.\d{1,2}\.\d{1,2}$/],
  IceWarp: [/^1[1-4]\.\d\.\d\.\d{1,2}$/],
  Yeastar: [/^(?:30|37|40|60|65|68|73|75|76|80|81|83|84|85|90|91|92)\.\d{1,2}\.\d\.\d{1,3}$/],
  // The board, the release, and zeros.
  Gigaset: [/^(?!10\.)\d{2}\.\d{2,3}(?:\.0{2,3}){1,3}$/],
  // The board's number, then FRITZ!OS' own.
  AVM: [/^(?:\d{2}|[12]\d{2})\.0\d\.\d{2}$/],
  Panasonic: [/^\d{2,3}\.\d{2,3}$/, /^00\d\.\d{5}$/],
  Mitel: [/^(?:[2-7]\.[0-6]\.[0-3]|8\.0\.\d{1,2})\.\d{1,3}$/, /^0\d\.0\d\.\d{2}\.\d{2}$/],
  Dinstar: [/^02\.\d{2}\.\d{2}\.\d{2}$/],
  ShoreTel: [/^\d{2}\.\d{2}\.\d{4}\.\d$/],
  RTX: [/^0\d\.\d{2}\.00\d{2}$/],
  AudioCodes: [/^[23]\.\d\.\d{1,2}\.\d{1,3}$/, /^[67]\.\d{2}[A-Z]\.\d{3}(?:\.\d{1,3})?$/],
  Unify: [/^V\d R\d{1,2}\.\d{1,2}\.\d{1,2}$/],
  '2N': [/^2\.\d{1,2}\.\d\.\d{1,2}\.\d{1,2}$/],
  Huawei: [/^V\d{3}R\d{3}(?:C\d{2})?$/],
  Technicolor: [
    /^\d{1,2}\.\d{1,2}\.(?:\d{1,2}|[A-Z])(?:\.[A-Z]{1,2}){1,2}$/,
    /^\d{1,2}\.\d{1,2}\.[A-Z]{1,2}(?:\.[A-Z]{1,2})?$/,
  ],
  Digium: [/^\d(?:_\d{1,2}){1,3}$/],
  innovaphone: [/^\d{1,2}r\d{1,2}(?:sr\d{1,3})?$/],
  Patton: [/^R\d{1,2}\.(?:[A-Z]|\d{1,2})(?:\.\d{1,3})?$/],
  Cisco: [
    /^[1-9]\.\d\.\d\.\d{1,2}$/,
    /^\d{1,2}\.(?:x|\d{1,2}(?:\.\d{1,2})?\.[A-Z]{1,2}\d{0,2}[a-z]?)$/,
    /^(?:TC|TE|X|F|ce)\d{1,2}(?:\.\d{1,2}){1,2}(?:\.\d{1,3})?$/,
  ],
  ZTE: [/^\d{1,2}\.\d{1,2}\.\d{1,3}(?:[A-Z]\d{1,2}){1,3}$/],
  Asterisk: [/^1\.[2468]\.\d{1,2}\.\d{1,2}$/, /^\d{1,2}\.\d{1,2}-cert\d{1,2}$/],
  CommuniGate: [/^\d\.\d{1,2}c\d{1,2}[a-z]?$/],
  CSipSimple: [/^r\d{3,5}$/],
}

/** Public resolvers' addresses, which people do put into fields: they look like low versions, and are known by heart. */
const RESOLVERS: ReadonlySet<string> = new Set(
  (
    '1.0.0.1 1.0.0.2 1.0.0.3 1.1.1.1 1.1.1.2 1.1.1.3 4.2.2.1 4.2.2.2 4.2.2.3 4.2.2.4 4.2.2.5 4.2.2.6 ' +
    '8.8.4.4 8.8.8.8 9.9.9.9 9.9.9.10 9.9.9.11'
  ).split(' '),
)

/** Groups of digits, and a closed word behind them. */
const COMMON =
  /^(\d{1,5}(?:\.\d{1,5}){1,4})(?:[a-z]|[A-Z]|(?:[ +~-]?(?:alpha|beta|rc|RC|SR|SP|cert|dev|release|stable|mod|build)[.-]?\d{0,3}))?$/

const DIGITS_OF_NOBODY = 6
const DIGITS_OF_A_VENDOR = 9

/**
 * Whether a whole text is a version.
 * @param vendor whose; null where nobody says
 */
export function isVersion(text: string, vendor: string | null): boolean {
  if (text.length > 32) return false
  const lines = vendor === null ? [] : (LINES[vendor] ?? [])
  const bare = text.replace(/^[vV]\.?(?=\d)/, '')
  if (RESOLVERS.has(bare)) return false
  if (lines.some((line) => line.test(text) || line.test(bare))) return true
  const core = COMMON.exec(bare)
  if (core === null) return false
  const groups = core[1].split('.')
  const digits = text.replace(/\D/g, '').length
  if (RESOLVERS.has(core[1])) return false
  if (holdsAddress(groups) && !lines.some((line) => line.test(core[1]))) return false
  if (digits <= DIGITS_OF_NOBODY) return groups.every((group) => group.length <= 4)
  return vendor !== null && digits <= DIGITS_OF_A_VENDOR && isLongVersion(groups)
}

/**
 * Seven to nine digits: three groups or more, the first two of one or two digits, and at most one of three or more.
 * Numbers are written with longer groups up front, with more than one of them, or in pairs.
 */
function isLongVersion(groups: readonly string[]): boolean {
  const long = groups.filter((group) => group.length > 2).length
  return groups.length >= 3 && groups[0].length <= 2 && groups[1].length <= 2 && long <= 1 && !areFourPairs(groups)
}

/** `20.12.34.56`, as numbers of eight digits are written. */
function areFourPairs(groups: readonly string[]): boolean {
  return groups.length === 4 && groups.every((group) => group.length === 2)
}

/** Four groups in a row that could be an IPv4 address. */
function holdsAddress(groups: readonly string[]): boolean {
  const octets = groups.map((group) => group.length <= 3 && Number(group) <= 255)
  return octets.some((_, at) => at + 4 <= octets.length && octets.slice(at, at + 4).every(Boolean))
}
