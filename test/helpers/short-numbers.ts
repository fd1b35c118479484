/**
 * Emergency numbers and free three-digit numbers of all countries, out of google-libphonenumber's metadata of short
 * numbers: `node dist/test/helpers/short-numbers.js > src/normalise/short-numbers.ts` writes the table anew.
 */
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

interface Numbers {
  possibleLengthArray(): number[]
  getNationalNumberPattern(): string | null | undefined
}
interface Region {
  getEmergency(): Numbers | null | undefined
  getGeneralDesc(): Numbers
  getTollFree(): Numbers | null | undefined
}
interface Info {
  getSupportedRegions(): string[]
  getMetadataForRegion_(region: string): Region | null
}

function digitsOf(
  numbers: Numbers | null | undefined,
  all: Numbers | undefined,
  wanted: (length: number) => boolean,
): string[] {
  const text = numbers?.getNationalNumberPattern()
  if (text === null || text === undefined || text === '' || text === 'NA') return []
  const pattern = new RegExp(`^(?:${text})$`)
  const own = numbers?.possibleLengthArray() ?? []
  const lengths = own.length > 0 ? own : (all?.possibleLengthArray() ?? [])
  return lengths
    .filter((length) => length <= 6 && wanted(length))
    .flatMap((length) =>
      Array.from({ length: 10 ** length }, (_, i) => String(i).padStart(length, '0')).filter((n) => pattern.test(n)),
    )
}

/** By country: its emergency numbers and, of the free ones, those of three digits; sorted. */
export function shortNumbers(): Record<string, string[]> {
  const { ShortNumberInfo } = createRequire(import.meta.url)('google-libphonenumber') as {
    ShortNumberInfo: { getInstance(): Info }
  }
  const info = ShortNumberInfo.getInstance()
  const table: Record<string, string[]> = {}
  for (const region of info.getSupportedRegions().sort()) {
    const metadata = info.getMetadataForRegion_(region)
    const all = [
      ...digitsOf(metadata?.getEmergency(), metadata?.getGeneralDesc(), () => true),
      ...digitsOf(metadata?.getTollFree(), metadata?.getGeneralDesc(), (length) => length === 3),
    ]
    if (all.length > 0) table[region] = [...new Set(all)].sort()
  }
  return table
}

/** Runs of ten and more as `1300-1399`. */
function withRanges(numbers: readonly string[]): string[] {
  const runs: string[][] = []
  for (const number of numbers) {
    const run = runs.at(-1)
    const last = run?.at(-1)
    if (run !== undefined && last?.length === number.length && Number(number) === Number(last) + 1) run.push(number)
    else runs.push([number])
  }
  return runs.flatMap((run) => (run.length < 10 ? run : [`${run[0]}-${run[run.length - 1]}`]))
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  process.stdout.write(`/**
 * Emergency numbers by country, and numbers of three digits that cost nothing, \`1300-1399\` being a hundred: generated from
 * google-libphonenumber's metadata of short numbers by \`test/helpers/short-numbers.ts\`, to which a test holds it.
 */
export const SHORT_NUMBERS: Readonly<Record<string, string | undefined>> = {
${Object.entries(shortNumbers())
  .map(([region, numbers]) => `  ${region}: '${withRanges(numbers).join(' ')}',`)
  .join('\n')}
}
`)
}
