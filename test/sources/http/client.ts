/** Listeners for tests, and a client that may behave as badly as it likes. */
import { chmodSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'
import { catalogue as shipped } from '../../../src/catalogue/catalogue.js'
import type { SourceCounters } from '../../../src/flow/counters.js'
import type { SourceContext, StartSource } from '../../../src/flow/source.js'
import { createLog } from '../../../src/ops/log.js'
import { loadSettings, type SettingsInput } from '../../../src/settings/load.js'
import type { Settings } from '../../../src/settings/schema.js'
import { type CollectingInlet, collectingInlet } from '../../helpers/inlet.js'

export interface Listening {
  readonly host: string
  readonly port: number
  readonly url: string
  readonly inlet: CollectingInlet
  /** By reason, and `received`; `open` is the connections there are now. */
  readonly counts: Record<string, number>
  readonly log: string[]
  readonly stopTaking: () => Promise<void>
  readonly stop: () => Promise<void>
}

/** Starts a source by itself. */
export async function listening(
  t: Test,
  start: StartSource<Settings>,
  over: SettingsInput,
  inlet: CollectingInlet = collectingInlet(shipped()),
): Promise<Listening> {
  const counts: Record<string, number> = { received: 0, open: 0 }
  const log: string[] = []
  const counters: SourceCounters = {
    received: (n) => {
      counts['received'] += n
    },
    refused: (reason, n = 1) => {
      counts[reason] = (counts[reason] ?? 0) + n
    },
    lag: () => undefined,
    gap: () => undefined,
    left: () => undefined,
    connections: (n) => {
      counts['open'] = n
    },
  }
  const context = {
    settings: loadSettings(null, over),
    catalogue: shipped(),
    inlet,
    counters: () => counters,
    log: createLog('info', {
      write: (line: string) => {
        log.push(line)
      },
    }),
    intake: () => {
      throw new Error('not for this source')
    },
    onBroken: (_: unknown, error: unknown) => {
      throw error as Error
    },
  } as unknown as SourceContext<Settings>
  const source = await start(context)
  if (source === null) throw new Error('it is off')
  t.teardown(() => source.stop())
  const [address] = Object.values(source.addresses)
  const at = address.lastIndexOf(':')
  return {
    host: address.slice(0, at),
    port: Number(address.slice(at + 1)),
    url: `http://${address}`,
    inlet,
    counts,
    log,
    stopTaking: () => source.stopTaking(),
    stop: () => source.stop(),
  }
}

/** A connection that is written to as it is. */
export class Raw {
  text = ''
  readonly socket: Socket
  readonly closed: Promise<void>

  constructor(t: Test, { host, port }: { readonly host: string; readonly port: number }) {
    this.socket = connect(port, host)
    this.socket.setNoDelay(true)
    this.socket.on('data', (bytes) => {
      this.text += bytes.toString('latin1')
    })
    this.socket.on('error', () => undefined)
    this.closed = new Promise((resolve) => {
      this.socket.once('close', () => {
        resolve()
      })
    })
    t.teardown(() => {
      this.socket.destroy()
    })
  }

  write(...texts: readonly (string | Uint8Array)[]): this {
    for (const text of texts) this.socket.write(text)
    return this
  }

  /** Waits until so many answers have come, or the connection has ended. @returns their status codes */
  async answers(count: number): Promise<number[]> {
    let over = false
    void this.closed.then(() => {
      over = true
    })
    const found = (): number[] =>
      [...this.text.matchAll(/HTTP\/1\.1 (\d{3}) /g)]
        .map(([, status]) => Number(status))
        .filter((status) => status !== 100)
    while (found().length < count && !over)
      await new Promise((resolve) => {
        setTimeout(resolve, 5)
      })
    return found()
  }
}

/** A file of credentials. */
export function secretFile(t: Test, text: string, mode = 0o600): string {
  const path = join(t.testdir({}), 'secrets')
  writeFileSync(path, text)
  chmodSync(path, mode)
  return path
}

export function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
}
