import { Value } from '@sinclair/typebox/value'
import t from 'tap'
import { parse } from 'yaml'
import { catalogue, KINDS } from '../../src/catalogue/catalogue.js'
import { problemLines } from '../../src/errors/catalogue.js'
import { BUILT_IN_MAPPINGS } from '../../src/flow/file-formats.js'
import {
  builtInMapping,
  CONVERSIONS,
  DISPOSITION_WORDS,
  MappingSettings,
  withColumns,
} from '../../src/formats/mapping.js'
import { checkMapping } from '../../src/formats/mapping-check.js'
import { given } from '../helpers/given.js'

t.test('a mapping in the settings', async (t) => {
  const settings: unknown = parse(`
    kind: call
    timeZone: Europe/London
    origin: CDR
    columns: [src, dst, start, secs, how, note]
    fields:
      src: calling
      dst: { field: called }
      start: { field: start_ms, as: local-time }
      secs: { field: billable_seconds, as: whole }
      how: disposition
    drop: [note]
  `)
  t.equal(Value.Check(MappingSettings, settings), true)
  const { mapping, problems } = checkMapping(settings, catalogue(), 'own', 'mappings.own')
  t.same(problems, [])
  t.same(
    { ...mapping, keys: given(mapping).keys.map((k) => [k.key, k.field.name, k.as]) },
    {
      name: 'own',
      kind: 'call',
      timeZone: 'Europe/London',
      origin: 1,
      defaultOrigin: 1,
      dropped: ['note'],
      columns: [['src', 'dst', 'start', 'secs', 'how', 'note']],
      keys: [
        ['src', 'calling', 'text'],
        ['dst', 'called', 'text'],
        ['start', 'start_ms', 'local-time'],
        ['secs', 'billable_seconds', 'whole'],
        ['how', 'disposition', 'disposition'],
      ],
    },
  )
})

t.test('all mistakes are found at once, each with its path and mend', async (t) => {
  const { mapping, problems } = checkMapping(
    {
      kind: 'call',
      timeZone: 'Europe/Londres',
      origin: 'NOWHERE',
      colums: [],
      columns: ['src', 'src', 'other', 7],
      fields: {
        src: 'caller',
        a: 'called_prefix',
        b: { field: 'start_ms', as: 'text' },
        c: { field: 'calling', as: 'number' },
        d: 5,
        e: { field: 'called', to: 'x' },
      },
      drop: 'userfield',
    },
    catalogue(),
    'own',
    'mappings.own',
  )
  t.equal(mapping, null)
  t.same(problems.map((p) => p.path.replace('mappings.own.', '')).sort(), [
    'columns',
    'columns',
    'columns',
    'colums',
    'drop',
    'fields.a',
    'fields.a',
    'fields.b',
    'fields.b.as',
    'fields.c',
    'fields.c.as',
    'fields.d',
    'fields.d',
    'fields.e',
    'fields.e.to',
    'fields.src',
    'origin',
    'timeZone',
  ])
  for (const p of problems) t.ok(p.what.length > 3 && p.mend.length > 3, p.path)
  t.match(problemLines(problems), /"caller" is no field of call; use one of tenant, account/)
})

