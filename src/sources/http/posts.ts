/** What becomes of one post: its form, its records, its key, the spool, the answer. */
import type { Catalogue } from '../../catalogue/catalogue.js'
import type { Logger } from '../../flow/log.js'
import type { Inlet, SpooledFormat } from '../../flow/source.js'
import { warnOfUnauthorised } from '../common/authorise.js'
import { type HttpAnswer, refusal } from '../common/http-answers.js'
import type { HttpPost } from '../common/http-server.js'
import { type Checked, HTTP_PATHS, kindOf, PostChecker } from './check.js'
import { jsonToLines } from './json.js'
import { UnknownFieldLog } from './unknown-fields.js'

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

export interface PostsOptions {
  readonly catalogue: Catalogue
  readonly tenants: ReadonlySet<string>
  readonly maxRecordBytes: number
  readonly futureMs: number
  readonly refuseUnknown: boolean
  /** Tenant of the listener, under which keys are remembered: a sender's stay its own when its tenants change. */
  readonly tenant: string
  readonly inlet: Inlet
  readonly log: Logger
}

/** Takes posts of records. */
export class Posts {
  readonly #options: PostsOptions
  readonly #checkers: ReadonlyMap<string, PostChecker>
  readonly #warn: () => void
  readonly #unknown: UnknownFieldLog

  constructor(options: PostsOptions) {
    this.#options = options
    this.#checkers = new Map(
      HTTP_PATHS.map((name) => [`/v1/${name}`, new PostChecker({ ...options, kind: kindOf(name) })]),
    )
    this.#warn = warnOfUnauthorised(options.log, 'http')
    this.#unknown = new UnknownFieldLog(options.log)
  }

  /** Those that are posted to. */
  get paths(): readonly string[] {
    return [...this.#checkers.keys()]
  }

  async take({ path, headers, body, sender, grant }: HttpPost): Promise<HttpAnswer> {
    const checker = this.#checkers.get(path)
    if (checker === undefined) throw new TypeError('the listener hands on posts to its own paths')
    const form = FORMS.get((headers['content-type'] ?? '').split(';')[0].trim().toLowerCase())
    if (form === undefined) return UNSUPPORTED_TYPE
    const given = headers['idempotency-key']
    const key = given === undefined ? null : KEY.exec(String(given))?.[1]
    if (key === undefined) return BAD_KEY
    const bytes = form === 'json' && body.length > 0 ? jsonToLines(body) : body
    if (bytes === null || body.length === 0) return MALFORMED
    const checked =
      form === 'protobuf'
        ? checker.protobuf(bytes, grant)
        : checker.jsonLines(withRoom(bytes, this.#options.maxRecordBytes), bytes.length, grant)
    const refused = this.#refused(checked)
    if (refused !== null) return refused

    const { kind } = checker
    const format: SpooledFormat = form === 'protobuf' ? 'protobuf' : `jsonl-${kind}`
    const { records, unknownFields } = checked
    // Two senders' keys are two, and so are those of two kinds. What a key may come with again is the body as it was
    // before compression.
    const id = key === null ? null : { name: `${kind} ${sender} ${key}`, tenant: this.#options.tenant, body }
    const put = await this.#options.inlet.put({ source: 'http', format, tenant: grant.tenant, bytes, records, id })
    if (put === 'reused') return KEY_REUSED
    if (put === 'repeated') return { status: 200, body: { records: 0, repeated: true }, refused: 'repeated' }
    if (unknownFields === 0) return { status: 202, body: { records } }
    this.#unknown.add(unknownFields, records, checked.unknown)
    return { status: 202, body: { records, unknownFields } }
  }

  /** Says what is left to be said. */
  stop(): void {
    this.#unknown.stop()
  }

  /** The answer to a post of which nothing is taken; null to one that is to be. */
  #refused({ records, bad }: Checked): HttpAnswer | null {
    if (bad === null) return records > 0 ? null : { status: 200, body: { records: 0 }, refused: 'unused' }
    if (bad.reason === 'unauthorised') {
      this.#warn()
      return refusal(403, 'unauthorised', 'unauthorised', { ...bad })
    }
    if (bad.reason !== 'unknown_field') return refusal(422, 'bad_record', 'malformed', { ...bad })
    const { line, field, nearest } = bad
    return refusal(422, 'unknown_field', 'malformed', { line, field, nearest })
  }
}

/** Text with escapes is unescaped behind the lines. */
function withRoom(bytes: Buffer, room: number): Buffer {
  if (!bytes.includes(BACKSLASH)) return bytes
  const arena = Buffer.allocUnsafe(bytes.length + room)
  bytes.copy(arena)
  return arena
}
