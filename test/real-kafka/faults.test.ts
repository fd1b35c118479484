/**
 * A broker that refuses: a topic deleted under its writer, rights withdrawn, a certificate that is out of date, a disk
 * that is full. Killed and hanging brokers, records that are refused and fenced producers are in `delivery.test.ts`;
 * the network is in `faults-network.test.ts`, three brokers are in `faults-brokers.test.ts`.
 */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { spawnSync } from '../helpers/child-process.js'
import { kafkaAvailable, startKafka } from '../helpers/kafka.js'
import { Feed, sleep, until } from './feeding.js'

const reason = kafkaAvailable()
t.setTimeout(400_000)
if (reason !== null) t.comment(`NOT RUN: ${reason}`)
const skip = reason ?? false

const SHORT = { 'socket.timeout.ms': 11_000, 'transaction.timeout.ms': 12_000 }

t.test('rights and topics', { skip, timeout: 200_000 }, async (t) => {
  const kafka = await startKafka({
    heap: '512m',
    properties: {
      'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      'allow.everyone.if.no.acl.found': 'true',
    },
  })
  t.teardown(() => kafka.stop())
  const acl = (action: '--add' | '--remove', what: readonly string[]): Promise<string> =>
    kafka.tool('org.apache.kafka.tools.AclCommand', [
      '--bootstrap-server',
      kafka.bootstrap,
      action,
      ...(action === '--remove' ? ['--force'] : []),
      '--deny-principal',
      'User:ANONYMOUS',
      '--operation',
      'Write',
      ...what,
    ])

  for (const [name, to, what] of [
    ['rights', 'a topic', ['--topic', 'rights.two']],
    [
      'rights-id',
      'under its transactional ids',
      ['--transactional-id', 'minim.rights-id', '--resource-pattern-type', 'prefixed'],
    ],
  ] as const) {
    t.test(`the right to write ${to} is withdrawn, and given again`, async (t) => {
      const feed = new Feed(t, kafka, name, { properties: SHORT })
      await feed.start()
      await feed.flows()
      await acl('--add', what)
      await until('it is noticed', () => feed.notices.length > 2 || feed.fatal.length > 0)
      t.same(feed.fatal, [], 'rights can be given again: no reason to end')
      const { committed } = feed
      await sleep(2_000)
      t.ok(feed.committed <= committed + 10, 'nothing goes round it')
      await acl('--remove', what)
      await feed.flows()
      await feed.finish()
      t.comment(`${feed.items.length} batches, ${feed.said}`)
      await feed.isExactlyOnce(t)
    })
  }

  t.test('a topic is deleted under it', async (t) => {
    const feed = new Feed(t, kafka, 'deleted', { properties: SHORT })
    await feed.start()
    await feed.flows()
    await kafka.tool('org.apache.kafka.tools.TopicCommand', [
      '--bootstrap-server',
      kafka.bootstrap,
      '--delete',
      '--topic',
      'deleted.two',
    ])
    await until('it is noticed', () => feed.notices.length > 0 || feed.fatal.length > 0)
    t.comment(feed.said)
    await sleep(3_000)
    t.comment(`phase ${feed.delivery.state.phase}, ${feed.fatal.map((e) => e.message)}`)
    await feed.flows()
    await feed.finish()
    // What the deleted topic held is gone with it; nothing else is.
    await feed.isExactlyOnce(t, { topics: ['one'] })
    const left = await kafka.consoleConsumer('deleted.two', { timeoutMs: 3_000 })
    const sequences = [...new Set(left.map((r) => Number(r.value.toString().split('/')[0])))].sort((a, b) => a - b)
    t.equal(left.length, sequences.length * 10, 'whole batches, once')
    t.equal(sequences.at(-1), feed.items.length)
    t.equal(sequences.length, feed.items.length - sequences[0] + 1, 'from some batch on, all of them')
  })
})

