/**
 * The policy file's schema, made from the data catalogue: each field offers only the treatments that fit it.
 * `config/policy.schema.json` is this, written out for editors (`cli/write-schemas.ts`); a test holds the two together.
 */
import { type TSchema, Type } from '@sinclair/typebox'
import { type Catalogue, type Field, type Kind, KINDS } from '../catalogue/catalogue.js'
import { EPOCHS } from '../keys/keyring.js'
import { descriptorOf } from '../treatments/registry.js'
import { fitting, spellingOf } from './fit.js'
import {
  BASIS_TERMS,
  basisCurie,
  basisIri,
  PURPOSE_TERMS,
  purposeIri,
  REGION_CODES,
  TRANSFER_NAMES,
} from './vocabulary.js'

const closed = { additionalProperties: false } as const

function oneOf(values: readonly string[], description: string): TSchema {
  return Type.Unsafe<string>({ type: 'string', enum: [...values], description })
}

function text(description: string, maxLength = 2000): TSchema {
  return Type.String({ minLength: 1, maxLength, pattern: '\\S', description })
}

/** `SERVICE_DATA` → `service data`. */
function words(constant: string): string {
  return constant.toLowerCase().replace('_', ' ')
}

function fieldSchema(field: Field, sourceOf: (name: string) => Field | undefined): TSchema {
  const kinds = fitting(field, sourceOf)
  const made = field.derivedFrom === null ? '' : `; made from ${field.derivedFrom}`
  const about = field.comment === null ? '' : `${field.comment.replace(/\s+/g, ' ')} `
  const spellings = [...kinds, 'drop' as const].map(spellingOf).join(', or ')
  return Type.Union([...kinds.flatMap((kind) => descriptorOf(kind).schema()), Type.Literal('drop')], {
    description: `${about}${words(field.category)} data of ${words(field.whose)}${made}. Write ${spellings}.`,
  })
}

function kindSchema(catalogue: Catalogue, kind: Kind, treatments: boolean): TSchema {
  const { fields, byName } = catalogue.kinds[kind]
  const sourceOf = (name: string): Field | undefined => byName.get(name)
  return Type.Object(
    {
      topic: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: 249,
          pattern: '^[A-Za-z0-9._-]+$',
          description: `name of the Kafka topic: letters, digits, dots, hyphens and underscores; pbx.<purpose>.${kind} when left out`,
        }),
      ),
      format: Type.Optional(oneOf(['protobuf', 'json'], 'how values are written; protobuf when left out')),
      headers: Type.Optional(
        Type.Boolean({
          description:
            'true or false: the tag in Kafka headers as well; false when left out (headers cost more than the message)',
        }),
      ),
      key: Type.Optional(
        oneOf(
          fields
            .filter((f) => fitting(f, sourceOf).some((treatment) => descriptorOf(treatment).shows === 'token'))
            .map((f) => f.name),
          'the field whose token becomes the Kafka key; none when left out',
        ),
      ),
      fields: Type.Object(
        Object.fromEntries(
          fields.map((f) => [f.name, Type.Optional(treatments ? fieldSchema(f, sourceOf) : Type.Unknown())]),
        ),
        { ...closed, description: 'a treatment for each field that passes; a field that is not named is dropped' },
      ),
    },
    { ...closed, description: `what this purpose sees of ${kind} records` },
  )
}

const PURPOSE_ID = '^[a-z][a-z0-9-]{0,62}$'

function linkableSchema(): TSchema {
  return Type.Record(
    Type.String({ pattern: PURPOSE_ID }),
    Type.String({
      pattern: '^(100|[0-9]{1,2}(\\.[0-9]{1,3})?) ?%$',
      description: 'a share of the records that both see, in per cent: 1%',
    }),
    {
      ...closed,
      description:
        'how much of what this purpose sees may be linked with what others see, by their ids; ' +
        '`minim lint --sample` holds it against a sample',
    },
  )
}

/**
 * JSON Schema of the policy file.
 * @param treatments false: whatever is written as a treatment is taken. For the loader, which reads treatments itself
 * and says more:
 *   to compile their forms for every field takes longer than all the rest of a start.
 */
export function policySchema(catalogue: Catalogue, treatments = true): TSchema {
  const purpose = Type.Object(
    {
      enabled: Type.Optional(
        Type.Boolean({
          description: 'true or false: a purpose that is off is checked, but gets no topic; true when left out',
        }),
      ),
      notice: Type.String({ pattern: '^P[0-9]{1,3}$', description: 'row of the privacy notice that promises it: P2' }),
      description: text('what the data is used for, in words that a customer understands'),
      purpose: oneOf(
        [...PURPOSE_TERMS.map(purposeIri), ...PURPOSE_TERMS.map((t) => `dpv:${t}`)],
        'the purpose as a DPV term: https://w3id.org/dpv#PaymentManagement',
      ),
      basis: Type.Object(
        {
          term: oneOf(
            [...BASIS_TERMS.map(basisCurie), ...BASIS_TERMS.map(basisIri)],
            'the lawful basis as a DPV term: eu-gdpr:A6-1-b',
          ),
          evidence: text('what shows that the basis holds: contract and clause, statute, balancing test'),
          consent_notice: Type.Optional(text('for consent: the notice that was shown, with its version')),
        },
        { ...closed, description: 'the lawful basis, with its term and its evidence' },
      ),
      recipients: Type.Array(text('who reads the topics', 200), {
        minItems: 1,
        uniqueItems: true,
        description: 'a list of those who read the topics',
      }),
      region: oneOf(REGION_CODES, 'where the topics are kept: UK (or GB), EEA, or a country code of ISO 3166'),
      transfer: oneOf(TRANSFER_NAMES, 'the transfer mechanism: adequacy, scc, bcr, or none-needed'),
      retention_days: Type.Integer({
        minimum: 1,
        maximum: 3650,
        description: 'whole days from 1 to 3650 that the topics keep a record',
      }),
      epoch: oneOf(EPOCHS, 'how long a person keeps the same token: day, month, quarter, year or contract'),
      helplines: Type.Optional(
        oneOf(
          ['hidden', 'named'],
          'numbers that one calls for help: hidden, all one token without a prefix; or named, for bills and the law; hidden when left out',
        ),
      ),
      linkable_with: Type.Optional(linkableSchema()),
      tenants: Type.Optional(
        Type.Array(Type.String({ minLength: 1, maxLength: 63 }), {
          minItems: 1,
          uniqueItems: true,
          description: 'a list of the tenants whose records pass; all when left out',
        }),
      ),
      ...Object.fromEntries(KINDS.map((kind) => [kind, Type.Optional(kindSchema(catalogue, kind, treatments))])),
    },
    { ...closed, description: 'one purpose and what it may see' },
  )
  return Type.Object(
    {
      purposes: Type.Record(Type.String({ pattern: PURPOSE_ID }), purpose, {
        ...closed,
        minProperties: 1,
        description:
          'purposes by id; an id is up to 63 lower-case letters, digits and hyphens, and starts with a letter',
      }),
    },
    {
      ...closed,
      $schema: 'http://json-schema.org/draft-07/schema#',
      title: 'minim policy',
      description: 'a mapping with the one key purposes',
    },
  )
}
