/** Tenants and their numbers: their parts of the settings. */
import { type TSchema, Type } from '@sinclair/typebox'
import { closed, NAME, NAME_IN_WORDS, section, whole } from '../sections/parts.js'
import { DEFAULTS } from './defaults.js'

/** A host name in small letters, an address, or a network. */
const HOST = '^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|[0-9.]{7,15}/[0-9]{1,2}|[0-9a-f:.]{2,45}(/[0-9]{1,3})?)$'

export function tenantsPart(): TSchema {
  const D = DEFAULTS
  return Type.Optional(
    Type.Record(Type.String({ pattern: NAME }), tenantPart(), {
      ...closed,
      minProperties: 1,
      default: D.tenants,
      description: `tenants by name; a name is ${NAME_IN_WORDS}`,
    }),
  )
}

function tenantPart(): TSchema {
  const D = DEFAULTS.tenant
  return Type.Object(
    {
      id: whole(
        null,
        1,
        4_294_967_295,
        'number of this tenant, its own for ever: it is part of every token of an extension or account',
      ),
      region: Type.Optional(
        Type.String({
          pattern: '^[A-Z]{2}$',
          default: D.region,
          description:
            'country that numbers without a country code belong to: two capital letters of ISO 3166, as GB (or UK)',
        }),
      ),
      extensionDigits: Type.Optional(
        whole(D.extensionDigits, 0, 10, 'a number of so many digits or fewer is an extension of this tenant'),
      ),
      domains: Type.Optional(
        Type.Array(
          Type.String({ pattern: HOST, description: 'a host name in small letters, an address, or a network' }),
          {
            uniqueItems: true,
            default: D.domains,
            description:
              "hosts of SIP addresses that are this tenant's own: a list of names in small letters, addresses and networks",
          },
        ),
      ),
      anyAddress: Type.Optional(
        Type.Boolean({
          default: D.anyAddress,
          description:
            "true: every IP address in a SIP address is this tenant's own; false: private networks, and what the settings name",
        }),
      ),
    },
    { ...closed, description: 'a tenant: id, region, extensionDigits, domains and anyAddress' },
  )
}

export function numbersPart(): TSchema {
  const D = DEFAULTS.numbers
  return section(
    {
      prefixes: Type.Optional(
        Type.Array(Type.String({ pattern: '^[0-9*#]{1,6}$', description: 'what is dialled for an outside line: 9' }), {
          uniqueItems: true,
          maxItems: 16,
          default: D.prefixes,
          description: 'what telephones dial before a number for an outside line: a list such as [9]',
        }),
      ),
      helplines: Type.Optional(
        Type.Array(
          Type.String({ pattern: '^\\+?[0-9][0-9 ()-]{1,24}$', description: 'a number: +44 800 1111, or a short one' }),
          {
            uniqueItems: true,
            maxItems: 10_000,
            default: D.helplines,
            description: 'numbers that one calls for help, beside the emergency numbers and helplines that are known',
          },
        ),
      ),
    },
    'how numbers are dialled, and which are sensitive',
  )
}
