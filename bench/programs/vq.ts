// Bodies of quality reports to canonical records, no network, no Kafka. Usage: vq.js BODIES
import { catalogue } from '../../src/catalogue/catalogue.js'
import { RecordWriter } from '../../src/formats/record-writer.js'
import { vqToQuality } from '../../src/formats/sip/records.js'
import { readVqRtcpxr } from '../../src/formats/sip/vq-rtcpxr.js'
import { VqTemplate } from '../vq.js'

/** Octets of records that are taken at once, as the listener does. */
const TAKE_BYTES = 65_536
/** Bodies before the clock runs. */
const WARM_UP = 2000

const bodies = Number(process.argv[2])
const template = new VqTemplate()
const body = template.body()
const writer = new RecordWriter(catalogue())
const seen = { seenMs: Date.now() }
let records = 0
let bytes = 0

function pass(first: number, count: number): void {
  for (let i = first; i < first + count; i++) {
    template.write(body, i)
    const reports = readVqRtcpxr(body)
    if (reports === null) throw new Error('a body was not read')
    for (const record of vqToQuality(reports, null, seen)) writer.add('quality', record)
    if (writer.length < TAKE_BYTES && i < first + count - 1) continue
    records += writer.records
    bytes += writer.take().length
  }
}

pass(0, WARM_UP)
records = bytes = 0
const started = performance.now()
const cpuBefore = process.cpuUsage()
pass(WARM_UP, bodies)
const cpu = process.cpuUsage(cpuBefore)
console.log(
  JSON.stringify({
    bodies,
    records,
    bytes,
    seconds: (performance.now() - started) / 1000,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
  }),
)
