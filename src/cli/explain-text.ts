/** Explanations of a policy as lines, for a terminal or as Markdown. */
import type { FieldExplained, OverviewRow, PurposeExplained } from '../policy/explain.js'
import { wrap } from '../trial/preview-text.js'
import { markdownTable, table } from './table.js'

export interface Layout {
  /** Columns of the terminal. */
  readonly width: number
  readonly markdown: boolean
}

/** Width of the names before a purpose's facts. */
const NAME_WIDTH = 10

const place = ({ region, transfer }: { readonly region: string; readonly transfer: string }): string =>
  `${region}, ${transfer}`

function tableOf(head: readonly string[], rows: readonly (readonly string[])[], layout: Layout): string[] {
  return layout.markdown ? markdownTable(head, rows) : table(head, rows, layout.width)
}

/** Long text, broken to the terminal's width; Markdown breaks by itself. */
function paragraph(text: string, { width, markdown }: Layout): string[] {
  return markdown ? [text] : wrap(text, width)
}

export function overviewLines(rows: readonly OverviewRow[], layout: Layout): string[] {
  const cells = rows.map((row) => [
    row.enabled ? row.purpose : `${row.purpose} (off)`,
    row.kind,
    String(row.fields),
    `${row.strongest.field}: ${row.strongest.form}`,
    row.basis,
    row.recipients.join(', '),
    `${row.retentionDays} days`,
  ])
  return tableOf(['purpose', 'kind', 'fields', 'strongest form', 'basis', 'read by', 'kept'], cells, layout)
}

export function explanationLines(explained: FieldExplained | PurposeExplained, layout: Layout): string[] {
  return explained.about === 'purpose' ? purposeLines(explained, layout) : fieldLines(explained, layout)
}

function fieldLines({ fields, sights, unseenBy }: FieldExplained, layout: Layout): string[] {
  const lines = fields.map(({ field, category, whose, madeFrom }) => {
    const made = madeFrom === null ? '' : `, made from ${madeFrom}`
    return `${layout.markdown ? '- ' : ''}${field}: ${category} data of ${whose}${made}`
  })
  const rows = sights.map((s) => [
    s.enabled ? s.purpose : `${s.purpose} (off)`,
    s.field,
    s.form,
    s.basis,
    `${s.retentionDays} days`,
    s.recipients.join(', '),
    place(s),
  ])
  const head = ['purpose', 'field', 'form', 'basis', 'kept', 'read by', 'kept in']
  lines.push('', ...(rows.length > 0 ? tableOf(head, rows, layout) : ['no purpose sees it']))
  if (unseenBy.length > 0 && rows.length > 0)
    lines.push('', ...paragraph(`dropped for: ${unseenBy.join(', ')}`, layout))
  return lines
}

function purposeLines(p: PurposeExplained, layout: Layout): string[] {
  const facts: [string, string][] = [
    ['purpose', `${p.id} (${p.notice})${p.enabled ? '' : ', off'}`],
    ['what for', p.description],
    ['DPV', p.dpv],
    ['basis', p.basis],
    ['evidence', p.evidence],
    ['read by', p.recipients.join(', ')],
    ['kept in', place(p)],
    ['kept for', `${p.retentionDays} days`],
    ['tokens', p.epoch === 'contract' ? 'stay as long as the contract' : `change every ${p.epoch}`],
    ['tenants', p.tenants === null ? 'all' : p.tenants.join(', ')],
    ...p.topics.map((t): [string, string] => ['topic', `${t.topic} (${t.format}, key: ${t.key ?? 'none'})`]),
  ]
  const named = layout.markdown
    ? markdownTable(['', p.id], facts)
    : facts.flatMap(([name, value]) =>
        wrap(value, layout.width - NAME_WIDTH).map((line, i) => `${(i === 0 ? name : '').padEnd(NAME_WIDTH)}${line}`),
      )
  const sights = p.sights.map((s) => [s.field, s.form, s.reveals, s.reversible, s.category, s.whose])
  return [
    ...named,
    '',
    ...tableOf(['field', 'form', 'reveals', 'can be reversed', 'data', 'whose'], sights, layout),
    '',
    ...Object.entries(p.dropped).flatMap(([kind, names]) =>
      paragraph(`dropped of ${kind}: ${names.join(', ')}`, layout),
    ),
  ]
}
