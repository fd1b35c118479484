/** librdkafka's properties under `kafka:`, each tried by itself, so that every wrong one is named at once. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Problem } from '../errors/catalogue.js'
import { nearest, useOneOf } from '../errors/problems.js'
import { CODEC_NAMES, isProducerCount, reservedFor, wrongTimeout } from './property-rules.js'

type Librdkafka = typeof import('node-rdkafka')

const COMPRESSION = new Set(['compression.codec', 'compression.type'])
const REFERENCE = "librdkafka's CONFIGURATION.md"

/** Problems of properties that are minim's own, and of time-outs that do not fit each other. */
export function ownKafkaProblems(kafka: Readonly<Record<string, KafkaValue>>): Problem[] {
  const problems = Object.keys(kafka).flatMap((name): Problem[] => {
    const reserved = reservedFor(name)
    return reserved === null
      ? []
      : [{ path: `kafka.${name}`, what: `is set by minim itself: ${reserved.why}`, mend: reserved.mend }]
  })
  const wrong = wrongTimeout(kafka)
  if (wrong !== null)
    problems.push({ path: `kafka.${wrong.property}`, what: wrong.what, mend: `set it above ${wrong.aboveMs}` })
  return problems
}

/**
 * Problems of properties that librdkafka does not know, or whose values it or minim's own producer refuses.
 * @param skip properties that something else was said of
 */
export function kafkaProblems(kafka: Readonly<Record<string, KafkaValue>>, skip: (name: string) => boolean): Problem[] {
  const tried = Object.entries(kafka).filter(
    ([name, value]) => name !== 'bootstrap.servers' && typeof value !== 'object' && !skip(name),
  )
  if (tried.length === 0) return []
  // Only now: most settings hold nothing but the brokers' address, and need no librdkafka to be checked.
  const require = createRequire(import.meta.url)
  const { Producer } = require('node-rdkafka') as Librdkafka
  let known: ReadonlyMap<string, readonly string[]> | null = null
  const reference = (): ReadonlyMap<string, readonly string[]> => (known ??= propertiesOf(require))
  return tried.flatMap(([name, value]): Problem[] => {
    const path = `kafka.${name}`
    if (COMPRESSION.has(name))
      return (CODEC_NAMES as readonly string[]).includes(String(value))
        ? []
        : [{ path, what: 'is no compression that minim can make', mend: useOneOf(value, CODEC_NAMES) }]
    try {
      // Made, and never connected: it checks what it is given, and that is all.
      new Producer({ [name]: value })
    } catch (error) {
      const text = error instanceof Error ? error.message : ''
      return [
        /No such/i.test(text)
          ? unknownProperty(path, name, reference())
          : refusedValue(path, value, text, reference().get(name) ?? []),
      ]
    }
    return isProducerCount(name) && !(Number.isInteger(Number(value)) && Number(value) >= 1)
      ? [{ path, what: 'must be a whole number above 0', mend: `see ${REFERENCE}` }]
      : []
  })
}

function unknownProperty(path: string, name: string, known: ReadonlyMap<string, unknown>): Problem {
  const near = nearest(name, known.keys())
  return {
    path,
    what: 'is not known to librdkafka',
    mend: near.length > 0 ? `did you mean ${near.join(' or ')}?` : `take it out, or write it as in ${REFERENCE}`,
  }
}

/** librdkafka's own text may quote a value, which may be a password: only the range is taken out of it. */
function refusedValue(path: string, value: KafkaValue, text: string, allowed: readonly string[]): Problem {
  if (text.includes('not supported in this build'))
    return { path, what: 'is of a feature that this librdkafka was built without', mend: 'take it out' }
  const range = /outside allowed range (-?\d+)\.\.(-?\d+)/.exec(text)
  const mend =
    range !== null
      ? `use a number from ${range[1]} to ${range[2]}`
      : allowed.length > 0
        ? useOneOf(value, allowed)
        : `write a value that ${REFERENCE} allows`
  return { path, what: range !== null ? 'is out of range' : 'has a value that librdkafka refuses', mend }
}

/**
 * The names of all properties with the words that each may hold, out of the declarations that node-rdkafka makes of
 * librdkafka's reference; none where those are not installed.
 */
function propertiesOf(require: NodeJS.Require): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, readonly string[]>()
  let text: string
  try {
    text = readFileSync(require.resolve('node-rdkafka/config.d.ts'), 'utf8')
  } catch {
    return found
  }
  for (const [, name, type] of text.matchAll(/^ *"([\w.]+)"\?: (.*);$/gm)) {
    if (!found.has(name))
      found.set(
        name,
        [...type.matchAll(/'(\w+)'/g)].map(([, word]) => word),
      )
  }
  return found
}

export type KafkaValue = string | number | boolean
