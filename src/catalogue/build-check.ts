/**
 * Run by `npm run build`: a record field without a data category, or without saying whose data it is, fails the build.
 */
import process from 'node:process'
import { CatalogueError, KINDS, readCatalogue } from './catalogue.js'

try {
  const { kinds } = readCatalogue(process.argv[2])
  process.stdout.write(`catalogue: ${KINDS.map((k) => `${k} ${kinds[k].fields.length} fields`).join(', ')}\n`)
} catch (error) {
  if (!(error instanceof CatalogueError)) throw error
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
}
