/** `http:` where anything that can post JSON or protobuf posts records. */
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

export interface HttpSettings extends PostedSettings {
  readonly unknown: 'drop' | 'refuse'
}

const DEFAULTS: HttpSettings = {
  ...POSTED_DEFAULTS,
  /** Octets of a body, and of what it inflates to. */
  maxBodyBytes: 4_194_304,
  /** Fields that the catalogue does not know are left out, and counted in the answer. */
  unknown: 'drop',
}

export const HTTP: SourceSection<HttpSettings, 'http'> = {
  key: 'http',
  defaults: DEFAULTS,
  paths: POSTED_PATHS,
  listens: ['listen'],
  check: (value, around) => checkPosted('http', value, around),
  checkFiles: (value, around) => postedFileProblems('http', value, around),
  schema: section(
    {
      ...postedParts(DEFAULTS.maxBodyBytes, 'where records are posted', 8080, ['tenants']),
      unknown: Type.Unsafe<'drop' | 'refuse'>({
        type: 'string',
        enum: ['drop', 'refuse'],
        default: DEFAULTS.unknown,
        description:
          'a field that the catalogue does not know: drop leaves it out and counts it, refuse answers 422 to the whole post',
      }),
    },
    'records posted as JSON, JSON Lines or protobuf: /v1/calls, /v1/qualities, /v1/devices',
  ),
}
