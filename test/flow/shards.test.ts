import fc from 'fast-check'
import t from 'tap'
import { shardOf, transactionalId, transactionalIds } from '../../src/flow/shards.js'

t.test('the hash is FNV-1a and must never change: ledgers depend on it', (t) => {
  // Test vectors of the FNV reference: 32 bit, FNV-1a.
  const rows: [string, number][] = [
    ['', 0x811c9dc5],
    ['a', 0xe40c292c],
    ['foobar', 0xbf9cf968],
  ]
  for (const [source, hash] of rows) t.equal(shardOf(source, 2 ** 31), hash % 2 ** 31, JSON.stringify(source))
  t.end()
})

t.test('every source has one shard', (t) => {
  fc.assert(
    fc.property(fc.string(), fc.integer({ min: 1, max: 64 }), (source, shards) => {
      const shard = shardOf(source, shards)
      return Number.isInteger(shard) && shard >= 0 && shard < shards && shard === shardOf(source, shards)
    }),
  )
  t.end()
})

t.test('sources are spread', (t) => {
  const counts = new Array<number>(8).fill(0)
  for (let i = 0; i < 8_000; i++) counts[shardOf(`node-${i}`, 8)]++
  t.ok(Math.min(...counts) > 700, `${counts}`)
  t.end()
})

t.test('ids name cluster, shard and turn', (t) => {
  t.equal(transactionalId('prod', 3, 'a'), 'minim.prod.3.a')
  t.same(transactionalIds('prod', 3), ['minim.prod.3.a', 'minim.prod.3.b'])
  t.end()
})
