/** Events straight into a node, without a connection: what records come of them. */
import type { LeftContent, SourceRefusal } from '../../../src/flow/counters.js'
import type { RecordFields } from '../../../src/formats/record-writer.js'
import { AmiNode } from '../../../src/sources/ami/node.js'
import { AMI_ENTRY, type AmiSettings } from '../../../src/sources/ami/settings.js'
import { Stanza } from '../../../src/sources/ami/stanzas.js'

export type Event = Readonly<Record<string, string | number>>

export interface Told {
  readonly calls: RecordFields[]
  readonly qualities: RecordFields[]
  readonly devices: RecordFields[]
  readonly left: Partial<Record<LeftContent, number>>
  readonly refused: Partial<Record<SourceRefusal, number>>
  /** Ids of the calls. */
  readonly ids: string[]
}

export interface Listening extends Told {
  readonly node: AmiNode
  /** Hands an event on, some ms after the one before. */
  readonly event: (event: Event, afterMs?: number, atMs?: number) => void
}

export const NOW = Date.UTC(2026, 10, 24, 13, 20)

export function listen(settings: Partial<AmiSettings> = {}): Listening {
  const told: Told = { calls: [], qualities: [], devices: [], refused: {}, left: {}, ids: [] }
  const node = new AmiNode({
    settings: { ...AMI_ENTRY, node: 'pbx1', host: '127.0.0.1', user: 'minim', ...settings },
    callsElsewhere: false,
    onUnknownContact: () => undefined,
    counters: {
      received: () => undefined,
      refused: (reason, count = 1) => {
        told.refused[reason] = (told.refused[reason] ?? 0) + count
      },
      lag: () => undefined,
      connections: () => undefined,
      gap: () => undefined,
      left: (content) => {
        told.left[content] = (told.left[content] ?? 0) + 1
      },
    },
    outbox: {
      add: (kind, fields) => {
        told[kind === 'quality' ? 'qualities' : 'devices'].push(fields)
      },
      call: (fields, id) => {
        told.calls.push(fields)
        told.ids.push(id)
      },
      refuse: () => undefined,
    },
  })
  let now = NOW
  return {
    ...told,
    node,
    event: (event, afterMs = 1, atMs) => {
      now += afterMs
      const stanza = new Stanza(
        Object.entries(event)
          .map(([key, value]) => `${key}: ${value}\r\n`)
          .join(''),
      )
      node.event(stanza, stanza.event, now, atMs ?? now)
      node.sweep(now)
    },
  }
}

/** All that events tell, once they are over. */
export function tell(events: readonly Event[], settings: Partial<AmiSettings> = {}): Told {
  const listening = listen(settings)
  for (const event of events) listening.event(event)
  listening.node.flush()
  return listening
}
