/** A worker as `worker-pages.test.ts` needs it: `answers`, or has not begun to listen (`starts`). */
import process from 'node:process'
import { Counter, Gauge, Registry } from 'prom-client'
import { answerPages } from '../../src/app/worker-pages.js'

const registry = new Registry()
new Gauge({ name: 'minim_ready', help: 'r', registers: [registry], aggregator: 'min' }).set(1)
new Counter({ name: 'taken_total', help: 't', registers: [registry], labelNames: ['by'] }).inc({ by: 'all' }, 10)
// Keeps it running until it is killed, or its parent has gone.
process.once('disconnect', () => process.exit())
if (process.env['PAGE_WORKER'] === 'answers') {
  answerPages(registry)
  process.send?.({ minim: 'ready', ok: true, reasons: [] })
} else setInterval(() => undefined, 1000)
