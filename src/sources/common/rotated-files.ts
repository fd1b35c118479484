/**
 * Rotated files of a path: found in its folder by their names, and told by their identity from those that are finished.
 *
 * Those that the ledger knows are finished, oldest first; one that it does not know, but that is younger than one it
 * knows and called as rotated files are, is read from its start.
 *
 * What gzip has packed is among them where the source is named: by its beginning it is the file that it was made of. A
 * file that is named by its place is another one once it is packed, and whether it was taken cannot be told: it is
 * counted, and not read.
 */
import { lstat, readdir } from 'node:fs/promises'
import path from 'node:path'
import { FileIdentity, IDENTITY_BYTES, type Places } from './file-identity.js'
import { type FollowedFile, GrowingFile } from './growing-file.js'
import { type PackedContents, PackedFile, type PackedLooks } from './packed-file.js'

/** Rotated files that are looked at: the youngest. */
export const MAX_CANDIDATES = 512

/** A rotated file that is not finished. */
export interface Rotated {
  readonly file: string
  /** Device and inode. */
  readonly place: string
  readonly size: number
  /** The place of the file that it is a copy of: its identity is of that. */
  readonly copyOf: string | null
  /** Of what it unpacks to, if it is packed. */
  readonly packed: PackedContents | null
}

/** What a look at a path's rotated files has found. */
export interface RotatedFiles {
  /** Oldest first. */
  readonly unfinished: Rotated[]
  /** Packed ones that may hold what nobody has taken, and that are not read. */
  readonly unread: number
}

interface Candidate {
  readonly file: string
  readonly name: string
  readonly place: string
  readonly size: number
  readonly mtimeNs: bigint
  readonly head: Buffer
  readonly packed: PackedContents | null
}

/** Files that nobody reads lines of as they are. */
const COMPRESSED = /\.(gz|bz2|xz|zst|lz4|lzma|Z|zip)$/
/** Those that are unpacked. */
const GZIP = /\.gz$/

/** Whether a rotated file is called as those are that gzip has packed. */
export function isPackedName(file: string): boolean {
  return GZIP.test(file)
}

/** How well a name in a folder fits a followed file's: -1 for not at all. */
function fit(entry: string, file: string): number {
  const base = path.basename(file)
  const { name: stem } = path.parse(base)
  return entry.startsWith(base) ? base.length + 1 : entry.startsWith(stem) ? stem.length : -1
}

/** A file that may be a rotated one of a path. */
export interface Listed {
  readonly file: string
  readonly name: string
  readonly mtimeNs: bigint
  readonly inode: bigint
}

/** Rotated within one tick of the file system's clock: the higher number is the older file. */
const byNumber = new Intl.Collator('en', { numeric: true })

/**
 * The files of a folder that may be rotated ones of a path: the youngest, oldest first.
 * @param packed whether it is those that are packed, or those that are not
 */
export async function listRotated(
  file: string,
  others: readonly string[],
  packed: 'packed' | 'plain' | 'both' = 'plain',
): Promise<Listed[]> {
  const folder = path.dirname(file)
  const base = path.basename(file)
  const rivals = others.filter((other) => path.dirname(other) === folder)
  const listed: Listed[] = []
  const names = await readdir(folder).catch(() => [])
  for (const entry of names) {
    const own = fit(entry, file)
    if (entry === base || own < 0) continue
    if (packed !== 'both' && COMPRESSED.test(entry) !== (packed === 'packed')) continue
    if (
      rivals.some(
        (other) =>
          path.basename(other) === entry || fit(entry, other) > own || (fit(entry, other) === own && other < file),
      )
    )
      continue
    const found = await lstat(path.join(folder, entry), { bigint: true }).catch(() => null)
    if (found?.isFile() === true && found.size > 0n)
      listed.push({ file: path.join(folder, entry), name: entry, mtimeNs: found.mtimeNs, inode: found.ino })
  }
  return listed
    .sort((a, b) => (a.mtimeNs < b.mtimeNs ? -1 : a.mtimeNs > b.mtimeNs ? 1 : byNumber.compare(b.name, a.name)))
    .slice(-MAX_CANDIDATES)
}

/**
 * Whether a folder's files are called as they were: they are renamed in turn, and one may be passed over while it bears
 * another's name.
 */
export function unchanged(before: readonly Listed[], now: readonly Listed[]): boolean {
  return (
    now.length === before.length &&
    now.every((entry, i) => entry.name === before[i].name && entry.inode === before[i].inode)
  )
}

/** How often a folder is looked at that changes while it is. */
export const MAX_LOOKS = 20

