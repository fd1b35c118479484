/**
 * The operator's port: `/metrics`, `/healthz` (the process lives), `/readyz` (it can take records: 503 with reasons
 * when it cannot).
 */
import type { AddressInfo } from 'node:net'
import { MinimError } from '../errors/catalogue.js'

export interface Readiness {
  readonly ok: boolean
  /** Codes like `no_broker`: lower case, digits and underscores; anything else is answered as `other`. */
  readonly reasons: readonly string[]
}

export interface OpsOptions {
  /** `host:port` or `[host]:port`; port 0 takes a free one. */
  readonly listen: string
  /** Of prom-client, or over several processes. */
  readonly registry: { readonly contentType: string; metrics(): Promise<string> }
  readonly ready: () => Readiness
}

export interface Ops {
  readonly host: string
  readonly port: number
  /** Ends what is being answered, and every connection. */
  close(): Promise<void>
}

/** How long a client may take over its request. */
const REQUEST_TIMEOUT_MS = 10_000

/** @throws MinimError `MINIM_OPS_LISTEN` when the address cannot be had */
export async function startOps({ listen, registry, ready }: OpsOptions): Promise<Ops> {
  // Commands without the port start without it.
  const { fastify } = await import('fastify')
  const app = fastify({
    // What cannot even be read as a URL is not repeated either.
    frameworkErrors: (_, __, reply) => {
      reply.raw.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"bad request"}')
    },
    logger: false,
    bodyLimit: 1024,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: 60_000,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
  })
  // Neither answer repeats what was asked for.
  app.setNotFoundHandler((_, reply) => reply.code(404).send({ error: 'not found' }))
  app.setErrorHandler((_, __, reply) => reply.code(500).send({ error: 'internal error' }))
  app.addHook('onRequest', (_, reply, done) => {
    void reply.header('cache-control', 'no-store')
    done()
  })
  app.get('/metrics', async (_, reply) => reply.type(registry.contentType).send(await registry.metrics()))
  app.get('/healthz', (_, reply) => reply.send({ status: 'ok' }))
  app.get('/readyz', (_, reply) => {
    const { ok, reasons } = ready()
    return reply
      .code(ok ? 200 : 503)
      .send({ ready: ok, reasons: ok ? [] : reasons.map((reason) => (REASON.test(reason) ? reason : 'other')) })
  })

  const { host, port } = splitListen(listen)
  try {
    await app.listen({ host, port })
  } catch (error) {
    await app.close()
    const code = (error as { code?: unknown } | null)?.code
    throw new MinimError('MINIM_OPS_LISTEN', { listen, what: typeof code === 'string' ? code : 'unknown error' })
  }
  const [{ address, port: boundPort }] = app.addresses() as AddressInfo[]
  return {
    host: address,
    port: boundPort,
    close: async () => {
      await app.close()
    },
  }
}

const REASON = /^[a-z][a-z0-9_]{0,39}$/

function splitListen(listen: string): { readonly host: string; readonly port: number } {
  const at = listen.lastIndexOf(':')
  return { host: listen.slice(0, at).replace(/^\[(.*)\]$/, '$1'), port: Number(listen.slice(at + 1)) }
}
