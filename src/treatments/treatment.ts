/**
 * Treatments: what may be done to a field before a purpose sees it. One file each; all work on normalised values, write bytes into
 * the output and allocate nothing per record. `examples` of each are run by `test/treatments/examples.test.ts` and printed by the docs.
 */
export interface TreatmentInfo {
  readonly kind: string
  /** What somebody who reads the topic learns. */
  readonly reveals: string
  /** Whether the holder of the purpose's key can get the value back. */
  readonly reversible: boolean
  readonly examples: readonly { readonly input: string; readonly parameters?: string; readonly output: string }[]
}

/** Writes ASCII text. Returns the position after it. */
export function writeAscii(text: string, out: Uint8Array, pos: number): number {
  for (let i = 0; i < text.length; i++) out[pos++] = text.charCodeAt(i)
  return pos
}

/** Writes a whole number in decimal. Returns the position after it. */
export function writeDecimal(value: number, out: Uint8Array, pos: number): number {
  if (value < 10) {
    out[pos] = 48 + value
    return pos + 1
  }
  let digits = 1
  for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) digits++
  const end = pos + digits
  let rest = value
  for (let i = end - 1; i >= pos; i--) {
    const tens = Math.floor(rest / 10)
    // The difference first: 48 + rest would leave the exact numbers near 2^53.
    out[i] = 48 + (rest - tens * 10)
    rest = tens
  }
  return end
}
