/**
 * The shape of what a topic holds, for those who read it: a `.proto` file, or a JSON Schema where the topic is JSON.
 */
import protobuf from 'protobufjs'
import { type Catalogue, TAG_FIELD } from '../catalogue/catalogue.js'
import type { EpochLength } from '../keys/keyring.js'
import { isToken } from '../treatments/registry.js'
import type { FieldRule, KindRules, Purpose } from './model.js'
import { treatmentText } from './treatment-text.js'

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

function note({ field, treatment }: FieldRule, epoch: EpochLength): string {
  const { form, reversible } = treatmentText(treatment, epoch)
  const made = field.derivedFrom === null ? '' : `, made from ${field.derivedFrom}`
  return isToken(treatment) ? `${form}; can be reversed ${reversible}` : `${form}${made}`
}

function comment(text: string | null, indent: string): string[] {
  return text === null ? [] : text.split('\n').map((line) => `${indent}// ${line}`.trimEnd())
}

function tagType(catalogue: Catalogue): protobuf.Type {
  return catalogue.root.lookupType('minim.v1.Tag')
}

/**
 * One proto3 file with a message for each of the given kinds. Field numbers are those of what came in, so what a
 * purpose sees is a subset, with tokens as bytes.
 */
export function printProto(purpose: Purpose, kinds: readonly KindRules[], catalogue: Catalogue): string {
  const printed = kinds.length === 1 ? `${purpose.id}.${kinds[0].kind}` : purpose.id
  const lines = [
    `// ${purpose.description}.`,
    `// ${purpose.notice}, ${purpose.basis}, kept ${purpose.retentionDays} days. Printed by minim schema ${printed}.`,
    'syntax = "proto3";',
    '',
    `package pbx.${purpose.id.replace(/-/g, '_')};`,
    '',
  ]
  const enums = new Map<string, readonly (string | undefined)[]>()
  for (const rules of kinds) {
    lines.push(
      `// Topic ${rules.topic}; key: ${rules.key === null ? 'none' : `the token of ${rules.key.name}`}.`,
      `message ${capital(rules.kind)} {`,
    )
    for (const rule of rules.rules) {
      const { field, treatment } = rule
      if (field.enumName !== null) enums.set(field.enumName, field.enumNames)
      const type = isToken(treatment) ? 'bytes' : (field.enumName ?? field.type)
      lines.push(
        ...comment(field.comment, '  '),
        `  // ${note(rule, purpose.epoch)}`,
        `  optional ${type} ${field.name} = ${field.number};`,
      )
    }
    lines.push('', `  optional Tag tag = ${TAG_FIELD};`, '}', '')
  }
  for (const [name, values] of enums) {
    lines.push(`enum ${name} {`)
    values.forEach((value, number) => {
      if (value !== undefined) lines.push(`  ${value} = ${number};`)
    })
    lines.push('}', '')
  }
  lines.push('// Why a record may be where it is.', 'message Tag {')
  for (const field of tagType(catalogue).fieldsArray)
    lines.push(...comment(field.comment, '  '), `  ${field.type} ${field.name} = ${field.id};`)
  lines.push('}', '')
  return lines.join('\n')
}

/** JSON Schema (draft 7) of the values of a JSON topic. */
export function jsonSchemaOf(purpose: Purpose, rules: KindRules, catalogue: Catalogue): Record<string, unknown> {
  const valueSchema = ({ field, treatment }: FieldRule): Record<string, unknown> => {
    // 16 octets in base64url; reversible tokens of long values are longer.
    if (treatment.kind === 'token')
      return { type: 'string', pattern: treatment.reversible ? '^[A-Za-z0-9_-]{22,}$' : '^[A-Za-z0-9_-]{22}$' }
    switch (field.type) {
      case 'string':
        return { type: 'string' }
      case 'enum':
        return { type: 'string', enum: field.enumNames.filter((n) => n !== undefined) }
      case 'float':
        return { type: 'number' }
      case 'uint32':
      case 'uint64':
        return { type: 'integer', minimum: 0 }
    }
  }
  const tag = tagType(catalogue).fieldsArray
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: rules.topic,
    description: `${purpose.description}. ${purpose.notice}, ${purpose.basis}, kept ${purpose.retentionDays} days.`,
    type: 'object',
    additionalProperties: false,
    required: ['tag'],
    properties: {
      ...Object.fromEntries(
        rules.rules.map((rule) => [rule.field.name, { ...valueSchema(rule), description: note(rule, purpose.epoch) }]),
      ),
      tag: {
        type: 'object',
        additionalProperties: false,
        required: tag.filter((f) => f.name !== 'delivery').map((f) => f.name),
        properties: Object.fromEntries(
          tag.map((f) => [
            f.name,
            {
              type: f.type === 'string' ? 'string' : 'integer',
              ...(f.comment === null ? {} : { description: f.comment }),
            },
          ]),
        ),
      },
    },
  }
}

/**
 * What is printed for some kinds of a purpose: one proto file for those that are protobuf, then a JSON Schema for each
 * that is JSON.
 */
export function printSchema(purpose: Purpose, kinds: readonly KindRules[], catalogue: Catalogue): string {
  const binary = kinds.filter((k) => k.format === 'protobuf')
  const parts = binary.length > 0 ? [printProto(purpose, binary, catalogue)] : []
  for (const rules of kinds)
    if (rules.format === 'json') parts.push(`${JSON.stringify(jsonSchemaOf(purpose, rules, catalogue), null, 2)}\n`)
  return parts.join('\n')
}
