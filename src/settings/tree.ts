/** Settings as they are written: a tree of values, before anything is known of them. */

export type Tree = Record<string, unknown>

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** What is at a path of a tree; undefined where nothing is. */
export function at(part: unknown, way: readonly string[]): unknown {
  return way.reduce<unknown>((value, key) => (isTree(value) ? value[key] : undefined), part)
}
