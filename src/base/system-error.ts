/** What the operating system says of an error, without what it may quote. */

/** `ENOENT` and the like: the part of a system error that holds nothing but its kind. */
export function errorCode(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : 'unknown error'
}
