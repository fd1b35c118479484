/**
 * Logs: JSON lines on stderr, which never hold payload.
 *
 * minim's own errors are written with code, stage, message and mend: their messages are made of settings and counts
 * (`errors/catalogue.ts`). Every other error may carry anything in its message (a parser quotes what it could not read,
 * a client the bytes it sent), so of those only name, code and stack frames are written. Bytes are written as their
 * number, whatever they are called.
 */
import { inspect } from 'node:util'
import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino'
import { MinimError } from '../errors/catalogue.js'
import type { LogLevel } from '../flow/log.js'

/** An error as it may be written. */
export interface SafeError {
  readonly name: string
  readonly code?: string | number
  readonly stage?: string
  readonly message?: string
  readonly fix?: string
  readonly frames?: readonly string[]
  readonly cause?: SafeError
}

const MAX_DEPTH = 5
const MAX_FRAMES = 20
const MAX_CAUSES = 4

/** @param destination stderr unless given (tests) */
export function createLog(
  level: LogLevel,
  destination: DestinationStream = pino.destination({ dest: 2, sync: true }),
): Logger {
  const log = pino(
    {
      level,
      // No host name: it is the collector's to add.
      base: { pid: process.pid },
      timestamp: stdTimeFunctions.isoTime,
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => safeValue(fields, 0) as Record<string, unknown>,
      },
      // The formatter has made it safe; pino's own would bring the message back.
      serializers: { err: (error: unknown) => error },
      hooks: {
        logMethod(args, method) {
          method.apply(this, safeArguments(args) as Parameters<typeof method>)
        },
      },
    },
    destination,
  )
  // Children write what they are bound to past the formatter above.
  // eslint-disable-next-line @typescript-eslint/unbound-method -- the proxy hands `this` on
  log.child = new Proxy(log.child, {
    apply: (child, self, [bindings, ...rest]: unknown[]) =>
      Reflect.apply(child, self, [safeValue(bindings, 0), ...rest] as Parameters<typeof child>),
  })
  return log
}

/** What may be written of an error: everything of minim's own, of others nothing that they were given. */
export function safeError(error: unknown, causes: number = MAX_CAUSES): SafeError {
  if (error instanceof MinimError) {
    const { code, stage, message, fix } = error
    return { name: 'MinimError', code, stage, message, fix, ...causeOf(error, causes) }
  }
  if (!(error instanceof Error)) return { name: 'NotAnError' }
  const code = (error as { code?: unknown }).code
  return {
    name: NAME.test(error.name) ? error.name : 'Error',
    ...(typeof code === 'number' || (typeof code === 'string' && CODE.test(code)) ? { code } : {}),
    frames: frames(error),
    ...causeOf(error, causes),
  }
}

function causeOf(error: Error, causes: number): { readonly cause?: SafeError } {
  return error.cause instanceof Error && causes > 0 ? { cause: safeError(error.cause, causes - 1) } : {}
}

/** Letters only: no name and no code can be a number of somebody's, or an address. */
const NAME = /^[A-Za-z]{1,64}$/
const CODE = /^[A-Z]+(?:_[A-Z]+)*$|^E[A-Z0-9]{2,20}$/
const FRAME = /^ {4}at (?:[\w$.<>#[\] ]+ \()?(?:file:\/\/|node:|\/)[^\s()]+:\d+:\d+\)?$/

/** Stack frames without the message that stands before them, and which could hold lines that look like frames. */
function frames(error: Error): string[] {
  const stack = typeof error.stack === 'string' ? error.stack : ''
  const at = stack.indexOf(error.message)
  // The message was changed since the stack was taken: where it ends cannot be known.
  if (at < 0 || stack.slice(0, at).includes('\n')) return []
  return stack
    .slice(at + error.message.length)
    .split('\n')
    .filter((line) => FRAME.test(line))
    .slice(0, MAX_FRAMES)
    .map((line) => line.trim().slice(3))
}

/**
 * pino takes an error's message as the line's text, when it is given none: so it is always given one. And it fills `%s`
 * with whatever comes: errors and bytes among it are made safe as well.
 */
function safeArguments(args: readonly unknown[]): readonly unknown[] {
  const [first, second] = args
  if (first instanceof Error) return [{ err: first }, second ?? textOf(first), ...args.slice(2).map(safeInterpolation)]
  if (typeof first === 'object' && first !== null) {
    const error = (first as { err?: unknown }).err
    if (second === undefined && error !== undefined) return [first, textOf(error)]
    return [first, ...args.slice(1).map(safeInterpolation)]
  }
  return [first, ...args.slice(1).map(safeInterpolation)]
}

function textOf(error: unknown): string {
  return error instanceof MinimError ? error.message : 'unexpected error'
}

function safeInterpolation(value: unknown): unknown {
  return typeof value === 'object' ? safeValue(value, 0) : value
}

function safeValue(value: unknown, depth: number): unknown {
  if (value instanceof Error) return safeError(value)
  if (typeof value === 'object') return value === null ? null : safeObject(value, depth)
  if (typeof value === 'bigint') return String(value)
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : undefined
}

function safeObject(value: object, depth: number): unknown {
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`
  if (depth >= MAX_DEPTH) return '[deeper]'
  if (Array.isArray(value)) return value.map((item) => safeValue(item, depth + 1))
  if (value instanceof Date) return value.toJSON()
  // What says how it wants to be shown (keys, key stores) is shown so.
  if (inspect.custom in value && 'toJSON' in value && typeof value.toJSON === 'function')
    return safeValue((value as { toJSON(): unknown }).toJSON(), depth + 1)
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, safeValue(item, depth + 1)]))
}
