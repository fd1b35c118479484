/**
 * Wires the stages in the order of the data's path:
 *
 *   ingest ──bytes──▶ batch ──▶ normalise ──▶ decide ──▶ project ──▶ deliver ──▶ Kafka
 *                       ▲                        ▲          ▲           │
 *                   catalogue                  policy   policy, keys    ledger, quarantine
 */
import { type Catalogue, catalogue as shippedCatalogue } from '../catalogue/catalogue.js'
import { Delivery, type DeliveryHooks } from '../deliver/delivery.js'
import { MinimError } from '../errors/catalogue.js'
import { ProblemsError } from '../errors/problems.js'
import { isUnkeyed, ledgerContentsName } from '../flow/contents.js'
import type { SourceKind } from '../flow/counters.js'
import type { StreamIntake } from '../flow/intake.js'
import type { Logger } from '../flow/log.js'
import { markOf } from '../flow/marks.js'
import type { Outcome } from '../flow/outcome.js'
import type { Inlet, SourceContext } from '../flow/source.js'
import type { WorkItem } from '../flow/work-item.js'
import { ALONE, type WorkerPlace } from '../flow/worker-place.js'
import { SPOOLED_SCRATCH_BYTES, spooledReaders, spooledRecords } from '../formats/spooled.js'
import { type EmbeddedKafka, startEmbeddedKafka } from '../kafka/embedded.js'
import type { CachedKeyring } from '../keys/cached-keyring.js'
import { loadMaster } from '../keys/master.js'
import { KeyStore } from '../keys/store.js'
import { type Readiness, startOps } from '../ops/health.js'
import { Metrics } from '../ops/metrics.js'
import { QuarantineNotes } from '../ops/quarantine-notes.js'
import type { Plan } from '../policy/compile.js'
import { loadPolicy, tenantProblems } from '../policy/load.js'
import type { Policy } from '../policy/model.js'
import type { Settings } from '../settings/schema.js'
import { usesSpool } from '../settings/sections.js'
import { sourcesOf } from '../settings/summary.js'
import { checkMappings } from '../sources/common/followers.js'
import type { SpoolIntake } from '../spool/feed.js'
import { holdsSpool, lockSpool, type SpoolLock } from '../spool/lock.js'
import { VERSION } from '../version.js'
import { generationOf, KeysAhead, topicsOf, wantedTopics } from './generation.js'
import { NO_SPOOL, openSpools } from './open-spools.js'
import { type Generation, Policies } from './policies.js'
import { outageReason, ReadinessWatch } from './readiness.js'
import { serveSupervisor } from './workers.js'

/** How often it is said that Kafka is waited for. */
const WAITING_INTERVAL_MS = 10_000

export interface CoreOptions {
  readonly settings: Settings
  readonly log: Logger
  /** What `settings.policy` holds. Default: it is loaded. */
  readonly policy?: Policy
  /** Default: the key store that the settings name, opened with the master key. */
  readonly keyring?: CachedKeyring
  /** Told when delivery can do no more: the process should end with a failure. */
  readonly onFatal: (error: MinimError) => void
  /** One of more processes. Default: the only one. */
  readonly worker?: WorkerPlace
  /** In a worker: its supervisor has gone. */
  readonly onOrphaned?: () => void
  /** Ends a start that has not come to its end. */
  readonly signal?: AbortSignal
  /** Told of what delivery has to say, instead of the log. */
  readonly onNotice?: (error: MinimError) => void
  /** Told of each committed batch. */
  readonly onCommitted?: (outcome: Outcome, item: WorkItem) => void
}

/** Policy, keys, pipeline and delivery: what every command that moves records needs. */
export interface Core {
  readonly catalogue: Catalogue
  readonly plan: Plan
  readonly metrics: Metrics
  readonly delivery: Delivery
  readonly bootstrap: string
  readonly intake: (source: SourceKind) => StreamIntake
  readonly keyring: CachedKeyring
  /** For the spool, whose items hold records of several kinds of source. */
  readonly spoolIntake: SpoolIntake
  readonly readiness: ReadinessWatch
  /** The policy that runs. */
  readonly policy: () => Policy
  /**
   * Makes ready for another policy: its topics are made and checked, its keys made. Nothing of what runs changes.
   * @returns what lets it run from the next batch on
   * @throws MinimError when topics differ, or Kafka or the key store do not answer
   */
  readonly preparePolicy: (policy: Policy) => Promise<() => void>
  stop(drainMs?: number): Promise<void>
}