t.test('single mistakes', async (t) => {
  const start = { t: 'start_ms' }
  const cases: { name: string; settings: unknown; path: string; what: RegExp }[] = [
    { name: 'no object', settings: 'asterisk', path: 'm', what: /no mapping/ },
    { name: 'null', settings: null, path: 'm', what: /no mapping/ },
    { name: 'a list', settings: [], path: 'm', what: /no mapping/ },
    { name: 'no fields', settings: {}, path: 'm.fields', what: /maps nothing/ },
    { name: 'empty fields', settings: { fields: {} }, path: 'm.fields', what: /maps nothing/ },
    { name: 'no start', settings: { fields: { a: 'calling' } }, path: 'm.fields', what: /no start_ms/ },
    { name: 'a kind that is none', settings: { kind: 'sms', fields: start }, path: 'm.kind', what: /no kind/ },
    {
      name: 'kept and dropped',
      settings: { fields: start, drop: ['t'] },
      path: 'm.drop',
      what: /"t" is also in fields/,
    },
    { name: 'an empty key', settings: { fields: { ...start, '': 'calling' } }, path: 'm.fields', what: /key of 0/ },
    {
      name: 'a long key',
      settings: { fields: { ...start, ['k'.repeat(129)]: 'calling' } },
      path: 'm.fields',
      what: /key of 129/,
    },
    { name: 'no columns', settings: { fields: start, columns: [] }, path: 'm.columns', what: /empty/ },
    {
      name: 'a column that nobody knows',
      settings: { fields: start, columns: ['t', 'u'] },
      path: 'm.columns',
      what: /"u" is neither/,
    },
    {
      name: 'a field that is no column',
      settings: { fields: { ...start, u: 'calling' }, columns: ['t'] },
      path: 'm.fields.u',
      what: /no column/,
    },
    {
      name: 'a field of another kind',
      settings: { fields: { ...start, m: 'mos_lq' } },
      path: 'm.fields.m',
      what: /no field of call/,
    },
    { name: 'a list of numbers to drop', settings: { fields: start, drop: [1] }, path: 'm.drop', what: /1 entries/ },
    {
      name: "a prototype's name as field",
      settings: { fields: { ...start, x: 'constructor' } },
      path: 'm.fields.x',
      what: /no field/,
    },
  ]
  for (const c of cases) {
    const { mapping, problems } = checkMapping(c.settings, catalogue(), 'm', 'm')
    t.equal(mapping, null, c.name)
    t.equal(problems.length, 1, c.name)
    t.equal(problems[0].path, c.path, c.name)
    t.match(problems[0].what, c.what, c.name)
  }
})

t.test('the schema refuses what is of the wrong shape, as the check does', async (t) => {
  for (const settings of [
    'x',
    [],
    { fields: {} },
    { fields: { t: 'start_ms' }, drop: 'x' },
    { fields: { t: 5 } },
    { fields: { t: { field: 'start_ms', as: 'number' } } },
    { fields: { t: 'start_ms' }, more: 1 },
    { kind: 'sms', fields: { t: 'start_ms' } },
  ]) {
    t.equal(Value.Check(MappingSettings, settings), false, JSON.stringify(settings))
    t.not(checkMapping(settings, catalogue(), 'm', 'm').problems.length, 0, JSON.stringify(settings))
  }
})

t.test('the built-in mappings hold against the catalogue', async (t) => {
  for (const name of BUILT_IN_MAPPINGS) {
    const mapping = builtInMapping(name, catalogue())
    t.ok(mapping.keys.every((k) => k.field !== undefined && CONVERSIONS.includes(k.as)))
    t.notOk(mapping.keys.some((k) => mapping.dropped.includes(k.key)))
  }
  const asterisk = builtInMapping('asterisk-cdr', catalogue())
  t.same(
    asterisk.columns.map((c) => c.length),
    [16, 17, 18, 19, 20, 21, 22],
  )
  for (const hidden of ['channel', 'dstchannel', 'lastdata', 'userfield'])
    t.ok(asterisk.dropped.includes(hidden), `${hidden} is not taken`)
  for (const kind of KINDS) {
    const mapping = builtInMapping('minim', catalogue(), { kind })
    t.equal(
      given(catalogue().kinds[kind].byName.get('origin')).enumNames[given(mapping.defaultOrigin)],
      { call: 'CDR', quality: 'REPORT', device: 'REGISTRATION' }[kind],
    )
    t.same(
      mapping.keys.map((k) => k.key),
      catalogue()
        .kinds[kind].fields.filter((f) => f.derivedFrom === null)
        .map((f) => f.name),
    )
    const { problems } = checkMapping(
      { kind, fields: Object.fromEntries(mapping.keys.map((k) => [k.key, { field: k.field.name, as: k.as }])) },
      catalogue(),
      kind,
      kind,
    )
    t.same(problems, [], 'and could stand in the settings')
  }
  const names = given(catalogue().kinds.call.byName.get('disposition')).enumNumbers
  for (const [word, name] of Object.entries(DISPOSITION_WORDS)) t.ok(name === null || names.has(name), word)
})

t.test('columns of its own for a mapping', async (t) => {
  const asterisk = builtInMapping('asterisk-cdr', catalogue())
  t.same(given(withColumns(asterisk, ['clid', 'src', 'start'], '--columns').mapping).columns, [
    ['clid', 'src', 'start'],
  ])
  const { mapping, problems } = withColumns(asterisk, ['clid', 'source'], '--columns')
  t.equal(mapping, null)
  t.match(problems, [{ path: '--columns', what: /"source" is no key/ }])
  t.equal(withColumns(asterisk, [], '--columns').mapping, null)
})
