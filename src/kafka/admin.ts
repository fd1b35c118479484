/**
 * The admin client, for what node-rdkafka can neither read nor alter: `@platformatic/kafka`'s, reached as librdkafka's
 * properties say, its failures as errors of the catalogue.
 */
import { readFileSync } from 'node:fs'
import type { Admin, AdminOptions } from '@platformatic/kafka'
import { MinimError } from '../errors/catalogue.js'
import type { KafkaProperties } from './property-rules.js'

const REQUEST_TIMEOUT_MS = 10_000

export async function request<T>(options: { bootstrap: string }, action: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw adminError(options.bootstrap, action, error)
  }
}

export function textOf(error: unknown): string {
  const { message, errors, apiId } = error as { message?: string; errors?: unknown[]; apiId?: string }
  return [apiId, message, ...(errors ?? []).map(textOf)]
    .filter((text) => typeof text === 'string' && text !== '')
    .join(': ')
}

/** What the system says of connections, where no broker has said anything; null where one has. */
function noAnswer(error: unknown): string | null {
  const { code, errors, cause } = error as { code?: unknown; errors?: unknown[]; cause?: unknown }
  const inner = errors !== undefined && errors.length > 0 ? errors : cause === undefined ? [] : [cause]
  if (inner.length > 0)
    return inner.map(noAnswer).reduce((all, one) => (all === null || one === null ? null : all), noAnswer(inner[0]))
  if (typeof code !== 'string') return null
  return /^E[A-Z]+$/.test(code) ? code : code === 'PLT_KFK_TIMEOUT' || code === 'PLT_KFK_NETWORK' ? 'no answer' : null
}

export function adminError(bootstrap: string, action: string, error: unknown): MinimError {
  const silence = noAnswer(error)
  if (silence !== null) return new MinimError('MINIM_KAFKA_UNREACHABLE', { bootstrap, what: silence }, { cause: error })
  const said = textOf(error)
  if (said.includes('UNSUPPORTED_VERSION'))
    return new MinimError('MINIM_KAFKA_NO_ADMIN', { bootstrap }, { cause: error })
  return new MinimError('MINIM_KAFKA_ADMIN', { bootstrap, action, what: said.slice(0, 500) }, { cause: error })
}

const MECHANISMS = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'] as const

export async function openAdmin(options: { bootstrap: string; properties: KafkaProperties }): Promise<Admin> {
  // Loaded when it is needed: half a second that commands on the embedded cluster need not wait for.
  const { Admin } = await import('@platformatic/kafka')
  return new Admin(adminOptions(options.bootstrap, options.properties))
}

export async function closeAdmin(admin: Admin): Promise<void> {
  try {
    await admin.close()
  } catch {
    // A connection that is gone already.
  }
}

/** The admin client's options, from librdkafka's properties. */
export function adminOptions(bootstrap: string, properties: KafkaProperties): AdminOptions {
  return {
    clientId: 'minim-admin',
    bootstrapBrokers: bootstrap.split(',').map((b) => b.trim()),
    timeout: REQUEST_TIMEOUT_MS,
    connectTimeout: REQUEST_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    retries: 3,
    retryDelay: 250,
    ...connectionOptions(properties),
  }
}

/** How to reach a broker: TLS and SASL, from librdkafka's properties. */
export function connectionOptions(properties: KafkaProperties): Pick<AdminOptions, 'tls' | 'sasl'> {
  const text = (name: string): string | undefined =>
    properties[name] === undefined ? undefined : String(properties[name])
  const protocol = (text('security.protocol') ?? 'plaintext').toLowerCase()
  const known = ['plaintext', 'ssl', 'sasl_plaintext', 'sasl_ssl']
  if (!known.includes(protocol)) {
    throw new MinimError('MINIM_KAFKA_ADMIN_UNSUPPORTED', {
      property: 'security.protocol',
      value: protocol,
      known: known.join(', '),
    })
  }
  const options: Pick<AdminOptions, 'tls' | 'sasl'> = {}
  if (protocol.endsWith('ssl')) options.tls = tlsOptions(text)
  if (protocol.startsWith('sasl')) {
    const mechanism = MECHANISMS.find((m) => m === (text('sasl.mechanism') ?? text('sasl.mechanisms') ?? ''))
    if (mechanism === undefined) {
      throw new MinimError('MINIM_KAFKA_ADMIN_UNSUPPORTED', {
        property: 'sasl.mechanism',
        value: text('sasl.mechanism') ?? text('sasl.mechanisms') ?? 'unset',
        known: MECHANISMS.join(', '),
      })
    }
    options.sasl = { mechanism, username: text('sasl.username') ?? '', password: text('sasl.password') ?? '' }
  }
  return options
}

function tlsOptions(text: (name: string) => string | undefined): NonNullable<AdminOptions['tls']> {
  const tls: NonNullable<AdminOptions['tls']> = {}
  const pem = (inline: string, location: string): string | Buffer | undefined => {
    const path = text(location)
    return text(inline) ?? (path === undefined ? undefined : readFileSync(path))
  }
  const ca = pem('ssl.ca.pem', 'ssl.ca.location')
  const cert = pem('ssl.certificate.pem', 'ssl.certificate.location')
  const key = pem('ssl.key.pem', 'ssl.key.location')
  const passphrase = text('ssl.key.password')
  if (ca !== undefined) tls.ca = ca
  if (cert !== undefined) tls.cert = cert
  if (key !== undefined) tls.key = key
  if (passphrase !== undefined) tls.passphrase = passphrase
  if (text('enable.ssl.certificate.verification') === 'false') tls.rejectUnauthorized = false
  return tls
}
