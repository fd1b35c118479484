/** A whole file, or standard input, for commands that look at it and do nothing else. */
import { readFileSync } from 'node:fs'
import { MinimError } from '../errors/catalogue.js'

const STANDARD_INPUT = 0

/**
 * @param path `-`: standard input
 * @throws MinimError MINIM_FILE_UNREADABLE, which names the path: who typed it reads it
 */
export function readInput(path: string): Buffer {
  try {
    return readFileSync(path === '-' ? STANDARD_INPUT : path)
  } catch (error) {
    throw new MinimError('MINIM_FILE_UNREADABLE', {
      label: path === '-' ? 'standard input' : path,
      code: (error as NodeJS.ErrnoException).code ?? 'error',
    })
  }
}
