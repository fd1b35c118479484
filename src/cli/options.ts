/** What options of several commands have in common. A value that does not hold is told with the option's name, and ends with exit code 2. */
import { InvalidArgumentError, Option, type Command } from 'commander'

/** A whole number above 0. */
export function positiveInteger(text: string): number {
  const value = Number(text)
  if (!/^\d{1,15}$/.test(text) || value < 1) throw new InvalidArgumentError('write a whole number above 0')
  return value
}

/** Seconds: 0 or more, fractions allowed. */
export function seconds(text: string): number {
  const value = Number(text)
  if (!/^\d{1,9}(\.\d{1,3})?$/.test(text)) throw new InvalidArgumentError('write a number of seconds, 0 or more')
  return value
}

/** `--key-store`, and `--store` as it was called before. Both come out as `keyStore`. */
export function keyStoreOption(command: Command): Command {
  return command
    .option('--key-store <file>', 'the key store, instead of the settings\'')
    .addOption(new Option('--store <file>').hideHelp())
    .hook('preAction', (_, called) => {
      const { store } = called.opts<{ store?: string }>()
      if (store !== undefined && called.getOptionValue('keyStore') === undefined) called.setOptionValue('keyStore', store)
    })
}
