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
import type { Source, SourceContext } from '../../flow/source.js'
import { readSecret } from '../../sections/secrets.js'
import { pemFiles, readPem } from '../../sections/tls-files.js'
import { Outbox } from '../common/outbox.js'
import { AmiNode } from './node.js'
import { AmiSession } from './session.js'
import { amiSecret, type AmiSettings } from './settings.js'
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
  const running = prepared.map(({ entry, secret, tls }) => startNode(context, entry, secret, tls, open))
  return Promise.resolve({
    kind: KIND,
    addresses: {},
    stopTaking: async () => {
      await Promise.all(running.map((stop) => stop()))
    },
    stop: () => Promise.resolve(),
  })
}

/** @returns what ends it, once all that came is safe */
function startNode(
  context: SourceContext<AmiContext>,
  entry: AmiSettings,
  secret: string,
  tls: ConnectionOptions | null,
  open: Open,
): () => Promise<void> {
  const { settings, catalogue, log, inlet, onBroken } = context
  const counters = context.counters(KIND)
  const { node } = entry
  // `node` of a followed file or of a topic says whose call records it holds.
  const callsElsewhere = [...settings.files, ...settings.kafkaInput].some((other) => other.node === node)
  const outbox = new Outbox({
    source: KIND,
    catalogue,
    inlet,
    maxPending: Infinity,
    refused: (reason, count) => {
      counters.refused(reason, count)
    },
    waiting: {
      maxPendingBytes: MAX_PENDING_BYTES,
      onBehind: (behind) => {
        log.warn(
          { node, behind },
          behind ? 'AMI: reading is paused until the spool has taken what came' : 'AMI: reading goes on',
        )
        session.hold('outbox', behind)
      },
      onBroken: (error) => {
        onBroken(KIND, error)
      },
    },
  })
  const records = new AmiNode({
    settings: entry,
    counters,
    outbox,
    callsElsewhere,
    onUnknownContact: () => {
      session.contactUnknown()
    },
  })
  const gap = new Gap((seconds) => {
    counters.gap(seconds)
  })
  const session: AmiSession = new AmiSession({
    settings: entry,
    secret,
    tls,
    log,
    onEvent: (stanza, name) => {
      counters.received(1)
      const now = Date.now()
      const at = eventTime(stanza, now)
      gap.heard()
      try {
        records.event(stanza, name, now, Number.isNaN(at) ? now : at)
      } catch (error) {
        // An event that trips the program is a defect of it; the next event is another matter.
        onBroken(KIND, error)
      }
      if (!Number.isNaN(at)) counters.lag(Math.max(0, (now - at) / 1000))
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
      counters.connections(++open.count)
      const seconds = gap.ends()
      if (seconds > 0) {
        log.warn(
          {
            node,
            gapSeconds: Math.round(seconds * 10) / 10,
            calls:
              callsElsewhere && entry.calls !== 'always'
                ? 'none missed: they come from the file of this node'
                : 'missed',
          },
          'AMI: connected again; what the PBX said meanwhile is missed',
        )
      }
    },
    onDown: () => {
      counters.connections(--open.count)
    },
    onWaiting: () => {
      gap.grows()
    },
  })
  const sweep = setInterval(
    () => {
      records.sweep(Date.now())
    },
    Math.max(10, Math.min(SWEEP_MS, entry.settleMs)),
  )
  session.start()
  return async () => {
    await session.stop()
    clearInterval(sweep)
    records.flush()
    await outbox.close()
  }
}

/**
 * Time in which nothing could be heard: from the last that was heard to the next log-in. Counted while it lasts, so
 * that it can be seen.
 */
class Gap {
  readonly #count: (seconds: number) => void
  /** When something was heard last, or the gap was counted up to. */
  #since = performance.now()
  #total = 0
  #open = false

  constructor(count: (seconds: number) => void) {
    this.#count = count
  }

  heard(): void {
    this.#since = performance.now()
  }

  /** There is a gap, and it lasts. */
  grows(): void {
    this.#open = true
    const now = performance.now()
    const seconds = (now - this.#since) / 1000
    this.#since = now
    this.#total += seconds
    this.#count(seconds)
  }

  /** Logged in. @returns how long it was, s; 0 if there was none */
  ends(): number {
    if (this.#open) this.grows()
    const seconds = this.#total
    this.#open = false
    this.#total = 0
    this.#since = performance.now()
    return seconds
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
