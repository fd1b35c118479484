/**
 * What options of several commands have in common. A value that does not hold is told with the option's name, and ends
 * with exit code 2.
 */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { ProblemsError } from '../errors/problems.js'
import { DEFAULT_POLICY_PATH } from '../policy/load.js'
import { loadSettings, type SettingsInput } from '../settings/load.js'
import type { Settings } from '../settings/schema.js'

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
    .option('--key-store <file>', "the key store, instead of the settings'")
    .addOption(new Option('--store <file>').hideHelp())
    .hook('preAction', (_, called) => {
      const { store } = called.opts<{ store?: string }>()
      if (store !== undefined && called.getOptionValue('keyStore') === undefined)
        called.setOptionValue('keyStore', store)
    })
}

/** What `--brokers` lays over the settings: it names a Kafka that is there, so none is embedded, whatever they say. */
export function brokersOver(given: string | undefined): SettingsInput {
  return given === undefined ? {} : { embedded: false, kafka: { 'bootstrap.servers': given } }
}

/**
 * The brokers of a command that looks at what a running minim writes, by settings over which {@link brokersOver} was
 * laid.
 * @throws ProblemsError MINIM_COMMAND_LINE where only the running minim knows them
 */
export function brokersOf(command: string, settings: Settings): string {
  if (settings.embedded) {
    throw new ProblemsError('MINIM_COMMAND_LINE', command, [
      {
        path: '--brokers',
        what: 'is missing: the settings say embedded: true, and that Kafka has another address with each start',
        mend: 'give the address that the running minim logged: "kafka" in its line "ready"',
      },
    ])
  }
  return String(settings.kafka['bootstrap.servers'])
}

/** Options of commands that look at a policy and at nothing else. */
export interface PolicyOptions {
  readonly policy?: string
  readonly config?: string
}

export function policyOptions(command: Command): Command {
  return command
    .option('--policy <file>', 'the policy; without it the one that the settings name, else the one that minim ships')
    .option('--config <file>', 'settings')
}

/** @throws ProblemsError MINIM_SETTINGS_INVALID */
export function policyPath({ policy, config }: PolicyOptions): string {
  return policy ?? (config === undefined ? DEFAULT_POLICY_PATH : loadSettings(config).policy)
}
