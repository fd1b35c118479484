/** Asks before what cannot be undone. */
import { createInterface } from 'node:readline/promises'
import type { Readable, Writable } from 'node:stream'

/** Whether somebody has answered y or yes; the end of the input is a no. */
export async function isConfirmed(question: string, input: Readable, output: Writable): Promise<boolean> {
  const lines = createInterface({ input, output })
  const ended = new Promise<string>((resolve) => {
    lines.once('close', () => {
      resolve('')
    })
  })
  const answer = await Promise.race([lines.question(`${question} [y/N] `), ended])
  lines.close()
  return /^y(es)?$/i.test(answer.trim())
}
