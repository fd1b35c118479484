/** What was heard of channels by their names: `Cdr` events name the far end of a call, and say nothing else of it. */
import { Followed } from './followed.js'
import type { Stanza } from './stanzas.js'

export interface NamedChannel {
  uniqueId: string
  linkedId: string
  /** ITU-T Q.850; 0: not known. */
  cause: number
  /** The longest conversation, s, in whose record it is the far end; NaN: it is in none. */
  farEndSeconds: number
}

/** A half of a `Local/` channel: the pair has a name, and its halves are `;1` and `;2`. */
export interface LocalHalf {
  readonly pair: string
  readonly half: 1 | 2
}

/** Which half of which pair a channel is; null: it is no `Local/` channel, or does not say. */
export function localHalf(channel: string): LocalHalf | null {
  if (!channel.startsWith('Local/')) return null
  const found = /^(.*);([12])(?:<[A-Z]+>)?$/.exec(channel)
  return found === null ? null : { pair: found[1], half: found[2] === '1' ? 1 : 2 }
}

export class Channels {
  readonly #named: Followed<NamedChannel>

  /**
   * @param max remembered at once
   * @param idleMs after which one is forgotten
   */
  constructor(max: number, idleMs: number) {
    this.#named = new Followed(max, idleMs, () => undefined)
  }

  get(channel: string): NamedChannel | undefined {
    return this.#named.peek(channel)
  }

  /** An event of a channel's own: `CEL` or `Hangup`. @param cause 0: it says none */
  heard(stanza: Stanza, cause: number, nowMs: number): void {
    const channel = stanza.get('channel')
    // Of the others nothing but the cause is ever asked for.
    if (channel === '' || (cause === 0 && !channel.startsWith('Local/'))) return
    const named = this.#touch(channel, nowMs)
    named.uniqueId = stanza.get('uniqueid') || named.uniqueId
    named.linkedId = stanza.get('linkedid') || named.linkedId
    if (cause > 0) named.cause = cause
  }

  /** A record names it as the far end. */
  isFarEnd(channel: string, seconds: number, nowMs: number): void {
    if (channel === '') return
    const named = this.#touch(channel, nowMs)
    if (!(named.farEndSeconds >= seconds)) named.farEndSeconds = seconds
  }

  sweep(nowMs: number): void {
    this.#named.sweep(nowMs)
  }

  #touch(channel: string, nowMs: number): NamedChannel {
    return this.#named.touch(channel, nowMs, () => ({ uniqueId: '', linkedId: '', cause: 0, farEndSeconds: NaN }))
  }
}
