/** Until when the certificates hold that settings name: asked by who checks them, before a partner's side refuses. */
import { X509Certificate } from 'node:crypto'
import { DAY_MS } from '../base/time.js'
import { readOwn } from './secrets.js'

/** How long before its end a certificate is told of. */
const CERTIFICATE_SOON_DAYS = 30

/** A file or a text of certificates, and its path in the settings. */
export interface NamedCertificates {
  readonly path: string
  readonly file: string | null
  /** In place of a file. */
  readonly text?: string
  /** Authorities: of a bundle the others go on when one has ended. */
  readonly authorities: boolean
}

export interface CertificateDates {
  readonly path: string
  readonly state: 'expired' | 'not-yet' | 'soon'
  /** In words, behind "a certificate in it". */
  readonly what: string
}

/** Keys of a `tls` section that name certificates. */
const NAMES = ['cert', 'ca', 'clientCa'] as const
/** librdkafka's properties that do, each with the one that holds the text itself. */
const KAFKA_NAMES = [
  ['ssl.certificate.location', 'ssl.certificate.pem', false],
  ['ssl.ca.location', 'ssl.ca.pem', true],
] as const

/** Every certificate that settings name, wherever there is a section `tls`, and in Kafka's properties. */
export function namedCertificates(settings: unknown): NamedCertificates[] {
  const found: NamedCertificates[] = []
  const walk = (value: unknown, path: string): void => {
    if (typeof value !== 'object' || value === null) return
    for (const [key, part] of Object.entries(value)) {
      const at = path === '' ? key : `${path}.${key}`
      if (key === 'tls') found.push(...ofTls(part, at))
      else walk(part, at)
    }
  }
  walk(settings, '')
  const kafka = (settings as { readonly kafka?: Readonly<Record<string, unknown>> }).kafka ?? {}
  const protocol = kafka['security.protocol']
  if (typeof protocol === 'string' && /ssl$/i.test(protocol))
    for (const [location, inline, authorities] of KAFKA_NAMES) {
      const [file, text] = [kafka[location], kafka[inline]]
      if (typeof text === 'string') found.push({ path: `kafka.${inline}`, file: null, text, authorities })
      else if (typeof file === 'string') found.push({ path: `kafka.${location}`, file, authorities })
    }
  return found
}

function ofTls(tls: unknown, path: string): NamedCertificates[] {
  if (typeof tls !== 'object' || tls === null) return []
  return NAMES.flatMap((name) => {
    const file = (tls as Readonly<Record<string, unknown>>)[name]
    return typeof file === 'string' ? [{ path: `${path}.${name}`, file, authorities: name !== 'cert' }] : []
  })
}

/**
 * What is to be said of the dates of certificates. What cannot be read is left out: that is told of by who checks the
 * files.
 */
export function certificateDates(named: NamedCertificates, now: number = Date.now()): CertificateDates[] {
  let text = named.text
  if (named.file !== null) {
    const read = readOwn(named.file, named.path, 0)
    if ('problem' in read) return []
    text = read.value.toString('latin1')
  }
  const certificates = [...(text ?? '').matchAll(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g)].flatMap(
    ([pem]) => parsed(pem),
  )
  const told = certificates.flatMap((certificate) => datesOf(certificate, named.path, now))
  const holding = certificates.length - told.filter(({ state }) => state !== 'soon').length
  // Distributions' bundles hold authorities that have ended; whoever has one that holds is not stopped by them.
  return named.authorities && holding > 0 && certificates.length > 1
    ? told.filter(({ state }) => state === 'soon' && holding === 1)
    : told
}

function parsed(pem: string): X509Certificate[] {
  try {
    return [new X509Certificate(pem)]
  } catch {
    return []
  }
}

function datesOf(certificate: X509Certificate, path: string, now: number): CertificateDates[] {
  const [from, to] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)]
  const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10)
  if (to <= now) return [{ path, state: 'expired', what: `has expired on ${day(to)}` }]
  if (from > now) return [{ path, state: 'not-yet', what: `holds from ${day(from)} only` }]
  const days = Math.floor((to - now) / DAY_MS)
  return days < CERTIFICATE_SOON_DAYS ? [{ path, state: 'soon', what: `expires on ${day(to)}, in ${days} day(s)` }] : []
}
