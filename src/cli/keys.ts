/** `minim keys init|status|destroy`: the key store, from the outside. Never prints key material. */
import { closeSync, existsSync, fsyncSync, openSync, writeSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { errorCode } from '../base/system-error.js'
import { MinimError } from '../errors/catalogue.js'
import { useOneOf } from '../errors/problems.js'
import { epochEnd, epochId, parseEpochId } from '../keys/epochs.js'
import { LEDGER_DOMAIN, QUARANTINE_DOMAIN, SPOOL_DOMAIN } from '../keys/keyring.js'
import { loadMaster, MASTER_VARIABLE, type MasterSettings, newMasterText } from '../keys/master.js'
import { type KeyStatus, KeyStore } from '../keys/store.js'
import { keyStoreOption } from './options.js'

interface PlaceOptions {
  readonly config?: string
  readonly keyStore?: string
}

interface Place {
  readonly store: string
  readonly master: MasterSettings | null
  /** The spool's folder. */
  readonly spool: string
}

/** What `minim keys status --json` prints. */
export interface StatusReport {
  readonly store: string
  /** `right`, or the code of what is wrong with the master key that is set. */
  readonly master: string
  readonly purposes: readonly PurposeStatus[]
}

export interface PurposeStatus {
  readonly purpose: string
  readonly epochs: readonly Omit<KeyStatus, 'purpose'>[]
  /** The epoch after the current one, and whether its key is there; null where there is none after it. */
  readonly next: { readonly epoch: string; readonly made: boolean } | null
}

export function register(program: Command): void {
  const print = (text: string): void => {
    ;(program.configureOutput().writeOut ?? ((t) => process.stdout.write(t)))(`${text}\n`)
  }
  const keys = program.command('keys').description('the keys that tokens are made with')

  withPlace(keys.command('init'))
    .description('make an empty key store')
    .option(
      '--generate-master <file>',
      'write a new master key to a file that only you can read, and make the store with it',
    )
    .action(async (options: PlaceOptions & { readonly generateMaster?: string }) => {
      const place = await locate(options)
      // Before a master key is made: one without a store would only lie about.
      if (existsSync(place.store)) throw new MinimError('MINIM_KEYS_STORE_EXISTS', { path: place.store })
      const generated = options.generateMaster === undefined ? null : resolve(options.generateMaster)
      if (generated !== null) generateMaster(generated, place.master)
      const master = loadMaster(generated === null ? place.master : { file: generated })
      KeyStore.create(place.store, master)
      print(`key store made: ${place.store}\nmaster key: ${master.source}`)
      if (generated !== null)
        print(`set it in the settings:\n  keys:\n    master: { file: ${JSON.stringify(generated)} }`)
      print('Keep a copy of the master key where the store is not. Without it, no token can be made or reversed again.')
    })

  withPlace(keys.command('status'))
    .description('which epochs have keys, and which were destroyed')
    .option('--json', 'one JSON object')
    .action(async (options: PlaceOptions & { readonly json?: true }) => {
      const place = await locate(options)
      const report = statusReport(place, Date.now())
      const wrong = masterError(place)
      print(options.json === true ? JSON.stringify(report) : statusTable(report, wrong))
      // What a store holds can be told without a master key. With a wrong one, the next start would fail.
      if (wrong !== null && wrong.code !== 'MINIM_KEYS_NO_MASTER') throw wrong
    })

  withPlace(keys.command('destroy <purpose> <epoch>'))
    .description(
      'end an epoch: nobody can reverse or repeat its tokens any more, and records that belong to it go to quarantine',
    )
    .requiredOption('--yes', 'it cannot be undone')
    .option('--running', 'even if the epoch is not over: its records go to quarantine then, from all purposes')
    .action(async (purpose: string, epoch: string, options: PlaceOptions & { readonly running?: true }) => {
      const place = await locate(options)
      const store = KeyStore.open(place.store, loadMaster(place.master))
      checkDestroyable(store, purpose, epoch, options.running === true, Date.now())
      if (purpose === SPOOL_DOMAIN.id) await checkSpool(place.spool, epoch)
      const done = store.destroy(purpose, epoch)
      print(
        done
          ? `destroyed: ${purpose} ${epoch}. Backups of the store still hold its key: destroy those as well.`
          : `was destroyed before: ${purpose} ${epoch}`,
      )
    })
}

function withPlace(command: Command): Command {
  return keyStoreOption(command.option('--config <file>', 'settings'))
}

/** A typing error must not look like a destroyed key; nor may a key be destroyed by accident that is in use. */
function checkDestroyable(store: KeyStore, purpose: string, epoch: string, running: boolean, nowMs: number): void {
  const parsed = parseEpochId(epoch)
  if (parsed === null) throw new MinimError('MINIM_KEYS_NO_EPOCH', { epoch })
  const known = store.status()
  if (!known.some((key) => key.purpose === purpose && key.epoch === epoch)) {
    const purposes = [...new Set(known.map((key) => key.purpose))]
    const hint = purposes.includes(purpose) || purposes.length === 0 ? '' : `; ${useOneOf(purpose, purposes)}`
    throw new MinimError('MINIM_KEYS_UNKNOWN', { purpose, epoch, hint })
  }
  // Those of quarantine, spool and ledger are refused by the store itself, whatever is said.
  if (purpose === LEDGER_DOMAIN.id || purpose === QUARANTINE_DOMAIN.id || purpose === SPOOL_DOMAIN.id || running) return
  const destroyed = known.some((key) => key.purpose === purpose && key.epoch === epoch && key.destroyedAt !== null)
  if (!destroyed && epochEnd(parsed.length, parsed.startMs) > nowMs)
    throw new MinimError('MINIM_KEYS_RUNNING', { purpose, epoch })
}

/** What is in the spool was acknowledged, and nobody sends it again: it has to be in Kafka before its key goes. */
async function checkSpool(path: string, epoch: string): Promise<void> {
  const { blocksOfDay } = await import('../spool/lmdb-store.js')
  const count = await blocksOfDay(path, epoch)
  if (count > 0) throw new MinimError('MINIM_SPOOL_KEY_NEEDED', { path, epoch, count })
}

async function locate(options: PlaceOptions): Promise<Place> {
  const { loadSettings } = await import('../settings/load.js')
  const { keys, spool } = loadSettings(
    options.config ?? null,
    options.keyStore === undefined ? {} : { keys: { store: options.keyStore } },
  )
  return { ...keys, spool: spool.path }
}

/** Refuses where another master key is set: the store would be made with one and opened with the other. */
function generateMaster(path: string, settings: MasterSettings | null): void {
  const other =
    (process.env[MASTER_VARIABLE] ?? '') !== ''
      ? MASTER_VARIABLE
      : settings !== null && !('file' in settings && resolve(settings.file) === path)
        ? 'keys.master'
        : null
  if (other !== null) throw new MinimError('MINIM_KEYS_MASTER_SET', { source: other })
  let fd: number
  try {
    fd = openSync(path, 'wx', 0o600)
  } catch (error) {
    if (errorCode(error) === 'EEXIST') throw new MinimError('MINIM_KEYS_STORE_EXISTS', { path })
    throw new MinimError('MINIM_KEYS_STORE_IO', { path, what: errorCode(error) })
  }
  try {
    writeSync(fd, newMasterText())
    fsyncSync(fd)
  } catch (error) {
    throw new MinimError('MINIM_KEYS_STORE_IO', { path, what: errorCode(error) })
  } finally {
    closeSync(fd)
  }
}

/** What a store holds, purpose by purpose. */
export function statusReport(place: Place, nowMs: number): StatusReport {
  const status = KeyStore.status(place.store)
  const byPurpose = new Map<string, KeyStatus[]>()
  for (const entry of status) byPurpose.set(entry.purpose, [...(byPurpose.get(entry.purpose) ?? []), entry])
  return {
    store: place.store,
    master: masterState(place),
    purposes: [...byPurpose].map(([purpose, entries]) => ({
      purpose,
      epochs: entries.map(({ epoch, createdAt, destroyedAt }) => ({ epoch, createdAt, destroyedAt })),
      next: nextEpoch(entries, nowMs),
    })),
  }
}

function masterState(place: Place): string {
  return masterError(place)?.code ?? 'right'
}

function masterError(place: Place): MinimError | null {
  try {
    KeyStore.open(place.store, loadMaster(place.master))
    return null
  } catch (error) {
    if (error instanceof MinimError) return error
    throw error
  }
}

/** By the length of the key made last: a policy may have changed it. */
function nextEpoch(entries: readonly KeyStatus[], nowMs: number): PurposeStatus['next'] {
  let last: KeyStatus | undefined
  for (const entry of entries)
    if (entry.createdAt !== null && (last === undefined || entry.createdAt >= (last.createdAt ?? ''))) last = entry
  const length = parseEpochId(last?.epoch ?? '')?.length
  if (length === undefined || length === 'contract') return null
  const epoch = epochId(length, epochEnd(length, nowMs))
  return { epoch, made: entries.some((entry) => entry.epoch === epoch && entry.destroyedAt === null) }
}

function statusTable(report: StatusReport, wrong: MinimError | null): string {
  const rows = [['purpose', 'epoch', 'created', 'destroyed']]
  for (const { purpose, epochs, next } of report.purposes) {
    for (const { epoch, createdAt, destroyedAt } of epochs) {
      rows.push([
        purpose,
        next?.epoch === epoch ? `${epoch} (next)` : epoch,
        createdAt ?? 'never',
        destroyedAt ?? (purpose === LEDGER_DOMAIN.id ? 'never will be' : '-'),
      ])
    }
    if (next !== null && !next.made) rows.push([purpose, `${next.epoch} (next)`, 'not yet', '-'])
  }
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]))
      .join('  ')
      .trimEnd(),
  )
  // A missing one does not end the command, so nothing else says what is to be done.
  const master =
    wrong?.code === 'MINIM_KEYS_NO_MASTER'
      ? [`master key: ${wrong.code}: ${wrong.message}`, `  → ${wrong.fix}`]
      : [`master key: ${report.master}`]
  return [`key store: ${report.store}`, ...master, '', ...(rows.length > 1 ? lines : ['no keys yet'])].join('\n')
}
