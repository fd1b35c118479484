/**
 * Every error that minim raises, in one table: code, where it arises, whether a retry can help, what it says, how to
 * mend it.
 *
 * Match `code`, never `instanceof` or the text. Messages hold codes, field paths, lengths and names out of settings;
 * never a value out of a record. `test/errors/catalogue.test.ts` holds this table against docs/errors.md.
 */
export interface ErrorEntry {
  /** The folder under `src/` it arises in. */
  readonly stage: string
  readonly retryable: boolean
  /** `{name}` is filled from the details given. */
  readonly message: string
  readonly fix: string
}

export const ERRORS = {
  MINIM_POLICY_INVALID: {
    stage: 'policy',
    retryable: false,
    message: '{path}: the policy has {count} mistake(s):\n{problems}',
    fix: 'mend each line named and run `minim lint`',
  },
  MINIM_POLICY_LINKABLE: {
    stage: 'cli',
    retryable: false,
    message: '{path}: more can be linked than the policy allows, {count} time(s):\n{problems}',
    fix: 'show less in one of the two, or allow more in `linkable_with`; `minim lint --sample` shows by what it is linked',
  },
  MINIM_POLICY_UNSETTLED: {
    stage: 'policy',
    retryable: true,
    message: '{path}: the policy goes on changing while it is read',
    fix: 'write it beside its place and rename it, then have it read again',
  },
  MINIM_POLICY_CLASH: {
    stage: 'policy',
    retryable: false,
    message: 'the policy would have the name {version} in tags, and so has another one that has run',
    fix: 'change anything in it, a comment for instance: its hash is its name',
  },
  MINIM_POLICY_WIDENS: {
    stage: 'policy',
    retryable: false,
    message: '{path}: the policy lets somebody see more than the one that runs, in {count} place(s):\n{problems}',
    fix: 'look at it with `minim diff`; a process that was started with --allow-widening REASON takes it',
  },
  MINIM_NOTICE_INVALID: {
    stage: 'policy',
    retryable: false,
    message: '{path}: the notice has {count} mistake(s), or the policy does not keep it:\n{problems}',
    fix: 'mend each line named and run `minim lint --notice FILE`',
  },
  MINIM_CERTIFICATE_EXPIRED: {
    stage: 'sections',
    retryable: false,
    message: '{path}: a certificate in it {what}',
    fix: 'have it issued anew, and put it in the place of the old one',
  },
  MINIM_CERTIFICATE_EXPIRES: {
    stage: 'sections',
    retryable: false,
    message: '{path}: a certificate in it {what}',
    fix: 'have it issued anew before that day',
  },
  MINIM_CASES_INVALID: {
    stage: 'policy',
    retryable: false,
    message: '{path}: the cases have {count} mistake(s):\n{problems}',
    fix: 'mend each line named; config/policy.test.schema.json tells an editor the form',
  },
  MINIM_SETTINGS_INVALID: {
    stage: 'settings',
    retryable: false,
    message: '{path}: the settings have {count} mistake(s):\n{problems}',
    fix: 'mend each line named; config/minim.yaml shows every setting with its default',
  },
  MINIM_KAFKA_NO_DEMO: {
    stage: 'cli',
    retryable: false,
    message: 'no demo is running: {what}',
    fix: 'start one with `npm start`, or name the Kafka of a minim that runs: --brokers host:9092, or its settings with --config',
  },
  MINIM_COMMAND_LINE: {
    stage: 'cli',
    retryable: false,
    message: '{path}: the command line has {count} mistake(s):\n{problems}',
    fix: 'mend what each line names; `--help` shows what there is',
  },
  MINIM_KEYS_NO_MASTER: {
    stage: 'keys',
    retryable: false,
    message: 'there is no master key: without one nothing can be pseudonymised',
    fix: 'set MINIM_MASTER_KEY (32 bytes, base64) or keys.master in the settings; `minim keys init --generate-master FILE` makes one',
  },
  MINIM_KEYS_BAD_MASTER: {
    stage: 'keys',
    retryable: false,
    message: '{source}: the master key must be 32 random bytes in base64, and is {what}',
    fix: 'give the whole key; `minim keys init --generate-master FILE` or `openssl rand -base64 32` makes one',
  },
  MINIM_KEYS_MASTER_FILE: {
    stage: 'keys',
    retryable: false,
    message: '{path}: the master key file cannot be read: {what}',
    fix: 'name a file that the user minim runs as can read, in keys.master.file',
  },
  MINIM_KEYS_MASTER_COMMAND: {
    stage: 'keys',
    retryable: true,
    message: 'keys.master.exec: {command} gave no master key: {outcome}',
    fix: 'run the command by hand: it must print the key in base64 on stdout, in time, and end with 0',
  },
  MINIM_KEYS_MASTER_SET: {
    stage: 'keys',
    retryable: false,
    message: 'a master key is set already, by {source}: a generated one would not be used',
    fix: 'leave out --generate-master, or take the other one away first',
  },
  MINIM_KEYS_LOOSE_PERMISSIONS: {
    stage: 'keys',
    retryable: false,
    message: '{path}: others than its owner may read or write it (mode {mode})',
    fix: 'chmod 600 the file, and ask who could have read it',
  },
  MINIM_KEYS_WRONG_MASTER: {
    stage: 'keys',
    retryable: false,
    message: '{path}: the master key from {source} is not the one that this key store was made with',
    fix: "give the store's own master key; if it is lost, so are the keys: move the store away and run `minim keys init`",
  },
  MINIM_KEYS_NO_STORE: {
    stage: 'keys',
    retryable: false,
    message: '{path}: there is no key store',
    fix: 'run `minim keys init`, or mount the folder that holds it; a new store means new tokens for everybody',
  },
  MINIM_KEYS_STORE_EXISTS: {
    stage: 'keys',
    retryable: false,
    message: '{path}: there is a file already, and it will not be overwritten',
    fix: 'use it, or move it away first: without it its tokens cannot be made or reversed again',
  },
  MINIM_KEYS_STORE_CORRUPT: {
    stage: 'keys',
    retryable: false,
    message: '{path}: the key store is damaged: {what}',
    fix: 'restore it from a backup, then destroy again what was destroyed since',
  },
  MINIM_KEYS_STORE_IO: {
    stage: 'keys',
    retryable: true,
    message: '{path}: the key store cannot be read or written: {what}',
    fix: 'see that the folder exists, has room, and can be written by the user minim runs as',
  },
  MINIM_KEYS_LOCKED: {
    stage: 'keys',
    retryable: true,
    message: '{path}: another process has held the key store for {seconds} s',
    fix: 'find and end the process that hangs (`fuser` names it); the lock ends with it',
  },
  MINIM_KEYS_NO_FLOCK: {
    stage: 'keys',
    retryable: false,
    message: 'the key store cannot be locked: flock cannot be run ({what})',
    fix: 'install util-linux, which has the command flock, or Perl',
  },
  MINIM_KEYS_NO_EPOCH: {
    stage: 'keys',
    retryable: false,
    message: '"{epoch}" names no epoch that can have a key',
    fix: 'write 2026-11-24, 2026-11, 2026-Q4, 2026 or contract; `minim keys status` lists them',
  },
  MINIM_KEYS_UNKNOWN: {
    stage: 'keys',
    retryable: false,
    message: 'the key store has no key of "{purpose}" {epoch}{hint}',
    fix: 'write purpose and epoch as `minim keys status` lists them',
  },
  MINIM_KEYS_RUNNING: {
    stage: 'keys',
    retryable: false,
    message:
      'the epoch {epoch} of {purpose} is not over: without its key every record of it goes to quarantine, from all purposes',
    fix: 'wait until it is over; or, if that is what you want, add --running',
  },
  MINIM_KEYS_IN_USE: {
    stage: 'keys',
    retryable: false,
    message:
      'the key of {purpose} {epoch} is in use ({now} is now): without it refused input, or what is in the spool, would be lost',
    fix: 'destroy it when its day is over',
  },
  MINIM_KEYS_NEVER: {
    stage: 'keys',
    retryable: false,
    message: 'the key of {purpose} {epoch} is never destroyed: by it batches that are sent again are told from others',
    fix: 'leave it in the store; if it is gone, restore the store from a backup. No token and no record is made with it',
  },
  MINIM_KEYS_QUARANTINE: {
    stage: 'keys',
    retryable: false,
    message: 'refused input cannot be encrypted: the key of minim.quarantine {epoch} is {what}',
    fix: 'set the clock right; a quarantine key is destroyed only when its day is over',
  },
  MINIM_KAFKA_PROPERTY_RESERVED: {
    stage: 'kafka',
    retryable: false,
    message: 'kafka."{property}" cannot be set: {why}',
    fix: 'take the property out of kafka: in the settings',
  },
  MINIM_KAFKA_PROPERTY_INVALID: {
    stage: 'kafka',
    retryable: false,
    message: 'kafka."{property}" {what}',
    fix: "write it as in librdkafka's CONFIGURATION.md, with a value out of the range given there",
  },
  MINIM_KAFKA_NO_BROKER: {
    stage: 'kafka',
    retryable: true,
    message: '{bootstrap}: no broker answers ({what}); trying again in {delayMs} ms',
    fix: 'see that kafka."bootstrap.servers" is right and that the brokers run and can be reached',
  },
  MINIM_KAFKA_UNREACHABLE: {
    stage: 'kafka',
    retryable: true,
    message: '{bootstrap}: no broker answers ({what})',
    fix: 'see that the address is right and that the brokers run and can be reached; then try again',
  },
  MINIM_KAFKA_ADMIN: {
    stage: 'kafka',
    retryable: true,
    message: '{bootstrap}: topics could not be {action}: {what}',
    fix: 'see that the brokers run, and that this user may describe and create topics and read their settings',
  },
  MINIM_KAFKA_NO_ADMIN: {
    stage: 'kafka',
    retryable: false,
    message: '{bootstrap}: whatever answers there does not know the requests that topics are made and checked with',
    fix:
      'name a Kafka from 2.1 on; the one inside a running minim takes what that process writes, and can be ' +
      'read, but not written to by another',
  },
  MINIM_KAFKA_ADMIN_UNSUPPORTED: {
    stage: 'kafka',
    retryable: false,
    message: 'kafka."{property}" ({value}) cannot be used for creating and checking topics',
    fix: 'use one of: {known}',
  },
  MINIM_KAFKA_TOPIC_INVALID: {
    stage: 'kafka',
    retryable: false,
    message: '{topic}: {what}',
    fix: 'mend its retention or its partitions in policy and settings',
  },
  MINIM_KAFKA_TOPIC_DRIFT: {
    stage: 'kafka',
    retryable: false,
    message: '{count} topic setting(s) in Kafka differ from what policy and settings ask for:\n{problems}',
    fix: 'change the topic as each line says, or the policy if the topic is right',
  },
  MINIM_DELIVERY_FENCED: {
    stage: 'deliver',
    retryable: false,
    message:
      'another minim has taken over shard {shard} of "{cluster}", or this one hung for longer than ' +
      'kafka."transaction.timeout.ms": it stops',
    fix: 'run one process per shard; give separate installations on one Kafka different names under `cluster`',
  },
  MINIM_DELIVERY_STOPPED: {
    stage: 'deliver',
    retryable: true,
    message: 'delivery is stopping: the batch was not taken',
    fix: 'send it again when minim is back',
  },
  MINIM_DELIVERY_BROKEN_STREAM: {
    stage: 'deliver',
    retryable: true,
    message: 'an earlier batch of the same stream failed: this one was not taken',
    fix: 'send both again, the earlier one first',
  },
  MINIM_DELIVERY_BATCH_DIFFERS: {
    stage: 'deliver',
    retryable: true,
    message: 'batch {sequence} of {source} was taken before, with other bytes: this one was not taken',
    fix:
      'connect again and go on from the resume point; if it comes again, two installations have one ' +
      'incarnation, or one was set back: give it a new incarnation, which counts from 1',
  },
  MINIM_DELIVERY_WRONG_SHARD: {
    stage: 'deliver',
    retryable: false,
    message: 'the source belongs to shard {owner}, and this is shard {shard}',
    fix: 'hand the batch to the worker that owns the shard',
  },
  MINIM_DELIVERY_MINIMISE: {
    stage: 'deliver',
    retryable: true,
    message: 'a batch could not be turned into messages',
    fix: 'see the cause; the source keeps the batch and sends it again',
  },
  MINIM_DELIVERY_LEDGER_TIMEOUT: {
    stage: 'deliver',
    retryable: true,
    message: '{topic}: partition {partition} could not be read up to offset {end} within {seconds} s',
    fix: 'an open transaction of some other program may hold it up: it ends by itself with its time-out',
  },
  MINIM_DELIVERY_LEDGER_INVALID: {
    stage: 'deliver',
    retryable: false,
    message: '{topic}: the record at partition {partition}, offset {offset} is no ledger entry',
    fix: 'something else writes to this topic: keep it away; then write over the entry or delete the records before it',
  },
  MINIM_DELIVERY_ABORTED: {
    stage: 'deliver',
    retryable: true,
    message: 'a transaction ended uncleanly ({what}); its batches are being delivered again',
    fix: "nothing, if it is rare; else look at the brokers' health",
  },
  MINIM_DELIVERY_UNQUARANTINABLE: {
    stage: 'deliver',
    retryable: false,
    message:
      '{topic}: Kafka takes neither a record nor its quarantine message ({what}): {count} message(s) dropped and counted',
    fix: 'raise max.message.bytes of the quarantine topic and kafka."message.max.bytes"',
  },
  MINIM_KAFKA_NOT_ALLOWED: {
    stage: 'kafka',
    retryable: true,
    message: '{bootstrap}: Kafka does not let this user go on ({what}); trying again in {delayMs} ms',
    fix:
      'grant it Write and Describe on the topics, Write and Describe on the transactional ids that begin ' +
      'with minim., IdempotentWrite on the cluster, Read on minim.ledger',
  },
  MINIM_KAFKA_CLOCK: {
    stage: 'kafka',
    retryable: true,
    message: "{bootstrap}: this machine's clock is {what}",
    fix: 'see that NTP runs on this machine and on the brokers; minim goes on by itself when the clocks agree',
  },
  MINIM_KAFKA_NO_TOPIC: {
    stage: 'kafka',
    retryable: true,
    message: 'none of the topics {topics} is on {bootstrap}',
    fix: 'name the brokers that minim writes to; topics are made when it starts',
  },
  MINIM_KAFKA_INPUT: {
    stage: 'sources',
    retryable: true,
    message: 'topic {topic}: {what}; reading again in {delayMs} ms',
    fix:
      'nothing, if it is rare; else see that the topic is there, and that this user may read it, join the ' +
      'group and add its offsets to transactions',
  },
  MINIM_KAFKA_INPUT_FENCED: {
    stage: 'sources',
    retryable: false,
    message: "topic {topic}: another process has this one's place in the group {group}: it reads no more of it",
    fix: 'give separate installations on one Kafka different names under `cluster`',
  },
  MINIM_GRPC_LISTEN: {
    stage: 'sources',
    retryable: true,
    message: 'grpc.listen: cannot listen on {listen}',
    fix: 'free the port or choose another; 0 takes a free one',
  },
  MINIM_GRPC_SOURCE_INVALID: {
    stage: 'sources',
    retryable: false,
    message: 'the stream names no valid source and incarnation',
    fix: 'source: up to 128 letters, digits, dots, underscores and hyphens; incarnation: a UUID made at installation',
  },
  MINIM_GRPC_UNAUTHORISED: {
    stage: 'sources',
    retryable: false,
    message: "the client's certificate does not name the source that the stream names",
    fix:
      "use as source a DNS name out of the certificate's subjectAltName, or list it under the certificate's " +
      'name in grpc.authorise of the proxy',
  },
  MINIM_GRPC_SOURCE_CHANGED: {
    stage: 'sources',
    retryable: false,
    message: 'a batch names another source or incarnation than its stream',
    fix: 'open a stream for each source',
  },
  MINIM_GRPC_NO_SEQUENCE: {
    stage: 'sources',
    retryable: false,
    message: 'a batch holds records but no sequence',
    fix: 'count batches from 1',
  },
  MINIM_GRPC_GAP: {
    stage: 'sources',
    retryable: true,
    message: 'a batch was left out: sequence {got} came where {expected} was due',
    fix: 'connect again and go on from the resume point',
  },
  MINIM_GRPC_SUPERSEDED: {
    stage: 'sources',
    retryable: false,
    message: 'source {source} has opened another stream',
    fix: 'run one agent for each source; a copied installation needs an incarnation of its own',
  },
  MINIM_GRPC_IDLE: {
    stage: 'sources',
    retryable: true,
    message: 'nothing came for {ms} ms',
    fix: 'connect again when there is something to send',
  },
  MINIM_GRPC_TOO_MANY: {
    stage: 'sources',
    retryable: true,
    message: '{max} streams are open already',
    fix: 'raise grpc.maxStreams or wait',
  },
  MINIM_GRPC_NOT_COMMITTED: {
    stage: 'sources',
    retryable: true,
    message: 'batches could not be committed',
    fix: 'connect again and go on from the resume point',
  },
  MINIM_GRPC_STOPPING: {
    stage: 'sources',
    retryable: true,
    message: 'minim is stopping',
    fix: 'connect again and go on from the resume point',
  },
  MINIM_GRPC_STREAM: {
    stage: 'sources',
    retryable: true,
    message: 'the stream broke off',
    fix: 'connect again and go on from the resume point',
  },
  MINIM_CSV_NO_COLUMNS: {
    stage: 'sources',
    retryable: false,
    message: 'the mapping "{mapping}" does not say which columns a CSV line has',
    fix: "list all columns in order under the mapping's `columns`, or use the mapping asterisk-cdr",
  },
  MINIM_FILE_UNREADABLE: {
    stage: 'sources',
    retryable: false,
    message: '{label}: cannot be read ({code})',
    fix: 'check that it exists, is a regular file and may be read by this user',
  },
  MINIM_LOAD_WITHHELD: {
    stage: 'sources',
    retryable: false,
    message:
      'of {records} record(s) {produced} message(s) were produced, and {expired} of {decided} were withheld as expired',
    fix:
      'look at the times: they are milliseconds since 1970, or text with --time-zone; ' +
      'minim simulate shows what becomes of a record; --force ends with 0 all the same',
  },
  MINIM_FILE_WRONG_FORMAT: {
    stage: 'sources',
    retryable: false,
    message:
      '{label}: of its first {records} record(s) {refused} would go to quarantine ({reasons}): nothing was taken of it',
    fix: 'give the right --format, --map and --time-zone; --force takes the file as it is',
  },
  MINIM_FILE_CHANGED: {
    stage: 'sources',
    retryable: false,
    message: '{label}: is shorter than when it was opened, or than what was already taken of it',
    fix: 'load files that are no longer written to; a file that was truncated is a new one: copy it and load the copy',
  },
  MINIM_AGENT_STATE: {
    stage: 'sources',
    retryable: false,
    message: 'agent.stateFile: {what}',
    fix:
      'restore it, with its folder writable; without it the files are sent again from their start, and all ' +
      'that is in them is there twice',
  },
  MINIM_AGENT_LOCKED: {
    stage: 'sources',
    retryable: true,
    message: 'agent.stateFile: another agent runs with it',
    fix: 'run one agent for each state file',
  },
  MINIM_AGENT_RESUME: {
    stage: 'sources',
    retryable: false,
    message:
      'the proxy has batch {resume} of {source} last, and this agent has sent {first} to {last}: nothing ' +
      'is sent, since some would be lost or there twice',
    fix:
      "if the state file is older than the last run, restore it; if the proxy's ledger is, or another agent " +
      'uses the name, give the agent another `source` and a new state file',
  },
  MINIM_AGENT_LOST: {
    stage: 'sources',
    retryable: false,
    message:
      'files.{file}: {bytes} octets of lines were cut and not acknowledged, and their file is gone: if the ' +
      'proxy has not taken them, they are lost',
    fix: 'keep rotated files until they are sent, uncompressed (logrotate: delaycompress)',
  },
  MINIM_AGENT_DISCONNECTED: {
    stage: 'sources',
    retryable: true,
    message: 'files.{file}: not connected to the proxy ({status}: {what}); trying again',
    fix: "see that agent.proxy is right, that the proxy runs, and that both sides' certificates fit",
  },
  MINIM_SPOOL_FULL: {
    stage: 'spool',
    retryable: true,
    message: 'the spool is full: Kafka has not taken what is in it',
    fix: 'see why Kafka takes nothing; raise spool.maxBytes if it must last longer; send again later',
  },
  MINIM_SPOOL_BROKEN: {
    stage: 'spool',
    retryable: true,
    message: 'the spool cannot be written ({what}): nothing is taken that its sender could not send again',
    fix: 'see that the disk of spool.path has room, is writable and in order; minim goes on by itself then',
  },
  MINIM_SPOOL_KEY_NEEDED: {
    stage: 'cli',
    retryable: true,
    message: '{path}: {count} block(s) of the spool, not in Kafka yet, need the key of {epoch}',
    fix: 'let minim deliver them first; if they are to be lost, move the folder away',
  },
  MINIM_SPOOL_OPEN: {
    stage: 'spool',
    retryable: false,
    message: '{path}: the spool cannot be opened ({what})',
    fix: 'see that spool.path is a folder that the user minim runs as may write, on a local disk',
  },
  MINIM_SPOOL_LOCKED: {
    stage: 'spool',
    retryable: true,
    message: '{path}: another minim runs with this spool',
    fix: 'give each one a spool.path of its own, or end the other one first (`fuser` names it); the lock ends with its process',
  },
  MINIM_SPOOL_DAMAGED: {
    stage: 'spool',
    retryable: false,
    message: 'block {sequence} of the spool is lost: {what}; it was moved aside, the others go on',
    fix: 'look at the disk that holds spool.path; what the block held was acknowledged, so ask the senders for that time',
  },
  MINIM_SPOOL_KEY: {
    stage: 'spool',
    retryable: false,
    message: '{path}: the spool holds records that these keys cannot open ({what})',
    fix: 'give the key store and master key that it was written with; or move the folder away, and what is in it is lost',
  },
  MINIM_AMI_REFUSED: {
    stage: 'sources',
    retryable: true,
    message: 'AMI of {node}: {what} was refused',
    fix: 'see user, secret, permit and deny in manager.conf of the PBX, then `manager reload` there; minim goes on trying, seldom',
  },
  MINIM_AMI_LOST: {
    stage: 'sources',
    retryable: true,
    message: 'AMI of {node}: there is no connection ({what})',
    fix:
      'see that Asterisk runs, that manager.conf has enabled=yes and listens at host and port, and, with ' +
      'TLS, that its certificate is of tls.ca; minim goes on trying',
  },
  MINIM_AMI_TIMEOUT: {
    stage: 'sources',
    retryable: true,
    message: 'AMI of {node}: no {what} within {ms} ms',
    fix: 'see whether Asterisk hangs or the way to it is cut; minim connects again',
  },
  MINIM_AMI_PROTOCOL: {
    stage: 'sources',
    retryable: true,
    message: 'AMI of {node}: what listens there is no manager interface ({what})',
    fix: 'see host, port (5038; 5039 with TLS) and tls of the settings',
  },
  MINIM_HTTP_LISTEN: {
    stage: 'sources',
    retryable: false,
    message: '{section}.listen: cannot listen on {listen} ({what})',
    fix: 'free the port or choose another; 0 takes a free one',
  },
  MINIM_HEP_LISTEN: {
    stage: 'sources',
    retryable: true,
    message: 'hep.{by}: cannot listen on {listen}',
    fix: 'free the port or choose another; 0 takes a free one',
  },
  MINIM_SIP_LISTEN: {
    stage: 'sources',
    retryable: true,
    message: '{setting}: cannot listen on {listen} ({what})',
    fix: 'free the port or choose another; 0 takes a free one',
  },
  MINIM_SIP_DRACHTIO: {
    stage: 'sources',
    retryable: true,
    message: 'sip.drachtio: {host}:{port} {what}; trying again in {delayMs} ms',
    fix: 'see that the drachtio-server runs, can be reached, and has the secret of sip.drachtio',
  },
  MINIM_WORKER_DIED: {
    stage: 'ops',
    retryable: true,
    message: 'worker {index} has ended ({how}); it is started again in {delayMs} ms',
    fix: 'see its last lines in the log; what it had not committed is taken again',
  },
  MINIM_WORKER_SILENT: {
    stage: 'ops',
    retryable: true,
    message: 'worker {index} has not said whether it can take another policy',
    fix: 'see its last lines in the log, then have the policy read again',
  },
  MINIM_CONSERVATION_DRIFT: {
    stage: 'ops',
    retryable: false,
    message:
      '{records} record(s) that came in by {source} are not accounted for (purpose {purpose}, kind {kind}); fewer than 0: so many too many',
    fix:
      'this is a defect of minim: report it with the log and /metrics, and compare what the source still has ' +
      'with the topics; the accounts begin anew with a restart',
  },
  MINIM_OPS_LISTEN: {
    stage: 'ops',
    retryable: false,
    message: 'ops.listen: {listen} cannot be listened on: {what}',
    fix: 'choose another address or port, or end what listens there; port 0 takes a free one',
  },
} as const satisfies Record<string, ErrorEntry>

