/** `minim topics` and `minim check --brokers` against a real broker. */
import t from 'tap'
import { minim, Place } from '../e2e/program.js'
import { kafkaAvailable, startKafka } from '../helpers/kafka.js'

const reason = kafkaAvailable()
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

const SHORT = 'pbx.billing.call'
const TOPIC_COMMAND = 'org.apache.kafka.tools.TopicCommand'

t.test(
  'topics that differ are told, and made as they are wanted',
  { skip: reason ?? false, timeout: 240_000 },
  async (t) => {
    const kafka = await startKafka()
    t.teardown(() => kafka.stop())
    const place = new Place(t)
    place.makeStore()
    const settings = (partitions: number): string =>
      place.settings({
        embedded: false,
        kafka: { 'bootstrap.servers': kafka.bootstrap },
        topics: { partitions, replication: 1 },
      })
    const config = settings(3)
    const create = (topic: string, partitions: string, ...more: string[]): Promise<unknown> =>
      kafka.tool(TOPIC_COMMAND, [
        ...['--bootstrap-server', kafka.bootstrap, '--create', '--topic', topic, '--partitions', partitions],
        ...more,
      ])
    await create(SHORT, '1', '--config', 'retention.ms=31536000000000')
    const run = (...command: string[]): ReturnType<typeof minim> => minim(t, [...command, '--config', config], place)

    const before = await run('topics', 'diff')
    t.equal(before.code, 3, before.stderr)
    t.match(before.stdout, /pbx\.billing\.call: partitions is 1 and should be 3\n {2}→ keys move/)
    t.match(
      before.stdout,
      /pbx\.billing\.call: retention\.ms is 31536000000000 and should be \d+\n {2}→ DELETES every record older/,
    )
    t.match(before.stdout, /minim\.ledger: is not there/)
    const checked = await run('check', '--brokers')
    t.equal(checked.code, 3, checked.stdout)
    t.match(checked.stdout, /Kafka: error MINIM_KAFKA_TOPIC_DRIFT\n {2}pbx\.billing\.call: partitions is 1/)
    t.match(checked.stdout, /warning MINIM_KAFKA_NO_TOPIC\n {2}minim\.ledger: is not there yet/)

    const unasked = await run('topics', 'apply')
    t.equal(unasked.code, 2)
    t.match(unasked.stderr, /MINIM_COMMAND_LINE[^]*--yes: is missing, and there is no terminal/)
    t.equal((await run('topics', 'diff')).stdout, before.stdout, 'nothing was made or changed: not by check either')

    const applied = await run('topics', 'apply', '--yes')
    t.equal(applied.code, 0, applied.stderr)
    t.match(applied.stdout, /\nchanged: [3-9] setting\(s\); made: \d+ topic\(s\)\n$/)
    const after = await run('topics', 'diff')
    t.match(after, { code: 0, stdout: 'no difference\n' })
    t.match(await run('check', '--brokers'), { code: 0, stdout: /check: passed/ })
    t.match(await run('topics', 'apply'), { code: 0, stdout: 'no difference\n' }, 'nothing to ask for')

    settings(2)
    const fewer = await run('topics', 'apply', '--yes')
    t.equal(fewer.code, 3, 'partitions are never taken away')
    t.match(
      fewer.stdout,
      /pbx\.billing\.call: partitions is 3 and should be 2\n {2}→ minim does not change it: set topics\.partitions to 3/,
    )
    t.match(fewer.stderr, /MINIM_KAFKA_TOPIC_DRIFT/)
  },
)
