// The core alone: reader and pipeline over a protobuf file in memory, nothing produced. Usage: transform.js POLICY FILE
// PASSES
import { minimiseFile } from '../core.js'

const [policy, file, passes] = process.argv.slice(2)
let messages = 0
let bytes = 0
const pass = minimiseFile(policy, file, (m) => {
  messages += m.count
  for (let i = 0; i < m.count; i++) bytes += m.valueLen[i]
})
const started = performance.now()
const cpuBefore = process.cpuUsage()
let records = 0
for (let i = 0; i < Number(passes); i++) records += pass()
const cpu = process.cpuUsage(cpuBefore)
const seconds = (performance.now() - started) / 1000
console.log(
  JSON.stringify({
    beganMs: performance.timeOrigin + started,
    records,
    produced: messages,
    bytes,
    seconds,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
  }),
)
