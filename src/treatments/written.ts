/** How treatments are written in a policy: as their name, or as their name with parameters under it. */
import { type TSchema, Type } from '@sinclair/typebox'

const closed = { additionalProperties: false } as const

/** Schema of a treatment that is its name alone. */
export function bare(kind: string): TSchema {
  return Type.Literal(kind)
}

/** Schema of a treatment with what stands under its name. */
export function under(kind: string, parameters: TSchema): TSchema {
  return Type.Object({ [kind]: parameters }, closed)
}

/** Schema of parameters by name, all of which must be there. */
export function parameters(properties: Readonly<Record<string, TSchema>>): TSchema {
  return Type.Object({ ...properties }, closed)
}

/** A mapping of exactly these keys; null for anything else. */
export function only(value: unknown, keys: readonly string[]): Record<string, unknown> | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null
  const given = Object.keys(value)
  return given.length === keys.length && keys.every((k) => Object.hasOwn(value, k))
    ? (value as Record<string, unknown>)
    : null
}

/** A whole number between two. */
export function whole(value: unknown, from: number, to: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= from && (value as number) <= to
}
