/** Counts how often the policy was read anew, by how that ended. */
import { Counter, type Registry } from 'prom-client'

/**
 * `ok`: it runs. `unchanged`: it ran already. All others: refused, and the one that ran goes on, since the policy has
 * mistakes, its file goes on changing, the notice is not kept, it would widen who sees what, it has the name of another
 * in tags, topics are not as it wants them, Kafka or a worker did not answer, or for something else.
 */
const RELOAD_ENDS = [
  'ok',
  'unchanged',
  'invalid',
  'unsettled',
  'notice',
  'widening',
  'clash',
  'topics',
  'unavailable',
  'failed',
] as const
export type ReloadEnd = (typeof RELOAD_ENDS)[number]

/** @returns counts one more. Each end is there from the first scrape, at 0. */
export function reloadCounter(registry: Registry): (end: ReloadEnd) => void {
  const counter = new Counter({
    name: 'minim_policy_reload_total',
    help: 'How often the policy was read anew while records flowed, by how that ended',
    labelNames: ['end'],
    registers: [registry],
  })
  for (const end of RELOAD_ENDS) counter.inc({ end }, 0)
  return (end) => {
    counter.inc({ end })
  }
}
