import { readFileSync } from 'node:fs'
import t from 'tap'
import {
  BASES,
  BASIS_TERMS,
  basisCurie,
  basisIri,
  basisOf,
  basisTerm,
  PURPOSE_TERMS,
  purposeIri,
  purposeTerm,
  REFUSED_TRANSFERS,
  REGIONS,
  TRANSFER_NAMES,
  TRANSFERS,
} from '../../src/policy/vocabulary.js'
import { shared } from '../helpers/shared.js'

/** The IRIs in a vocabulary's CSV: third column, quoted. */
function iris(file: string): Set<string> {
  return new Set([...readFileSync(file, 'utf8').matchAll(/^"[^"]*","[^"]*","([^"]*)"/gm)].map((m) => m[1]))
}

for (const [name, file, terms] of [
  ['purposes', 'vocabularies/dpv-2.3_purposes.csv', PURPOSE_TERMS.map(purposeIri)],
  ['bases', 'vocabularies/dpv-2.3_gdpr_legal_basis.csv', BASIS_TERMS.map(basisIri)],
] as const) {
  t.test(`every term of ${name} is one of DPV 2.3`, async (t) => {
    const path = shared(file)
    if (path === null) {
      t.comment('left out: the vocabularies are not beside this checkout')
      return
    }
    const known = iris(path)
    t.ok(known.size > 10)
    for (const iri of terms) t.ok(known.has(iri), iri)
  })
}

t.test('terms are found by IRI and by short form, and nothing else is', async (t) => {
  for (const term of PURPOSE_TERMS) {
    t.equal(purposeTerm(purposeIri(term)), term)
    t.equal(purposeTerm(`dpv:${term}`), term)
  }
  for (const term of BASIS_TERMS) {
    t.equal(basisTerm(basisIri(term)), term)
    t.equal(basisTerm(basisCurie(term)), term)
    t.equal(basisOf(basisCurie(term)), BASES[term])
  }
  for (const wrong of [
    'Marketing',
    'dpv:marketing',
    'dpv:toString',
    'dpv:',
    '',
    null,
    3,
    'https://w3id.org/dpv#',
    'eu-gdpr:A6-1-b',
    ' dpv:Marketing',
  ])
    t.equal(purposeTerm(wrong), null)
  for (const wrong of ['A6-1-b', 'eu-gdpr:A6-1-z', 'eu-gdpr:constructor', 'dpv:A6-1-b', undefined])
    t.equal(basisTerm(wrong), null)
  t.throws(() => basisOf('eu-gdpr:A9'), RangeError)
})

t.test('mechanisms that were struck down are known, and refused', async (t) => {
  t.match(REFUSED_TRANSFERS['privacy-shield'], /2020 \(Schrems II\)/)
  for (const name of Object.keys(REFUSED_TRANSFERS)) t.notOk(Object.hasOwn(TRANSFERS, name), name)
})

t.test('only home needs no mechanism, and the United States need a safeguard', async (t) => {
  for (const [code, region] of Object.entries(REGIONS)) {
    t.ok(region.transfers.length > 0 && region.transfers.every((m) => TRANSFER_NAMES.includes(m)), code)
    t.equal((region.transfers as readonly string[]).includes('none-needed'), code === 'UK', code)
  }
  t.same(REGIONS.US.transfers, ['scc', 'bcr'])
})

t.test('only a legal obligation and a public task keep data from erasure', async (t) => {
  t.same(
    BASIS_TERMS.filter((b) => !BASES[b].erasable),
    ['A6-1-c', 'A6-1-e'],
  )
})
