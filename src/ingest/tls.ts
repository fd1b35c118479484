/** Certificate files of the servers that sources listen with. */
import { readFileSync } from 'node:fs'
import { MinimError } from '../errors/catalogue.js'
import type { TlsSettings } from '../settings/schema.js'

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
 * @throws MinimError MINIM_TLS_FILE
 */
export function readServerTls(tls: TlsSettings, path: string): ServerTls {
  const read = (file: string, key: string): Buffer => {
    try {
      return readFileSync(file)
    } catch (error) {
      throw new MinimError('MINIM_TLS_FILE', { what: `${path}.${key}`, code: (error as NodeJS.ErrnoException).code ?? 'error' })
    }
  }
  return { cert: read(tls.cert, 'cert'), key: read(tls.key, 'key'), ca: tls.clientCa === null ? null : read(tls.clientCa, 'clientCa') }
}
