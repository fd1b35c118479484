/**
 * Real certificates, made with openssl: an authority, a server's and clients', each with the subjectAltName that a test
 * wants.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ChannelCredentials } from '@grpc/grpc-js'
import type { Test } from 'tap'
import { execFileSync, spawnSync } from './child-process.js'

/** Why tests with certificates cannot run; false where they can. */
export const noOpenssl = spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed'

const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

export interface Pair {
  readonly cert: string
  readonly key: string
}

/** An authority in a folder of its own. */
export class Authority {
  readonly #folder: string
  readonly ca: string

  constructor(t: Test) {
    const folder = mkdtempSync(join(tmpdir(), 'minim-ca-'))
    t.teardown(() => {
      rmSync(folder, { recursive: true, force: true })
    })
    this.#folder = folder
    this.ca = join(folder, 'ca.pem')
    this.#openssl(
      'req',
      '-x509',
      ...EC,
      '-keyout',
      'ca.key',
      '-out',
      'ca.pem',
      '-days',
      '2',
      '-subj',
      '/CN=test authority',
    )
  }

  /** @param san as openssl writes it: `DNS:pbx-1,URI:…`; empty for none @param cn the subject's common name */
  issue(file: string, san: string, cn = file): Pair {
    this.#openssl('req', ...EC, '-keyout', `${file}.key`, '-out', `${file}.csr`, '-subj', `/CN=${cn}`)
    writeFileSync(
      join(this.#folder, `${file}.ext`),
      san === '' ? 'basicConstraints=CA:FALSE\n' : `subjectAltName=${san}\n`,
    )
    this.#openssl(
      'x509',
      '-req',
      '-in',
      `${file}.csr`,
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-days',
      '2',
      '-extfile',
      `${file}.ext`,
      '-out',
      `${file}.pem`,
    )
    return { cert: join(this.#folder, `${file}.pem`), key: join(this.#folder, `${file}.key`) }
  }

  /** A gRPC client's credentials with that certificate. */
  grpc({ cert, key }: Pair): ChannelCredentials {
    return ChannelCredentials.createSsl(readFileSync(this.ca), readFileSync(key), readFileSync(cert))
  }

  #openssl(...args: string[]): void {
    execFileSync('openssl', args, { cwd: this.#folder, stdio: 'pipe' })
  }
}
