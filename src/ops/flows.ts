/** What the metrics are labelled by. */
import type { Kind } from '../catalogue/catalogue.js'

/** One purpose's rules for one kind of record. */
export interface Flow {
  readonly purpose: string
  readonly kind: Kind
  readonly topic: string
}
