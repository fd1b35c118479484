/** What a section of the settings is: its schema, its defaults and its checks. `src/settings` puts them together. */
import type { TSchema } from '@sinclair/typebox'
import type { Problem } from '../errors/catalogue.js'

/** What a section may know of the settings around it. */
export interface SettingsAround {
  readonly cluster: string
  /** Kafka runs inside the process. */
  readonly embedded: boolean
  readonly kafka: Readonly<Record<string, string | number | boolean>>
  /** By name. */
  readonly tenants: Readonly<Record<string, unknown>>
  /** As written; `formats/mapping.ts` checks them. */
  readonly mappings: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly limits: { readonly maxRecordBytes: number; readonly futureMs: number }
}

/** One section of the settings. */
export interface SourceSection<Value, Key extends string = string> {
  readonly key: Key
  readonly schema: TSchema
  /** Of a section that is left out. */
  readonly defaults: Value
  /** Where the section is a list: what an entry has that does not say otherwise. */
  readonly entry?: Readonly<Record<string, unknown>>
  /** Settings that are paths, by their way in the section (of each entry, for a list): `tls.cert`. */
  readonly paths?: readonly string[]
  /** Addresses that are listened on, by their way in the section: no two of the settings may be the same. */
  readonly listens?: readonly string[]
  /** false: its records never go to the spool. */
  readonly spools?: boolean
  /** Settings by their way in the section that switch it on as well, where they are not null: `drachtio`. */
  readonly connects?: readonly string[]
  /** What the schema cannot say. Problems' paths are whole: `ami.0.host`. */
  readonly check?: (value: Value, around: SettingsAround) => readonly Problem[]
  /** What is wrong with the files and variables that the source itself reads: asked only by who is to start it. */
  readonly checkFiles?: (value: Value, around: SettingsAround) => readonly Problem[]
}
