/** `ami:` Asterisks whose manager interface is connected to. */
import { type TSchema, Type } from '@sinclair/typebox'
import { DAY_MS, HOUR_MS } from '../../base/time.js'
import type { Problem } from '../../errors/catalogue.js'
import { useOneOf } from '../../errors/problems.js'
import { isTimeZone } from '../../formats/local-time.js'
import { closed, file, NAME, NAME_IN_WORDS, optionalParts, secretParts, whole } from '../../sections/parts.js'
import { placeProblems, type SecretPlace, secretProblems } from '../../sections/secrets.js'
import type { SourceSection } from '../../sections/source-section.js'
import { pemFiles, pemProblems } from '../../sections/tls-files.js'

export interface AmiTlsSettings {
  /** Null or left out: the authorities that Node.js knows. */
  readonly ca?: string | null
  /** Certificate and key to show, where the PBX asks for one. */
  readonly cert?: string | null
  readonly key?: string | null
  /** Name in the PBX's certificate where it is not `host`. */
  readonly serverName?: string | null
}

export interface AmiSettings {
  readonly node: string
  readonly host: string
  readonly port: number
  readonly tls: AmiTlsSettings | null
  readonly user: string
  readonly secretFile: string | null
  readonly secretEnv: string | null
  readonly challenge: 'md5' | 'plain'
  readonly filter: boolean
  readonly timeZone: string
  readonly tenant: string
  readonly calls: 'auto' | 'always' | 'never'
  readonly rows: 'calls' | 'all'
  readonly settleMs: number
  readonly legIdleMs: number
  readonly clockRateHz: number
  readonly maxFollowed: number
  readonly contactsMs: number
  readonly pingMs: number
  readonly timeoutMs: number
  readonly reconnectMs: number
  readonly reconnectMaxMs: number
  readonly maxStanzaBytes: number
  readonly maxEventsPerSecond: number
}

/** Of an entry that does not say otherwise. */
export const AMI_ENTRY = {
  port: 5038,
  tls: null,
  secretFile: null,
  secretEnv: null,
  challenge: 'md5',
  filter: true,
  timeZone: 'UTC',
  tenant: 'default',
  calls: 'auto',
  rows: 'calls',
  settleMs: 500,
  legIdleMs: 300_000,
  clockRateHz: 8000,
  maxFollowed: 20_000,
  contactsMs: HOUR_MS,
  pingMs: 15_000,
  timeoutMs: 10_000,
  reconnectMs: 1000,
  reconnectMaxMs: 60_000,
  maxStanzaBytes: 65_536,
  maxEventsPerSecond: 50_000,
} as const satisfies Omit<AmiSettings, 'node' | 'host' | 'user'>

const D = AMI_ENTRY
const optional = <T extends TSchema>(schema: T) => Type.Optional(schema)
const orNull = (schema: ReturnType<typeof file>) =>
  Type.Union([Type.Null(), schema], { default: null, description: schema.description ?? '' })

function oneOf<T extends string>(values: readonly T[], fallback: T, description: string) {
  return Type.Unsafe<T>({
    type: 'string',
    enum: [...values],
    default: fallback,
    description: `${description}: one of ${values.join(', ')}`,
  })
}

const isSet = (value: string | null | undefined): boolean => value !== null && value !== undefined

/** The secret of an entry's user. */
export function amiSecret({ secretFile, secretEnv }: AmiSettings, i: number): SecretPlace<string> {
  return {
    setting: `ami.${i}.secret`,
    file: secretFile,
    variable: secretEnv,
    parse: (bytes) => {
      const value = bytes.toString('utf8').replace(/\r?\n$/, '')
      return value === ''
        ? { wrong: 'is empty' }
        : /[\r\n\0]/.test(value)
          ? { wrong: 'holds more than one line' }
          : { value }
    },
    mend: 'put the secret of manager.conf there, and nothing else',
  }
}

