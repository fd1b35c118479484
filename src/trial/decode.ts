/**
 * Reads messages of purpose topics back into plain objects, as `minim tail` prints them: by the schema that `minim
 * schema` prints.
 */
import protobuf from 'protobufjs'
import type { Catalogue } from '../catalogue/catalogue.js'
import type { KindRules, Purpose } from '../policy/model.js'
import { printProto } from '../policy/schema-print.js'

/** Digits that tell any two 32-bit floats apart. */
const FLOAT_DIGITS = 9

/**
 * A message as a plain object. A 32-bit float is the shortest number that means it: 4.1, not the double
 * 4.099999904632568.
 */
export function plainObject(type: protobuf.Type, message: Uint8Array): Record<string, unknown> {
  return shortened(type, type.toObject(type.decode(message), { longs: Number, enums: String }))
}

function shortened(type: protobuf.Type, object: Record<string, unknown>): Record<string, unknown> {
  for (const { name, type: of, resolvedType } of type.fieldsArray) {
    const value = object[name]
    const each =
      of === 'float'
        ? shortest
        : resolvedType instanceof protobuf.Type
          ? (part: unknown) => shortened(resolvedType, part as Record<string, unknown>)
          : null
    if (each === null || value === undefined) continue
    object[name] = Array.isArray(value) ? value.map(each) : each(value)
  }
  return object
}

function shortest(float: unknown): unknown {
  if (typeof float !== 'number') return float
  for (let digits = 1; digits < FLOAT_DIGITS; digits++) {
    const candidate = Number(float.toPrecision(digits))
    if (Math.fround(candidate) === float) return candidate
  }
  return Number(float.toPrecision(FLOAT_DIGITS))
}

export type Decoder = (value: Uint8Array) => unknown

/** @returns a decoder for one topic: tokens come as base64url, enums as names */
export function decoderOf(purpose: Purpose, rules: KindRules, catalogue: Catalogue): Decoder {
  if (rules.format === 'json') return (value) => JSON.parse(Buffer.from(value).toString('utf8')) as unknown
  const { root } = protobuf.parse(printProto(purpose, [rules], catalogue), { keepCase: true })
  const type = root.resolveAll().lookupType(catalogue.kinds[rules.kind].message.replace(/^.*\./, ''))
  return (value) => {
    const object = plainObject(type, value)
    for (const [key, field] of Object.entries(object))
      if (field instanceof Uint8Array) object[key] = Buffer.from(field).toString('base64url')
    // Last, as in the bytes and in JSON topics.
    const { tag, ...fields } = object
    return { ...fields, tag }
  }
}
