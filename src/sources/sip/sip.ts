/** The SIP source: the embedded listener, a connection to a drachtio-server, or both. One service answers for them. */
import type { StartSource } from '../../flow/source.js'
import type { SettingsAround } from '../../sections/source-section.js'
import { Authoriser } from '../common/authorise.js'
import { DrachtioApplication, loadLibraryReader } from './drachtio.js'
import { SipListener } from './listener.js'
import { SipService } from './service.js'
import type { SipSettings } from './settings.js'

/** Starts SIP if the settings have it. */
export const startSip: StartSource<{ readonly sip: SipSettings } & Pick<SettingsAround, 'tenants'>> = async ({
  settings,
  catalogue,
  log,
  inlet,
  counters: countersOf,
  onBroken,
}) => {
  const { sip } = settings
  if (sip.udp === null && sip.tcp === null && sip.tlsListen === null && sip.drachtio === null) return null
  const counters = countersOf('sip')
  const broken = (error: unknown): void => {
    onBroken('sip', error)
  }
  const service = new SipService({
    catalogue,
    inlet,
    counters,
    onBroken: broken,
    tenant: sip.tenant,
    registerCopies: sip.registerCopies,
    expiresSeconds: sip.expiresSeconds,
  })
  const drachtio =
    sip.drachtio === null
      ? null
      : new DrachtioApplication({
          settings: sip.drachtio,
          maxMessageBytes: sip.maxMessageBytes,
          service,
          counters,
          log,
          onBroken: broken,
        })
  const listener = new SipListener({
    settings: sip,
    service,
    counters,
    onBroken: broken,
    authoriser:
      (sip.tls?.clientCa ?? null) === null
        ? null
        : new Authoriser(sip.authorise, sip.tenant, Object.keys(settings.tenants)),
  })
  await listener.start()
  if (drachtio !== null) {
    await loadLibraryReader()
    await drachtio.start()
  }
  return {
    kind: 'sip',
    addresses: listener.addresses,
    stopTaking: () => service.stopTaking(),
    stop: async () => {
      drachtio?.stop()
      await listener.stop()
    },
  }
}