export const AMI: SourceSection<readonly AmiSettings[], 'ami'> = {
  key: 'ami',
  defaults: [],
  entry: D,
  paths: ['secretFile', 'tls.ca', 'tls.cert', 'tls.key'],
  schema: optional(
    Type.Array(
      Type.Object(
        {
          node: Type.String({
            pattern: NAME,
            description: `name of the PBX: ${NAME_IN_WORDS}; a file with the same node gives its call records`,
          }),
          host: Type.String({
            minLength: 1,
            maxLength: 255,
            pattern: '^[A-Za-z0-9.:_-]+$',
            description: 'where its manager interface listens: a name or address',
          }),
          port: optional(whole(D.port, 1, 65_535, 'its port; 5039 with TLS')),
          tls: optional(
            Type.Union(
              [
                Type.Null(),
                Type.Object(
                  {
                    ca: optional(
                      orNull(file("authority of the PBX's certificate, PEM; null: those that Node.js knows")),
                    ),
                    cert: optional(orNull(file('certificate to show, PEM'))),
                    key: optional(orNull(file('its private key, PEM'))),
                    serverName: optional(
                      orNull(
                        Type.String({
                          minLength: 1,
                          maxLength: 255,
                          description: 'name in the certificate, where it is not host',
                        }),
                      ),
                    ),
                  },
                  closed,
                ),
              ],
              {
                default: null,
                description: '{ ca: PATH, cert: PATH, key: PATH, serverName: NAME }, or null for no TLS',
              },
            ),
          ),
          user: Type.String({
            minLength: 1,
            maxLength: 80,
            pattern: '^[^\\r\\n\\u0000]+$',
            description: 'a user of manager.conf',
          }),
          ...optionalParts(secretParts('secret', 'its secret')),
          challenge: optional(oneOf(['md5', 'plain'], D.challenge, 'how to log in; plain sends the secret as it is')),
          filter: optional(
            Type.Boolean({
              default: D.filter,
              description: 'true or false: ask the PBX to send only the events that are of use',
            }),
          ),
          timeZone: optional(
            Type.String({
              minLength: 1,
              maxLength: 64,
              default: D.timeZone,
              description: "time zone of the PBX's call records: an IANA name such as Europe/London",
            }),
          ),
          tenant: optional(Type.String({ pattern: NAME, default: D.tenant, description: 'tenant of its records' })),
          calls: optional(
            oneOf(
              ['auto', 'always', 'never'],
              D.calls,
              'whether Cdr events are taken; auto: unless a file has the same node',
            ),
          ),
          rows: optional(
            oneOf(
              ['calls', 'all'],
              D.rows,
              'which Cdr events are calls; all: also Local legs, h extensions, parallel attempts',
            ),
          ),
          settleMs: optional(
            whole(
              D.settleMs,
              0,
              10_000,
              "how long a channel's Cdr events and its hang-up cause wait for each other, ms",
            ),
          ),
          legIdleMs: optional(
            whole(D.legIdleMs, 5000, DAY_MS, 'a leg whose end is not said is over so long after its last RTCP, ms'),
          ),
          clockRateHz: optional(
            whole(D.clockRateHz, 1000, 192_000, 'RTP clock of streams that do not show theirs, Hz'),
          ),
          maxFollowed: optional(whole(D.maxFollowed, 16, 1_000_000, 'channels, calls and legs followed at once, each')),
          contactsMs: optional(
            whole(D.contactsMs, 1000, DAY_MS, 'how often all registered devices are asked for and reported, ms'),
          ),
          pingMs: optional(whole(D.pingMs, 50, HOUR_MS, 'how often the connection is tried with a Ping, ms')),
          timeoutMs: optional(
            whole(D.timeoutMs, 50, 600_000, 'how long to wait for a connection, the banner and each answer, ms'),
          ),
          reconnectMs: optional(
            whole(D.reconnectMs, 10, 600_000, 'first wait before connecting again, ms; doubled each time'),
          ),
          reconnectMaxMs: optional(
            whole(
              D.reconnectMaxMs,
              10,
              HOUR_MS,
              'longest wait before connecting again, and the wait after a refused log-in, ms',
            ),
          ),
          maxStanzaBytes: optional(whole(D.maxStanzaBytes, 1024, 1_048_576, 'octets of one event at most')),
          maxEventsPerSecond: optional(
            whole(D.maxEventsPerSecond, 1, 1_000_000, 'events read in a second at most; above it the PBX has to wait'),
          ),
        },
        { ...closed, description: 'an Asterisk: node, host, user, a secret, and more' },
      ),
      { default: [], description: 'a list of Asterisks whose manager interface (AMI) is connected to' },
    ),
  ),
  check: (entries, around) => {
    const problems: Problem[] = []
    const nodes = new Map<string, number>()
    entries.forEach((entry, i) => {
      const add = (key: string, what: string, mend: string): void =>
        void problems.push({ path: `ami.${i}.${key}`, what, mend })
      const twin = nodes.get(entry.node)
      if (twin !== undefined) add('node', `is the node of ami.${twin} too`, 'give each PBX a name of its own')
      else nodes.set(entry.node, i)
      const tenants = Object.keys(around.tenants)
      if (!tenants.includes(entry.tenant))
        add('tenant', 'is no tenant of these settings', useOneOf(entry.tenant, tenants))
      if (!isTimeZone(entry.timeZone)) add('timeZone', 'is no time zone', 'use an IANA name: Europe/London')
      problems.push(...placeProblems(amiSecret(entry, i), true))
      if (entry.reconnectMaxMs < entry.reconnectMs)
        add('reconnectMaxMs', 'is less than reconnectMs', `set it to ${entry.reconnectMs} or more`)
      if (entry.tls !== null && isSet(entry.tls.cert) !== isSet(entry.tls.key))
        add('tls.cert', 'and key: both are needed, or none', 'name both PEM files')
    })
    return problems
  },
  checkFiles: (entries) =>
    entries.flatMap((entry, i) => [
      ...secretProblems(amiSecret(entry, i)),
      ...(entry.tls === null ? [] : pemProblems(pemFiles(entry.tls, `ami.${i}.tls`))),
    ]),
}
