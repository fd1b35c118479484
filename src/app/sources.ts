/**
 * Every source, in the order in which they start. A new one is added here, and its settings in `src/settings/sources/`.
 */
import type { Source, SourceContext, StartSource as Start } from '../flow/source.js'
import { ALONE } from '../flow/worker-place.js'
import type { Settings } from '../settings/schema.js'
import { startAmi } from '../sources/ami/ami.js'
import { startFiles } from '../sources/files/feed-file.js'
import { startFreeswitch } from '../sources/freeswitch/freeswitch.js'
import { startGrpc } from '../sources/grpc/grpc.js'
import { startHep } from '../sources/hep/hep.js'
import { startHttp } from '../sources/http/http.js'
import { startKafka } from '../sources/kafka/kafka.js'
import { startSip } from '../sources/sip/sip.js'

/** Each takes of the settings what its type says: its own section, and little of those around. */
type StartSource = Start<Settings>

/** Their records go to the spool, so they need not wait for Kafka. */
export const SPOOLED: readonly StartSource[] = [
  each('ami', startAmi),
  startFreeswitch,
  startHttp,
  oneWorker(startHep),
  oneWorker(startSip),
]

/** They hold back what Kafka does not take, and ask the ledger where to go on. */
export const REPLAYABLE: readonly StartSource[] = [startGrpc, startFiles, startKafka]

/** A source that correlates what it hears (a call's packets must come together): one of the workers has it. */
function oneWorker(start: StartSource): StartSource {
  return (context) => {
    const { index, count } = context.worker ?? ALONE
    return index === count - 1 ? start(context) : Promise.resolve(null)
  }
}

/** A source for each entry of a list: the workers have them in turn. */
function each(key: 'ami', start: StartSource): StartSource {
  return (context) => {
    const { index, count } = context.worker ?? ALONE
    return start({
      ...context,
      settings: { ...context.settings, [key]: context.settings[key].filter((_, i) => i % count === index) },
    })
  }
}

/**
 * Starts those of some sources that the settings have. When one cannot start, those that did are stopped again.
 * @throws MinimError of the first that cannot start
 */
export async function startSources(
  sources: readonly StartSource[],
  context: SourceContext<Settings>,
): Promise<Source[]> {
  const started: Source[] = []
  try {
    for (const start of sources) {
      const source = await start(context)
      if (source !== null) started.push(source)
    }
    return started
  } catch (error) {
    await stopSources(started)
    throw error
  }
}

/** Closes what is open, all of it, whatever one of them says. */
export async function stopSources(sources: readonly Source[]): Promise<void> {
  await Promise.allSettled(sources.map((source) => source.stop()))
}
