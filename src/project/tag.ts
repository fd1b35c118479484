/**
 * The tag: why a record may be where it is. The same for all records of a purpose and epoch, so it is encoded once and
 * copied.
 */
import { TAG_FIELD } from '../catalogue/catalogue.js'
import type { Guarantee } from '../flow/guarantee.js'
import type { Purpose } from '../policy/model.js'

/** The tag's fields by protobuf number (`proto/minim/v1/tag.proto`). */
export interface Tag {
  readonly purpose: string
  readonly basis: string
  readonly policy: string
  readonly epoch: string
  readonly region: string
  readonly retention_days: number
  readonly transfer: string
  /** Absent where it is exactly-once. */
  readonly delivery?: Guarantee
}

export function tagOf(
  purpose: Purpose,
  policyVersion: string,
  epoch: string,
  guarantee: Guarantee = 'exactly-once',
): Tag {
  return {
    purpose: purpose.id,
    basis: purpose.basis,
    policy: policyVersion,
    epoch,
    region: purpose.region,
    retention_days: purpose.retentionDays,
    transfer: purpose.transfer,
    ...(guarantee === 'exactly-once' ? {} : { delivery: guarantee }),
  }
}

function varint(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  while (rest >= 128) {
    bytes.push((rest % 128) | 0x80)
    rest = Math.floor(rest / 128)
  }
  return [...bytes, rest]
}

/** Field {@link TAG_FIELD} of a record, as bytes to append. */
export function tagProtobuf(tag: Tag): Uint8Array {
  const body = [
    tag.purpose,
    tag.basis,
    tag.policy,
    tag.epoch,
    tag.region,
    tag.retention_days,
    tag.transfer,
    ...(tag.delivery === undefined ? [] : [tag.delivery]),
  ].flatMap((value, i) => {
    if (typeof value === 'number') return [(i + 1) << 3, ...varint(value)]
    const bytes = Buffer.from(value)
    return [((i + 1) << 3) | 2, ...varint(bytes.length), ...bytes]
  })
  return Uint8Array.from([(TAG_FIELD << 3) | 2, ...varint(body.length), ...body])
}

/** `"tag":{…}}`: the end of a JSON record. */
export function tagJson(tag: Tag): Uint8Array {
  return Buffer.from(`"tag":${JSON.stringify(tag)}}`)
}

/** Kafka headers, for purposes that ask for them. */
export function tagHeaders(tag: Tag): Record<string, string>[] {
  return [
    { purpose: tag.purpose },
    { basis: tag.basis },
    { policy: tag.policy },
    { region: tag.region },
    { retention_days: String(tag.retention_days) },
    { transfer: tag.transfer },
    ...(tag.delivery === undefined ? [] : [{ delivery: tag.delivery }]),
  ]
}
