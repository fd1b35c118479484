/**
 * Texts that differ in some digits: made once, then only the digits are written. A load generator shares the machine
 * with what it measures.
 */

const MARK = /\{\{(\w+):(\d+)\}\}/g

interface Place {
  readonly at: number
  readonly width: number
}

/** A text with places for whole numbers: `{{name:width}}`, filled up with zeros; of a longer number the last digits. */
export class Template {
  /** The text with zeros in its places. */
  readonly bytes: Buffer
  readonly #places: readonly (readonly Place[])[]

  /** @param names of the numbers, in the order in which {@link write} gets them */
  constructor(text: string | Buffer, names: readonly string[]) {
    const latin = Buffer.from(text as string).toString('latin1')
    const places = names.map((): Place[] => [])
    let moved = 0
    const filled = latin.replace(MARK, (mark, name: string, width: string, at: number) => {
      const index = names.indexOf(name)
      if (index < 0) throw new Error(`no number is called ${name}`)
      places[index].push({ at: at - moved, width: Number(width) })
      moved += mark.length - Number(width)
      return '0'.repeat(Number(width))
    })
    this.#places = places
    this.bytes = Buffer.from(filled, 'latin1')
  }

  /** A copy of its own to write on again and again, if nobody reads it meanwhile. */
  copy(): Buffer {
    return Buffer.from(this.bytes)
  }

  /** Writes numbers to their places in a copy that begins at `at`. */
  write(into: Buffer, at: number, values: readonly number[]): void {
    for (let v = 0; v < values.length; v++) {
      for (const place of this.#places[v]) {
        let rest = values[v]
        for (let i = at + place.at + place.width - 1; i >= at + place.at; i--) {
          into[i] = 0x30 + (rest % 10)
          rest = Math.floor(rest / 10)
        }
      }
    }
  }

  /** Writes a copy to `at`. @returns where it ends */
  append(into: Buffer, at: number, values: readonly number[]): number {
    this.bytes.copy(into, at)
    this.write(into, at, values)
    return at + this.bytes.length
  }
}

/** How many digits a number may have that names a call. */
export const ID_DIGITS = 9
