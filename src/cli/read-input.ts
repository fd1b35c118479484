/** A whole file, or standard input, for commands that look at it and do nothing else. */
import { readFileSync } from 'node:fs'
import { MinimError } from '../errors/catalogue.js'

const STANDARD_INPUT = 0

/** What a terminal takes for a command, or does not show: controls, and marks that turn the direction of writing. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

/** A file's name as it is repeated to whoever typed it: what his terminal would obey is written out. */
export function repeated(path: string): string {
  return path.replace(UNSEEN, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`)
}

/**
 * @param path `-`: standard input
 * @throws MinimError MINIM_FILE_UNREADABLE, which names the path: who typed it reads it
 */
export function readInput(path: string): Buffer {
  try {
    return readFileSync(path === '-' ? STANDARD_INPUT : path)
  } catch (error) {
    throw new MinimError('MINIM_FILE_UNREADABLE', {
      label: path === '-' ? 'standard input' : repeated(path),
      code: (error as NodeJS.ErrnoException).code ?? 'error',
    })
  }
}
