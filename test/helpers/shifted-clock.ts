/**
 * A wrong clock for a program that a test starts: `Date` tells a time that is off by what a file says, in ms, read
 * again at each change. Nothing else of the program knows of it, and the machine's clock stays as it is.
 */
import { writeFileSync } from 'node:fs'

const SOURCE = (path: string): string => `
import { statSync, readFileSync } from 'node:fs'
const Real = Date
let at = 0, by = 0, lookedAt = 0
const shift = () => {
  const now = performance.now()
  if (now - lookedAt > 20) {
    lookedAt = now
    try {
      const { mtimeMs } = statSync(${JSON.stringify(path)})
      if (mtimeMs !== at) { by = Number(readFileSync(${JSON.stringify(path)}, 'utf8')); at = mtimeMs }
    } catch { by = 0 }
  }
  return by
}
globalThis.Date = class Date extends Real {
  constructor(...args) { if (args.length === 0) super(Real.now() + shift()); else super(...args) }
  static now() { return Real.now() + shift() }
}
`

/** What a program's environment needs, so that its clock is off by what {@link setClock} wrote to the file. */
export function shiftedClock(path: string): Record<string, string> {
  return { NODE_OPTIONS: `--import=data:text/javascript;base64,${Buffer.from(SOURCE(path)).toString('base64')}` }
}

export function setClock(path: string, byMs: number): void {
  writeFileSync(path, String(byMs))
}
