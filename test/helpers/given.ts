/** A value that a test knows to be there. */

/**
 * The value itself. A test that goes on with nothing would fail somewhere else, or not at all.
 * @throws Error when it is not there
 */
export function given<T>(value: T | null | undefined): T {
  if (value === null || value === undefined) throw new Error('what the test goes on with is not there')
  return value
}