/** What lies in a path's folder: its rotated files, those of them that are packed and not to be read, and itself. */
async function lookAround(
  file: string,
  name: string | null,
  others: readonly string[],
  packedLooks: PackedLooks | null,
): Promise<{
  readonly candidates: readonly Candidate[]
  readonly passedOver: readonly Listed[]
  readonly current: Awaited<ReturnType<typeof look>>
}> {
  const candidates: Candidate[] = []
  /** Packed, and not to be read. */
  const passedOver: Listed[] = []
  let current: Awaited<ReturnType<typeof look>> = null
  const which = packedLooks === null ? 'plain' : 'both'
  let listed = await listRotated(file, others, which)
  for (let looks = 0; looks < MAX_LOOKS; looks++) {
    candidates.length = 0
    passedOver.length = 0
    for (const entry of listed) {
      if (packedLooks === null || !COMPRESSED.test(entry.name)) {
        const looked = await look(entry.file)
        if (looked !== null) candidates.push({ ...entry, ...looked, packed: null })
        continue
      }
      const packed = name !== null && isPackedName(entry.name) ? await packedLooks.look(entry.file) : null
      if (packed === null) passedOver.push(entry)
      else candidates.push({ ...entry, ...packed, packed })
    }
    current = await look(file)
    // One that was passed over would never be read.
    const again = await listRotated(file, others, which)
    if (unchanged(listed, again) && candidates.length + passedOver.length === listed.length) break
    listed = again
  }
  return { candidates, passedOver, current }
}

/**
 * Finds the rotated files of a path that are not finished, oldest first.
 * @param name of the source; null: files are named by their place
 * @param others other files that are followed: what fits their names better is theirs
 * @param packedLooks looks at packed files; null: they are neither read nor counted
 */
export async function rotatedFiles(
  file: string,
  name: string | null,
  places: Places,
  others: readonly string[] = [],
  packedLooks: PackedLooks | null = null,
): Promise<RotatedFiles> {
  const base = path.basename(file)
  const { name: stem, ext } = path.parse(base)
  const { candidates, passedOver, current } = await lookAround(file, name, others, packedLooks)
  const rotatedName = new RegExp(
    `^(?:${literally(base)}|${literally(stem)})[._-]\\d[\\d._-]*(?:${literally(ext)})?(?:${COMPRESSED.source.slice(0, -1)})?$`,
  )

  /** What the ledger knows of contents under a place: how far they were taken. */
  const takenUnder = (place: string, head: Buffer): number =>
    new FileIdentity(name, name === null ? place : '', head).taken(places)
  const beginsLike = (other: { readonly head: Buffer }, head: Buffer, taken: number): boolean => {
    const length = Math.min(IDENTITY_BYTES, taken)
    return other.head.length >= length && other.head.subarray(0, length).equals(head.subarray(0, length))
  }
  const rotated = ({ file, place, size, packed }: Candidate, copyOf: string | null): Rotated => ({
    file,
    place,
    size,
    copyOf,
    packed,
  })
  // Only what the ledger knows something of can have been copied.
  const originals = [current, ...candidates].filter(
    (o): o is Candidate =>
      o !== null &&
      (name !== null || places.streamsOf(new FileIdentity(null, o.place, Buffer.alloc(0)).source).length > 0),
  )
  const unfinished: Rotated[] = []
  let youngestKnown = -1
  const unknown: { index: number; rotated: Rotated }[] = []
  candidates.forEach((candidate, index) => {
    const own = takenUnder(candidate.place, candidate.head)
    if (own > 0 && (name === null || current === null || !beginsLike(current, candidate.head, own))) {
      youngestKnown = index
      if (own < candidate.size) unfinished.push(rotated(candidate, null))
      return
    }
    // A copy: of a file that was emptied since (copytruncate), or of one that still has it all and is read itself.
    for (const original of originals) {
      if (original === candidate) continue
      const taken = takenUnder(original.place, candidate.head)
      if (taken === 0) continue
      if (!beginsLike(original, candidate.head, taken)) {
        youngestKnown = index
        if (taken < candidate.size) unfinished.push(rotated(candidate, original.place))
      }
      return
    }
    if (current !== null && beginsLike(current, candidate.head, candidate.size)) return
    if (rotatedName.test(candidate.name)) unknown.push({ index, rotated: rotated(candidate, null) })
  })
  // Written and rotated while nobody looked: after the youngest that is known, before the file as it is.
  if (youngestKnown >= 0)
    unfinished.push(...unknown.filter(({ index }) => index > youngestKnown).map(({ rotated }) => rotated))
  // What was begun before the file as it is was finished before that one was taken of.
  const begun = current !== null && takenUnder(current.place, current.head) > 0
  const since = youngestKnown < 0 ? -1n : candidates[youngestKnown].mtimeNs
  const unread = begun ? 0 : passedOver.filter((entry) => rotatedName.test(entry.name) && entry.mtimeNs > since).length
  return { unfinished, unread }
}

/** Opens a rotated file that was found. @returns null: it is not there any more */
export function openRotated(
  { file, copyOf, packed }: Rotated,
  label: string,
  name: string | null,
): Promise<FollowedFile | null> {
  return packed !== null && name !== null
    ? PackedFile.open(file, label, name, packed)
    : GrowingFile.open(file, label, name, copyOf)
}

async function look(
  file: string,
): Promise<{ readonly place: string; readonly size: number; readonly head: Buffer } | null> {
  const opened = await GrowingFile.open(file, 'rotated file', null).catch(() => null)
  if (opened === null) return null
  try {
    return { place: opened.place, size: (await opened.stat()).size, head: opened.identity.head }
  } finally {
    await opened.close()
  }
}

function literally(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}
