/** Numbering plans out of libphonenumber's metadata, as the room's readers of numbers ask for them. */
import { Metadata } from 'libphonenumber-js/core'
import metadata from 'libphonenumber-js/metadata.max'
import type { DialPlan } from './dial-string.js'

/** Numbering plan as the metadata class keeps it; the package's types leave it out. Absent entries read as 0. */
export interface Plan {
  IDDPrefix(): string
  nationalPrefix(): string | 0
  nationalPrefixForParsing(): string | 0
  nationalPrefixTransformRule(): string | 0
  possibleLengths(): number[]
}

export function planOf(region: string): Plan {
  const plans = new Metadata(metadata) as unknown as { selectNumberingPlan(region: string): void; numberingPlan: Plan }
  plans.selectNumberingPlan(region)
  return plans.numberingPlan
}

/** Regions of each calling code, the main one first. */
export const REGIONS = metadata.country_calling_codes as unknown as Readonly<Record<string, readonly string[]>>

/** Calling code of a region; empty where it has none. */
function callingCodeOf(region: string): string {
  return Object.entries(REGIONS).find(([, regions]) => regions.includes(region))?.[0] ?? ''
}

/** How numbers are dialled in a region by those who dial so. */
export function dialPlanOf({
  region,
  extensionDigits,
  prefixes = [],
}: {
  readonly region: string
  readonly extensionDigits: number
  readonly prefixes?: readonly string[]
}): DialPlan {
  const plan = planOf(region)
  return {
    region,
    extensionDigits,
    prefixes,
    callingCode: callingCodeOf(region),
    dials00: plan.IDDPrefix() === '00',
    trunkPrefix: plan.nationalPrefix() || '',
  }
}
