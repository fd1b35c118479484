/** `hep:` where captures of SIP and RTCP are sent to, as HEP3: Kamailio, Asterisk, FreeSWITCH, captagent, heplify. */
import { Type } from '@sinclair/typebox'
import { DAY_MS } from '../../base/time.js'
import type { Problem } from '../../errors/catalogue.js'
import { useOneOf } from '../../errors/problems.js'
import { type Allowed, authorisePart, authoriseProblems, type AuthoriseSettings } from '../../sections/authorise.js'
import { allowPart, allowProblems, LOOPBACK, networkOf } from '../../sections/networks.js'
import { closed, listenOrOff, NAME, secretParts, section, tlsFiles, whole } from '../../sections/parts.js'
import { placeProblems, type SecretPlace, secretProblems } from '../../sections/secrets.js'
import type { SourceSection } from '../../sections/source-section.js'
import { pemFiles, pemProblems, type TlsSettings } from '../../sections/tls-files.js'

/** Whether calls are made of what is captured. */
const HEP_CALLS = ['auto', 'always', 'never'] as const
export type HepCalls = (typeof HEP_CALLS)[number]

/** What differs for one capture agent. */
export interface HepNodeSettings {
  readonly captureId: number
  /** Left out: as for all. */
  readonly calls?: HepCalls
  readonly joinLegs?: boolean
  readonly tenant?: string
}

export interface HepSettings {
  /** Each null: off. */
  readonly udp: string | null
  readonly tcp: string | null
  readonly tlsListen: string | null
  readonly tls: TlsSettings | null
  /** Of the key that packets must carry, and variable; both null: nobody is asked. */
  readonly secretFile: string | null
  readonly secretEnv: string | null
  /** What certificates may use. */
  readonly authorise: AuthoriseSettings
  readonly allow: readonly Allowed[]
  readonly tenant: string
  readonly calls: HepCalls
  readonly joinLegs: boolean
  readonly skipCallsFrom: readonly string[]
  readonly nodes: readonly HepNodeSettings[]
  readonly setupSeconds: number
  readonly callSeconds: number
  readonly maxCalls: number
  readonly maxFrameBytes: number
  readonly maxInflatedBytes: number
  readonly inflationsPerSecond: number
  readonly ratePerSecond: number
  readonly receiveBufferBytes: number
  readonly maxConnections: number
  readonly idleMs: number
}

const DEFAULTS: HepSettings = {
  /** Off. */
  udp: null,
  tcp: null,
  tlsListen: null,
  tls: null,
  /** Each certificate's holder the listener's own tenant, any capture agent of it. */
  authorise: {},
  /** Nobody is asked. */
  secretFile: null,
  secretEnv: null,
  allow: LOOPBACK,
  tenant: 'default',
  calls: 'auto',
  /** A B2BUA's call has two Call-IDs and is one call. */
  joinLegs: true,
  skipCallsFrom: [],
  nodes: [],
  /** RFC 3261 §16.6: a proxy lets a call ring for three minutes and more. */
  setupSeconds: 300,
  callSeconds: 14_400,
  /** Followed at once, 1.5 kB each. */
  maxCalls: 100_000,
  maxFrameBytes: 65_535,
  maxInflatedBytes: 65_535,
  inflationsPerSecond: 5000,
  /** As many as come. */
  ratePerSecond: 0,
  /** Linux gives net.core.rmem_max at most. */
  receiveBufferBytes: 4_194_304,
  maxConnections: 256,
  idleMs: 600_000,
}

const CALLS = 'auto: unless the settings have a source of call detail records'
const callsOf = (fallback: HepCalls | null) =>
  Type.Unsafe<HepCalls>({
    type: 'string',
    enum: [...HEP_CALLS],
    ...(fallback === null ? {} : { default: fallback }),
    description: `whether calls are made of captured signalling (${CALLS}): one of ${HEP_CALLS.join(', ')}`,
  })

/** A longer key is none that capture agents can send. */
const MAX_KEY_BYTES = 255

/** The key that packets must carry, without the line's end. */
export function hepSecret({ secretFile, secretEnv }: HepSettings): SecretPlace<Buffer> {
  return {
    setting: 'hep.secret',
    file: secretFile,
    variable: secretEnv,
    parse: (bytes) => {
      let end = bytes.length
      while (end > 0 && (bytes[end - 1] === 10 || bytes[end - 1] === 13)) end--
      return end === 0
        ? { wrong: 'is empty' }
        : end > MAX_KEY_BYTES
          ? { wrong: `is longer than ${MAX_KEY_BYTES} octets` }
          : { value: bytes.subarray(0, end) }
    },
    mend: 'put the key there that capture agents send (Kamailio auth_key, Asterisk capture_password), and nothing else',
  }
}

