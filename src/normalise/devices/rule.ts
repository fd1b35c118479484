/** How a vendor's User-Agents are told and read: the shape of the rows in `hardware.ts` and `software.ts`. */

/**
 * A version: up to five groups, digits or one or two capitals each (`10.5.8.Y.GX`, `12.x`, `1.4.1SR1`). A digit or
 * letter next to it makes it something else, and a longer row of groups too.
 */
export const VERSION = new RegExp(
  '(?<![0-9A-Za-z.])(?:[Vv]|sw|rv)?\\.?' +
    '(\\d{1,3}(?:\\.(?:\\d{1,5}(?:(?:[A-Za-z]|SR|RC|rc)\\d{0,2})?|[A-Z]{1,2}\\d{0,2}|x)){1,4})' +
    '(?![0-9A-Za-z]|\\.[0-9A-Za-z])',
)

/**
 * The digits of a version whose build is written on without a separator: `3.2.2.8680EX-1144`, `8.1SP1`,
 * `11.3.1MPP0001`, `12.0.2b0290`.
 */
export const SUFFIXED_VERSION =
  /(?<![0-9A-Za-z.])[Vv]?(\d{1,2}(?:\.\d{1,4}){1,3})(?=(?:_[a-z]{2}|[A-Za-z]{1,3})[0-9-]{0,5}(?![0-9A-Za-z.]))/

/** Four groups, where boards have versions of fewer in the same text. */
export const FOUR_GROUPS = /(?<![0-9A-Za-z.])(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})(?![0-9A-Za-z]|\.\d)/

export interface Rule {
  readonly vendor: string
  /** What makes a text this vendor's. The first row that fits wins. */
  readonly sign: RegExp
  /** Programs, not devices: what could be a name or number is taken for one. */
  readonly software?: true
  /** Model where the vendor's table has none that stands in the text. */
  readonly product?: string
  /** Names of programs and how they are told, where a vendor has more than one. */
  readonly products?: readonly (readonly [RegExp, string])[]
  /** Where the firmware stands and how it is written; {@link VERSION} if not given. Looked for after the model. */
  readonly firmware?: readonly RegExp[]
}
