/** `sip:` where phones and gateways publish their quality reports, and proxies send copies of REGISTER. */
import { Type } from '@sinclair/typebox'
import { DAY_MS } from '../../base/time.js'
import type { Problem } from '../../errors/catalogue.js'
import { useOneOf } from '../../errors/problems.js'
import { type Allowed, authorisePart, authoriseProblems, type AuthoriseSettings } from '../../sections/authorise.js'
import { allowPart, allowProblems, LOOPBACK } from '../../sections/networks.js'
import {
  closed,
  listenOrOff,
  NAME,
  optionalParts,
  secretParts,
  section,
  tlsFiles,
  whole,
} from '../../sections/parts.js'
import { placeProblems, type SecretPlace, secretProblems } from '../../sections/secrets.js'
import type { SourceSection } from '../../sections/source-section.js'
import { pemFiles, pemProblems, type TlsSettings } from '../../sections/tls-files.js'

/** A drachtio-server that hands requests on. */
export interface DrachtioSettings {
  readonly host: string
  readonly port: number
  /** File with its secret (`<admin secret=…>` in drachtio.conf), or variable. */
  readonly secretFile?: string | null
  readonly secretEnv?: string | null
  /** Whether the connection to it is TLS (`tls-port` of `<admin>`). */
  readonly tls: boolean
}

export interface SipSettings {
  /** Each null for not at all. */
  readonly udp: string | null
  readonly tcp: string | null
  readonly tlsListen: string | null
  readonly tls: TlsSettings | null
  /** Networks (CIDR) or addresses that may send; what others send is dropped without an answer. */
  readonly allow: readonly Allowed[]
  /** What certificates may use. */
  readonly authorise: AuthoriseSettings
  readonly tenant: string
  readonly registerCopies: boolean
  readonly expiresSeconds: number
  readonly maxMessageBytes: number
  readonly maxConnections: number
  readonly ratePerSecond: number
  readonly idleMs: number
  readonly drachtio: DrachtioSettings | null
}

const DEFAULTS: SipSettings = {
  /** Off. */
  udp: null,
  tcp: null,
  tlsListen: null,
  tls: null,
  allow: LOOPBACK,
  /** Each certificate's holder the listener's own tenant. */
  authorise: {},
  tenant: 'default',
  /** REGISTER is answered with 200 and taken as a device's report; false: 405. */
  registerCopies: true,
  /** Longest that a publication stays, s: phones publish anew before it is over (RFC 3903 §6). */
  expiresSeconds: 3600,
  /** Of one message, headers and body. */
  maxMessageBytes: 16_384,
  /** TCP and TLS together. */
  maxConnections: 1024,
  /** Messages a second of each address. */
  ratePerSecond: 500,
  /** A connection on which nothing comes is closed, ms: longer than phones' keep-alives (RFC 5626 §4.4.1). */
  idleMs: 300_000,
  /** No drachtio-server. */
  drachtio: null,
}

function check(value: SipSettings, tenants: readonly string[]): Problem[] {
  const problems: Problem[] = value.drachtio === null ? [] : placeProblems(drachtioSecret(value.drachtio), true)
  if (!tenants.includes(value.tenant))
    problems.push({ path: 'sip.tenant', what: 'is no tenant of these settings', mend: useOneOf(value.tenant, tenants) })
  problems.push(
    ...allowProblems('sip', value.allow, [value.udp, value.tcp, value.tlsListen], 'the phones and proxies', tenants),
  )
  problems.push(...authoriseProblems('sip', value.authorise, value.tls, tenants))
  if (value.tlsListen !== null && value.tls === null) {
    problems.push({
      path: 'sip.tls',
      what: 'is needed by sip.tlsListen',
      mend: 'give { cert: PATH, key: PATH }, or leave out sip.tlsListen',
    })
  }
  return problems
}

/** drachtio-server's secret. */
export function drachtioSecret({ secretFile, secretEnv }: DrachtioSettings): SecretPlace<string> {
  return {
    setting: 'sip.drachtio.secret',
    file: secretFile,
    variable: secretEnv,
    parse: (bytes) => {
      const value = bytes.toString('utf8').trim()
      // It stands between bars in a line.
      return /^[^|\s]{1,256}$/.test(value)
        ? { value }
        : { wrong: 'is no secret of up to 256 characters in one line, without spaces and bars' }
    },
    mend: 'put the secret of drachtio.conf there, and nothing else',
  }
}

export const SIP: SourceSection<SipSettings, 'sip'> = {
  key: 'sip',
  defaults: DEFAULTS,
  paths: ['tls.cert', 'tls.key', 'tls.clientCa', 'drachtio.secretFile'],
  listens: ['tcp', 'tlsListen'],
  connects: ['udp', 'drachtio'],
  check: (value, around) => check(value, Object.keys(around.tenants)),
  checkFiles: (value) => [
    ...(value.drachtio === null ? [] : secretProblems(drachtioSecret(value.drachtio))),
    ...(value.tlsListen === null || value.tls === null ? [] : pemProblems(pemFiles(value.tls, 'sip.tls'))),
  ],
  schema: section(
    {
      udp: listenOrOff('where SIP comes by UDP', 5060),
      tcp: listenOrOff('where SIP comes by TCP', 5060),
      tlsListen: listenOrOff('where SIP comes by TLS', 5061),
      tls: tlsFiles('PEM files for tlsListen'),
      authorise: authorisePart(['tenant']),
      allow: allowPart('others get no answer', ['tenant']),
      tenant: Type.String({ pattern: NAME, default: DEFAULTS.tenant, description: 'tenant of the records' }),
      registerCopies: Type.Boolean({
        default: DEFAULTS.registerCopies,
        description: 'true or false: whether REGISTER is taken and answered with 200, else with 405',
      }),
      expiresSeconds: whole(DEFAULTS.expiresSeconds, 60, 86_400, 'seconds that a publication stays at most'),
      maxMessageBytes: whole(DEFAULTS.maxMessageBytes, 1024, 65_535, 'octets of a message at most'),
      maxConnections: whole(DEFAULTS.maxConnections, 1, 100_000, 'TCP and TLS connections at once at most'),
      ratePerSecond: whole(DEFAULTS.ratePerSecond, 1, 1_000_000, 'messages a second of each address at most'),
      idleMs: whole(DEFAULTS.idleMs, 1000, DAY_MS, 'a connection on which nothing comes for so long is closed, ms'),
      drachtio: Type.Union(
        [
          Type.Null(),
          Type.Object(
            {
              host: Type.String({ minLength: 1, maxLength: 253, description: 'host of the drachtio-server' }),
              port: whole(null, 1, 65_535, 'its port for applications'),
              ...optionalParts(secretParts('secret', 'its secret')),
              tls: Type.Optional(
                Type.Boolean({ default: false, description: 'true or false: whether that port is TLS' }),
              ),
            },
            closed,
          ),
        ],
        {
          default: DEFAULTS.drachtio,
          description:
            'a drachtio-server that hands requests on: ' +
            '{ host: NAME, port: 9022, secretFile: PATH or secretEnv: NAME, tls: false }, or null for none',
        },
      ),
    },
    'quality reports by SIP (PUBLISH and NOTIFY of vq-rtcpxr) and copies of REGISTER',
  ),
}