/** Keeps what became of each batch, and the policy that it is made by, until it is committed; then counts it. */
function counted(item: WorkItem, source: SourceKind | null, { metrics, policies, onCommitted }: Counting): WorkItem {
  let outcome: Outcome | null = null
  const hold = policies.hold()
  const handover = metrics.handOver(source, item.records ?? null)
  return {
    id: item.id,
    sequence: item.sequence,
    bytes: item.bytes,
    receivedAt: item.receivedAt,
    ...(item.offset === undefined ? {} : { offset: item.offset }),
    ...(item.mark === undefined ? {} : { mark: item.mark }),
    minimise: (excluded) => {
      const made = hold.minimise(item, excluded)
      outcome = made.outcome
      handover.minimised(outcome.records)
      return made
    },
    committed: () => {
      const flows = hold.release()
      handover.committed()
      if (outcome !== null) {
        metrics.onCommitted(
          outcome,
          (performance.now() - item.receivedAt) / 1000,
          source ?? item.received?.() ?? new Map(),
          flows,
        )
        onCommitted(outcome, item)
      }
      item.committed()
    },
    failed: (error) => {
      hold.release()
      handover.failed()
      item.failed(error)
    },
  }
}

interface Counting {
  readonly metrics: Metrics
  readonly policies: Policies
  readonly onCommitted: (outcome: Outcome, item: WorkItem) => void
}

/** What is counted under this plan, and said of what is not accounted for. */
function metricsOf({ plan, flows }: Generation, settings: Settings, log: Logger): Metrics {
  const metrics = new Metrics({
    flows,
    minimVersion: VERSION,
    policyVersion: plan.policy.version,
    guarantee: settings.delivery.guarantee,
    sources: Object.keys(sourcesOf(settings)) as SourceKind[],
  })
  metrics.driftTo(({ source, purpose, kind, records }) => {
    log.error({ err: new MinimError('MINIM_CONSERVATION_DRIFT', { source, purpose, kind, records }) })
  })
  return metrics
}

/** What delivery says, as lines of the log and counts. */
function hooksOf(options: CoreOptions, metrics: Metrics): DeliveryHooks {
  const { log, onFatal, worker = ALONE } = options
  return {
    onFatal,
    onNotice: (error) => {
      if (options.onNotice !== undefined) options.onNotice(error)
      // Of these each is a retry: the log has their beginning and their end.
      else if (outageReason(error) === null) log.warn({ err: error })
      if (error.code === 'MINIM_DELIVERY_ABORTED') metrics.onTransaction('unclean', 0)
      if (error.code === 'MINIM_DELIVERY_UNQUARANTINABLE') metrics.onDropped(Number(error.details['count']))
    },
    onOutage: (outage) => {
      if (options.onNotice !== undefined) return
      if (outage === null) log.info('Kafka takes records again')
      else log.warn({ err: outage }, `Kafka takes nothing: ${outage.message}`)
    },
    onPhase: (phase) => {
      log.info({ phase }, 'delivery')
    },
    onTookOver: (former) => {
      log.info({ former, shard: worker.index }, 'the shard is taken over from')
    },
    onCommit: ({ commitMs }) => {
      metrics.onTransaction('committed', commitMs / 1000)
    },
    onTopics: ({ warnings, created }) => {
      if (created.length > 0) log.info({ topics: created }, 'topics created')
      for (const warning of warnings) log.warn(warning)
    },
  }
}

function warnOfGuarantee(settings: Settings, log: Logger): void {
  if (settings.delivery.guarantee === 'at-least-once')
    log.warn(
      'delivery is at least once, without transactions: after trouble records may be in topics twice, ' +
        'and a second process with the same cluster name is not noticed',
    )
}

/**
 * Starts delivery, and says now and then that Kafka is waited for, until it was reached once.
 * @returns what ends that
 */
function startDelivery(delivery: Delivery, bootstrap: string, { log, onFatal }: CoreOptions): () => void {
  delivery.start().catch((error: unknown) => {
    onFatal(asStartError(error))
  })
  const timer = setInterval(() => {
    const { phase, ready } = delivery.state
    if (ready || phase === 'failed') clearInterval(timer)
    else log.warn({ kafka: bootstrap, phase }, 'waiting for Kafka')
  }, WAITING_INTERVAL_MS).unref()
  return () => {
    clearInterval(timer)
  }
}

function asStartError(error: unknown): MinimError {
  return error instanceof MinimError
    ? error
    : new MinimError('MINIM_DELIVERY_ABORTED', { what: 'start' }, { cause: error })
}