/** A CA and a certificate of localhost, good or out of date, as Kafka and clients take them. */
function certificates(folder: string): { readonly ca: string; readonly good: string; readonly expired: string } {
  const openssl = (args: readonly string[]): void => {
    const { status, stderr } = spawnSync('openssl', args, { cwd: folder, encoding: 'utf8' })
    if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`)
  }
  writeFileSync(
    join(folder, 'ca.cnf'),
    [
      '[ca]\ndefault_ca=d',
      '[d]\nnew_certs_dir=.\ndatabase=index.txt\nserial=serial\ndefault_md=sha256\npolicy=p\nunique_subject=no',
      '[p]\ncommonName=supplied',
      '[x]\nsubjectAltName=IP:127.0.0.1\n',
    ].join('\n'),
  )
  writeFileSync(join(folder, 'index.txt'), '')
  writeFileSync(join(folder, 'serial'), '01\n')
  openssl([
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    'ca.key',
    '-out',
    'ca.crt',
    '-days',
    '30',
    '-subj',
    '/CN=test CA',
  ])
  openssl([
    'req',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    'broker.key',
    '-out',
    'broker.csr',
    '-subj',
    '/CN=127.0.0.1',
  ])
  const made = (name: string, from: string, to: string): string => {
    openssl([
      'ca',
      '-batch',
      '-config',
      'ca.cnf',
      '-extensions',
      'x',
      '-keyfile',
      'ca.key',
      '-cert',
      'ca.crt',
      '-in',
      'broker.csr',
      '-out',
      `${name}.crt`,
      '-startdate',
      from,
      '-enddate',
      to,
      '-notext',
    ])
    const path = join(folder, `${name}.pem`)
    writeFileSync(
      path,
      readFileSync(join(folder, 'broker.key'), 'utf8') +
        readFileSync(join(folder, `${name}.crt`), 'utf8') +
        readFileSync(join(folder, 'ca.crt'), 'utf8'),
    )
    return path
  }
  const stamp = (days: number): string =>
    `${new Date(Date.now() + days * 86_400_000).toISOString().replace(/[-:T]|\..*/g, '')}Z`
  return {
    ca: join(folder, 'ca.crt'),
    good: made('good', stamp(-1), stamp(10)),
    expired: made('expired', stamp(-20), stamp(-1)),
  }
}

function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'minim-faults-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  })
  return folder
}

const noOpenssl = spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed'

t.test(
  "the broker's certificate is out of date, then renewed",
  { skip: skip || noOpenssl, timeout: 200_000 },
  async (t) => {
    const folder = folderOf(t)
    const { ca, good, expired } = certificates(folder)
    const inUse = join(folder, 'broker.pem')
    copyFileSync(good, inUse)
    const probe = await startKafka({
      heap: '512m',
      properties: {
        'listener.security.protocol.map': 'PLAINTEXT:SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT',
        'ssl.keystore.type': 'PEM',
        'ssl.keystore.location': inUse,
      },
      advertisedPorts: [],
    })
    t.teardown(() => probe.stop())
    const feed = new Feed(t, probe, 'tls', {
      properties: { ...SHORT, 'security.protocol': 'ssl', 'ssl.ca.location': ca },
    })
    await feed.start()
    await feed.flows()
    copyFileSync(expired, inUse)
    await probe.restart()
    await until('it is noticed', () => !feed.delivery.state.ready)
    await until('it says so', () => feed.notices.length > 2)
    await sleep(2_000)
    t.equal(feed.delivery.state.ready, false)
    t.comment(feed.said)
    t.match(feed.said, /certificate|SSL|TLS/i, 'what is wrong can be read')
    t.same(feed.fatal, [])
    copyFileSync(good, inUse)
    await probe.restart()
    await feed.flows()
    await feed.finish()
    await feed.isExactlyOnce(t)
  },
)

/** A small file system of its own; null where it cannot be mounted. */
function smallDisk(t: Test, megabytes: number): string | null {
  const folder = join(folderOf(t), 'disk')
  mkdirSync(folder)
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder]).status !== 0) return null
  t.teardown(() => {
    spawnSync('umount', ['-l', folder])
  })
  return folder
}

t.test("the broker's disk is full, then has room again", { skip, timeout: 200_000 }, async (t) => {
  const disk = smallDisk(t, 96)
  if (disk === null) {
    t.comment('NOT RUN: no file system can be mounted here')
    t.pass()
    return
  }
  const kafka = await startKafka({
    heap: '512m',
    dataDirs: [join(disk, 'data')],
    properties: {
      'log.index.size.max.bytes': 65_536,
      'log.segment.bytes': 1_048_576,
      'log.cleaner.enable': 'false',
      'transaction.state.log.segment.bytes': 1_048_576,
      'offsets.topic.segment.bytes': 1_048_576,
    },
  })
  t.teardown(() => kafka.stop())
  const feed = new Feed(t, kafka, 'disk', { properties: SHORT })
  await feed.start()
  await feed.flows()
  const { bavail, bsize } = statfsSync(disk)
  writeFileSync(join(disk, 'ballast'), Buffer.alloc(bavail * bsize - 16_384))
  // Kafka gives up a log directory that cannot be written; with its only one it ends.
  await until('it is noticed', () => !feed.delivery.state.ready)
  t.comment(feed.said)
  rmSync(join(disk, 'ballast'))
  await kafka.restart()
  await feed.flows()
  await feed.finish()
  t.comment(`${feed.items.length} batches`)
  await feed.isExactlyOnce(t)
})
