/** The program without the leases of shared batches: it loses lines of followed files, and must notice. */
import { withoutLeases } from './without-leases.js'

withoutLeases()
await import('../../src/cli/main.js')
