/**
 * Facts that have one owner: what is written a second time may be changed in one place only, and then the two drift
 * apart.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { repositoryRoot } from './helpers/shared.js'
import { sourceFiles } from './walls/imports.js'

const root = join(repositoryRoot(), 'src')
const sources = sourceFiles(root).map((file) => ({ file, text: readFileSync(join(root, file), 'utf8') }))

/** Facts that are written nowhere but with their owner, as code would write them. */
const OWNED: readonly { readonly fact: string; readonly owner: string; readonly written: RegExp }[] = [
  {
    fact: 'a day in ms',
    owner: 'base/time.ts',
    written: /(?<!ms: )\b(?:86_?400_?000|24 \* 60 \* 60 \* 1_?000|24 \* 3_?600_?000|864e5)\b/,
  },
  { fact: 'an hour in ms', owner: 'base/time.ts', written: /\b(?:3_?600_?000|60 \* 60 \* 1_?000|36e5)\b/ },
  { fact: 'chance in a wait', owner: 'base/backoff.ts', written: /\bMath\.random\b/ },
  // A domain of keys has that name too, and keeps it whatever the topic is called: stores have its keys.
  { fact: "the name of the ledger's topic", owner: 'flow/topic-names.ts', written: /(?<!id: )'minim\.ledger'/ },
]

t.test('a fact is written by its owner alone', (t) => {
  for (const { fact, owner, written } of OWNED) {
    const found = sources.filter(({ text }) => written.test(text)).map(({ file }) => file)
    t.same(found, [owner], fact)
  }
  t.end()
})

/** Limits and times that several files name alike and that are not one fact. */
const SEVERAL: Readonly<Record<string, string>> = {
  ANSWER_MS: 'of a SIP registrar, and of a proxy that an agent talks to',
  BACKOFF_MAX_MS: "each caller's own longest wait",
  BACKOFF_MIN_MS: "each caller's own shortest wait",
  BLOCK_BYTES: 'of the spool, of SHA-256, of an identifier',
  CONNECT_TIMEOUT_MS: 'of two readers that are told apart: of topics, and of the quarantine',
  DISCONNECT_TIMEOUT_MS: 'of the same two readers',
  DRAIN_MS: 'of the proxy, and of the agent',
  HANDSHAKE_MS: "of HEP and of SIP: each listener's own limit",
  HEADER_BYTES: 'of a HEP chunk, and of an identifier block',
  HEAD_BYTES: "of the quarantine's boxes, and of the spool's blocks: two formats on disk",
  INITIAL_BYTES: 'how large each buffer begins',
  KEPT_BYTES: 'of a record batch, and of the spool: what each keeps of memory',
  LAG_MS: 'how often each source looks how far behind it is',
  LINGER_MS: 'of a call that is over, and of a connection that is refused',
  MAX_BLOCKS:
    'report blocks in RTCP (RFC 3550 has five bits for their number), read by two sources out of two notations',
  MAX_BYTES: 'of a User-Agent, and of an SDP',
  MAX_CONTACTS: 'of a REGISTER, and of a PBX',
  MAX_DEPTH: 'of an error in the log, and of two JSON readers',
  MAX_PENDING: "each source's own bound of what is not on disk yet",
  MAX_PENDING_BYTES: 'the same, in octets',
  MAX_SPANS: "of the spool's names, and of a channel's conversations",
  NONCE_BYTES: 'of AES-GCM, in two formats',
  POLL_MS: 'of the same two readers as CONNECT_TIMEOUT_MS',
  REQUEST_TIMEOUT_MS: 'of the ops listener, of administration, and of deleting from the quarantine',
  RETRY_MAX_MS: 'of a disk, and of a coordinator that still ends a transaction',
  RETRY_MS: 'of a coordinator, and of a full spool',
  SCRATCH_BYTES: "of a file's chunk, and of a batch of messages",
  STEADY_MS: 'of a worker, and of a connection to a PBX',
  SWEEP_MS: 'how often each source looks for what is over',
  TAG_BYTES: 'of AES-GCM, in two formats',
  TICK_MS: 'of the demonstration, and of followed files',
}

/** Constants at the top of a file whose value is a number, by the names that limits and times have here. */
function limitsOf(file: string, text: string): string[] {
  const isNumber = (node: ts.Expression | undefined): boolean =>
    node !== undefined &&
    (ts.isNumericLiteral(node) ||
      (ts.isPrefixUnaryExpression(node) && isNumber(node.operand)) ||
      (ts.isBinaryExpression(node) && isNumber(node.left) && isNumber(node.right)))
  return ts
    .createSourceFile(file, text, ts.ScriptTarget.Latest)
    .statements.filter(ts.isVariableStatement)
    .flatMap(({ declarationList }) => [...declarationList.declarations])
    .filter(({ initializer }) => isNumber(initializer))
    .flatMap(({ name }) =>
      ts.isIdentifier(name) && /^(?:MAX|MIN)_|_(?:MS|SECONDS|BYTES)$/.test(name.text) ? [name.text] : [],
    )
}

t.test('a limit or a time has one owner, or a reason why it has several', (t) => {
  t.same(
    limitsOf('x.ts', 'const MAX_X = 2 ** 5\nexport const Y_MS = 5, Z_BYTES = -1\nconst A_MS = other\nconst B = 1'),
    ['MAX_X', 'Y_MS', 'Z_BYTES'],
    'what is looked for is found',
  )
  const owners = new Map<string, string[]>()
  for (const { file, text } of sources)
    for (const name of limitsOf(file, text)) owners.set(name, [...(owners.get(name) ?? []), file])
  const several = [...owners].filter(([, files]) => files.length > 1)
  for (const [name, files] of several)
    t.ok(
      name in SEVERAL,
      `${name} is defined in ${files.join(', ')}: one of them should import it, or a reason belongs into SEVERAL`,
    )
  t.same(
    Object.keys(SEVERAL).filter((name) => !several.some(([other]) => other === name)),
    [],
    'reasons whose names are in one file only leave the list',
  )
  t.end()
})
