import fc from 'fast-check'
import t from 'tap'
import { checker, deepFreeze, nearest, ProblemsError, useOneOf } from '../../src/errors/problems.js'
import { readYaml } from '../../src/errors/yaml.js'

const known = ['calling', 'called', 'called_prefix', 'account', 'start_ms', 'duration_seconds']
for (const [name, first] of [
  ['callng', 'calling'],
  ['Called', 'called'],
  ['acount', 'account'],
  ['acocunt', 'account'],
  ['start', 'start_ms'],
  ['duration', 'duration_seconds'],
  ['xyzzy', undefined],
  ['', undefined],
] as const) {
  t.test(`nearest to "${name}"`, async (t) => t.equal(nearest(name, known)[0], first))
}

t.test('a known name is nearest to itself, and only known names are suggested', async () => {
  fc.assert(fc.property(fc.constantFrom(...known), (name) => nearest(name, known)[0] === name))
  fc.assert(fc.property(fc.string(), (name) => nearest(name, known).every((n) => known.includes(n))))
})

t.test('a mend names the nearest, or all when none is near', async (t) => {
  t.equal(useOneOf('acount', known), 'did you mean account?')
  t.equal(useOneOf('zzz', ['a', 'b']), 'use one of: a, b')
  t.equal(useOneOf(7, ['a', 'b']), 'use one of: a, b')
  t.equal(useOneOf('c', ['a', 'both']), 'use one of: a, both', 'of a word that is changed altogether nothing is near')
})

t.test('a checker names each place once', async (t) => {
  const check = checker({
    type: 'object',
    additionalProperties: false,
    required: ['a'],
    description: 'top',
    properties: {
      a: { type: 'string', minLength: 2, pattern: '^x', description: 'two letters' },
      b: {
        anyOf: [
          { type: 'null' },
          { type: 'object', additionalProperties: false, properties: { c: { type: 'integer' } } },
        ],
        description: 'null or c',
      },
      'd/e~f': { const: 1 },
    },
  })
  t.same(check({ a: 'xx', b: null }), [])
  t.same(check({}), [{ path: 'a', what: 'is missing', mend: 'add it: two letters' }])
  t.match(check({ a: '' }), [{ path: 'a' }])
  t.same(
    check({ a: 'xx', b: { c: 'x', d: 1 } }),
    [
      { path: 'b.d', what: 'is unknown', mend: 'use one of: c' },
      { path: 'b.c', what: 'must be a whole number', mend: 'mend its type' },
    ],
    'the form that was meant',
  )
  t.same(check({ a: 'xx', b: 5 }), [{ path: 'b', what: 'must be a mapping or null', mend: 'needed: null or c' }])
  t.same(check({ a: 'yy' }), [{ path: 'a', what: 'is of another form', mend: 'needed: two letters' }])
  t.same(check({ a: 'xx', 'd/e~f': 2 }), [{ path: 'd/e~f', what: 'is not the allowed value', mend: 'write 1' }])
  t.same(check({ a: 'xx', aa: 1 }), [{ path: 'aa', what: 'is unknown', mend: 'did you mean a?' }])
  t.same(check([]), [{ path: '', what: 'must be a mapping', mend: 'needed: top' }])
})

t.test('YAML: values, or problems with their line', async (t) => {
  t.match(readYaml('a: [1, b]'), { value: { a: [1, 'b'] }, problems: [] })
  t.match(readYaml('a: 1\n\na: 2'), { problems: [{ path: 'line 3, column 1', what: /duplicate key/ }] })
  t.same(
    readYaml('a: @x\nb: `y\n  c: 1\n').problems.map(({ path }) => path),
    ['line 1, column 4', 'line 2, column 4'],
    'all of them, each place once',
  )
  t.match(readYaml('a: !x 1'), { value: undefined, problems: [{ path: 'line 1, column 4' }] })
  t.match(readYaml('? [a]\n: 1'), { problems: [{ what: /not understood/ }] })
  const bomb = [
    'a: &a [x, x, x, x, x, x, x, x, x]',
    ...'bcdefgh'.split('').map((c, i) => `${c}: &${c} [${Array(9).fill(`*${'abcdefgh'[i]}`).join(', ')}]`),
  ].join('\n')
  t.match(readYaml(bomb), { value: undefined, problems: [{ what: /aliases/ }] })
})

t.test('freezing goes all the way, and leaves buffers and maps alone', async (t) => {
  const value = deepFreeze({ a: [{ b: 1 }], m: new Map([[1, 2]]), u: new Uint8Array(2) })
  t.ok(Object.isFrozen(value) && Object.isFrozen(value.a) && Object.isFrozen(value.a[0]))
  value.u[0] = 1
  value.m.set(2, 3)
  t.equal(value.m.size, 2)
})

t.test('the problems of a file are one error', async (t) => {
  const error = new ProblemsError('MINIM_POLICY_INVALID', 'p.yaml', [{ path: 'a', what: 'b', mend: 'c' }])
  t.equal(error.message, 'p.yaml: the policy has 1 mistake(s):\n  a: b; c')
  t.match(error, { code: 'MINIM_POLICY_INVALID', stage: 'policy', retryable: false })
  t.ok(Object.isFrozen(error.problems))
})

t.test('of a text with mistakes everywhere the first are told, and the rest counted', (t) => {
  const { problems } = readYaml('a: 1\n'.repeat(500))
  t.equal(problems.length, 101)
  t.equal(problems.at(-1)?.what, 'has 399 more mistakes of this sort')
  t.equal(readYaml('}]{[\n'.repeat(20_000)).problems.length, 1, 'what follows from the first is none')
  t.end()
})
