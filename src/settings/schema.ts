/**
 * The settings file's schema, and the type of checked settings. It refuses unknown keys, so a mistyped limit is no
 * limit left out. `config/minim.schema.json` is this, written out for editors; a test holds the two together.
 */
import { type TSchema, Type } from '@sinclair/typebox'
import type { OwnModels } from '../flow/device-parts.js'
import { type Guarantee, GUARANTEES } from '../flow/guarantee.js'
import { LOG_LEVELS, type LogLevel } from '../flow/log.js'
import { MAX_SHARDS } from '../flow/shards.js'
import type { KafkaValue } from '../kafka/settings.js'
import { closed, file, listen, NAME, NAME_IN_WORDS, section, whole } from '../sections/parts.js'
import { type FileSettings, filesPart } from '../sources/common/file-settings.js'
import { grpcPart, type GrpcSettings } from '../sources/grpc/settings.js'
import { DEFAULTS as D } from './defaults.js'
import { SOURCE_SECTIONS, type SourceSettings } from './sections.js'
import { numbersPart, tenantsPart } from './tenant-schema.js'

/** As a vendor or model may be called: nothing that could be a number. */
const DEVICE_NAME = '^(?=.*[A-Za-z])(?!.*[0-9]{5})[A-Za-z0-9](?:[A-Za-z0-9 ._+/!@-]{0,30}[A-Za-z0-9+])?$'
const DEVICE_NAME_IN_WORDS =
  'up to 32 letters, digits, spaces and any of ._+/!@- between them; a letter at least, and no five digits in a row'

export interface TenantSettings {
  readonly id: number
  readonly region: string
  readonly extensionDigits: number
  readonly domains: readonly string[]
  readonly anyAddress: boolean
}

/** Checked settings, complete. Paths are absolute. */
export interface Settings extends SourceSettings {
  readonly cluster: string
  readonly policy: string
  /** The notice that the policy must keep; null: it is held against none. */
  readonly notice: string | null
  readonly embedded: boolean
  readonly workers: number
  readonly kafka: Readonly<Record<string, KafkaValue>>
  readonly topics: { readonly partitions: number; readonly replication: number; readonly quarantineDays: number }
  readonly delivery: {
    readonly guarantee: Guarantee
    readonly lingerMs: number
    readonly maxMessages: number
    readonly maxBytes: number
  }
  readonly keys: {
    readonly store: string
    readonly master: { readonly file: string } | { readonly exec: readonly string[] } | null
  }
  readonly tenants: Readonly<Record<string, TenantSettings>>
  readonly numbers: { readonly prefixes: readonly string[]; readonly helplines: readonly string[] }
  readonly grpc: GrpcSettings
  readonly files: readonly FileSettings[]
  readonly devices: { readonly models: OwnModels }
  /** As written; `formats/mapping.ts` checks them. */
  readonly mappings: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly ops: { readonly listen: string }
  readonly limits: { readonly maxRecordBytes: number; readonly futureMs: number }
  readonly log: { readonly level: LogLevel }
}

/** JSON Schema of the settings file. */
export function settingsSchema(): TSchema {
  return Type.Object(
    {
      ...installationParts(),
      kafka: kafkaPart(),
      topics: topicsPart(),
      delivery: deliveryPart(),
      keys: keysPart(),
      tenants: tenantsPart(),
      numbers: numbersPart(),
      grpc: grpcPart(),
      files: filesPart(),
      devices: devicesPart(),
      mappings: mappingsPart(),
      ...Object.fromEntries(SOURCE_SECTIONS.map((s) => [s.key, s.schema])),
      ops: opsPart(),
      limits: limitsPart(),
      log: logPart(),
    },
    {
      ...closed,
      $schema: 'http://json-schema.org/draft-07/schema#',
      title: 'minim settings',
      description: 'settings by name',
    },
  )
}

/** What is said of the installation as a whole. */
function installationParts(): Record<string, TSchema> {
  return {
    cluster: Type.Optional(
      Type.String({
        pattern: NAME,
        default: D.cluster,
        description: `name of this installation, part of Kafka's transactional ids: ${NAME_IN_WORDS}`,
      }),
    ),
    policy: Type.Optional({ ...file('the policy file; relative to this file'), default: D.policy }),
    notice: Type.Optional(
      Type.Union([Type.Null(), file('a file')], {
        default: D.notice,
        description: 'null, or the notice that the policy must keep at the start and whenever it is read anew',
      }),
    ),
    embedded: Type.Optional(
      Type.Boolean({
        default: D.embedded,
        description: 'true or false: Kafka inside the process, for trying things out',
      }),
    ),
    workers: Type.Optional(
      whole(D.workers, 1, MAX_SHARDS, 'processes that share the work, each with a shard of the sources'),
    ),
  }
}

