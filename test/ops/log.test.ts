import t from 'tap'
import { MinimError } from '../../src/errors/catalogue.js'
import type { Logger } from '../../src/flow/log.js'
import { throwawayKeyring } from '../../src/keys/throwaway.js'
import { createLog, safeError } from '../../src/ops/log.js'
import { spawnSync } from '../helpers/child-process.js'

const CANARY = '+447700900123'

/** Lines that `act` logs, as text and parsed. */
function logged(
  act: (log: Logger) => void,
  level: 'trace' | 'info' | 'silent' = 'trace',
): { text: string; lines: Record<string, unknown>[] } {
  let text = ''
  act(
    createLog(level, {
      write: (line) => {
        text += line
      },
    }),
  )
  return {
    text,
    lines: text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>),
  }
}

t.test('a line says level, time and text, and no host', async (t) => {
  const {
    lines: [line],
  } = logged((log) => {
    log.info({ topic: 'pbx.billing.call', count: 3 }, 'committed')
  })
  t.match(line, { level: 'info', topic: 'pbx.billing.call', count: 3, msg: 'committed', pid: process.pid })
  t.match(line['time'], /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
  t.notOk('hostname' in line)
})

t.test('a line without text has none', async (t) => {
  t.notOk(
    'msg' in
      logged((log) => {
        log.info({ count: 3 })
      }).lines[0],
  )
})

t.test('the level holds', async (t) => {
  t.equal(
    logged((log) => {
      log.debug('a')
      log.info('b')
    }, 'info').lines.length,
    1,
  )
  t.equal(
    logged((log) => {
      log.fatal('a')
    }, 'silent').lines.length,
    0,
  )
})

t.test('an error of minim says code, stage, message and mend', async (t) => {
  const error = new MinimError('MINIM_KEYS_NO_STORE', { path: 'keys.json' }, { cause: new Error(CANARY) })
  for (const act of [
    (log: Logger) => {
      log.error(error)
    },
    (log: Logger) => {
      log.error({ err: error })
    },
  ]) {
    const {
      lines: [line],
      text,
    } = logged(act)
    t.equal(line['msg'], 'keys.json: there is no key store')
    t.match(line['err'], {
      name: 'MinimError',
      code: 'MINIM_KEYS_NO_STORE',
      stage: 'keys',
      message: 'keys.json: there is no key store',
      fix: error.fix,
      cause: { name: 'Error' },
    })
    t.same(Object.keys(line['err'] as object), ['name', 'code', 'stage', 'message', 'fix', 'cause'])
    t.notOk(text.includes(CANARY))
  }
  t.equal(
    logged((log) => {
      log.error(error, 'at start')
    }).lines[0]['msg'],
    'at start',
  )
})

const named = (name: string): Error => Object.assign(new Error(`m ${CANARY}`), { name })
const broken = (): Error => {
  const error = new Error('first')
  error.message = 'another'
  error.stack = `Error: first\n    at f (/x/${CANARY}:1:1)`
  return error
}

/** As code does that the compiler does not check. */
const loosely = (log: Logger, ...args: unknown[]): void => {
  ;(log as unknown as { error(...args: unknown[]): void }).error(...args)
}

const LEAKS: readonly { name: string; act: (log: Logger) => void }[] = [
  {
    name: 'a foreign error',
    act: (log) => {
      log.error(new Error(CANARY))
    },
  },
  {
    name: 'a foreign error with a text',
    act: (log) => {
      log.error(new Error(CANARY), 'text')
    },
  },
  {
    name: 'a foreign error as err',
    act: (log) => {
      log.error({ err: new Error(CANARY) })
    },
  },
  {
    name: 'a foreign error as anything',
    act: (log) => {
      log.error({ why: new Error(CANARY), deep: { list: [new TypeError(CANARY)] } }, 'text')
    },
  },
  {
    name: 'an error look-alike as err',
    act: (log) => {
      log.error({ err: { message: 5, text: 'm' } })
    },
  },
  {
    name: "a parser's error",
    act: (log) => {
      try {
        JSON.parse(`{"a":${CANARY}`)
      } catch (error) {
        log.error(error)
      }
    },
  },
  {
    name: 'an error with a cause',
    act: (log) => {
      log.error(new Error('m', { cause: new Error(CANARY, { cause: CANARY }) }))
    },
  },
  {
    name: 'an error whose cause is no error',
    act: (log) => {
      log.error(new Error('m', { cause: { number: CANARY } }))
    },
  },
  {
    name: 'an aggregate error',
    act: (log) => {
      log.error(new AggregateError([new Error(CANARY)], CANARY))
    },
  },
  {
    name: 'an error with properties',
    act: (log) => {
      log.error(Object.assign(new Error('m'), { payload: CANARY, buffer: Buffer.from(CANARY), code: CANARY }))
    },
  },
  {
    name: 'an error with a name of its own',
    act: (log) => {
      log.error(named(CANARY))
    },
  },
  {
    name: 'a message that looks like a stack',
    act: (log) => {
      log.error(new Error(`m\n    at f (/${CANARY}:1:1)\n    at /${CANARY}:2:2`))
    },
  },
  {
    name: 'a stack that was written over',
    act: (log) => {
      log.error(broken())
    },
  },
  {
    name: 'an error to fill in',
    act: (log) => {
      loosely(log, 'text %s %o', new Error(CANARY), { e: new Error(CANARY) })
    },
  },
  {
    name: 'an error after a text',
    act: (log) => {
      loosely(log, 'text', new Error(CANARY))
    },
  },
  {
    name: 'bytes',
    act: (log) => {
      log.info(
        {
          bytes: Buffer.from(CANARY),
          more: { view: new Uint8Array(Buffer.from(CANARY)), buffer: Uint8Array.from(Buffer.from(CANARY)).buffer },
        },
        'text',
      )
    },
  },
  {
    name: 'bytes to fill in',
    act: (log) => {
      loosely(log, 'text %s %j', Buffer.from(CANARY), { b: Buffer.from(CANARY) })
    },
  },
  {
    name: 'bytes of a child',
    act: (log) => {
      log
        .child({ bytes: Buffer.from(CANARY), err: new Error(CANARY) })
        .child({ more: Buffer.from(CANARY) })
        .info('text')
    },
  },
  {
    name: 'what lies deep',
    act: (log) => {
      log.info({ a: { b: { c: { d: { e: { f: CANARY } } } } } }, 'text')
    },
  },
]
// As it is, in hexadecimal, base64, and as a list of bytes.
const FORMS = [
  CANARY,
  CANARY.slice(1),
  Buffer.from(CANARY).toString('hex'),
  Buffer.from(CANARY).toString('base64').slice(0, 12),
  [...Buffer.from(CANARY.slice(3))].join(','),
]
for (const { name, act } of LEAKS) {
  t.test(`does not leak: ${name}`, async (t) => {
    const { text, lines } = logged(act)
    t.equal(lines.length, 1)
    for (const form of FORMS) t.notOk(text.includes(form), text)
  })
}

t.test('a foreign error keeps what helps: name, code and frames', async (t) => {
  const error = Object.assign(new RangeError('m'), { code: 'ERR_OUT_OF_RANGE' })
  const safe = safeError(error)
  t.match(safe, { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' })
  t.notOk('message' in safe)
  t.match(safe.frames?.[0], /log\.test\.[jt]s:\d+:\d+/)
  for (const code of ['ECONNREFUSED', 'E2BIG', 'ENOENT', -195, 13])
    t.equal(safeError(Object.assign(new Error('m'), { code })).code, code)
  t.equal(
    logged((log) => {
      log.error(error)
    }).lines[0]['msg'],
    'unexpected error',
  )
  t.same(safeError(CANARY), { name: 'NotAnError' })
})

t.test('endless chains end', async (t) => {
  const error = new Error('m')
  error.cause = error
  t.equal(
    logged((log) => {
      log.error(error)
    }).lines.length,
    1,
  )
  const loop: Record<string, unknown> = {}
  loop['loop'] = loop
  t.equal(
    logged((log) => {
      log.info(loop, 'text')
    }).lines.length,
    1,
  )
})

t.test('keys show as what they are', async (t) => {
  const keyring = throwawayKeyring()
  t.match(
    logged((log) => {
      log.info({ keyring, keys: keyring.keys('billing', '2024') }, 'text')
    }).lines[0],
    { keyring: '[keyring]', keys: '[keys of billing 2024]' },
  )
})

t.test('goes to stderr, at once', async (t) => {
  const url = new URL('../../src/ops/log.js', import.meta.url).href
  const run = spawnSync(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `import { createLog } from ${JSON.stringify(url)}; createLog('info').info('hello'); process.exit(0)`,
    ],
    { encoding: 'utf8' },
  )
  t.equal(run.stdout, '')
  t.match(run.stderr, /"msg":"hello"/)
})
