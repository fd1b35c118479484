/**
 * The rooms of the house, and what each may import: the table of `docs/architecture.md`, as `walls.test.ts` holds the
 * code against it.
 *
 * Ground rooms may be imported by all that stand below them in this list. `sections` and `kafka` are ground rooms that
 * must be named all the same: few rooms have to do with settings or with Kafka's protocol, and which ones is worth a
 * line here.
 */

/** A ground room may import those that stand before it. */
export const GROUND = ['errors', 'base', 'catalogue', 'batch', 'keys', 'flow'] as const

export interface Room {
  /** What it may import beside the ground. `*` is everything, `settings.ts` the settings section of each room. */
  readonly imports: readonly string[]
}

const room = (...imports: string[]): Room => ({ imports })

/** By name: a folder below `src/`, or a file there. `sources/*` stands for the folder of each kind of source. */
export const ROOMS: Readonly<Record<string, Room>> = {
  // The ground.
  errors: room(),
  base: room(),
  catalogue: room(),
  batch: room(),
  keys: room(),
  flow: room(),
  sections: room(),
  kafka: room('sections'),
  // The way of a record.
  normalise: room(),
  formats: room('normalise'),
  'sources/common': room('formats', 'sections'),
  'sources/*': room('formats', 'sources/common', 'normalise', 'sections'),
  // Its records come from a topic: it is a member of a consumer group.
  'sources/kafka': room('formats', 'sources/common', 'normalise', 'sections', 'kafka'),
  spool: room('sections'),
  treatments: room(),
  policy: room('treatments'),
  decide: room('policy'),
  project: room('policy', 'treatments'),
  quarantine: room('kafka'),
  pipeline: room('normalise', 'decide', 'project', 'quarantine', 'policy'),
  deliver: room('kafka'),
  trial: room('formats', 'policy', 'treatments', 'pipeline'),
  // Around it.
  settings: room('sections', 'settings.ts'),
  ops: room('sections'),
  app: room('*'),
  cli: room('*'),
  'version.ts': room(),
}

/**
 * Files that not all may import who may import their room: by path, the rooms that may, beside `flow` itself. Whoever
 * has the mint can make anything into what leaves the proxy.
 */
export const OWNED_FILES: Readonly<Record<string, readonly string[]>> = { 'flow/output.ts': ['project'] }
