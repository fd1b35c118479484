/** `minim quarantine show`: what was refused, and the input itself to who says that he wants to see it. */
import { isUtf8 } from 'node:buffer'
import { catalogue } from '../catalogue/catalogue.js'
import { loadMaster } from '../keys/master.js'
import { KeyStore } from '../keys/store.js'
import { type BoxFailure, type BoxHeader, openQuarantined } from '../quarantine/box.js'
import { type Quarantined, readQuarantine } from '../quarantine/topic.js'
import { plainObject } from '../trial/decode.js'
import { audit, auditLog, type FilterOptions, passes, type Place } from './quarantine-place.js'

/** One line of `minim quarantine show`. */
interface ShownMessage extends Partial<BoxHeader> {
  readonly partition: number
  readonly offset: number
  readonly tenant?: string
  /** Text as it came; a protobuf message's fields by their names. */
  readonly input?: unknown
  /** What is neither. */
  readonly base64?: string
  readonly unopened?: BoxFailure
}

export interface ShowOptions extends FilterOptions {
  readonly limit: number
  readonly yesShowPersonalData?: true
}

/** Prints one JSON object for each message. */
export async function show(place: Place, options: ShowOptions, print: (text: string) => void): Promise<void> {
  const open = options.yesShowPersonalData === true
  const keys = open ? KeyStore.open(place.settings.keys.store, loadMaster(place.settings.keys.master)) : null
  const log = auditLog()
  // Before anything is printed: who breaks off has looked all the same.
  if (open) audit(log, 'quarantine is opened', options, { limit: options.limit })
  let shown = 0
  const stop = new AbortController()
  const whole = (m: Quarantined): ShownMessage => ({ partition: m.partition, offset: m.offset, ...m.header })
  await readQuarantine({ ...place, signal: stop.signal }, (messages) => {
    for (const message of messages) {
      if (shown >= options.limit || !passes(message, options)) continue
      const inside = keys === null ? {} : contents(openQuarantined(keys, message.envelope))
      print(JSON.stringify({ ...whole(message), ...inside }))
      if (++shown >= options.limit) stop.abort()
    }
  })
  if (open) audit(log, 'quarantine was shown', options, { count: shown })
}

function contents(
  opened: ReturnType<typeof openQuarantined>,
): Pick<ShownMessage, 'tenant' | 'input' | 'base64' | 'unopened'> {
  if (typeof opened === 'string') return { unopened: opened }
  const { tenant, input, header } = opened
  if (header.format === 'protobuf') {
    try {
      const type = catalogue().root.lookupType('minim.v1.Batch')
      return { tenant, input: plainObject(type, input) }
    } catch {
      return { tenant, base64: input.toString('base64') }
    }
  }
  return isUtf8(input) ? { tenant, input: input.toString('utf8') } : { tenant, base64: input.toString('base64') }
}
