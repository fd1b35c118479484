/**
 * Asterisk's manager interface: a connection to each PBX of the settings, whose events become calls, qualities and
 * devices.
 *
 *   session.ts   connects, logs in, pings, connects again       stanzas.ts   bytes to stanzas
 *   node.ts      events to records: calls.ts, rtcp.ts, contacts.ts           sources/common/outbox.ts   records to the spool
 *
 * AMI cannot replay: what is sent while nobody listens is missed, and the gap's length is counted and logged. Where a
 * followed file has the same `node`, it gives that node's call records and misses none; `Cdr` events are then left
 * alone.
 */
import type { ConnectionOptions } from 'node:tls'
import type { SourceCounters } from '../../flow/counters.js'
import type { Source, SourceContext } from '../../flow/source.js'
import { readSecret } from '../../sections/secrets.js'
import { pemFiles, readPem } from '../../sections/tls-files.js'
import { Outbox } from '../common/outbox.js'
import { Gap } from './gap.js'
import { AmiNode } from './node.js'
import { AmiSession } from './session.js'
import { amiSecret, type AmiSettings } from './settings.js'
import type { Stanza } from './stanzas.js'
import { eventTime } from './times.js'

const KIND = 'ami'
const SWEEP_MS = 100
/** Not safe yet: above it nothing more is read, below half of it reading goes on. */
const MAX_PENDING_BYTES = 4_194_304

/** Connections that are logged in, over all nodes. */
interface Open {
  count: number
}

/** What AMI takes of the settings: its section, and whose call records others hold. */
export interface AmiContext {
  readonly ami: readonly AmiSettings[]
  readonly files: readonly { readonly node: string | null }[]
  readonly kafkaInput: readonly { readonly node: string | null }[]
}

/**
 * Starts a connection to each PBX of `ami:`. One that cannot be reached is tried again for ever, and holds up nothing.
 * @throws ProblemsError MINIM_SETTINGS_INVALID
 */
export function startAmi(context: SourceContext<AmiContext>): Promise<Source | null> {
  const { settings } = context
  if (settings.ami.length === 0) return Promise.resolve(null)
  // All files are read before anything is connected.
  const prepared = settings.ami.map((entry, i) => ({
    entry,
    secret: readSecret(amiSecret(entry, i)) ?? '',
    tls: readTls(entry, i),
  }))
  const open: Open = { count: 0 }
  const running = prepared.map(({ entry, secret, tls }) => new Connected(context, entry, secret, tls, open))
  return Promise.resolve({
    kind: KIND,
    addresses: {},
    stopTaking: async () => {
      await Promise.all(running.map((one) => one.stop()))
    },
    stop: () => Promise.resolve(),
  })
}

/** A PBX that is connected to: its session, what its events become, and the way of the records to the spool. */
class Connected {
  readonly #context: SourceContext<AmiContext>
  readonly #entry: AmiSettings
  readonly #counters: SourceCounters
  readonly #open: Open
  /** `node` of a followed file or of a topic says whose call records it holds. */
  readonly #callsElsewhere: boolean
  readonly #outbox: Outbox
  readonly #records: AmiNode
  readonly #gap: Gap
  readonly #session: AmiSession
  readonly #sweep: NodeJS.Timeout

  constructor(
    context: SourceContext<AmiContext>,
    entry: AmiSettings,
    secret: string,
    tls: ConnectionOptions | null,
    open: Open,
  ) {
    const { settings, log } = context
    const counters = context.counters(KIND)
    this.#context = context
    this.#entry = entry
    this.#counters = counters
    this.#open = open
    this.#callsElsewhere = [...settings.files, ...settings.kafkaInput].some(({ node }) => node === entry.node)
    this.#outbox = this.#openOutbox()
    this.#records = new AmiNode({
      settings: entry,
      counters,
      outbox: this.#outbox,
      callsElsewhere: this.#callsElsewhere,
      onUnknownContact: () => {
        this.#session.contactUnknown()
      },
    })
    this.#gap = new Gap((seconds) => {
      counters.gap(seconds)
    })
    this.#session = new AmiSession({
      settings: entry,
      secret,
      tls,
      log,
      onEvent: (stanza, name) => {
        this.#event(stanza, name)
      },
      onTooLarge: () => {
        counters.received(1)
        counters.refused('too_large')
      },
      onMalformed: () => {
        counters.received(1)
        counters.refused('malformed')
      },
      onRefused: () => {
        counters.refused('unauthorised')
      },
      onUp: () => {
        this.#up()
      },
      onDown: () => {
        counters.connections(--open.count)
      },
      onWaiting: () => {
        this.#gap.grows()
      },
    })
    this.#sweep = setInterval(
      () => {
        this.#records.sweep(Date.now())
      },
      Math.max(10, Math.min(SWEEP_MS, entry.settleMs)),
    )
    this.#session.start()
  }

  /** Ends it, once all that came is safe. */
  async stop(): Promise<void> {
    await this.#session.stop()
    clearInterval(this.#sweep)
    this.#records.flush()
    await this.#outbox.close()
  }

  #openOutbox(): Outbox {
    const { catalogue, inlet, log, onBroken } = this.#context
    const { node } = this.#entry
    return new Outbox({
      source: KIND,
      catalogue,
      inlet,
      maxPending: Infinity,
      refused: (reason, count) => {
        this.#counters.refused(reason, count)
      },
      waiting: {
        maxPendingBytes: MAX_PENDING_BYTES,
        onBehind: (behind) => {
          log.warn(
            { node, behind },
            behind ? 'AMI: reading is paused until the spool has taken what came' : 'AMI: reading goes on',
          )
          this.#session.hold('outbox', behind)
        },
        onBroken: (error) => {
          onBroken(KIND, error)
        },
      },
    })
  }

  #event(stanza: Stanza, name: string): void {
    this.#counters.received(1)
    const now = Date.now()
    const at = eventTime(stanza, now)
    this.#gap.heard()
    try {
      this.#records.event(stanza, name, now, Number.isNaN(at) ? now : at)
    } catch (error) {
      // An event that trips the program is a defect of it; the next event is another matter.
      this.#context.onBroken(KIND, error)
    }
    if (!Number.isNaN(at)) this.#counters.lag(Math.max(0, (now - at) / 1000))
  }

  /** Logged in. */
  #up(): void {
    const { node, calls } = this.#entry
    this.#counters.connections(++this.#open.count)
    const seconds = this.#gap.ends()
    if (seconds === 0) return
    this.#context.log.warn(
      {
        node,
        gapSeconds: Math.round(seconds * 10) / 10,
        calls:
          this.#callsElsewhere && calls !== 'always' ? 'none missed: they come from the file of this node' : 'missed',
      },
      'AMI: connected again; what the PBX said meanwhile is missed',
    )
  }
}

function readTls({ tls, host }: AmiSettings, i: number): ConnectionOptions | null {
  if (tls === null) return null
  const { ca, cert, key } = readPem(pemFiles(tls, `ami.${i}.tls`))
  return {
    ca: ca ?? undefined,
    cert: cert ?? undefined,
    key: key ?? undefined,
    servername: tls.serverName ?? (/^[\d.]+$|:/.test(host) ? '' : host),
    minVersion: 'TLSv1.2',
    rejectUnauthorized: true,
  }
}
