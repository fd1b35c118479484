/** Certificate files that settings name: PEM, as Node.js's and gRPC's TLS take it. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import type { Problem } from '../errors/catalogue.js'
import { type Read, readOwn, valueOf } from './secrets.js'

/** A file, and its path in the settings. */
export interface PemFile {
  readonly file: string
  readonly path: string
}

/** What one side of a connection shows, and whom it believes; each null where it is not given. */
export interface PemFiles {
  readonly cert: PemFile | null
  readonly key: PemFile | null
  readonly ca: PemFile | null
  /** Of the key. */
  readonly passphrase?: string
}

/** What they hold. */
export interface Pem {
  readonly cert: Buffer | null
  readonly key: Buffer | null
  readonly ca: Buffer | null
}

/** Files by the names that all sections have for them: `clientCa` of a server, `ca` of a client. */
interface TlsSection {
  readonly cert?: string | null
  readonly key?: string | null
  readonly ca?: string | null
  readonly clientCa?: string | null
}

/** @param path where they stand in the settings: `http.tls` */
export function pemFiles(tls: TlsSection, path: string): PemFiles {
  const at = (key: keyof TlsSection): PemFile | null => {
    const file = tls[key]
    return typeof file === 'string' ? { file, path: `${path}.${key}` } : null
  }
  return { cert: at('cert'), key: at('key'), ca: at('clientCa') ?? at('ca') }
}

/** What is wrong with certificate files: all of it. */
export function pemProblems(files: PemFiles): Problem[] {
  const [cert, key, ca] = [certificate(files.cert), privateKey(files), certificate(files.ca)]
  const problems = [cert, key, ca].flatMap((read) => ('problem' in read ? [read.problem] : []))
  if (
    files.cert !== null &&
    files.key !== null &&
    'value' in cert &&
    'value' in key &&
    cert.value !== null &&
    key.value !== null &&
    !new X509Certificate(cert.value).checkPrivateKey(createPrivateKey({ key: key.value, passphrase: files.passphrase }))
  ) {
    problems.push({
      path: files.key.path,
      what: 'is not the key of the certificate',
      mend: `name the private key that ${files.cert.path} was made with`,
    })
  }
  return problems
}

/**
 * Reads certificate files that the settings' check has found in order.
 * @throws ProblemsError MINIM_SETTINGS_INVALID, if they have changed since
 */
export function readPem(files: PemFiles): Pem {
  return { cert: valueOf(certificate(files.cert)), key: valueOf(privateKey(files)), ca: valueOf(certificate(files.ca)) }
}

function certificate(pem: PemFile | null): Read<Buffer | null> {
  if (pem === null) return { value: null }
  const read = readOwn(pem.file, pem.path, 0)
  return 'problem' in read || holds(() => new X509Certificate(read.value))
    ? read
    : {
        problem: {
          path: pem.path,
          what: 'holds no certificate',
          mend: 'name a PEM file that begins with the certificate',
        },
      }
}

/** Group may read it: distributions have one for who needs keys. Nobody else may. */
function privateKey({ key: pem, passphrase }: PemFiles): Read<Buffer | null> {
  if (pem === null) return { value: null }
  const read = readOwn(pem.file, pem.path, 0o007)
  return 'problem' in read || holds(() => createPrivateKey({ key: read.value, passphrase }))
    ? read
    : {
        problem: {
          path: pem.path,
          what: 'holds no private key that can be read',
          mend: 'name a PEM file with the private key',
        },
      }
}

function holds(parse: () => unknown): boolean {
  try {
    parse()
    return true
  } catch {
    return false
  }
}

export interface TlsSettings {
  readonly cert: string
  readonly key: string
  readonly clientCa: string | null
}
