/** Records and what purposes see of them, for a terminal: aligned to its width, coloured where it takes colours. */
import { styleText } from 'node:util'
import { REFUSAL_TEXTS } from '../batch/batch.js'
import type { Fate, FieldSight, PurposeSight, RecordSight } from './trial.js'

export interface TextOptions {
  /** Columns of the terminal. */
  readonly width: number
  readonly colour: boolean
}

type Style = Parameters<typeof styleText>[0]

/** How each fate is shown, so that it can be told by colour and without. */
const FATES: Readonly<Record<Fate, { readonly mark: string; readonly style: Style }>> = {
  kept: { mark: '=', style: 'yellow' },
  coarsened: { mark: '≈', style: 'cyan' },
  tokenised: { mark: '#', style: 'green' },
  dropped: { mark: '×', style: ['strikethrough', 'dim'] },
  absent: { mark: '∅', style: 'dim' },
}

export const LEGEND = '= kept   ≈ coarsened   # token   × dropped   ∅ gave nothing'

const MIN_WIDTH = 60
const INDENT = 2
/** Where what is said of a purpose begins. */
const TITLE_WIDTH = 12
const GAP = 2
/** What is between the columns of a field's line: the mark and three gaps. */
const FRAME = INDENT + 2 + 3 * GAP

/** A text of exactly so many columns: what does not fit ends in an ellipsis. */
export function fit(text: string, width: number): string {
  const clean = text.replace(/\p{Cc}/gu, '·')
  const letters = Array.from(clean)
  return letters.length <= width
    ? clean + ' '.repeat(width - letters.length)
    : `${letters.slice(0, width - 1).join('')}…`
}

/** Breaks words into lines of at most so many columns. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}

/** One record: its head, then a block for each purpose. */
export function recordLines(sight: RecordSight, options: TextOptions): string[] {
  const width = Math.max(options.width, MIN_WIDTH)
  const paint = (style: Style, text: string): string =>
    options.colour ? styleText(style, text, { validateStream: false }) : text
  const count = Object.keys(sight.came).length
  const head = `record ${sight.record}: ${sight.kind ?? 'not read'}${sight.kind === null ? '' : `, ${count} fields`}`
  const lines = [paint('bold', head)]
  if (sight.unknownFields > 0)
    lines.push(`  ${sight.unknownFields} fields that the catalogue does not know: dropped for everyone`)
  if (sight.refused !== null)
    lines.push(
      ...wrap(`quarantine (${sight.refused}): ${REFUSAL_TEXTS[sight.refused]}; no purpose sees it`, width - INDENT).map(
        (line) => `  ${paint('red', line)}`,
      ),
    )
  const columns = columnsOf(sight, width)
  for (const purpose of sight.purposes) lines.push('', ...purposeLines(purpose, width, columns, paint))
  return lines
}

interface Widths {
  readonly field: number
  readonly came: number
  readonly sees: number
  readonly why: number
}

/** No wider than the terminal, and the rest is for the reason: a token tells nobody more by its last letters. */
function columnsOf(sight: RecordSight, width: number): Widths {
  const shown = sight.purposes.flatMap(({ fields }) => fields.filter(({ fate }) => fate !== 'dropped'))
  const longest = (texts: readonly string[], most: number): number =>
    Math.min(most, Math.max(1, ...texts.map((text) => Array.from(text).length)))
  const share = (part: number): number => Math.floor((width - FRAME) * part)
  const field = longest(
    shown.map((f) => f.field),
    share(0.25),
  )
  const came = longest(
    shown.map((f) => String(f.came ?? '')),
    share(0.24),
  )
  const sees = longest(
    shown.map((f) => String(f.sees ?? '')),
    share(0.21),
  )
  return { field, came, sees, why: width - FRAME - field - came - sees }
}

function purposeLines(
  sight: PurposeSight,
  width: number,
  columns: Widths,
  paint: (style: Style, text: string) => string,
): string[] {
  const { purpose, notice, basis, recipients, retentionDays } = sight
  const title = paint('bold', purpose) + fit('', Math.max(1, TITLE_WIDTH - purpose.length))
  if (sight.verdict !== 'sees') {
    const reason = sight.reason === null ? '' : ` (${sight.reason})`
    const [first, ...rest] = wrap(`sees nothing${reason}: ${sight.why ?? ''}`, width - TITLE_WIDTH)
    return [`${title}${paint('red', first)}`, ...rest.map((line) => fit('', TITLE_WIDTH) + paint('red', line))]
  }
  const about = `${notice}, ${basis}; for ${recipients.join(', ')}, ${retentionDays} days`
  const lines = [`${title}${about.length + TITLE_WIDTH <= width ? about : fit(about, width - TITLE_WIDTH).trimEnd()}`]
  for (const field of sight.fields) if (field.fate !== 'dropped') lines.push(fieldLine(field, columns, paint))
  const dropped = sight.fields.filter(({ fate }) => fate === 'dropped').map(({ field }) => field)
  if (dropped.length > 0) {
    const names = wrap(dropped.join(' '), width - INDENT - 2)
    names.forEach((line, i) => {
      const struck = line
        .split(' ')
        .map((name) => paint(FATES.dropped.style, name))
        .join(' ')
      lines.push(`  ${i === 0 ? `${FATES.dropped.mark} ` : '  '}${struck}`)
    })
  }
  return lines
}

function fieldLine(
  { field, came, sees, fate, why }: FieldSight,
  columns: Widths,
  paint: (style: Style, text: string) => string,
): string {
  const { mark, style } = FATES[fate]
  const cells = [
    fit(field, columns.field),
    fit(String(came ?? ''), columns.came),
    paint(style, fit(sees === null ? '' : String(sees), columns.sees)),
    fit(why, columns.why).trimEnd(),
  ]
  return `  ${paint(style, mark)} ${cells.join('  ')}`
}
