/**
 * How far a load is: a bar on a terminal, with rate and time left; and for whoever interrupts it, where it goes on.
 * What else is said meanwhile stands above the bar, in lines of its own.
 */
import { SingleBar } from 'cli-progress'

/** Erases the line that the cursor is in, and goes to its beginning. */
const ERASE_LINE = '\r\u001b[K'

export interface LoadState {
  /** Committed, offset in the file. */
  readonly done: number
  /** NaN where it is not known. */
  readonly size: number
  /** What an earlier run had taken. */
  readonly from: number
  /** Of the whole load. */
  readonly records: number
}

export class LoadProgress {
  readonly #stream: NodeJS.WriteStream
  readonly #now: () => number
  #label = 'input file'
  #bar: SingleBar | null = null
  #state: LoadState | null = null
  #begunAt = 0
  #recordsBefore = 0

  constructor(stream: NodeJS.WriteStream, now: () => number = () => performance.now()) {
    this.#stream = stream
    this.#now = now
  }

  /** The next file. @param label what it is called: never its name */
  begin(label: string): void {
    this.#label = label
    this.#recordsBefore = this.#state?.records ?? this.#recordsBefore
    this.#state = null
    this.#begunAt = this.#now()
  }

  /** So much is committed. */
  at(state: LoadState): void {
    this.#state = state
    if (!this.#stream.isTTY) return
    const total = Number.isNaN(state.size) ? 0 : state.size
    if (this.#bar === null) {
      this.#bar = new SingleBar({
        format: Number.isNaN(state.size)
          ? ' {value} bytes  {records} records  {rate}'
          : ' {bar} {percentage}%  {value} of {total} bytes  {records} records  {rate}  {left}',
        stream: this.#stream,
        // What was written above has taken its place.
        forceRedraw: true,
      })
      this.#bar.start(total, state.done, this.#words(state))
    }
    this.#bar.update(state.done, this.#words(state))
  }

  /** The file is done, or the load has ended. */
  end(): void {
    this.#bar?.stop()
    this.#bar = null
  }

  /** Writes lines, above the bar if there is one. */
  say(text: string): void {
    if (this.#bar === null || this.#state === null) {
      this.#stream.write(text)
      return
    }
    this.#stream.write(`${ERASE_LINE}${text}`)
    this.#bar.update(this.#state.done, this.#words(this.#state))
  }

  /** Where the next run goes on. */
  place(): string {
    const state = this.#state
    const where =
      state === null
        ? `nothing of ${this.#label} is committed by this run`
        : `${state.done}${Number.isNaN(state.size) ? '' : ` of ${state.size}`} bytes of ${this.#label} are committed`
    return `${where}; the same command goes on from there`
  }

  #words({ done, size, from, records }: LoadState): { records: number; rate: string; left: string } {
    const seconds = Math.max(0.001, (this.#now() - this.#begunAt) / 1000)
    const bytesPerSecond = (done - from) / seconds
    return {
      records,
      rate: `${Math.round((records - this.#recordsBefore) / seconds)} records/s`,
      left: bytesPerSecond > 0 && size >= done ? `${duration((size - done) / bytesPerSecond)} left` : '',
    }
  }
}

/** `7 s`, `3 min 20 s`, `2 h 5 min`: the two largest units. */
export function duration(seconds: number): string {
  const whole = Math.ceil(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`
}
