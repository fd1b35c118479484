// The HTTP source of `minim run` without the spool: what is posted is offered to delivery, and answered at once. What
// the spool costs is the difference. Not a proxy to run: a crash loses what was answered. Usage: http-direct.js
// SETTINGS
import { randomUUID } from 'node:crypto'
import { startCore, untilReady } from '../../src/app/app.js'
import type { Inlet } from '../../src/flow/source.js'
import { SPOOLED_SCRATCH_BYTES, spooledReaders } from '../../src/formats/spooled.js'
import { startOps } from '../../src/ops/health.js'
import { createLog } from '../../src/ops/log.js'
import { loadSettings } from '../../src/settings/load.js'
import { startHttp } from '../../src/sources/http/http.js'

const DRAIN_MS = 30_000

const settings = loadSettings(process.argv[2])
const log = createLog(settings.log.level)
const core = await startCore({
  settings,
  log,
  onFatal: (error) => {
    throw error
  },
})
await untilReady(core)

const id = { source: 'bench', incarnation: randomUUID() }
const readers = spooledReaders(core.catalogue, settings.limits.maxRecordBytes)
let sequence = 0
const inlet: Inlet = {
  full: false,
  trouble: null,
  async put({ source, format, tenant, bytes }) {
    const receivedAt = performance.now()
    // As the spool does: a copy, with room behind it for unescaped text.
    const arena = Buffer.allocUnsafe(bytes.length + SPOOLED_SCRATCH_BYTES)
    arena.set(bytes)
    const end = bytes.length
    const input = {
      reader: readers({ source, format, reason: '', ends: [end] }),
      arena,
      start: 0,
      end,
      scratchStart: end,
      last: true,
      tenant,
    }
    const records: number[] = []
    await core.spoolIntake.offer({
      id,
      sequence: ++sequence,
      bytes: end,
      receivedAt,
      minimise: (excluded) => core.spoolIntake.minimiseAll([input], excluded, records),
      received: () => new Map([[source, records[0]]]),
      committed: () => undefined,
      failed: (error) => {
        throw error
      },
    })
    return 'stored'
  },
}
const http = await startHttp({
  settings,
  catalogue: core.catalogue,
  log,
  inlet,
  intake: core.intake,
  counters: (kind) => core.metrics.counters(kind),
  onBroken: (_, error) => {
    throw error as Error
  },
})
// Last: whoever finds it ready posts.
const ops = await startOps({
  listen: settings.ops.listen,
  registry: core.metrics.registry,
  ready: () => core.readiness.now,
})

process.once('SIGTERM', () => {
  void (async () => {
    await http?.stopTaking()
    await http?.stop()
    await core.stop(DRAIN_MS)
    await ops.close()
    process.exit(0)
  })()
})
