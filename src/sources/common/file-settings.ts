/** The settings of files that are read, one entry a file. */
import type { FileFormat } from '../../flow/file-formats.js'

export interface FileSettings {
  readonly path: string
  readonly format: FileFormat
  /** Null for formats that need none. */
  readonly mapping: string | null
  readonly timeZone: string
  readonly tenant: string
  /** Name in the ledger; null: the file's own identity. */
  readonly source: string | null
  /** Goes on with what is written to it, over rotation; else it is read once. */
  readonly follow: boolean
  /**
   * The PBX node whose call records it holds: what another source sees of the same node's calls is then not taken
   * twice.
   */
  readonly node: string | null
  readonly pollMs: number
  readonly settleMs: number
}
