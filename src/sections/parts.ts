/** What the sections of the settings' schema are made of. */
import { type TSchema, Type } from '@sinclair/typebox'

export const closed = { additionalProperties: false } as const
export const NAME = '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'
export const NAME_IN_WORDS = 'up to 63 letters, digits, dots, hyphens and underscores, starting with a letter or digit'

export function whole(fallback: number | null, minimum: number, maximum: number, description: string): TSchema {
  return Type.Integer({
    minimum,
    maximum,
    description: `${description}: a whole number from ${minimum} to ${maximum}`,
    ...(fallback === null ? {} : { default: fallback }),
  })
}

const hostPort = (port: string | number): string => `host:port, as 127.0.0.1:${port} or [::1]:${port}`
/** A name or an address, IPv6 in brackets, and a port. */
export const HOST_PORT_PATTERN = '^(?:\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9.-]+):[0-9]{1,5}$'

export function listen(fallback: string, description: string): TSchema {
  return Type.String({
    pattern: HOST_PORT_PATTERN,
    default: fallback,
    description: `${description}: ${hostPort(fallback.slice(fallback.lastIndexOf(':') + 1))}`,
  })
}

/** Where something may listen that is off by default. @param port for an example */
export function listenOrOff(what: string, port: number): TSchema {
  return Type.Union([Type.Null(), Type.String({ pattern: HOST_PORT_PATTERN })], {
    default: null,
    description: `${what}: ${hostPort(port)}; or null for not at all`,
  })
}

export function file(description: string): TSchema {
  return Type.String({ minLength: 1, maxLength: 4096, description })
}

/** All of them may be left out. */
export function optionalParts(parts: Record<string, TSchema>): Record<string, TSchema> {
  return Object.fromEntries(Object.entries(parts).map(([key, part]) => [key, Type.Optional(part)]))
}

/** All parts may be left out: the defaults stand in. */
export function section(parts: Record<string, TSchema>, description: string): TSchema {
  return Type.Optional(Type.Object(optionalParts(parts), { ...closed, description }))
}

/** `secretFile` and `secretEnv`, or `credentialsFile` and `credentialsEnv`. */
export function secretParts(
  name: 'secret' | 'credentials',
  what: string,
  otherwise = 'or null',
): Record<string, TSchema> {
  return {
    [`${name}File`]: Type.Union([Type.Null(), file('a file')], {
      default: null,
      description: `a file, readable by its owner only, with ${what}; ${otherwise}`,
    }),
    [`${name}Env`]: Type.Union([Type.Null(), Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]*$', maxLength: 128 })], {
      default: null,
      description: `name of an environment variable with ${what}; ${otherwise}`,
    }),
  }
}

/** Certificate files of a server, or none. */
export function tlsFiles(description: string): TSchema {
  return Type.Union(
    [
      Type.Null(),
      Type.Object(
        {
          cert: file('certificate, PEM'),
          key: file('its private key, PEM'),
          clientCa: Type.Optional(
            Type.Union([Type.Null(), file('authority that clients must have a certificate from, PEM')], {
              description: 'a PEM file',
            }),
          ),
        },
        closed,
      ),
    ],
    { default: null, description: `${description}: { cert: PATH, key: PATH, clientCa: PATH }, or null for no TLS` },
  )
}
