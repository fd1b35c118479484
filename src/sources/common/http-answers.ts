/** Answers of the HTTP listener: a word out of a closed set for what was wrong, and nothing of what was sent. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { MinimError } from '../../errors/catalogue.js'
import type { SourceRefusal } from '../../flow/counters.js'
import type { InletTrouble } from '../../flow/source.js'

/** How long a client may go on sending what will not be read, so that it can read why, ms. */
export const LINGER_MS = 500
/** When to come again, s. */
const RETRY_RATE = '1'
const RETRY_ROOM = '5'

/** Words for what was wrong, in answers. docs/sources/http.md explains each. */
export type HttpError =
  | 'not_found'
  | 'method_not_allowed'
  | 'unauthorised'
  | 'too_many_requests'
  | 'unavailable'
  | 'too_large'
  | 'unsupported_type'
  | 'unsupported_encoding'
  | 'malformed'
  | 'bad_record'
  | 'unknown_field'
  | 'bad_key'
  | 'key_reused'

export interface HttpAnswer {
  readonly status: number
  readonly body: Readonly<Record<string, string | number | boolean | null>>
  readonly headers?: Readonly<Record<string, string>>
  /** What it counts as, if nothing was taken. */
  readonly refused?: SourceRefusal
}

/** An answer that says what was wrong. */
export function refusal(
  status: number,
  error: HttpError,
  refused: SourceRefusal,
  more: Readonly<Record<string, string | number | null>> = {},
  headers: Readonly<Record<string, string>> = {},
): HttpAnswer {
  return { status, body: { error, ...more }, headers, refused }
}

export const TOO_LARGE = refusal(413, 'too_large', 'too_large')
/** Nothing is taken for a while. `busy`: more posts at once than are read at once. `internal`: a mistake of minim's. */
function unavailable(reason: InletTrouble['reason'] | 'busy' | 'internal', cause: string | null = null): HttpAnswer {
  const more = cause === null ? { reason } : { reason, cause }
  return refusal(503, 'unavailable', 'no_room', more, { 'retry-after': RETRY_ROOM })
}

export const BUSY = unavailable('busy')
export const INTERNAL = unavailable('internal')
export const STOPPING = unavailable('stopping')
export const TOO_FAST = refusal(429, 'too_many_requests', 'rate', {}, { 'retry-after': RETRY_RATE })

/** Nothing can be stored, as the inlet has said before it was handed anything. */
export function noRoom(trouble: InletTrouble | null): HttpAnswer {
  return unavailable(trouble?.reason ?? 'spool_full', trouble?.cause)
}

/** Something could not be stored: what the error says of that, and the inlet of what lies behind it. */
export function notStored(error: unknown, trouble: InletTrouble | null): HttpAnswer {
  if (!(error instanceof MinimError)) return INTERNAL
  if (error.code === 'MINIM_SPOOL_FULL')
    return unavailable('spool_full', trouble?.reason === 'spool_full' ? trouble.cause : null)
  if (error.code === 'MINIM_SPOOL_BROKEN') return unavailable('spool_broken')
  return error.code === 'MINIM_DELIVERY_STOPPED' ? STOPPING : INTERNAL
}

/** Whether nothing of a request is still to come. */
export function isWhole({ complete, headers }: IncomingMessage): boolean {
  const length = headers['content-length']
  return complete || (length === undefined && headers['transfer-encoding'] === undefined) || length === '0'
}

/** @param last the connection ends with it */
export function sendAnswer(response: ServerResponse, { status, body, headers }: HttpAnswer, last: boolean): void {
  if (response.destroyed || response.headersSent) return
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    ...headers,
    ...(last ? { connection: 'close' } : {}),
  })
  response.end(text)
}

/**
 * Answers before the body has been read. The connection ends, but not at once: closed with bytes unread, it would be
 * reset, and the answer lost (RFC 9112 §9.6). So it is read on for a moment, and thrown away.
 */
export function refuseUnread(request: IncomingMessage, response: ServerResponse, answer: HttpAnswer): void {
  if (response.destroyed || response.headersSent) return
  const text = JSON.stringify(answer.body)
  response.writeHead(answer.status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    ...answer.headers,
    connection: 'close',
  })
  response.write(text)
  const end = (): void => {
    clearTimeout(timer)
    response.end()
    request.destroy()
  }
  const timer = setTimeout(end, LINGER_MS)
  // A client that waited for a 100 sends nothing: it is told at once.
  if (request.headers.expect !== undefined) request.pause()
  else request.resume()
  request.once('end', () => {
    clearTimeout(timer)
    response.end()
  })
  response.once('close', () => {
    clearTimeout(timer)
  })
}
