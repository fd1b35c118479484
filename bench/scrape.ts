/** A page of Prometheus metrics, as far as rows ask it. */

const LINE = /^([a-z_]+)(?:\{([^}]*)\})? ([0-9.e+-]+)$/

export class Scrape {
  readonly #lines: readonly { readonly name: string; readonly labels: string; readonly value: number }[]

  constructor(text: string) {
    this.#lines = text.split('\n').flatMap((line) => {
      const found = LINE.exec(line)
      return found === null ? [] : [{ name: found[1], labels: found[2] ?? '', value: Number(found[3]) }]
    })
  }

  /** Sum over a metric's series that have these labels. */
  total(name: string, labels: Readonly<Record<string, string>> = {}): number {
    const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`)
    return this.#lines.reduce(
      (sum, line) =>
        sum + (line.name === name && wanted.every((label) => line.labels.split(',').includes(label)) ? line.value : 0),
      0,
    )
  }

  /** Messages that are committed. */
  get produced(): number {
    return this.total('minim_messages_produced_total')
  }

  /** CPU of the process so far, s. */
  get cpuSeconds(): number {
    return this.total('process_cpu_seconds_total')
  }

  /** What was refused, withheld, quarantined or lost, where anything was: for messages. */
  troubles(): string {
    const found = this.#lines.filter(
      ({ name, value }) =>
        value > 0 &&
        /^minim_(source_refused|spool_refused|records_quarantined|messages_dropped|records_withheld)_/.test(name),
    )
    return found.length === 0
      ? ''
      : ` (${found.map(({ name, labels, value }) => `${name}{${labels}} ${value}`).join(', ')})`
  }
}