function kafkaPart(): TSchema {
  return Type.Optional(
    Type.Record(
      Type.String({ pattern: '^[a-z][a-z0-9._]*$' }),
      Type.Union([Type.String(), Type.Number(), Type.Boolean()], { description: 'a text, a number, true or false' }),
      {
        ...closed,
        default: D.kafka,
        description: "librdkafka's properties by their own names, such as bootstrap.servers",
      },
    ),
  )
}

function topicsPart(): TSchema {
  return section(
    {
      partitions: whole(D.topics.partitions, 1, 1000, 'partitions of a topic that minim creates'),
      replication: whole(D.topics.replication, 1, 9, 'copies of each partition'),
      quarantineDays: whole(D.topics.quarantineDays, 1, 7, 'days that refused input is kept, encrypted'),
    },
    'how topics are created',
  )
}

function deliveryPart(): TSchema {
  return section(
    {
      guarantee: Type.Unsafe<Guarantee>({
        type: 'string',
        enum: [...GUARANTEES],
        default: D.delivery.guarantee,
        description: `one of ${GUARANTEES.join(', ')}; at-least-once is for clusters without transactions`,
      }),
      lingerMs: whole(D.delivery.lingerMs, 0, 60_000, 'longest wait for more records before a commit, ms'),
      maxMessages: whole(D.delivery.maxMessages, 1, 1_000_000, 'messages in one transaction at most'),
      maxBytes: whole(D.delivery.maxBytes, 65_536, 1_073_741_824, 'octets of messages in one transaction at most'),
    },
    'how transactions are filled',
  )
}

function keysPart(): TSchema {
  return section(
    {
      store: { ...file('the key store; relative to this file'), default: D.keys.store },
      master: Type.Union(
        [
          Type.Null(),
          Type.Object({ file: file('a file that holds the key in base64, readable by its owner only') }, closed),
          Type.Object(
            {
              exec: Type.Array(Type.String({ minLength: 1 }), {
                minItems: 1,
                description: 'a command and its arguments that prints the key in base64',
              }),
            },
            closed,
          ),
        ],
        {
          default: D.keys.master,
          description:
            'where the master key comes from when MINIM_MASTER_KEY is not set: { file: PATH } or { exec: [COMMAND, ARGUMENT] }',
        },
      ),
    },
    'where the keys are',
  )
}

function devicesPart(): TSchema {
  return section(
    {
      models: Type.Record(
        Type.String({ pattern: DEVICE_NAME }),
        Type.Array(Type.String({ pattern: DEVICE_NAME, description: DEVICE_NAME_IN_WORDS }), {
          description: 'a list of models',
        }),
        {
          ...closed,
          default: D.devices.models,
          description: "models that the shipped tables lack, by their vendor's name: Yealink: [T99X]",
        },
      ),
    },
    'what is known of devices',
  )
}

function mappingsPart(): TSchema {
  return Type.Optional(
    Type.Record(
      Type.String({ pattern: NAME }),
      Type.Object({}, { additionalProperties: true, description: 'a mapping of names to fields' }),
      { ...closed, default: D.mappings, description: "names of fields in foreign formats, by the mapping's name" },
    ),
  )
}

function opsPart(): TSchema {
  return section(
    { listen: listen(D.ops.listen, 'where /metrics, /healthz and /readyz answer') },
    'how the program is watched',
  )
}

function limitsPart(): TSchema {
  return section(
    {
      maxRecordBytes: whole(D.limits.maxRecordBytes, 256, 1_048_576, 'octets of one record or line at most'),
      futureMs: whole(
        D.limits.futureMs,
        0,
        3_000_000,
        'how far ahead of the clock a time may be, ms; Kafka refuses an hour',
      ),
    },
    'what is too large or too early',
  )
}

function logPart(): TSchema {
  return section(
    {
      level: Type.Unsafe<LogLevel>({
        type: 'string',
        enum: [...LOG_LEVELS],
        default: D.log.level,
        description: `least level that is logged, one of ${LOG_LEVELS.join(', ')}`,
      }),
    },
    'what is logged',
  )
}
