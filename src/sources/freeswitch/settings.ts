/** `freeswitch:` where FreeSWITCH's mod_json_cdr posts. */
import { Type } from '@sinclair/typebox'
import { section } from '../../sections/parts.js'
import type { SourceSection } from '../../sections/source-section.js'
import {
  checkPosted,
  POSTED_DEFAULTS,
  POSTED_PATHS,
  postedFileProblems,
  postedParts,
  type PostedSettings,
} from '../common/posted-settings.js'

export interface FreeswitchSettings extends PostedSettings {
  readonly path: string
  readonly legs: 'a' | 'both'
}

const DEFAULTS: FreeswitchSettings = {
  ...POSTED_DEFAULTS,
  /** Octets of a body, and of what it inflates to: CDRs have 10 to 30 thousand. */
  maxBodyBytes: 1_048_576,
  /** Of the URL that is posted to. */
  path: '/cdr',
  /** A call is what called in; the channels it led to give quality and devices. */
  legs: 'a',
}

export const FREESWITCH: SourceSection<FreeswitchSettings, 'freeswitch'> = {
  key: 'freeswitch',
  defaults: DEFAULTS,
  paths: POSTED_PATHS,
  listens: ['listen'],
  check: (value, around) => checkPosted('freeswitch', value, around),
  checkFiles: (value, around) => postedFileProblems('freeswitch', value, around),
  schema: section(
    {
      ...postedParts(DEFAULTS.maxBodyBytes, 'where FreeSWITCH posts', 8081, ['tenant']),
      path: Type.String({
        pattern: '^/[A-Za-z0-9._/-]{0,200}$',
        default: DEFAULTS.path,
        description:
          'path of the URL that is posted to: a slash, then letters, digits, dots, hyphens, underscores and slashes',
      }),
      legs: Type.Unsafe<'a' | 'both'>({
        type: 'string',
        enum: ['a', 'both'],
        default: DEFAULTS.legs,
        description:
          "which channels' CDRs become calls: a for those that called in, both for the ones they led to as well",
      }),
    },
    "calls, quality and devices from FreeSWITCH's mod_json_cdr",
  ),
}
