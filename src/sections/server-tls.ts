/** Certificate files of the servers that sources listen with. */
import { pemFiles, readPem, type TlsSettings } from './tls-files.js'

/** PEM, as Node.js's TLS servers take it. */
export interface ServerTls {
  readonly cert: Buffer
  readonly key: Buffer
  /** With it, clients must show a certificate of this authority. */
  readonly ca: Buffer | null
}

/**
 * Reads a server's certificate files.
 * @param path where they stand in the settings: `http.tls`
 * @throws ProblemsError MINIM_SETTINGS_INVALID
 */
export function readServerTls(tls: TlsSettings, path: string): ServerTls {
  const { cert, key, ca } = readPem(pemFiles(tls, path))
  if (cert === null || key === null) throw new TypeError('the schema lets no server through without both')
  return { cert, key, ca }
}
