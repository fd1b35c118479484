/** How sure delivery is, as the settings name it. */

export const GUARANTEES = ['exactly-once', 'at-least-once'] as const

export type Guarantee = (typeof GUARANTEES)[number]
