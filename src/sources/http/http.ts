/**
 * JSON over HTTP, for anything that can post: `POST /v1/calls`, `/v1/qualities`, `/v1/devices`, as a JSON object, a
 * list of them, JSON Lines or a protobuf `Batch`, compressed with gzip or not.
 *
 * A post is taken whole or not at all: every record is read first, and the first that could not become one is named by
 * line and field (422). What is taken is safe in the spool before it is acknowledged (202); with an `Idempotency-Key`
 * (draft-ietf-httpapi-idempotency-key-header) the same post again is acknowledged and not taken twice (200); another
 * post under the same key is refused (422), since an acknowledgement would say that it was taken.
 *
 * JSON Lines go to the spool as they came, and are read again when they leave it: making records of them twice costs
 * less than making other bytes of them. Guarded by the HTTP row of `bench/`.
 */
import type { Source, SourceContext, SpooledFormat } from '../../flow/source.js'
import { readSecret } from '../../sections/secrets.js'
import type { SettingsAround } from '../../sections/source-section.js'
import { warnOfUnauthorised } from '../common/authorise.js'
import { type HttpAnswer, refusal } from '../common/http-answers.js'
import { HttpListener, type HttpPost, warnIfOpen } from '../common/http-server.js'
import { credentialsPlace } from '../common/posted-settings.js'
import { HTTP_PATHS, kindOf, PostChecker } from './check.js'
import { jsonToLines } from './json.js'
import type { HttpSettings } from './settings.js'

type Form = 'json' | 'lines' | 'protobuf'

const FORMS: ReadonlyMap<string, Form> = new Map<string, Form>([
  ['application/json', 'json'],
  ['application/x-ndjson', 'lines'],
  ['application/ndjson', 'lines'],
  ['application/jsonl', 'lines'],
  ['application/json-lines', 'lines'],
  ['application/jsonlines', 'lines'],
  ['application/x-protobuf', 'protobuf'],
  ['application/protobuf', 'protobuf'],
  ['application/vnd.google.protobuf', 'protobuf'],
])
const ACCEPTED = 'application/json, application/x-ndjson, application/x-protobuf'

/** A key that can stand in a header: the draft's quoted string, or the same without quotes. */
const KEY = /^"?([!#-~]{1,255})"?$/
const BACKSLASH = 0x5c

const BAD_KEY = refusal(400, 'bad_key', 'malformed')
const KEY_REUSED = refusal(422, 'key_reused', 'key_reused')
const UNSUPPORTED_TYPE = refusal(415, 'unsupported_type', 'malformed', {}, { accept: ACCEPTED })
const MALFORMED = refusal(400, 'malformed', 'malformed')

/** Starts the listener, if the settings have one. */
export async function startHttp({
  settings,
  catalogue,
  inlet,
  counters,
  log,
}: SourceContext<
  { readonly http: HttpSettings } & Pick<SettingsAround, 'limits' | 'tenants'>
>): Promise<Source | null> {
  const { http, limits } = settings
  const { listen } = http
  if (listen === null) return null
  const credentials = readSecret(credentialsPlace('http', http, Object.keys(settings.tenants)))
  warnIfOpen('http', { ...http, listen }, credentials, log)
  const warn = warnOfUnauthorised(log, 'http')
  const tenants = new Set(Object.keys(settings.tenants))
  const ways = new Map(
    HTTP_PATHS.map((name) => {
      const kind = kindOf(name)
      return [`/v1/${name}`, { kind, checker: new PostChecker({ catalogue, kind, tenants, ...limits }) }]
    }),
  )

  const take = async ({ path, headers, body, sender, grant }: HttpPost): Promise<HttpAnswer> => {
    const { kind, checker } = ways.get(path)!
    const form = FORMS.get((headers['content-type'] ?? '').split(';')[0].trim().toLowerCase())
    if (form === undefined) return UNSUPPORTED_TYPE
    const given = headers['idempotency-key']
    const key = given === undefined ? null : KEY.exec(String(given))?.[1]
    if (key === undefined) return BAD_KEY
    if (body.length === 0) return MALFORMED

    let bytes = body
    let format: SpooledFormat = 'protobuf'
    if (form === 'json') {
      const lines = jsonToLines(body)
      if (lines === null) return MALFORMED
      bytes = lines
    }
    const checked =
      form === 'protobuf'
        ? checker.protobuf(bytes, grant)
        : checker.jsonLines(withRoom(bytes, limits.maxRecordBytes), bytes.length, grant)
    if (form !== 'protobuf') format = `jsonl-${kind}`
    if (checked.bad?.reason === 'unauthorised') {
      warn()
      return refusal(403, 'unauthorised', 'unauthorised', { ...checked.bad })
    }
    if (checked.bad !== null) return refusal(422, 'bad_record', 'malformed', { ...checked.bad })
    if (checked.records === 0) return { status: 200, body: { records: 0 }, refused: 'unused' }
    // Two senders' keys are two, and so are those of two kinds; a sender's stay its own when its tenants change. What a
    // key may come with again is the body as it was before compression.
    const put = await inlet.put({
      source: 'http',
      format,
      tenant: grant.tenant,
      bytes,
      records: checked.records,
      id: key === null ? null : { name: `${kind} ${sender} ${key}`, tenant: http.tenant, body },
    })
    if (put === 'reused') return KEY_REUSED
    if (put === 'repeated') return { status: 200, body: { records: 0, repeated: true }, refused: 'repeated' }
    return { status: 202, body: { records: checked.records } }
  }

  const listener = new HttpListener({
    section: 'http',
    settings: { ...http, listen },
    tenants: [...tenants],
    credentials,
    counters: counters('http'),
    inlet,
    log,
    paths: [...ways.keys()],
    handle: take,
  })
  const address = await listener.start()
  return {
    kind: 'http',
    addresses: { http: address },
    stopTaking: () => listener.stopTaking(),
    stop: () => listener.stop(),
  }
}

/** Text with escapes is unescaped behind the lines. */
function withRoom(bytes: Buffer, room: number): Buffer {
  if (!bytes.includes(BACKSLASH)) return bytes
  const arena = Buffer.allocUnsafe(bytes.length + room)
  bytes.copy(arena)
  return arena
}