/** What a source hands to that keeps its place in the ledger. */
function streamIntake({ policies, delivery, keyring, take }: IntakeParts): StreamIntake {
  return {
    // A sender may have chosen a name that looks like one which is given no more.
    lastTaken: (id) =>
      isUnkeyed(id.incarnation)
        ? Math.max(
            delivery.lastTaken(id),
            delivery.lastTaken({ ...id, incarnation: ledgerContentsName(keyring, id.incarnation) }),
          )
        : delivery.lastTaken(id),
    contentsName: (hash) => ledgerContentsName(keyring, hash),
    streamsOf: (source) => delivery.streamsOf(source),
    offer: (item) => delivery.offer(take(item)),
    mark: (id, sequence, body) => markOf(keyring, id, sequence, body),
    differs: (id, sequence, mark) => delivery.differs(id, sequence, mark),
    minimise: (input, excluded) => policies.pipeline.run(input, excluded ?? null),
    minimiseFilled: (batch, format, tenant, excluded) =>
      policies.pipeline.runFilled(batch, format, tenant, excluded ?? null),
  }
}

interface IntakeParts {
  readonly policies: Policies
  readonly delivery: Delivery
  readonly keyring: CachedKeyring
  /** Puts an item on the source's account. */
  readonly take: (item: WorkItem) => WorkItem
}

/**
 * Builds the core and starts delivery. Everything that a retry cannot mend is thrown here, before any record is taken.
 * Without a broker delivery goes on trying in the background; `ready` says so.
 */
export async function startCore(options: CoreOptions): Promise<Core> {
  const { settings, log, worker = ALONE } = options
  const catalogue = shippedCatalogue()
  const policy = options.policy ?? loadPolicy(settings.policy, catalogue)
  const unknownTenants = tenantProblems(policy, Object.keys(settings.tenants))
  if (unknownTenants.length > 0) throw new ProblemsError('MINIM_POLICY_INVALID', settings.policy, unknownTenants)
  const keyring = options.keyring ?? KeyStore.open(settings.keys.store, loadMaster(settings.keys.master))
  const keys = new KeysAhead(keyring, policy, log)
  const parts = { catalogue, keyring, settings }
  const first = generationOf(policy, parts)
  const { plan } = first
  const policies = new Policies(first, () => {
    delivery.useTopics(topicsOf(policies, settings))
  })
  const metrics = metricsOf(first, settings, log)
  const notes = new QuarantineNotes(log)
  const onCommitted = (outcome: Outcome, item: WorkItem): void => {
    notes.add(outcome.quarantined)
    options.onCommitted?.(outcome, item)
  }
  const counting: Counting = { metrics, policies, onCommitted }
  warnOfGuarantee(settings, log)
  const embedded: EmbeddedKafka | null = settings.embedded ? await startEmbeddedKafka() : null
  const { 'bootstrap.servers': configured, ...properties } = settings.kafka
  const bootstrap = embedded?.bootstrap ?? String(configured)
  const delivery = new Delivery({
    bootstrap,
    properties,
    hooks: hooksOf(options, metrics),
    settings: { cluster: settings.cluster, ...settings.delivery },
    topics: embedded === null ? wantedTopics(plan, settings) : null,
    replication: settings.topics.replication,
    renaming: { isOutdated: isUnkeyed, rename: (incarnation) => ledgerContentsName(keyring, incarnation) },
    shard: worker.index,
    shards: worker.count,
  })
  const readiness = new ReadinessWatch(delivery, metrics)
  metrics.sampleFrom(() => ({
    ready: readiness.now.ok,
    inFlightItems: delivery.stats.inFlightItems + delivery.stats.waitingItems,
    retainedBytes: delivery.stats.retainedBytes,
  }))
  const stopWaiting = startDelivery(delivery, bootstrap, options)
  return {
    catalogue,
    plan,
    metrics,
    delivery,
    bootstrap,
    readiness,
    keyring,
    policy: () => policies.current.plan.policy,
    preparePolicy: async (policy) => {
      const next = generationOf(policy, parts)
      await delivery.prepareTopics(wantedTopics(next.plan, settings))
      keys.prepare(policy)
      return () => {
        policies.use(next)
        keys.use(policy)
        delivery.useTopics(topicsOf(policies, settings))
        metrics.usePolicy(next.flows, policy.version)
      }
    },
    spoolIntake: {
      lastTaken: (id) => delivery.lastSpooled(id.incarnation),
      offer: (item) => delivery.offer(counted(item, null, counting)),
      minimiseAll: (inputs, excluded, records) => policies.pipeline.runAll(inputs, excluded ?? null, records),
    },
    intake: (source) => streamIntake({ policies, delivery, keyring, take: (item) => counted(item, source, counting) }),
    stop: async (drainMs) => {
      await delivery.stop(drainMs)
      notes.stop()
      stopWaiting()
      keys.stop()
      await embedded?.stop()
    },
  }
}

