/**
 * Reads a policy file that somebody may be writing just now. What was read is told apart from what was meant by reading
 * it twice: a file that differs a moment later is not there yet. A pipe or a device is no file here, since the process
 * that reads it has records to see to.
 */
import { constants, type FileHandle, open } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { MinimError } from '../errors/catalogue.js'
import { ProblemsError } from '../errors/problems.js'
import { MAX_POLICY_BYTES, TOO_LARGE } from '../policy/load.js'

/** A file that is the same for so long has been written. */
const SETTLED_MS = 100
/** A file that changes for longer is given up. */
const PATIENCE_MS = 3_000

/**
 * The file's bytes, once they are settled. Its path is resolved anew each time, so a symbolic link that was turned over
 * is followed.
 * @throws ProblemsError `MINIM_POLICY_INVALID` when it cannot be read, MinimError when it goes on changing
 */
export async function readSettled(path: string): Promise<Buffer> {
  const deadline = performance.now() + PATIENCE_MS
  let before = await readOnce(path)
  for (;;) {
    await sleep(SETTLED_MS)
    const now = await readOnce(path)
    if (now.stamp === before.stamp && now.bytes.equals(before.bytes)) return now.bytes
    if (performance.now() > deadline) throw new MinimError('MINIM_POLICY_UNSETTLED', { path })
    before = now
  }
}

interface Read {
  readonly bytes: Buffer
  /** Which file it is, and when it was written last: one that is emptied each time reads alike. */
  readonly stamp: string
}

async function readOnce(path: string): Promise<Read> {
  let file: FileHandle | null = null
  try {
    // Opening a pipe that nobody writes to would wait for ever.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const stat = await file.stat({ bigint: true })
    if (!stat.isFile()) throw invalid(path, 'is no plain file', 'name one that is')
    if (stat.size > MAX_POLICY_BYTES) throw new ProblemsError('MINIM_POLICY_INVALID', path, [TOO_LARGE])
    // It may have grown meanwhile: so much, and no more.
    const bytes = Buffer.alloc(MAX_POLICY_BYTES + 1)
    let length = 0
    for (;;) {
      const { bytesRead } = await file.read(bytes, length, bytes.length - length, length)
      length += bytesRead
      if (bytesRead === 0 || length === bytes.length)
        return { bytes: bytes.subarray(0, length), stamp: `${stat.ino} ${stat.mtimeNs}` }
    }
  } catch (error) {
    if (error instanceof MinimError) throw error
    const code = (error as NodeJS.ErrnoException).code ?? 'error'
    throw invalid(path, `cannot be read (${code})`, 'put it back, readable to the user that minim runs as')
  } finally {
    await file?.close()
  }
}

function invalid(path: string, what: string, mend: string): ProblemsError {
  return new ProblemsError('MINIM_POLICY_INVALID', path, [{ path: '', what, mend }])
}
