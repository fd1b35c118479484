/** The value as it is: for what is no identifier, and text only of a shape that can hide none. */
import type { Identifier } from '../catalogue/catalogue.js'
import type { Descriptor } from './treatment.js'
import { bare } from './written.js'

export interface Keep {
  readonly kind: 'keep'
}

const KEPT: ReadonlySet<Identifier> = new Set<Identifier>(['NOT_AN_IDENTIFIER', 'TENANT', 'TRUNK_NAME'])

export const keep: Descriptor<Keep> = {
  kind: 'keep',
  rows: [
    {
      written: 'keep',
      reversible: '–',
      reveals: 'the value; only for fields that are no identifier, and text only of a shape that can hide none',
    },
  ],
  dpv: null,
  spelling: 'keep',
  shows: 'value',
  examples: [
    { field: 'call.duration_seconds', written: 'keep', input: 137, output: 137 },
    { field: 'call.disposition', written: 'keep', input: 'BUSY', output: 'BUSY' },
    { field: 'call.codec', written: 'keep', input: 'G.711 A-Law', output: 'PCMA' },
    { field: 'call.codec', written: 'keep', input: 'Alice', output: 'other' },
    { field: 'call.trunk', written: 'keep', input: '+447700900123', output: null },
  ],
  schema: () => [bare('keep')],
  fits: ({ identifier }, source) => source === undefined && KEPT.has(identifier),
  read: (_, given) => (given === undefined ? { kind: 'keep' } : null),
  text: () => ({ form: 'as it is', reveals: 'the value', reversible: 'it is the value' }),
  timeStepMs: () => 1,
  followsFrom: () => true,
  compile: (_, { field, text, named }) => {
    if (field.identifier === 'TENANT') return { shape: 'tenant' }
    if (field.type !== 'string') return { shape: 'number', column: field.index, call: null }
    const slot = named(field)
    return slot === null ? { shape: 'text', column: text(field) } : { shape: 'named', slot }
  },
}
