/** Treatments in a few words, for people who read a policy. */
import type { EpochLength } from '../keys/keyring.js'
import { TIME_BUCKETS } from './fit.js'
import type { Treatment } from './model.js'

export interface TreatmentText {
  /** What is written: `token, the same for a month`. */
  readonly form: string
  /** What somebody who reads the topic learns from it. */
  readonly reveals: string
  /** Who can get the value back. */
  readonly reversible: string
}

const LASTS: Readonly<Record<EpochLength, string>> = {
  day: 'for a day', month: 'for a month', quarter: 'for a quarter', year: 'for a year', contract: 'as long as the contract',
}

function span(ms: number): string {
  for (const [name, length] of Object.entries(TIME_BUCKETS)) if (length === ms) return name
  if (ms === 1000) return 'second'
  if (ms % TIME_BUCKETS.day === 0) return `${ms / TIME_BUCKETS.day} days`
  if (ms % TIME_BUCKETS.hour === 0) return `${ms / TIME_BUCKETS.hour} hours`
  if (ms % TIME_BUCKETS.minute === 0) return `${ms / TIME_BUCKETS.minute} minutes`
  return ms % 1000 === 0 ? `${ms / 1000} seconds` : `${ms} ms`
}

/** What a treatment does, in words. */
export function treatmentText(treatment: Treatment, epoch: EpochLength): TreatmentText {
  const nobody = 'by nobody'
  switch (treatment.kind) {
    case 'keep':
      return { form: 'as it is', reveals: 'the value', reversible: 'it is the value' }
    case 'token':
      return {
        form: treatment.reversible ? `reversible token, the same ${LASTS[epoch]}` : `token, the same ${LASTS[epoch]}`,
        reveals: `that two records are about the same one, ${LASTS[epoch]}, within this purpose`,
        reversible: treatment.reversible ? "by the holder of this purpose's key" : "by the holder of this purpose's key, long values by nobody",
      }
    case 'e164-prefix':
      return treatment.digits === 'country'
        ? { form: 'country code', reveals: 'the country of the number', reversible: nobody }
        : { form: `first ${treatment.digits} digits`, reveals: 'the area or operator of the number, never its last four digits', reversible: nobody }
    case 'ip-prefix':
      return { form: `network, /${treatment.v4} or /${treatment.v6}`, reveals: 'the network of the address, not the host', reversible: nobody }
    case 'time-bucket':
      return { form: `rounded down to the ${span(treatment.ms)}`.replace(/the (?=\d)/, ''), reveals: 'the time, no finer than that', reversible: nobody }
    case 'number-bucket':
      return {
        form: treatment.step !== null ? `rounded down to a multiple of ${treatment.step}` : `the lower bound of ${(treatment.bounds ?? []).join(', ')}`,
        reveals: 'which span the number lies in', reversible: nobody,
      }
    case 'user-agent':
      return { form: `${treatment.part} of the device`, reveals: `the ${treatment.part}, not what else the text may hold`, reversible: nobody }
    case 'mac-vendor':
      return { form: 'vendor part (first three octets)', reveals: 'who made the network interface', reversible: nobody }
  }
}
