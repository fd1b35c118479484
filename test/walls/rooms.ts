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

/** The files of a room that others may import; ground rooms are open to all. A source that is not named has its start
 * and its settings. */
export const ENTRIES: Readonly<Record<string, readonly string[]>> = {
  app: ['app.ts', 'check-brokers.ts', 'check.ts', 'reload.ts', 'workers.ts'],
  cli: ['exit.ts'],
  decide: ['decide.ts'],
  deliver: ['delivery.ts', 'ledger.ts'],
  formats: [
    'freeswitch/body.ts',
    'freeswitch/records.ts',
    'freeswitch/wanted.ts',
    'json-lines.ts',
    'local-time.ts',
    'mapping.ts',
    'readers.ts',
    'record-writer.ts',
    'sip/address.ts',
    'sip/identity.ts',
    'sip/message.ts',
    'sip/records.ts',
    'sip/vq-rtcpxr.ts',
    'spooled.ts',
  ],
  kafka: [
    'admin.ts',
    'change-topics.ts',
    'cluster.ts',
    'codes.ts',
    'embedded.ts',
    'errors.ts',
    'member.ts',
    'produce-requests.ts',
    'properties.ts',
    'property-rules.ts',
    'record-batch.ts',
    'record-set.ts',
    'requests.ts',
    'settings.ts',
    'tail.ts',
    'topics.ts',
    'unpack.ts',
  ],
  normalise: ['mac.ts', 'normalise.ts', 'user-agent.ts'],
  ops: ['flows.ts', 'health.ts', 'log.ts', 'metrics.ts', 'quarantine-notes.ts', 'reloads.ts'],
  pipeline: ['pipeline.ts'],
  policy: [
    'compile.ts',
    'explain.ts',
    'lint.ts',
    'load.ts',
    'model.ts',
    'notice.ts',
    'schema-print.ts',
    'schema.ts',
    'treatment-text.ts',
    'vocabulary.ts',
  ],
  project: ['messages.ts', 'project.ts', 'tag.ts'],
  quarantine: ['box.ts', 'topic.ts'],
  sections: [
    'authorise.ts',
    'certificate-dates.ts',
    'network-list.ts',
    'networks.ts',
    'parts.ts',
    'secrets.ts',
    'server-tls.ts',
    'source-section.ts',
    'tls-files.ts',
  ],
  settings: ['load.ts', 'schema.ts', 'sections.ts', 'summary.ts', 'tenants.ts'],
  'sources/common': [
    'authorise.ts',
    'content-stream.ts',
    'deliver-client.ts',
    'file-identity.ts',
    'file-settings.ts',
    'files.ts',
    'follow-file.ts',
    'followers.ts',
    'growing-file.ts',
    'http-answers.ts',
    'http-server.ts',
    'ingest-service.ts',
    'outbox.ts',
    'packed-file.ts',
    'posted-settings.ts',
    'rotated-files.ts',
  ],
  'sources/files': ['feed-file.ts'],
  spool: ['feed.ts', 'lmdb-store.ts', 'lock.ts', 'open.ts', 'settings.ts', 'spool.ts'],
  treatments: ['operation.ts', 'registry.ts', 'token.ts', 'treatment.ts'],
  trial: [
    'cases.ts',
    'decode.ts',
    'diff.ts',
    'examples.ts',
    'groups.ts',
    'linkage.ts',
    'presence.ts',
    'preview-html.ts',
    'preview-text.ts',
    'sample-table.ts',
    'trial.ts',
    'upper-bound.ts',
  ],
}
