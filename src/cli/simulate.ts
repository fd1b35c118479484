/**
 * Simulated PBX nodes for the demo: seeded calls, quality reports and registrations with numbers reserved for drama, as
 * encoded `Batch` fields.
 */
import { randomUUID } from 'node:crypto'
import type { Catalogue } from '../catalogue/catalogue.js'

const AGENTS = [
  'Yealink SIP-T46S 66.85.0.5',
  'PolycomVVX-VVX_410-UA/5.9.5.0614',
  'Grandstream GXP2170 1.0.11.64',
  'Cisco/SPA504G-7.5.7',
  'snomD785/10.1.73.16',
  'Fanvil X4U 2.4.5',
  'FRITZ!OS',
  'Linphone/5.1.2 (belle-sip/5.1.13)',
]
const CODECS = ['PCMA', 'PCMU', 'G722', 'opus']
/** Q.850 cause by disposition: answered, no answer, busy, failed. */
const CAUSES: readonly (readonly [disposition: string, cause: number, share: number])[] = [
  ['ANSWERED', 16, 0.78],
  ['NO_ANSWER', 19, 0.12],
  ['BUSY', 17, 0.07],
  ['FAILED', 38, 0.03],
]

/** Numbers between 0 and 1 from a seed (mulberry32): the same demo each time. */
function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let z = state
    z = Math.imul(z ^ (z >>> 15), z | 1)
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61)
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32
  }
}

interface Handset {
  readonly extension: string
  readonly agent: string
  readonly mac: string
  readonly ip: string
}

/** One node with its handsets. */
export class SimulatedNode {
  readonly source: string
  readonly incarnation = randomUUID()
  readonly #random: () => number
  readonly #account: string
  readonly #handsets: readonly Handset[]
  readonly #encode: (batch: object) => Uint8Array
  #calls = 0

  constructor(source: string, number: number, catalogue: Catalogue) {
    this.source = source
    this.#random = seeded(number + 1)
    this.#account = `ACME-${100 + number}`
    this.#handsets = AGENTS.map((agent, i) => ({
      agent,
      extension: String(1001 + i),
      mac: `00:00:5e:00:53:${(number * 16 + i).toString(16).padStart(2, '0')}`,
      ip: `192.0.2.${10 + number * 20 + i}`,
    }))
    const type = catalogue.root.lookupType('minim.v1.Batch')
    this.#encode = (batch) => type.encode(type.fromObject(batch)).finish()
  }

  #pick<T>(of: readonly T[]): T {
    return of[Math.floor(this.#random() * of.length)]
  }

  #number(): string {
    const digits = String(Math.floor(this.#random() * 1000)).padStart(3, '0')
    return this.#pick([
      `+447700900${digits}`,
      `07700900${digits}`,
      `+4420794600${digits.slice(1)}`,
      `+120255501${digits.slice(1)}`,
    ])
  }

  /** Records of calls that end now: encoded fields 4, 5 and 6 of a `Batch`. */
  batch(calls: number, nowMs: number): Uint8Array {
    const records = { calls: [] as object[], qualities: [] as object[], devices: [] as object[] }
    for (let i = 0; i < calls; i++) {
      const handset = this.#pick(this.#handsets)
      const outbound = this.#random() < 0.6
      let roll = this.#random()
      const [disposition, cause] = CAUSES.find(([, , share]) => (roll -= share) < 0) ?? CAUSES[0]
      const seconds = disposition === 'ANSWERED' ? Math.ceil(-180 * Math.log(1 - this.#random())) : 0
      const ringSeconds = 2 + Math.floor(this.#random() * 12)
      const startMs = nowMs - (seconds + ringSeconds) * 1000
      const call_id = `${Math.floor(startMs / 1000)}.${++this.#calls}`
      const codec = this.#pick(CODECS)
      const common = {
        account: this.#account,
        call_id,
        start_ms: startMs,
        end_ms: nowMs,
        codec,
        user_agent: handset.agent,
      }
      records.calls.push({
        ...common,
        linked_id: call_id,
        disposition,
        hangup_cause: cause,
        direction: outbound ? 'OUTBOUND' : 'INBOUND',
        origin: 'SIMULATED',
        calling: outbound ? handset.extension : this.#number(),
        called: outbound ? this.#number() : handset.extension,
        calling_name: `Extra ${handset.extension}`,
        duration_seconds: seconds + ringSeconds,
        billable_seconds: seconds,
        ...(seconds > 0 ? { answer_ms: startMs + ringSeconds * 1000 } : {}),
        trunk: 'carrier-a',
        source_ip: handset.ip,
        destination_ip: '198.51.100.7',
        mac: handset.mac,
      })
      if (seconds > 0) {
        const loss = this.#random() < 0.9 ? this.#random() * 0.5 : this.#random() * 8
        records.qualities.push({
          ...common,
          origin: 'SIMULATED',
          local_party: handset.extension,
          remote_party: this.#number(),
          duration_seconds: seconds,
          mos_lq: 4.4 - loss * 0.2,
          r_factor: 93 - loss * 5,
          jitter_ms: 1 + this.#random() * 20,
          loss_percent: loss,
          round_trip_ms: 10 + this.#random() * 80,
          local_ip: handset.ip,
          remote_ip: '198.51.100.7',
          mac: handset.mac,
        })
      }
      if (this.#random() < 0.2) {
        records.devices.push({
          account: this.#account,
          party: `sip:${handset.extension}@pbx.example`,
          start_ms: nowMs,
          mac: handset.mac,
          user_agent: handset.agent,
          contact_ip: handset.ip,
          contact_port: 5060,
          event: 'REFRESHED',
          expires_seconds: 3600,
          origin: 'SIMULATED',
        })
      }
    }
    return this.#encode(records)
  }
}
