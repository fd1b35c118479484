/** Tenants: whose PBX a record is from, as the stages hand it on. */

export interface Tenant {
  readonly name: string
  /** 1 to 2^32-1; 0 means everywhere and is no tenant's. */
  readonly id: number
  /** ISO 3166-1 code: national numbers are read as this region's. */
  readonly region: string
  /** All-digit dial strings of at most so many digits are extensions or short codes. */
  readonly extensionDigits: number
  /** What its telephones dial for an outside line; none when left out. */
  readonly prefixes?: readonly string[]
  /** Hosts of SIP URIs whose users are the tenant's own: names, addresses, networks. Private networks always are. */
  readonly domains: readonly string[]
  /** Whether every IP address is the tenant's own; false when left out. */
  readonly anyAddress?: boolean
  /** Numbers that one calls for help, beside those that are known. */
  readonly helplines?: readonly string[]
}

/** In place of a tenant's number: the settings know it, and whoever sent the record may not use it. */
export const FOREIGN_TENANT = -2