/** Resolves when delivery takes records; rejects when it never will. */
export async function untilReady(core: Core, signal?: AbortSignal): Promise<void> {
  while (!core.delivery.state.ready) {
    const { phase, error } = core.delivery.state
    if (phase === 'failed') throw error ?? new MinimError('MINIM_DELIVERY_STOPPED')
    if (signal?.aborted === true) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export interface App extends Core {
  /** The spool. */
  readonly inlet: Inlet
  /** Where PBX nodes connect. */
  readonly grpcAddress: string
  readonly ready: () => Readiness
  /** Where each source listens, by what. */
  readonly addresses: Readonly<Record<string, string>>
  /** Where /metrics, /healthz and /readyz answer. */
  readonly opsAddress: string
}

/** The proxy: the core, the sources and the operator's port. */
export async function startApp(options: CoreOptions): Promise<App> {
  const { settings, worker = ALONE } = options
  checkMappings(settings, shippedCatalogue())
  const lock =
    worker.folder === null && (usesSpool(settings) || holdsSpool(settings.spool.path))
      ? lockSpool(settings.spool.path)
      : null
  try {
    return await startLocked(options, lock)
  } catch (error) {
    lock?.release()
    throw error
  }
}

async function startLocked(options: CoreOptions, lock: SpoolLock | null): Promise<App> {
  const { settings, log, worker = ALONE, signal } = options
  // A bulk load needs none of their servers and parsers.
  const [{ REPLAYABLE, SPOOLED, startSources }, { OpenParts }] = await Promise.all([
    import('./sources.js'),
    import('./open-parts.js'),
  ])
  const core = await startCore(options)
  const parts = new OpenParts(core, lock)
  // Who finds it ready may connect at once.
  const ready = (): Readiness => {
    const readiness = core.readiness.now
    return readiness.ok && parts.stage !== 'running' ? { ok: false, reasons: [parts.stage] } : readiness
  }
  core.readiness.alsoAsk(() => parts.spoolTroubles)
  try {
    parts.spools = await openSpools(settings, core, log, worker)
    // Of several processes the supervisor has the operator's port.
    if (worker.folder === null)
      parts.ops = await startOps({ listen: settings.ops.listen, registry: core.metrics.registry, ready })
    else parts.leave = serveSupervisor(core.metrics.registry, ready, core, options.onOrphaned ?? (() => undefined))
    const { ops, spools } = parts
    const opsAddress = ops === null ? '' : `${ops.host}:${ops.port}`
    // Before a broker answers: it is asked then above all.
    if (ops !== null) log.info({ ops: opsAddress }, "operator's port")
    const inlet: Inlet = spools[0] ?? NO_SPOOL
    const context: SourceContext<Settings> = {
      settings,
      catalogue: core.catalogue,
      log,
      worker,
      intake: core.intake,
      inlet,
      counters: (kind) => core.metrics.counters(kind),
      onBroken: (source, error) => {
        log.error({ err: error, source }, 'a source has broken down; the others go on')
      },
    }
    parts.sources = await startSources(SPOOLED, context)
    await untilReady(core, signal)
    if (signal?.aborted === true) throw new MinimError('MINIM_DELIVERY_STOPPED')
    for (const spool of spools)
      spool.start(core.spoolIntake, {
        reader: spooledReaders(core.catalogue, settings.limits.maxRecordBytes),
        count: spooledRecords,
        scratchBytes: SPOOLED_SCRATCH_BYTES,
      })
    parts.sources = [...parts.sources, ...(await startSources(REPLAYABLE, context))]
    parts.stage = 'running'
    const addresses: Readonly<Record<string, string>> = Object.fromEntries(
      parts.sources.flatMap((source) => Object.entries(source.addresses)),
    )
    log.info(
      {
        ...addresses,
        ...(ops === null ? {} : { ops: opsAddress }),
        kafka: core.bootstrap,
        policy: core.plan.policy.version,
      },
      'ready',
    )
    return {
      ...core,
      ready,
      inlet,
      addresses,
      grpcAddress: addresses['grpc'],
      opsAddress,
      stop: (drainMs) => parts.shutDown(drainMs),
    }
  } catch (error) {
    await parts.shutDown(0)
    throw error
  }
}
