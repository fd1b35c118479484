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
import type { Source, SourceContext } from '../../flow/source.js'
import { readSecret } from '../../sections/secrets.js'
import type { SettingsAround } from '../../sections/source-section.js'
import { HttpListener, warnIfOpen } from '../common/http-server.js'
import { credentialsPlace } from '../common/posted-settings.js'
import { Posts } from './posts.js'
import type { HttpSettings } from './settings.js'

/** What is read of all settings. */
type Settings = { readonly http: HttpSettings } & Pick<SettingsAround, 'limits' | 'tenants'>

/** Starts the listener, if the settings have one. */
export async function startHttp({
  settings,
  catalogue,
  inlet,
  counters,
  log,
}: SourceContext<Settings>): Promise<Source | null> {
  const { http, limits } = settings
  const { listen, tenant } = http
  if (listen === null) return null
  const tenants = Object.keys(settings.tenants)
  const credentials = readSecret(credentialsPlace('http', http, tenants))
  warnIfOpen('http', { ...http, listen }, credentials, log)
  const refuseUnknown = http.unknown === 'refuse'
  const posts = new Posts({ catalogue, tenants: new Set(tenants), ...limits, refuseUnknown, tenant, inlet, log })
  const listener = new HttpListener({
    section: 'http',
    settings: { ...http, listen },
    tenants,
    credentials,
    counters: counters('http'),
    inlet,
    log,
    paths: posts.paths,
    handle: (post) => posts.take(post),
  })
  const address = await listener.start()
  return {
    kind: 'http',
    addresses: { http: address },
    stopTaking: () => listener.stopTaking(),
    stop: async () => {
      await listener.stop()
      posts.stop()
    },
  }
}
