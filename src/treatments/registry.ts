/** The treatments by their kinds, and what can be asked of any of them. */
import * as list from './list.js'
import type { Recipe } from './operation.js'
import type { Descriptor, Target, TreatmentText } from './treatment.js'

type TreatmentOf<D> = D extends Descriptor<infer T> ? T : never

/**
 * A treatment by its kind, with its parameters: closed, and no wider than the list. `drop` is the absence of a rule.
 */
export type Treatment = TreatmentOf<(typeof list)[keyof typeof list]>
export type TreatmentKind = Treatment['kind']

/** All of them. An export of the list that is no descriptor does not compile here. */
export const TREATMENTS: readonly Descriptor<Treatment>[] = Object.values(list)

const byKind = new Map<string, Descriptor<Treatment>>(TREATMENTS.map((descriptor) => [descriptor.kind, descriptor]))
if (byKind.size < TREATMENTS.length) throw new TypeError('two treatments have the same kind')

/** The treatment of a name that a policy may write; undefined when there is none. */
export function treatmentNamed(kind: string): Descriptor<Treatment> | undefined {
  return byKind.get(kind)
}

/** The descriptor of a treatment of the closed set. */
export function descriptorOf(kind: TreatmentKind): Descriptor<Treatment> {
  const found = byKind.get(kind)
  if (found === undefined) throw new TypeError('no treatment of that kind')
  return found
}

/** @param lasts how long a token stays the same: `for a month` */
export function textOf(treatment: Treatment, lasts: string): TreatmentText {
  return descriptorOf(treatment.kind).text(treatment, lasts)
}

/**
 * Width of the span, ms, that a time is known to lie in once it is treated; 1: the time itself. null: it shows no time.
 */
export function timeStepOf(treatment: Treatment): number | null {
  return descriptorOf(treatment.kind).timeStepMs(treatment)
}

/** Whether what is shown is a token, so that it needs the epoch's key. */
export function isToken(treatment: Treatment): boolean {
  return descriptorOf(treatment.kind).shows === 'token'
}

export function compileTreatment(treatment: Treatment, target: Target): Recipe {
  return descriptorOf(treatment.kind).compile(treatment, target)
}

/** How much more a purpose sees of a field than the bare nothing: the value itself above a token, and that above less. */
const SHOWS = { value: 3, token: 2, less: 1 } as const

/**
 * Whether a purpose that saw a field through `before` sees nothing more of it through `after`. Between unlike treatments
 * it holds only from the value itself down: of any others neither follows from the other.
 */
export function showsNoMore(after: Treatment, before: Treatment): boolean {
  if (after.kind === before.kind) return descriptorOf(after.kind).followsFrom(after, before)
  return descriptorOf(before.kind).shows === 'value'
}

/** How grave it is that somebody sees this: 3 the value itself, 2 a token, 1 less than the value. */
export function gravityOf(treatment: Treatment): number {
  return SHOWS[descriptorOf(treatment.kind).shows]
}
