/** What runs, by settings: for the log's first line, and for what is made for each source. */
import type { SourceKind } from '../flow/counters.js'
import type { Settings } from './schema.js'

/**
 * Of each kind of source that is on, where it listens or what it connects to. Files are counted only: a name may tell
 * whose they are.
 */
export function sourcesOf(settings: Settings): Partial<Record<SourceKind, unknown>> {
  const { grpc, files, ami, freeswitch, http, hep, sip, kafkaInput } = settings
  const { drachtio } = sip
  const listening = (of: typeof hep | typeof sip): Record<string, string> =>
    Object.fromEntries(
      [
        ['udp', of.udp],
        ['tcp', of.tcp],
        ['tls', of.tlsListen],
      ].filter((way): way is [string, string] => way[1] !== null),
    )
  const some = <T extends object>(parts: T): T | null => (Object.keys(parts).length === 0 ? null : parts)
  const all: Partial<Record<SourceKind, unknown>> = {
    grpc: grpc.listen,
    file: files.length === 0 ? null : files.length,
    ami: some(ami.map(({ host, port }) => `${host}:${port}`)),
    freeswitch: freeswitch.listen,
    http: http.listen,
    hep: some(listening(hep)),
    sip: some({ ...listening(sip), ...(drachtio === null ? {} : { drachtio: `${drachtio.host}:${drachtio.port}` }) }),
    kafka: some(kafkaInput.map(({ topic }) => topic)),
  }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null))
}

/** The log's first line. No secret is in it: addresses and names, and what the policy's file is by its hash. */
export function summaryOf(
  settings: Settings,
  policy: { readonly version: string; readonly purposes: readonly unknown[] },
  version: string,
): Readonly<Record<string, unknown>> {
  const { cluster, embedded, kafka, workers, delivery } = settings
  return {
    version,
    cluster,
    kafka: embedded ? 'embedded' : kafka['bootstrap.servers'],
    guarantee: delivery.guarantee,
    ...(workers === 1 ? {} : { workers }),
    policy: policy.version,
    purposes: policy.purposes.length,
    sources: sourcesOf(settings),
  }
}
