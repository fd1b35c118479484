/**
 * Canaries: numbers in all their notations, names, addresses and MACs go in by every source, in good, malformed and
 * hostile records, and are looked for wherever anything comes out: topics, quarantine, logs at their finest, metrics,
 * errors, files.
 */
import { randomUUID } from 'node:crypto'
import type { ServiceError } from '@grpc/grpc-js'
import t from 'tap'
import { openQuarantined } from '../../src/quarantine/box.js'
import { batchHeader, DeliverClient } from '../../src/sources/common/deliver-client.js'
import { get, metric, Place, readTopic, run, topicNames, until } from './program.js'
import {
  CANARIES,
  canariesIn,
  canaryCall,
  canaryDevice,
  canaryQuality,
  delimited,
  field,
  NOTATIONS,
  records,
} from './records.js'

t.test('the search finds what it is for', (t) => {
  for (const canary of CANARIES)
    t.same(canariesIn(Buffer.from(`x${canary.toUpperCase()}y`)).includes(canary.toLowerCase()), true, canary)
  for (const notation of NOTATIONS) t.ok(canariesIn(notation).includes('7700900417'), notation)
  t.ok(canariesIn(Buffer.from('+447700900417 and more').toString('base64')).length > 0, 'base64')
  t.ok(canariesIn(Buffer.from('Xanthippe', 'utf16le')).length > 0, 'UTF-16')
  t.same(
    canariesIn(
      '{"called_prefix":"+44770","source_network":"203.0.113.0/24","mac_vendor":"00:00:5e","start_ms":1795600845000}',
    ),
    [],
  )
  t.end()
})

