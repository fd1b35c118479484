/**
 * FreeSWITCH's mod_json_cdr: one POST a channel, when it ends. Acknowledged when its records are safe, and not before;
 * posted again (after a time-out, to the next of its URLs) it is known by its uuid, acknowledged, and not taken twice.
 *
 * A body that is no CDR is acknowledged as well, and goes to quarantine, encrypted: refused, mod_json_cdr would post it
 * again as often as it is told to, and then write it to its disk in clear (`err-log-dir`).
 */
import type { Refusal } from '../../batch/batch.js'
import type { Source, SourceContext } from '../../flow/source.js'
import { cdrJson, readCdr } from '../../formats/freeswitch/body.js'
import { writeCdr } from '../../formats/freeswitch/records.js'
import { RecordWriter } from '../../formats/record-writer.js'
import { readSecret } from '../../sections/secrets.js'
import type { SettingsAround } from '../../sections/source-section.js'
import { mayUse, warnOfUnauthorised } from '../common/authorise.js'
import { type HttpAnswer, refusal } from '../common/http-answers.js'
import { HttpListener, warnIfOpen } from '../common/http-server.js'
import { credentialsPlace } from '../common/posted-settings.js'
import type { FreeswitchSettings } from './settings.js'

/** Starts the listener, if the settings have one. */
export async function startFreeswitch({
  settings,
  catalogue,
  inlet,
  counters,
  log,
}: SourceContext<
  { readonly freeswitch: FreeswitchSettings } & Pick<SettingsAround, 'tenants'>
>): Promise<Source | null> {
  const { freeswitch } = settings
  const { listen, legs, path } = freeswitch
  if (listen === null) return null
  const credentials = readSecret(credentialsPlace('freeswitch', freeswitch, Object.keys(settings.tenants)))
  warnIfOpen('freeswitch', { ...freeswitch, listen }, credentials, log)
  const counted = counters('freeswitch')
  const warn = warnOfUnauthorised(log, 'freeswitch')
  const writer = new RecordWriter(catalogue)
  const quarantine = async (bytes: Buffer, reason: Refusal, tenant: string): Promise<HttpAnswer> => {
    await inlet.put({ source: 'freeswitch', format: 'refused', tenant, bytes, reason, id: null })
    // Counted where it is quarantined, as what other sources quarantine is.
    return { status: 200, body: { records: 0, quarantined: true } }
  }
  const listener = new HttpListener({
    section: 'freeswitch',
    settings: { ...freeswitch, listen },
    tenants: Object.keys(settings.tenants),
    credentials,
    counters: counted,
    inlet,
    log,
    paths: [path],
    handle: async ({ body, grant }): Promise<HttpAnswer> => {
      // Its records are of the tenant that its sender has.
      const { tenant } = grant
      if (!mayUse(grant, tenant)) {
        warn()
        return refusal(403, 'unauthorised', 'unauthorised')
      }
      if (body.length === 0) return refusal(400, 'malformed', 'malformed')
      const json = cdrJson(body)
      const cdr = json === null ? null : readCdr(json)
      if (cdr === null) return await quarantine(body, 'malformed_json', tenant)
      const taken = writeCdr(cdr, legs, writer)
      if (taken === null) return await quarantine(body, 'no_start_time', tenant)
      if (taken.records === 0) return { status: 200, body: { records: 0 }, refused: 'unused' }
      const put = await inlet.put({
        source: 'freeswitch',
        format: 'protobuf',
        tenant,
        records: taken.records,
        bytes: writer.take(),
        id: taken.id,
      })
      if (put === 'repeated') return { status: 200, body: { records: 0, repeated: true }, refused: 'repeated' }
      return { status: 200, body: { records: taken.records } }
    },
  })
  const address = await listener.start()
  return {
    kind: 'freeswitch',
    addresses: { freeswitch: address },
    stopTaking: () => listener.stopTaking(),
    stop: () => listener.stop(),
  }
}