export const HEP: SourceSection<HepSettings, 'hep'> = {
  key: 'hep',
  defaults: DEFAULTS,
  paths: ['secretFile', 'tls.cert', 'tls.key', 'tls.clientCa'],
  listens: ['udp', 'tcp', 'tlsListen'],
  check: (value, around) => {
    const problems: Problem[] = placeProblems(hepSecret(value), false)
    const add = (path: string, what: string, mend: string): void =>
      void problems.push({ path: `hep.${path}`, what, mend })
    const tenants = Object.keys(around.tenants)
    if (!tenants.includes(value.tenant))
      add('tenant', 'is no tenant of these settings', useOneOf(value.tenant, tenants))
    if (value.tlsListen !== null && value.tls === null)
      add('tls', 'is missing, and tlsListen needs it', 'name certificate and key: { cert: PATH, key: PATH }')
    problems.push(
      ...allowProblems('hep', value.allow, [value.udp, value.tcp, value.tlsListen], 'the capture agents', tenants),
    )
    value.skipCallsFrom.forEach((text, i) => {
      if (networkOf(text) === null)
        add(`skipCallsFrom.${i}`, 'is no address and no network', 'write it as 192.0.2.7 or 192.0.2.0/24')
    })
    problems.push(...authoriseProblems('hep', value.authorise, value.tls, tenants))
    const nodes = new Map<number, number>()
    value.nodes.forEach((node, i) => {
      const twin = nodes.get(node.captureId)
      if (twin !== undefined)
        add(`nodes.${i}.captureId`, `is the captureId of nodes.${twin} too`, 'name each capture agent once')
      else nodes.set(node.captureId, i)
      if (node.tenant !== undefined && !tenants.includes(node.tenant))
        add(`nodes.${i}.tenant`, 'is no tenant of these settings', useOneOf(node.tenant, tenants))
    })
    return problems
  },
  checkFiles: (value) => [
    ...secretProblems(hepSecret(value)),
    ...(value.tlsListen === null || value.tls === null ? [] : pemProblems(pemFiles(value.tls, 'hep.tls'))),
  ],
  schema: section(
    {
      udp: listenOrOff('where HEP3 is received by UDP', 9060),
      tcp: listenOrOff('where HEP3 is received by TCP', 9060),
      tlsListen: listenOrOff('where HEP3 is received by TLS', 9061),
      tls: tlsFiles('PEM files'),
      authorise: authorisePart(['captureIds', 'tenants']),
      ...secretParts('secret', 'the key that every packet must carry', 'both null: none is asked for'),
      allow: allowPart('what others send is refused unread', ['captureIds', 'tenants']),
      tenant: Type.String({ pattern: NAME, default: DEFAULTS.tenant, description: 'tenant of its records' }),
      calls: callsOf(DEFAULTS.calls),
      joinLegs: Type.Boolean({
        default: DEFAULTS.joinLegs,
        description: "whether the two legs of a B2BUA's call are one call, where they can be told",
      }),
      skipCallsFrom: Type.Array(
        Type.String({ minLength: 2, maxLength: 64, description: 'an address, or a network: 192.0.2.0/24' }),
        {
          default: [],
          maxItems: 1024,
          description:
            "a list of networks whose calls are not taken, as [192.0.2.7]: a B2BUA's own, so that one of its sides is",
        },
      ),
      nodes: Type.Array(
        Type.Object(
          {
            captureId: whole(null, 0, 4_294_967_295, "the capture agent's id"),
            calls: Type.Optional(callsOf(null)),
            joinLegs: Type.Optional(Type.Boolean({ description: 'whether legs of its calls are joined' })),
            tenant: Type.Optional(Type.String({ pattern: NAME, description: 'tenant of its records' })),
          },
          { ...closed, description: 'a capture agent: captureId, calls, joinLegs, tenant' },
        ),
        { maxItems: 10_000, default: [], description: 'a list of capture agents that differ from the rest' },
      ),
      setupSeconds: whole(
        DEFAULTS.setupSeconds,
        30,
        86_400,
        'how long a call may take until it is answered or refused, s',
      ),
      callSeconds: whole(
        DEFAULTS.callSeconds,
        60,
        604_800,
        'a call whose end is not seen for so long is written without one, s',
      ),
      maxCalls: whole(DEFAULTS.maxCalls, 16, 10_000_000, 'calls followed at once at most, and registrations, and legs'),
      maxFrameBytes: whole(DEFAULTS.maxFrameBytes, 1024, 65_535, 'octets of one packet at most'),
      maxInflatedBytes: whole(
        DEFAULTS.maxInflatedBytes,
        1024,
        1_048_576,
        'octets that a compressed payload may inflate to',
      ),
      inflationsPerSecond: whole(
        DEFAULTS.inflationsPerSecond,
        0,
        1_000_000,
        'compressed payloads inflated in a second at most',
      ),
      ratePerSecond: whole(
        DEFAULTS.ratePerSecond,
        0,
        10_000_000,
        'packets a second of each address at most, 0 for as many as come',
      ),
      receiveBufferBytes: whole(
        DEFAULTS.receiveBufferBytes,
        65_536,
        1_073_741_824,
        'octets that the kernel holds for the UDP socket',
      ),
      maxConnections: whole(DEFAULTS.maxConnections, 1, 100_000, 'TCP and TLS connections at once at most'),
      idleMs: whole(DEFAULTS.idleMs, 1000, DAY_MS, 'a connection on which nothing comes for so long is closed, ms'),
    },
    'calls, quality and devices out of captured SIP and RTCP (HEP3)',
  ),
}
