/** Records and what purposes see of them as one page that needs nothing beside itself. */
import { REFUSAL_TEXTS } from '../batch/batch.js'
import type { FieldSight, PurposeSight, RecordSight } from './trial.js'

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escape(text: unknown): string {
  return String(text).replace(/[&<>"']/g, (letter) => ENTITIES[letter])
}

// Each colour has a contrast of at least 4.5 to 1 against its ground (WCAG 2.2, 1.4.3), and each fate a word of its own.
const STYLE = `
:root { color-scheme: light dark; --ink: #1b1f24; --ground: #fff; --line: #ccd2d9; --soft: #555e68;
  --kept: #7a4b00; --coarsened: #00536b; --tokenised: #11602a; --refused: #a1121b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --ground: #16191d; --line: #3c434b; --soft: #aab2bc;
  --kept: #f0b95a; --coarsened: #6fc9e8; --tokenised: #74d68f; --refused: #ff8f95; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 2rem auto;
  max-width: 110rem; padding: 0 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0 2rem; font-size: .875rem; }
caption { text-align: left; padding: .25rem 0; color: var(--soft); }
th, td { border: 1px solid var(--line); padding: .3rem .5rem; text-align: left; vertical-align: top; }
td { font-family: ui-monospace, monospace; overflow-wrap: anywhere; max-width: 22rem; }
small { display: block; font-family: system-ui, sans-serif; color: var(--soft); }
.kept { color: var(--kept); } .coarsened { color: var(--coarsened); } .tokenised { color: var(--tokenised); }
.dropped, .absent { color: var(--soft); } .refused { color: var(--refused); }
`

export interface PageOptions {
  readonly policyVersion: string
  /** How many records there were, shown or not. */
  readonly total: number
}

/** @returns an HTML document */
export function previewPage(sights: readonly RecordSight[], { policyVersion, total }: PageOptions): string {
  const left = total - sights.length
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>minim preview: what each purpose sees</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>What each purpose sees</h1>
<p>Policy ${escape(policyVersion)}. Tokens are made with a key that was thrown away: those of a running minim are others.</p>
${sights.map(recordSection).join('\n')}
${left > 0 ? `<p>${left} more records are not shown.</p>` : ''}
</main>
</body>
</html>
`
}

function recordSection(sight: RecordSight): string {
  const id = `record-${sight.record}`
  const title = `<h2 id="${id}">Record ${sight.record}: ${sight.kind ?? 'not read'}</h2>`
  const unknown =
    sight.unknownFields > 0
      ? `<p>${sight.unknownFields} fields that the catalogue does not know: dropped for everyone.</p>`
      : ''
  if (sight.refused !== null)
    return `<section>${title}${unknown}<p class="refused">Quarantine (${sight.refused}): ${escape(
      REFUSAL_TEXTS[sight.refused],
    )}; no purpose sees it.</p></section>`
  const seeing = sight.purposes.filter(({ verdict }) => verdict === 'sees')
  const others = sight.purposes
    .filter(({ verdict }) => verdict !== 'sees')
    .map(
      ({ purpose, reason, why }) =>
        `<li><b>${escape(purpose)}</b> sees nothing: ${escape(why)}${reasonOf(reason)}</li>`,
    )
  const names = [
    ...new Set([...Object.keys(sight.came), ...seeing.flatMap(({ fields }) => fields.map((f) => f.field))]),
  ]
  const rows = names.map((name) => {
    const cells = seeing.map(({ fields }) => cell(fields.find((f) => f.field === name)))
    return `<tr><th scope="row">${escape(name)}</th><td>${escape(sight.came[name] ?? '')}</td>${cells.join('')}</tr>`
  })
  return `<section>${title}${unknown}
<div class="scroll" role="region" aria-labelledby="${id}" tabindex="0"><table>
<caption>What came in, and beside it what each purpose sees</caption>
<thead><tr><th scope="col">field</th><th scope="col">came in</th>${seeing.map(columnHead).join('')}</tr></thead>
<tbody>
${rows.join('\n')}
</tbody></table></div>
${others.length > 0 ? `<ul>${others.join('')}</ul>` : ''}</section>`
}

function reasonOf(reason: string | null): string {
  return reason === null ? '' : ` (${escape(reason)})`
}

function columnHead({ purpose, notice, basis, recipients, retentionDays }: PurposeSight): string {
  return `<th scope="col">${escape(purpose)}<small>${escape(
    `${notice}, ${basis}; for ${recipients.join(', ')}, ${retentionDays} days`,
  )}</small></th>`
}

function cell(field: FieldSight | undefined): string {
  if (field === undefined) return '<td></td>'
  const { fate, sees, why, came } = field
  const shown = fate === 'dropped' ? `<del>${escape(came ?? '')}</del>` : sees === null ? '' : escape(sees)
  return `<td class="${fate}">${shown}<small>${fate === 'dropped' ? `dropped: ${escape(why)}` : escape(`${fate}: ${why}`)}</small></td>`
}
