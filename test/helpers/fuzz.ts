/** How many cases a parser is tried with: few in `npm test`, many in CI, where `MINIM_FUZZ_RUNS` says so. */
export function fuzzRuns(): number {
  return Number(process.env['MINIM_FUZZ_RUNS'] ?? 2000)
}
