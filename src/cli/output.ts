/** Where a command writes: what the program was configured with, so that tests can listen. */
import process from 'node:process'
import type { Command } from 'commander'

/** Prints to standard output, with a line's end. */
export function printer(program: Command): (text: string) => void {
  const output = program.configureOutput()
  return (text) => {
    if (output.writeOut === undefined) process.stdout.write(`${text}\n`)
    else output.writeOut(`${text}\n`)
  }
}