t.test('nothing of a record comes out', async (t) => {
  const place = new Place(t)
  place.makeStore()
  const numbers = [0, 1, 2, 3, 4, 5, 6, 7, 8]
  const written = [
    place.write(
      'calls.jsonl',
      [
        ...numbers.map((n) => JSON.stringify(canaryCall(n, { nickname: 'Xanthippe' }))),
        '{"calling":"07700900417",',
        '07700900417',
        JSON.stringify(canaryCall(1, { start_ms: '07700900417' })),
      ].join('\n'),
    ),
    place.write(
      'Master.csv',
      '"canary-account","+447700900417"\n' +
        '"canary-account","07700 900417","020 7946 0918","x","""Xanthippe"" <07700900417>","PJSIP/7700900417",' +
        '"b","Dial","7700900417","2026-99-01","","",1,1,"ANSWERED","DOCUMENTATION"\n',
    ),
    place.write(
      'batches.bin',
      Buffer.concat([
        delimited(records({ calls: [canaryCall(1)] })),
        delimited(field(4, Buffer.from('\x2a\x7f07700900417'))),
        delimited(records({ calls: [canaryCall(2)] })).subarray(0, 60),
      ]),
    ),
  ]
  const settings = place.settings({
    log: { level: 'trace' },
    kafka: { debug: 'all' },
    files: [
      { path: written[0], format: 'jsonl', mapping: 'minim', follow: false },
      { path: written[1], format: 'asterisk-csv', follow: false },
      { path: written[2], format: 'protobuf' },
    ],
  })
  const { program, kafka, grpc, ops } = await run(t, place, settings)
  await until('the files are read', () => program.log().filter((line) => line.msg === 'file read').length === 3)

  const errors: string[] = []
  const stream = (
    source: string,
    incarnation: string,
  ): { client: DeliverClient; ended: Promise<ServiceError | null> } => {
    let client!: DeliverClient
    const ended = new Promise<ServiceError | null>((resolve) => {
      client = new DeliverClient({ address: grpc, source, incarnation, onEnd: resolve })
    })
    t.teardown(() => {
      client.cancel()
    })
    void ended.then((error) => errors.push(String(error), error?.details ?? '', error?.stack ?? ''))
    return { client, ended }
  }
  const incarnation = randomUUID()
  const good = stream('pbx-canary', incarnation)
  await good.client.resumeAfter
  good.client.send(
    1,
    records({
      calls: numbers.map((n) => canaryCall(n)),
      qualities: numbers.map(canaryQuality),
      devices: numbers.map(canaryDevice),
    }),
  )
  // Withheld, refused by its clock, by its tenant, broken inside, not UTF-8, unknown fields, an unfinished envelope, no
  // envelope at all.
  good.client.send(
    2,
    Buffer.concat([
      records({
        calls: [
          canaryCall(1, { start_ms: Date.now() - 400 * 86_400_000 }),
          canaryCall(2, { start_ms: Date.now() + 86_400_000 }),
          canaryCall(3, { tenant: '07700900417' }),
          canaryCall(4, { start_ms: 0 }),
        ],
      }),
      field(4, Buffer.from('\x2a\x7f07700900417')),
      field(4, Buffer.concat([Buffer.from('\x2a\x0d+447700900417\x3a\x02'), Buffer.from([0xff, 0xfe])])),
      field(4, Buffer.concat([Buffer.from([0xfa, 0x06, 13]), Buffer.from('+447700900417'), Buffer.from([0x48, 1])])),
      field(77, Buffer.from('Xanthippe Quagmire')),
    ]),
  )
  good.client.send(3, Buffer.concat([records({ calls: [canaryCall(5)] }), Buffer.from('\x22\x7f+447700900417')]))
  good.client.send(4, Buffer.from('Xanthippe Quagmire, 07700900417'))
  await until('all is acknowledged', () => good.client.acknowledged === 4)
  const rest = [
    stream('Xanthippe Quagmire', randomUUID()),
    stream('pbx-x', '+447700900417'),
    stream('pbx-y', randomUUID()),
  ]
  await rest[2].client.resumeAfter
  rest[2].client.send(7, records({ calls: [canaryCall(1)] }))
  good.client.send(0, Buffer.concat([batchHeader('Xanthippe', '07700900417', 5), records({ calls: [canaryCall(1)] })]))
  await Promise.all([good, ...rest].map((s) => s.ended))
  t.ok(
    errors.join().includes('MINIM_GRPC_SOURCE_INVALID') && errors.join().includes('MINIM_GRPC_GAP'),
    'streams were refused',
  )
  t.same(canariesIn(errors.join('\n')), [], 'errors that nodes are told')

  const metrics = (await get(ops, '/metrics')).body
  t.same(canariesIn(metrics), [], 'metrics')
  t.same([...new Set(Object.values(metric(metrics, 'minim_conservation_drift_records')))], [0])
  const quarantined = metric(metrics, 'minim_records_quarantined_total')
  for (const reason of [
    'malformed_batch',
    'malformed_record',
    'malformed_json',
    'malformed_csv',
    'bad_value',
    'no_start_time',
    'clock',
    'unknown_tenant',
  ]) {
    t.ok(quarantined[`reason="${reason}"`] > 0, `${reason} was met`)
  }
  t.ok(
    Object.values(metric(metrics, 'minim_records_withheld_total')).some((count) => count > 0),
    'and so was withholding',
  )
  t.ok(metric(metrics, 'minim_unsafe_fields_total')[''] > 0)
  const answers = await Promise.all(
    ['/07700900417', '/metrics?q=07700900417', '/readyz/Xanthippe'].map((path) => get(ops, path)),
  )
  t.same(canariesIn(answers.map((answer) => answer.body).join()), [], "answers of the operator's port")

  const topics = await topicNames(kafka)
  for (const topic of [
    'pbx.service.call',
    'pbx.legal.device',
    'pbx.quality.quality',
    'minim.quarantine',
    'minim.ledger',
  ])
    t.ok(topics.includes(topic), topic)
  for (const topic of topics) {
    const found = await readTopic(kafka, topic)
    t.ok(found.length > 0, `${topic} was read`)
    const leaks = found.flatMap(({ key, value }) =>
      canariesIn(Buffer.concat([key ?? Buffer.alloc(0), Buffer.from('|'), value])),
    )
    t.same([...new Set(leaks)], [], topic)
    if (topic !== 'minim.quarantine') continue
    const opened = found
      .map(({ value }) => openQuarantined(place.openStore(), value))
      .map((box) => (typeof box === 'string' ? box : box.input.toString('latin1')))
    t.ok(
      opened.every((input) => canariesIn(input).length > 0),
      'quarantine does hold them, for who has its key',
    )
  }

  program.kill('SIGTERM')
  const { code, stdout, stderr } = await program.end()
  t.equal(code, 0, stderr.slice(-2000))
  t.equal(stdout, '')
  t.same(canariesIn(stderr), [], 'logs')
  for (const { path, bytes } of place.left(written)) t.same(canariesIn(bytes), [], path)
})
