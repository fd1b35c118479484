import { readFileSync } from 'node:fs'
import t from 'tap'
import {
  BASES,
  BASIS_TERMS,
  basisCurie,
  basisIri,
  basisOf,
  basisTerm,
  isWithin,
  nearestPurposes,
  PURPOSE_TERMS,
  purposeIri,
  type PurposeTerm,
  purposeTerm,
  REFUSED_TRANSFERS,
  REGION_CODES,
  regionCode,
  regionMend,
  regionOf,
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
  for (const written of REGION_CODES) {
    const code = regionCode(written) ?? ''
    const { transfers, name } = regionOf(code)
    t.ok(transfers.length > 0 && transfers.every((m) => TRANSFER_NAMES.includes(m)), written)
    t.equal(transfers.includes('none-needed'), code === 'UK', written)
    t.not(name, code, 'its name is known')
  }
  t.same(regionOf('US').transfers, ['scc', 'bcr'])
})

t.test('a region is any country of ISO 3166; GB and UK are one', async (t) => {
  t.equal(REGION_CODES.length, 249 + 2, 'ISO 3166, UK and EEA')
  t.equal(new Set(REGION_CODES).size, REGION_CODES.length)
  t.equal(regionCode('GB'), 'UK')
  t.equal(regionCode('UK'), 'UK')
  for (const code of ['DE', 'IE', 'NO', 'EEA', 'JP', 'GG'])
    t.same(regionOf(code).transfers, ['adequacy', 'scc', 'bcr'], code)
  for (const code of ['NG', 'TR', 'CN', 'RU', 'GI', 'US']) t.same(regionOf(code).transfers, ['scc', 'bcr'], code)
  for (const wrong of ['gb', 'XX', 'EU', 'GBR', 'toString', '', null, 44])
    t.equal(regionCode(wrong), null, String(wrong))
})

t.test('no country is suggested for another', async (t) => {
  for (const [written, meant] of [
    ['gb', 'GB'],
    ['uk', 'UK'],
    ['de', 'DE'],
    ['germany', 'DE'],
    ['United Kingdom', 'UK'],
  ])
    t.equal(regionMend(written), `did you mean ${meant}?`, written)
  for (const written of ['GBR', 'G8', 'GX', 'ENG', 'EU', 'XK', 'UKK', '', 'Guernse', undefined])
    t.match(regionMend(written), /^write UK or GB, EEA, or the two capital letters/, String(written))
})

t.test('every purpose of DPV 2.3 is known, with its broader ones', async (t) => {
  const path = shared('vocabularies/dpv-2.3_purposes.csv')
  if (path === null) {
    t.comment('left out: the vocabularies are not beside this checkout')
    return
  }
  const classes = [...readFileSync(path, 'utf8').matchAll(/^"([^"]*)","class","[^"]*"/gm)].map((m) => m[1])
  t.same([...PURPOSE_TERMS].sort(), classes.sort())
  t.ok(classes.length > 100, `${classes.length}`)
})

t.test('the three nearest purposes are suggested, by words and by letters', async (t) => {
  for (const [written, meant] of [
    ['dpv:Paymentmanagement', 'PaymentManagement'],
    ['Billing', 'PaymentManagement'],
    ['dpv:FraudDetection', 'FraudPreventionAndDetection'],
    ['https://w3id.org/dpv#Advertisment', 'Advertising'],
    ['dpv:marketting', 'Marketing'],
    ['dpv:ResearchDevelopment', 'ResearchAndDevelopment'],
    ['dpv:Analytics', 'ServiceUsageAnalytics'],
    ['dpv:CustomerSupport', 'CustomerCare'],
    ['support', 'CustomerCare'],
  ]) {
    const found = nearestPurposes(written)
    t.equal(new Set(found).size, 3, written)
    t.ok(found.includes(`dpv:${meant}`), `${written}: ${found.join(', ')}`)
  }
  for (const odd of ['', 'dpv:', 'x', null, 7]) t.equal(nearestPurposes(odd).length, 3)
})

t.test('what is narrower than marketing is marketing', async (t) => {
  const within = (term: PurposeTerm): boolean => isWithin(term, 'Marketing')
  for (const term of ['Marketing', 'DirectMarketing', 'Advertising', 'TargetedAdvertising'] as const)
    t.ok(within(term), term)
  for (const term of ['ServiceProvision', 'PaymentManagement'] as const) t.notOk(within(term), term)
})
