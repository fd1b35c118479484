/** Treatments in a few words, for people who read a policy; and the documentation's table of them. */
import type { EpochLength } from '../keys/keyring.js'
import { textOf, type Treatment, TREATMENTS } from '../treatments/registry.js'
import type { TreatmentText } from '../treatments/treatment.js'

const LASTS: Readonly<Record<EpochLength, string>> = {
  day: 'for a day',
  month: 'for a month',
  quarter: 'for a quarter',
  year: 'for a year',
  contract: 'as long as the contract',
}

/** What a treatment does, in words. */
export function treatmentText(treatment: Treatment, epoch: EpochLength): TreatmentText {
  return textOf(treatment, LASTS[epoch])
}

/** The documentation's table of all treatments, in Markdown: its head, then a row for each form. */
export function treatmentTable(): string[] {
  const row = (...cells: string[]): string => `| ${cells.join(' | ')} |`
  return [
    row('treatment', 'what the purpose sees', 'reversible', 'DPV'),
    '| --- | --- | --- | --- |',
    row('_(no rule)_, `drop`', 'nothing', '–', '`dpv:DataRedaction`'),
    ...TREATMENTS.flatMap(({ rows, dpv }) =>
      rows.map(({ written, reveals, reversible }) =>
        row(`\`${written}\``, reveals, reversible ?? 'no', dpv === null ? '–' : `\`dpv:${dpv}\``),
      ),
    ),
  ]
}