export type ErrorCode = keyof typeof ERRORS

export type ErrorDetails = Readonly<Record<string, string | number>>

/** An error out of the catalogue. `details` fill the message and never hold a value out of a record. */
export class MinimError extends Error {
  readonly code: ErrorCode
  readonly stage: string
  readonly retryable: boolean
  readonly fix: string
  readonly details: ErrorDetails
  constructor(code: ErrorCode, details: ErrorDetails = {}, options: { cause?: unknown } = {}) {
    const entry: ErrorEntry = ERRORS[code]
    super(
      entry.message.replace(/\{(\w+)\}/g, (_, name: string) => String(details[name] ?? `{${name}}`)),
      options,
    )
    this.name = 'MinimError'
    this.code = code
    this.stage = entry.stage
    this.retryable = entry.retryable
    this.fix = entry.fix
    this.details = details
  }
}

/** One mistake in a policy or settings file: where it is, what is wrong, what to write instead. */
export interface Problem {
  /** Path in the file: `purposes.billing.call.fields.callr`. */
  readonly path: string
  readonly what: string
  readonly mend: string
  /** Line of the file, from 1; left out where it is about no file. */
  readonly line?: number
}

/** The lines of several problems, as {@link MinimError} messages carry them. */
export function problemLines(problems: readonly Problem[]): string {
  return problems.map((p) => `  ${placeOf(p)}: ${p.what}; ${p.mend}`).join('\n')
}

/** Where a problem is, in words: its path, and its line where the path does not say that already. */
function placeOf({ path, line }: Problem): string {
  const place = path === '' ? '(top)' : path
  return line === undefined || path.startsWith('line ') ? place : `line ${line}, ${place}`
}
