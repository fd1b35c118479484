/** What a policy needs around it to run: what makes its messages, topics and keys. */
import { type Catalogue, KINDS } from '../catalogue/catalogue.js'
import type { Logger } from '../flow/log.js'
import { QUARANTINE_TOPIC } from '../flow/topic-names.js'
import type { WantedTopic } from '../kafka/topics.js'
import type { CachedKeyring } from '../keys/cached-keyring.js'
import type { KeyDomain } from '../keys/keyring.js'
import type { Flow } from '../ops/flows.js'
import { Pipeline } from '../pipeline/pipeline.js'
import { compile, type Plan } from '../policy/compile.js'
import type { Policy } from '../policy/model.js'
import type { Settings } from '../settings/schema.js'
import { tenantsOf } from '../settings/tenants.js'
import type { Generation, Policies } from './policies.js'

export interface GenerationParts {
  readonly catalogue: Catalogue
  readonly keyring: CachedKeyring
  readonly settings: Settings
}

export function generationOf(policy: Policy, { catalogue, keyring, settings }: GenerationParts): Generation {
  const plan = compile(policy, catalogue)
  const pipeline = new Pipeline({
    catalogue,
    plan,
    keyring,
    tenants: tenantsOf(settings),
    models: settings.devices.models,
    futureMs: settings.limits.futureMs,
    guarantee: settings.delivery.guarantee,
  })
  return { plan, pipeline, flows: flowsOf(plan) }
}

/** The topics that a plan writes to, as the brokers must have them. */
export function wantedTopics(plan: Plan, settings: Settings): WantedTopic[] {
  const { partitions, quarantineDays } = settings.topics
  const topics = KINDS.flatMap((kind) =>
    plan.kinds[kind].purposes.map((p) => ({
      name: p.rules.topic,
      partitions,
      retentionDays: p.purpose.retentionDays,
      compacted: false,
    })),
  )
  return [...topics, { name: QUARANTINE_TOPIC, partitions, retentionDays: quarantineDays, compacted: false }]
}

/** What is written to: by the policy that runs, and by those before it that batches on their way still need. */
export function topicsOf({ current, former }: Policies, settings: Settings): WantedTopic[] {
  const topics = new Map<string, WantedTopic>()
  for (const { plan } of [...former, current])
    for (const topic of wantedTopics(plan, settings)) topics.set(topic.name, topic)
  return [...topics.values()]
}

function flowsOf(plan: Plan): Flow[] {
  return KINDS.flatMap((kind) =>
    plan.kinds[kind].purposes.map((p) => ({ purpose: p.purpose.id, kind, topic: p.rules.topic })),
  )
}

/** Makes the keys ahead that the purposes of the policy need which runs. */
export class KeysAhead {
  readonly #keyring: CachedKeyring
  readonly #purposes: KeyDomain[]
  readonly stop: () => void

  constructor(keyring: CachedKeyring, { purposes }: Policy, log: Logger) {
    this.#keyring = keyring
    this.#purposes = [...purposes]
    this.stop = keyring.keepAhead(this.#purposes, (error) => {
      log.error({ err: error })
    })
  }

  /** @throws MinimError when the key store does not take them */
  prepare({ purposes }: Policy): void {
    this.#keyring.ensureAhead(purposes)
  }

  /** Of a policy that was prepared. */
  use({ purposes }: Policy): void {
    this.#purposes.splice(0, Infinity, ...purposes)
  }
}
