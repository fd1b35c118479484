/** Which fault happens when: the same for the same seed. */
import { given } from '../helpers/given.js'

export const FAULTS = {
  /** The proxy's process. */
  'proxy killed': { holdMs: [0, 0] },
  'proxy stopped': { holdMs: [500, 4_000] },
  /** Longer than its transactions may last: the coordinator ends them without it. */
  'proxy stopped for long': { holdMs: [14_000, 16_000] },
  'proxy told to end': { holdMs: [0, 0] },
  /** Another process takes over while the first one runs, or is stopped. */
  'second proxy': { holdMs: [0, 0] },
  'second proxy while the first is stopped': { holdMs: [500, 2_000] },
  /** The first one has nothing to commit, so no commit tells it. */
  'second proxy while the first is at rest': { holdMs: [0, 0] },
  /** Another process with the folder of the one that runs: it may not start. */
  'second proxy on the same spool folder': { holdMs: [0, 0] },
  'broker killed': { holdMs: [0, 4_000] },
  'broker stopped': { holdMs: [500, 4_000] },
  /** Longer than a commit, a request and a transaction may take. */
  'broker stopped for long': { holdMs: [14_000, 16_000] },
  'connections to Kafka cut': { holdMs: [0, 0] },
  'connections to Kafka cut again and again': { holdMs: [1_000, 3_000] },
  'Kafka is slow': { holdMs: [2_000, 5_000] },
  'Kafka is half-open': { holdMs: [500, 2_000] },
  'Kafka is silent': { holdMs: [1_000, 13_000] },
  "a commit's answer is held back": { holdMs: [1_000, 14_000] },
  'a commit is held back': { holdMs: [1_000, 14_000] },
  "nodes' connections cut": { holdMs: [0, 0] },
  'nodes are half-open': { holdMs: [500, 2_000] },
  /** Three brokers only. */
  'leaders moved': { holdMs: [0, 0] },
} as const satisfies Readonly<Record<string, { readonly holdMs: readonly [number, number] }>>

export type FaultKind = keyof typeof FAULTS

export interface Fault {
  /** When it is due at the earliest, since the start of the run. */
  readonly atMs: number
  /** How long the program has, once it is back from the fault before. */
  readonly gapMs: number
  readonly kind: FaultKind
  readonly holdMs: number
  /** Any whole number: which broker, for example. */
  readonly pick: number
}

/** Numbers from 0 to 1 out of a seed (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

const FIRST_MS = 3_000
/** Time for the program to come to itself again, or not quite. */
const GAP_MS = [1_000, 6_000] as const
/** A new process or broker takes so long, about. */
const RECOVERY_MS = 2_500

export interface ScheduleOptions {
  readonly seed: number
  readonly durationMs: number
  readonly brokers: number
  /** Kinds that cannot be done in this run. */
  readonly without?: ReadonlySet<FaultKind>
  /** Time that the program has before the next fault, once it is back from the one before: at least and at most. */
  readonly gapMs?: readonly [number, number]
}

/** Every kind comes once before any comes twice, as far as the time allows. */
export function schedule({ seed, durationMs, brokers, without = new Set(), gapMs = GAP_MS }: ScheduleOptions): Fault[] {
  const random = randomOf(seed)
  const between = ([low, high]: readonly [number, number]): number => Math.round(low + random() * (high - low))
  const kinds = (Object.keys(FAULTS) as FaultKind[]).filter(
    (kind) => !without.has(kind) && (brokers >= 3 || kind !== 'leaders moved'),
  )
  const faults: Fault[] = []
  let deck: FaultKind[] = []
  for (let atMs = FIRST_MS; atMs < durationMs;) {
    if (deck.length === 0) deck = shuffled(kinds, random)
    const kind = given(deck.pop())
    const holdMs = between(FAULTS[kind].holdMs)
    const pick = Math.floor(random() * 1_000)
    const gap = between(gapMs)
    if (atMs + holdMs <= durationMs) faults.push({ atMs, gapMs: gap, kind, holdMs, pick })
    atMs += holdMs + RECOVERY_MS + gap
  }
  return faults
}

export function shuffled<T>(of: readonly T[], random: () => number): T[] {
  const all = [...of]
  for (let i = all.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    ;[all[i], all[j]] = [all[j], all[i]]
  }
  return all
}
