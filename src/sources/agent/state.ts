/**
 * What an agent must know after a crash: how far each file was cut into batches, and which batches are not
 * acknowledged.
 *
 * A batch's number says nothing about where it lies in a file. So its cut is on disk before it is sent for the first
 * time: whatever the proxy has taken when the agent comes back, the rest is cut from the same bytes and sent under the
 * same numbers.
 *
 * A JSON file, written beside itself, flushed and renamed, the folder flushed too. It holds offsets, and HMACs of how
 * files begin; their key lies in a file of its own beside it, so that the state alone tells nothing of the lines.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import { open, rename } from 'node:fs/promises'
import path from 'node:path'
import { lockDescriptor } from '../../base/file-lock.js'
import { MinimError } from '../../errors/catalogue.js'
import { contentsName, isUnkeyed } from '../../flow/contents.js'

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

const VERSION = 2
/** Its hashes had no key. */
const UNKEYED_VERSION = 1
const KEY_BYTES = 32
/**
 * Rotated files that are remembered: more than any logrotate keeps for the day that it must be known whether one was
 * read.
 */
const MAX_PLACES = 512

export class AgentState {
  readonly #path: string
  readonly #lock: number
  readonly #key: Buffer
  readonly #streams: Record<string, StreamState>
  #saving: Promise<void> | null = null
  #next: Promise<void> | null = null

  private constructor(path: string, lock: number, key: Buffer, streams: Record<string, StreamState>) {
    this.#path = path
    this.#lock = lock
    this.#key = key
    this.#streams = streams
    for (const { places, cuts } of Object.values(streams)) {
      places.forEach((place, i) => (places[i] = this.#keyed(place)))
      cuts.forEach((cut, i) => (cuts[i] = this.#keyed(cut)))
    }
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
      const { version, streams } = read(file)
      return new AgentState(file, lock, readKey(`${file}.key`, version === VERSION), streams)
    } catch (error) {
      closeSync(lock)
      throw error
    }
  }

  /** What the state calls contents with this hash. */
  contentsName(hash: string): string {
    return contentsName(this.#key, hash)
  }

  /** Under a name with a key, whatever it was written under. */
  #keyed<T extends { readonly incarnation: string }>(entry: T): T {
    return isUnkeyed(entry.incarnation) ? { ...entry, incarnation: this.contentsName(entry.incarnation) } : entry
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

interface Stored {
  readonly version: number
  readonly streams: Record<string, StreamState>
}

/**
 * The key of the state's hashes, made where there is none yet.
 * @param needed the state was written under it: under another, each file would be read from its beginning again
 */
function readKey(file: string, needed: boolean): Buffer {
  try {
    const key = readFileSync(file)
    if (key.length === KEY_BYTES) return key
    // Cut off while it was made: nothing was written under it.
    if (needed) throw new MinimError('MINIM_AGENT_STATE', { what: 'has another key: its key file is damaged' })
  } catch (error) {
    if (error instanceof MinimError) throw error
    if (codeOf(error) !== 'ENOENT')
      throw new MinimError('MINIM_AGENT_STATE', { what: `its key file cannot be read (${codeOf(error)})` })
    if (needed) throw new MinimError('MINIM_AGENT_STATE', { what: 'its key file is not there' })
  }
  const key = randomBytes(KEY_BYTES)
  try {
    const descriptor = openSync(file, 'w', 0o600)
    try {
      writeSync(descriptor, key)
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
  } catch (error) {
    throw new MinimError('MINIM_AGENT_STATE', { what: `its key file cannot be written (${codeOf(error)})` })
  }
  return key
}

function read(file: string): Stored {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return { version: UNKEYED_VERSION, streams: {} }
    throw new MinimError('MINIM_AGENT_STATE', { what: `cannot be read (${codeOf(error)})` })
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    value = null
  }
  if (!isState(value)) throw new MinimError('MINIM_AGENT_STATE', { what: 'is damaged' })
  return value
}

function isState(value: unknown): value is Stored {
  const { version, streams } = (value ?? {}) as { version?: unknown; streams?: unknown }
  if ((version !== VERSION && version !== UNKEYED_VERSION) || typeof streams !== 'object' || streams === null)
    return false
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
