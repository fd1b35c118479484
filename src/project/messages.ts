/**
 * The messages of one batch: what the purposes may see, and what is quarantined beside it. Whoever runs the stages gets
 * at the output through this alone: rows go in through a purpose's projection, and other bytes only to the topic of
 * what was refused.
 */
import type { Minimised } from '../flow/minimised.js'
import type { Outcome } from '../flow/outcome.js'
import { Output } from '../flow/output.js'
import type { ProjectedRows, Projector } from './project.js'

/** The topics that a plan writes to. */
export interface MessageTopics {
  readonly topics: readonly string[]
  /** Where sealed bytes of refused input go, among them. */
  readonly quarantineTopic: number
}

export class Messages {
  readonly #output = new Output()
  readonly #topics: MessageTopics
  readonly #headers: Minimised['headers']

  /** @param headers Kafka headers by topic, where a purpose asks for them */
  constructor(topics: MessageTopics, headers: Minimised['headers']) {
    this.#topics = topics
    this.#headers = headers
  }

  /** Begins another batch: what was minted is not valid any more. */
  clear(): void {
    this.#output.clear()
  }

  /** Writes a purpose's messages. @returns how many */
  project(projector: Projector, rows: ProjectedRows): number {
    const before = this.#output.count
    projector.run(rows, this.#output)
    return this.#output.count - before
  }

  /** Adds a message with sealed bytes to the topic of what was refused. @param timestamp Unix time, ms */
  quarantine(sealed: Uint8Array, timestamp: number, record: number): void {
    const output = this.#output
    output.reserve(sealed.length)
    const start = output.pos
    output.bytes.set(sealed, start)
    output.pos += sealed.length
    output.add(this.#topics.quarantineTopic, start, 0, 0, timestamp, record)
  }

  /** What `deliver` takes, valid until the next {@link clear}. */
  mint(outcome: Outcome): Minimised {
    return this.#output.mint(this.#topics.topics, this.#headers, outcome)
  }
}
