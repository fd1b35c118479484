/** Opens the spool, where records are kept that their sender cannot send again, and says in the log how it fares. */
import type { Delivery } from '../deliver/delivery.js'
import { MinimError } from '../errors/catalogue.js'
import type { Logger } from '../flow/log.js'
import { spoolSource } from '../flow/shards.js'
import type { Inlet } from '../flow/source.js'
import type { WorkerPlace } from '../flow/worker-place.js'
import type { Keyring } from '../keys/keyring.js'
import type { Metrics } from '../ops/metrics.js'
import type { Settings } from '../settings/schema.js'
import { usesSpool } from '../settings/sections.js'
import { holdsSpool } from '../spool/lock.js'
import type { Spool } from '../spool/spool.js'
import { outageReason } from './readiness.js'

/** Stands in where no source needs the spool. */
export const NO_SPOOL: Inlet = {
  full: true,
  trouble: null,
  put: () => Promise.reject(new MinimError('MINIM_SPOOL_BROKEN', { what: 'it is not in use' })),
}

/**
 * The spool, if a source needs it or something was left in it: first the one that is written to. @throws MinimError
 * when it cannot be opened, or not with these keys
 */
export async function openSpools(
  settings: Settings,
  core: { readonly keyring: Keyring; readonly metrics: Metrics; readonly delivery: Delivery },
  log: Logger,
  { index, count }: WorkerPlace,
): Promise<Spool[]> {
  const { path, maxBytes, rememberHours } = settings.spool
  if (!(usesSpool(settings) || holdsSpool(settings.spool.path))) return []
  // Only now: loading LMDB takes longer than most commands do.
  const { Spool } = await import('../spool/spool.js')
  const open = (worker: number): Spool =>
    Spool.open({
      path,
      maxBytes,
      rememberHours,
      keyring: core.keyring,
      worker,
      source: spoolSource(worker, index, count),
      ...(worker === index ? { counters: core.metrics.spool } : {}),
      onTrouble: (error) => {
        log.error({ err: error })
      },
      onMended: () => {
        log.info('the spool can be written again')
      },
      onFull: (error) => {
        log.error({ err: error })
      },
      onRoom: () => {
        log.info('the spool has room again')
      },
      causeOfFull: () => outageReason(core.delivery.state.outage),
    })
  const own = open(index)
  // What workers have left that are no longer there.
  return [
    own,
    ...own
      .otherWorkers()
      .filter((worker) => worker >= count && worker % count === index)
      .map(open),
  ]
}
