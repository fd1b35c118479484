/** A reader whose records are collected, and whose time the test tells. */
import { catalogue } from '../../../src/catalogue/catalogue.js'
import type { SourceCounters } from '../../../src/flow/counters.js'
import { HepReader, type HepReaderOptions } from '../../../src/sources/hep/reader.js'
import { type CollectingInlet, collectingInlet } from '../../helpers/inlet.js'
import { hep, type Packet } from './frames.js'

export interface Reading {
  readonly reader: HepReader
  readonly inlet: CollectingInlet
  readonly refused: Record<string, number>
  received: number
  /** Milliseconds that have passed; captures are told the same. */
  now: number
  /** Sends one packet, captured now, and sweeps. */
  send(packet: Packet | Buffer): boolean
  /** Lets time pass, with a sweep every quarter of a second at most. */
  pass(ms: number): void
  /** Records so far: of one kind, without `origin`. */
  of(kind: 'call' | 'quality' | 'device'): Promise<Readonly<Record<string, string | number>>[]>
}

/** When the captures' clock begins. */
export const START_MS = 1_795_514_445_000

export function reading({
  inlet = collectingInlet(catalogue()),
  ...over
}: Partial<Omit<HepReaderOptions, 'inlet'>> & { readonly inlet?: CollectingInlet } = {}): Reading {
  const refused: Record<string, number> = {}
  const counters: SourceCounters = {
    received: (count) => {
      it.received += count
    },
    refused: (reason, count = 1) => {
      refused[reason] = (refused[reason] ?? 0) + count
    },
    lag: () => undefined,
    connections: () => undefined,
    gap: () => undefined,
    left: () => undefined,
  }
  const reader = new HepReader({
    catalogue: catalogue(),
    inlet,
    counters,
    key: null,
    node: { tenant: 'default', calls: true, joinLegs: true },
    nodes: new Map(),
    setupMs: 300_000,
    callMs: 14_400_000,
    maxCalls: 1000,
    maxFrameBytes: 65_535,
    maxInflatedBytes: 65_535,
    inflationsPerSecond: 1000,
    skipCallsFrom: [],
    ...over,
  })
  const it: Reading = {
    reader,
    inlet,
    refused,
    received: 0,
    now: 0,
    send: (packet) => {
      it.now += 1
      const bytes = Buffer.isBuffer(packet) ? packet : hep({ atMs: START_MS + it.now, ...packet })
      const whole = reader.packet(bytes, 0, bytes.length, it.now)
      reader.sweep(it.now)
      return whole
    },
    pass: (ms) => {
      const steps = Math.min(40, Math.ceil(ms / 250))
      for (let i = 0; i < steps; i++) {
        it.now += ms / steps
        reader.sweep(it.now)
      }
    },
    of: async (kind) => {
      // Longer than records are gathered.
      await new Promise((resolve) => setTimeout(resolve, 15))
      return inlet
        .records()
        .filter((record) => record.kind === kind)
        .map(({ fields }) => fields)
    },
  }
  return it
}
