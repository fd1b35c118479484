/**
 * What an agent must know after a crash: how far each file was cut into batches, and which batches are not
 * acknowledged.
 *
 * A batch's number says nothing about where it lies in a file. So its cut is on disk before it is sent for the first
 * time: whatever the proxy has taken when the agent comes back, the rest is cut from the same bytes and sent under the
 * same numbers.
 *
 * A JSON file, written beside itself, flushed and renamed, the folder flushed too. It holds offsets and hashes, nothing
 * of the lines.
 */
import { randomUUID } from 'node:crypto'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { open, rename } from 'node:fs/promises'
import path from 'node:path'
import { lockDescriptor } from '../../base/file-lock.js'
import { MinimError } from '../../errors/catalogue.js'

/** Where a batch lies. */
export interface Cut {
  readonly sequence: number
  /** The file's identity at the cut's end. */
  readonly source: string
  readonly incarnation: string
  /**
   * Device and inode that the identity is of: a copy lies elsewhere, and the file may be gone. Empty for one that is
   * named.
   */
  readonly place: string
  readonly start: number
  readonly end: number
  /** Nothing followed it in its file. */
  readonly last: boolean
  /** One record, too long to be taken. */
  readonly tooLarge: boolean
}

/** How far a file was cut. */
export interface Place {
  readonly source: string
  readonly incarnation: string
  readonly sequence: number
}

/** One stream: a followed path. */
export interface StreamState {
  /** Of the stream at the proxy. */
  readonly incarnation: string
  acknowledged: number
  /** Not acknowledged, in their order. */
  cuts: Cut[]
  /** Youngest last. */
  places: Place[]
}

const VERSION = 1
/**
 * Rotated files that are remembered: more than any logrotate keeps for the day that it must be known whether one was
 * read.
 */
const MAX_PLACES = 512

export class AgentState {
  readonly #path: string
  readonly #lock: number
  readonly #streams: Record<string, StreamState>
  #saving: Promise<void> | null = null
  #next: Promise<void> | null = null

  private constructor(path: string, lock: number, streams: Record<string, StreamState>) {
    this.#path = path
    this.#lock = lock
    this.#streams = streams
  }

  /**
   * Opens a state file, or begins one; nobody else can open it then.
   * @throws MinimError MINIM_AGENT_STATE, MINIM_AGENT_LOCKED
   */
  static open(file: string): AgentState {
    let lock: number
    try {
      lock = openSync(`${file}.lock`, 'a', 0o600)
    } catch (error) {
      throw new MinimError('MINIM_AGENT_STATE', { what: `its folder cannot be written (${codeOf(error)})` })
    }
    try {
      // The kernel drops the lock with the process.
      const locked = lockDescriptor(lock, 0)
      if (typeof locked === 'string')
        throw new MinimError('MINIM_AGENT_STATE', { what: `cannot be locked: flock cannot be run (${locked})` })
      if (!locked) throw new MinimError('MINIM_AGENT_LOCKED')
      return new AgentState(file, lock, read(file))
    } catch (error) {
      closeSync(lock)
      throw error
    }
  }

  /** The state of a stream, which its owner changes; a new stream has an incarnation of its own. */
  stream(name: string): StreamState {
    return (this.#streams[name] ??= { incarnation: randomUUID(), acknowledged: 0, cuts: [], places: [] })
  }

  /** Resolves when the state as it is now is on disk. Those who ask while it is written share the next writing. */
  save(): Promise<void> {
    if (this.#saving === null) return this.#start()
    this.#next ??= this.#saving
      .catch(() => undefined)
      .then(() => {
        this.#next = null
        return this.#start()
      })
    return this.#next
  }

  close(): void {
    closeSync(this.#lock)
  }

  #start(): Promise<void> {
    const saving = this.#write().finally(() => {
      if (this.#saving === saving) this.#saving = null
    })
    this.#saving = saving
    return saving
  }

  async #write(): Promise<void> {
    const json = JSON.stringify({ version: VERSION, streams: this.#streams })
    const temporary = `${this.#path}.new`
    try {
      const file = await open(temporary, 'w', 0o600)
      try {
        await file.writeFile(json)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(temporary, this.#path)
      const folder = await open(path.dirname(this.#path), 'r')
      try {
        await folder.sync()
      } finally {
        await folder.close()
      }
    } catch (error) {
      throw new MinimError('MINIM_AGENT_STATE', { what: `cannot be written (${codeOf(error)})` })
    }
  }
}

/** Moves a file's place on. What it was called when it was shorter is forgotten. */
export function movePlace(
  state: StreamState,
  before: { readonly source: string; readonly incarnation: string },
  now: Place,
): void {
  state.places = state.places.filter(
    (p) => p.source !== now.source || (p.incarnation !== before.incarnation && p.incarnation !== now.incarnation),
  )
  state.places.push(now)
  if (state.places.length > MAX_PLACES) state.places.shift()
}

function read(file: string): Record<string, StreamState> {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return {}
    throw new MinimError('MINIM_AGENT_STATE', { what: `cannot be read (${codeOf(error)})` })
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    value = null
  }
  if (!isState(value)) throw new MinimError('MINIM_AGENT_STATE', { what: 'is damaged' })
  return value.streams
}

function isState(value: unknown): value is { readonly streams: Record<string, StreamState> } {
  const { version, streams } = (value ?? {}) as { version?: unknown; streams?: unknown }
  if (version !== VERSION || typeof streams !== 'object' || streams === null) return false
  const whole = (n: unknown): boolean => typeof n === 'number' && Number.isSafeInteger(n) && n >= 0
  return Object.values(streams as Record<string, Partial<StreamState> | null>).every(
    (s) =>
      typeof s?.incarnation === 'string' &&
      whole(s.acknowledged) &&
      Array.isArray(s.cuts) &&
      Array.isArray(s.places) &&
      s.cuts.every(
        (c, i) =>
          whole(c.sequence) &&
          whole(c.start) &&
          whole(c.end) &&
          typeof c.incarnation === 'string' &&
          typeof c.source === 'string' &&
          typeof c.place === 'string' &&
          (i === 0 || c.sequence === (s.cuts?.[i - 1]?.sequence ?? 0) + 1),
      ) &&
      s.places.every((p) => whole(p.sequence) && typeof p.incarnation === 'string' && typeof p.source === 'string'),
  )
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'error'
}
