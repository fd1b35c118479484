/** What sources and the spool count, as types: `src/ops` makes the page of metrics of it. */

/** Where records come in. */
export const SOURCE_KINDS = ['grpc', 'file', 'ami', 'freeswitch', 'http', 'hep', 'sip', 'kafka', 'quarantine'] as const

export type SourceKind = (typeof SOURCE_KINDS)[number]

/** Why a source took a message (a post, a packet, an event, a line) not: the closed set of labels. */
export const SOURCE_REFUSALS = [
  /** Not of its protocol, or broken. */
  'malformed',
  /**
   * A URL or method that nothing is there for: its sender has a wrong one, and what it sends is lost until that is
   * mended.
   */
  'not_found',
  'too_large',
  /** No or wrong password, key or certificate. */
  'unauthorised',
  /** More than the settings allow: in a second, connections at once, calls followed at once. */
  'rate',
  'connections',
  'too_many',
  /** Nothing came for too long. */
  'idle',
  /** Of its protocol, and of no use here: an event, a method, a payload kind that gives no record. */
  'unused',
  /** Its sender's id was seen before. */
  'repeated',
  /** Its sender's id was seen before, with another body. */
  'key_reused',
  /** Another source of the settings gives the node's call records. */
  'other_source',
  /** The spool is full or broken. */
  'no_room',
] as const

export type SourceRefusal = (typeof SOURCE_REFUSALS)[number]

/**
 * Content of communications and names of people that no record has a field for: left at the source. A closed set of
 * labels.
 */
export const LEFT_CONTENT = [
  /** The text of a message. */
  'message',
  /** Where a recording lies, or what it is called. */
  'recording',
  'voicemail',
  /** Keys that were pressed: a PIN, a card's number. */
  'dtmf',
  /** What somebody is called, apart from a call record's own caller: that name is the policy's to give or not. */
  'name',
] as const

export type LeftContent = (typeof LEFT_CONTENT)[number]

/** What one kind of source counts, in its protocol's own units: posts, packets, events, lines. */
export interface SourceCounters {
  received(count: number): void
  refused(reason: SourceRefusal, count?: number): void
  /** Content that came and was left, whatever became of the message in which it was. */
  left(content: LeftContent): void
  /** How far behind it is, s: the age of what was read last. */
  lag(seconds: number): void
  /** Senders that are connected. */
  connections(count: number): void
  /** Time in which nothing could be received and that nobody sends again, s. */
  gap(seconds: number): void
}

/** Why the spool took something not, or could not read it again. */
export const SPOOL_REFUSALS = ['full', 'broken'] as const

export type SpoolRefusal = (typeof SPOOL_REFUSALS)[number]

/** What the spool tells at each scrape. */
export interface SpoolSample {
  /** Octets in use on disk. */
  readonly bytes: number
  readonly blocks: number
  /** Age of the oldest block, s. */
  readonly oldestSeconds: number
}

/** What the spool counts. */
export interface SpoolCounters {
  /** Once per put that was stored: until it was on disk, s. */
  put(seconds: number): void
  refused(reason: SpoolRefusal): void
  /** Blocks that could not be read again and were moved aside. */
  damaged(): void
  sampleFrom(sample: () => SpoolSample): void
}
