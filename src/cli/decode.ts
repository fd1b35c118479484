/** Reads messages of purpose topics back into plain objects, as `minim tail` prints them: by the schema that `minim schema` prints. */
import protobuf from 'protobufjs'
import type { Catalogue } from '../catalogue/catalogue.js'
import type { KindRules, Purpose } from '../policy/model.js'
import { printProto } from '../policy/schema-print.js'

export type Decoder = (value: Uint8Array) => unknown

/** @returns a decoder for one topic: tokens come as base64url, enums as names */
export function decoderOf(purpose: Purpose, rules: KindRules, catalogue: Catalogue): Decoder {
  if (rules.format === 'json') return (value) => JSON.parse(Buffer.from(value).toString('utf8')) as unknown
  const { root } = protobuf.parse(printProto(purpose, [rules], catalogue), { keepCase: true })
  const type = root.resolveAll().lookupType(catalogue.kinds[rules.kind].message.replace(/^.*\./, ''))
  return (value) => {
    const object = type.toObject(type.decode(value), { longs: Number, enums: String }) as Record<string, unknown>
    for (const [key, field] of Object.entries(object)) if (field instanceof Uint8Array) object[key] = Buffer.from(field).toString('base64url')
    // Last, as in the bytes and in JSON topics.
    const { tag, ...fields } = object
    return { ...fields, tag }
  }
}
