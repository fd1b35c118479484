/**
 * Every default but those of sources, whose own settings files have them. `schema.ts` shows them to editors,
 * `config/minim.yaml` to operators; tests hold the three together.
 */
import { FILE_DEFAULTS } from '../sources/common/file-settings.js'
import { GRPC_DEFAULTS } from '../sources/grpc/settings.js'

export const DEFAULTS = {
  /** Name of this installation: part of Kafka's transactional ids, so two that share a Kafka cluster must differ. */
  cluster: 'minim',
  /** The policy file; relative to the settings file. */
  policy: 'policy.yaml',
  /** The notice that the policy must keep, at the start and whenever it is read anew; null: it is held against none. */
  notice: null,
  /** Kafka inside the process, for trying things out: nothing outlives it. */
  embedded: false,
  /** Processes that share the work: 1 is right up to a core's worth. */
  workers: 1,
  /** librdkafka's properties by their own names. */
  kafka: { 'bootstrap.servers': '127.0.0.1:9092' },
  topics: {
    /** Partitions of a topic that minim creates. */
    partitions: 6,
    /** Copies of each partition; 1 is taken, and said loudly, where the cluster has one broker. */
    replication: 3,
    /** Days that refused input is kept, encrypted; 7 at most. */
    quarantineDays: 7,
  },
  delivery: {
    /**
     * `at-least-once` for clusters without transactions: records may be there twice after trouble, which their tag
     * says.
     */
    guarantee: 'exactly-once',
    /** Longest wait for more records before a transaction is committed, ms. */
    lingerMs: 5,
    /** Messages in one transaction at most. */
    maxMessages: 60_000,
    /** Octets of messages in one transaction at most. */
    maxBytes: 25_165_824,
  },
  keys: {
    /** The key store; relative to the settings file. */
    store: 'minim-keys.json',
    /**
     * Where the master key comes from when MINIM_MASTER_KEY is not set: `{ file: … }`, `{ exec: [command, argument] }`,
     * or nowhere.
     */
    master: null,
  },
  tenants: {
    /** The tenant of records that name none. */
    default: { id: 1 },
  },
  /** Of each tenant that does not say otherwise. */
  tenant: {
    /** Country that numbers without a country code belong to (ISO 3166). */
    region: 'GB',
    /** A number of so many digits or fewer is an extension of this tenant. */
    extensionDigits: 6,
    /**
     * Hosts of SIP addresses that are this tenant's own, so that `1001@pbx.example` is its extension 1001. Private
     * networks are, and so are the addresses of its nodes and sources that the settings name.
     */
    domains: [],
    /** Whether every IP address in a SIP address is its own. */
    anyAddress: false,
  },
  numbers: {
    /** What telephones dial for an outside line. */
    prefixes: [],
    /** Numbers that one calls for help, beside the emergency numbers and short helplines that are known. */
    helplines: [],
  },
  grpc: GRPC_DEFAULTS,
  /** Files that are read, each from where it was left, and followed if they are of lines. */
  files: [],
  /** Of each file that does not say otherwise. */
  file: FILE_DEFAULTS,
  devices: {
    /** Models that the shipped tables lack, by their vendor's name. */
    models: {},
  },
  /** Names of fields in foreign formats, by the mapping's name. */
  mappings: {},
  ops: {
    /** Where /metrics, /healthz and /readyz answer; port 0 takes a free one. */
    listen: '127.0.0.1:9464',
  },
  limits: {
    /** Octets of one record or line at most; longer ones go to quarantine. */
    maxRecordBytes: 65_536,
    /** A time further ahead of this machine's clock goes to quarantine, ms. Kafka refuses an hour. */
    futureMs: 300_000,
  },
  log: {
    /** Least level that is logged: trace, debug, info, warn, error, fatal or silent. */
    level: 'info',
  },
} as const
