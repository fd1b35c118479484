/** `kafkaInput:` topics of the same Kafka that raw records are read from, by consumer groups. */
import { type TSchema, Type } from '@sinclair/typebox'
import { type Kind, KINDS } from '../../catalogue/catalogue.js'
import type { Problem } from '../../errors/catalogue.js'
import { useOneOf } from '../../errors/problems.js'
import { LEGS, type Legs } from '../../formats/freeswitch/records.js'
import { isTimeZone } from '../../formats/local-time.js'
import { closed, NAME, NAME_IN_WORDS, whole } from '../../sections/parts.js'
import type { SourceSection } from '../../sections/source-section.js'

const KAFKA_INPUT_FORMATS = ['jsonl', 'protobuf', 'freeswitch-event'] as const
export type KafkaInputFormat = (typeof KAFKA_INPUT_FORMATS)[number]

export interface KafkaInputSettings {
  readonly topic: string
  readonly group: string
  readonly format: KafkaInputFormat
  readonly mapping: string
  readonly kind: Kind
  readonly timeZone: string
  readonly tenant: string
  readonly node: string | null
  readonly legs: Legs
  readonly fromBeginning: boolean
  readonly maxMessageBytes: number
  readonly fetchBytes: number
  readonly sessionMs: number
}

/** Of an entry that does not say otherwise. */
export const KAFKA_INPUT_ENTRY = {
  group: 'minim',
  format: 'jsonl',
  mapping: 'minim',
  kind: 'call',
  timeZone: 'UTC',
  tenant: 'default',
  node: null,
  legs: 'a',
  fromBeginning: true,
  maxMessageBytes: 1_048_576,
  fetchBytes: 2_097_152,
  sessionMs: 30_000,
} as const satisfies Omit<KafkaInputSettings, 'topic'>

const D = KAFKA_INPUT_ENTRY
const optional = <T extends TSchema>(schema: T) => Type.Optional(schema)

function oneOf<T extends string>(values: readonly T[], fallback: T, description: string) {
  return Type.Unsafe<T>({
    type: 'string',
    enum: [...values],
    default: fallback,
    description: `${description}: one of ${values.join(', ')}`,
  })
}

export const KAFKA_INPUT: SourceSection<readonly KafkaInputSettings[], 'kafkaInput'> = {
  key: 'kafkaInput',
  defaults: [],
  entry: D,
  spools: false,
  schema: optional(
    Type.Array(
      Type.Object(
        {
          topic: Type.String({
            pattern: '^[A-Za-z0-9._-]{1,249}$',
            description:
              'a topic of the Kafka that minim writes to, made by whoever fills it: up to 249 letters, digits, ' +
              'dots, hyphens and underscores',
          }),
          group: optional(
            Type.String({
              pattern: '^[A-Za-z0-9._-]{1,249}$',
              default: D.group,
              description: "consumer group; proxies of one group share the topic's partitions",
            }),
          ),
          format: optional(
            oneOf(
              KAFKA_INPUT_FORMATS,
              D.format,
              "what a message is: one or more lines of JSON; a Batch as agents send it; an event of FreeSWITCH's mod_event_kafka",
            ),
          ),
          mapping: optional(
            Type.String({
              minLength: 1,
              maxLength: 128,
              default: D.mapping,
              description: 'for jsonl, which key is which field: asterisk-cdr for cdr_kafka, minim, or one of mappings',
            }),
          ),
          kind: optional(oneOf(KINDS, D.kind, 'for the mapping minim, what a line is')),
          timeZone: optional(
            Type.String({
              minLength: 1,
              maxLength: 64,
              default: D.timeZone,
              description: 'time zone of times without an offset: an IANA name such as Europe/London',
            }),
          ),
          tenant: optional(
            Type.String({ pattern: NAME, default: D.tenant, description: 'tenant of the records that name none' }),
          ),
          node: optional(
            Type.Union([Type.Null(), Type.String({ pattern: NAME })], {
              default: D.node,
              description: `the PBX node whose call records it holds: ${NAME_IN_WORDS}`,
            }),
          ),
          legs: optional(oneOf(LEGS, D.legs, 'for freeswitch-event, which channels become calls')),
          fromBeginning: optional(
            Type.Boolean({
              default: D.fromBeginning,
              description:
                'true or false: a group that was never there begins with the oldest message, else with the next one',
            }),
          ),
          maxMessageBytes: optional(
            whole(D.maxMessageBytes, 1024, 67_108_864, 'octets of a message at most: a larger one goes to quarantine'),
          ),
          fetchBytes: optional(whole(D.fetchBytes, 65_536, 67_108_864, 'octets that are asked for at once')),
          sessionMs: optional(
            whole(
              D.sessionMs,
              6000,
              1_800_000,
              'a proxy that is silent for so long loses its partitions to the others, ms',
            ),
          ),
        },
        closed,
      ),
      { default: [], description: 'topics that raw records are read from' },
    ),
  ),
  check: (entries, around) => {
    const problems: Problem[] = []
    const tenants = Object.keys(around.tenants)
    const topics = new Set<string>()
    entries.forEach((entry, i) => {
      const at = (key: string): string => `kafkaInput.${i}.${key}`
      if (around.embedded)
        problems.push({
          path: `kafkaInput.${i}`,
          what: 'needs a Kafka of its own: the embedded one is not shared',
          mend: 'set embedded to false and name the brokers under kafka',
        })
      if (entry.topic.startsWith('minim.'))
        problems.push({
          path: at('topic'),
          what: "is one of minim's own topics",
          mend: 'name the topic that the PBX writes to',
        })
      if (topics.has(entry.topic))
        problems.push({
          path: at('topic'),
          what: 'is read by another entry: every record would be taken twice',
          mend: 'remove one of the two',
        })
      topics.add(entry.topic)
      if (!isTimeZone(entry.timeZone))
        problems.push({ path: at('timeZone'), what: 'is no time zone', mend: 'use an IANA name such as Europe/London' })
      if (!tenants.includes(entry.tenant))
        problems.push({
          path: at('tenant'),
          what: 'is no tenant of these settings',
          mend: useOneOf(entry.tenant, tenants),
        })
    })
    return problems
  },
}
