/**
 * Where each file of the former layout will stand, and the imports that are still wrong. Both lists may only shrink, and go when they are empty.
 */
const PLACES: Readonly<Record<string, string>> = {
}

/** Where a file will stand. @param file its path below src */
export function placeOf(file: string): string {
  return PLACES[file] ?? file
}

export const KNOWN_VIOLATIONS: readonly string[] = [
  'base/file-lock.ts -> keys/master.ts',
  'decide/decide.ts -> normalise/party.ts',
  'deliver/delivery.ts -> settings/schema.ts',
  'flow/intake.ts -> pipeline/pipeline.ts',
  'flow/source.ts -> app/workers.ts',
  'flow/source.ts -> ops/log.ts',
  'flow/source.ts -> ops/metrics.ts',
  'flow/source.ts -> settings/schema.ts',
  'kafka/settings.ts -> settings/schema.ts',
  'ops/conservation.ts -> decide/decide.ts',
  'ops/log.ts -> settings/schema.ts',
  'ops/metrics.ts -> decide/decide.ts',
  'pipeline/pipeline.ts -> settings/schema.ts',
  'policy/compile.ts -> normalise/normalise.ts',
  'policy/write-schema.ts -> settings/schema.ts',
  'project/project.ts -> decide/decide.ts',
  'project/project.ts -> normalise/normalise.ts',
  'project/project.ts -> settings/schema.ts',
  'project/tag.ts -> settings/schema.ts',
  'sections/server-tls.ts -> settings/schema.ts',
  'settings/summary.ts -> ops/metrics.ts',
  'sources/agent/agent.ts -> ops/log.ts',
  'sources/agent/agent.ts -> ops/metrics.ts',
  'sources/agent/agent.ts -> settings/defaults.ts',
  'sources/agent/agent.ts -> settings/schema.ts',
  'sources/agent/agent.ts -> sources/files/feed-file.ts',
  'sources/agent/agent.ts -> sources/files/files.ts',
  'sources/agent/agent.ts -> sources/files/follow-file.ts',
  'sources/agent/agent.ts -> sources/grpc/client.ts',
  'sources/agent/settings.ts -> settings/sections.ts',
  'sources/ami/node.ts -> ops/metrics.ts',
  'sources/ami/session.ts -> ops/log.ts',
  'sources/ami/settings.ts -> settings/sections.ts',
  'sources/common/http-server.ts -> ops/log.ts',
  'sources/common/http-server.ts -> ops/metrics.ts',
  'sources/common/http-server.ts -> settings/schema.ts',
  'sources/files/feed-file.ts -> app/workers.ts',
  'sources/files/feed-file.ts -> ops/metrics.ts',
  'sources/files/feed-file.ts -> settings/schema.ts',
  'sources/files/follow-file.ts -> ops/log.ts',
  'sources/files/follow-file.ts -> ops/metrics.ts',
  'sources/freeswitch/freeswitch.ts -> sources/http/settings.ts',
  'sources/freeswitch/settings.ts -> settings/sections.ts',
  'sources/freeswitch/settings.ts -> sources/http/settings.ts',
  'sources/grpc/grpc.ts -> app/workers.ts',
  'sources/hep/hep.ts -> settings/schema.ts',
  'sources/hep/reader.ts -> ops/metrics.ts',
  'sources/hep/settings.ts -> settings/schema.ts',
  'sources/hep/settings.ts -> settings/sections.ts',
  'sources/http/http.ts -> sources/freeswitch/freeswitch.ts',
  'sources/http/settings.ts -> settings/schema.ts',
  'sources/http/settings.ts -> settings/sections.ts',
  'sources/kafka/input.ts -> ops/log.ts',
  'sources/kafka/input.ts -> ops/metrics.ts',
  'sources/kafka/kafka.ts -> app/workers.ts',
  'sources/kafka/kafka.ts -> sources/files/feed-file.ts',
  'sources/kafka/settings.ts -> settings/sections.ts',
  'sources/sip/drachtio.ts -> ops/log.ts',
  'sources/sip/drachtio.ts -> ops/metrics.ts',
  'sources/sip/listener.ts -> ops/metrics.ts',
  'sources/sip/listener.ts -> settings/schema.ts',
  'sources/sip/service.ts -> ops/metrics.ts',
  'sources/sip/settings.ts -> settings/schema.ts',
  'sources/sip/settings.ts -> settings/sections.ts',
  'spool/settings.ts -> settings/sections.ts',
  'spool/spool.ts -> ops/metrics.ts',
  'spool/spool.ts -> pipeline/pipeline.ts',
]

/** Files that import each other in a circle, as they will stand. */
export const KNOWN_CIRCLES: readonly string[] = [
  'ops/conservation.ts ops/metrics.ts',
  'settings/schema.ts settings/sections.ts sources/agent/settings.ts sources/ami/settings.ts sources/freeswitch/settings.ts sources/hep/settings.ts sources/http/settings.ts sources/kafka/settings.ts sources/sip/settings.ts spool/settings.ts',
]
