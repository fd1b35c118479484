/** `minim.v1.Ingest/Deliver` as gRPC needs it, without generated code: for who serves it and for who streams to it. */
import type { ServiceDefinition } from '@grpc/grpc-js'

export const DELIVER_PATH = '/minim.v1.Ingest/Deliver'

function varintBytes(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80)
  return [...bytes, rest]
}

/** Encodes `Ack { sequence }`. */
export function encodeAck(sequence: number): Buffer {
  return Buffer.from([8, ...varintBytes(sequence)])
}

/** Reads `Ack { sequence }`. */
export function decodeAck(bytes: Buffer): number {
  let value = 0
  for (let i = bytes.length - 1; i >= 1; i--) value = value * 128 + (bytes[i] & 0x7f)
  return value
}

/** The service without generated code: bytes in, sequence numbers out. */
export const INGEST_SERVICE = {
  deliver: {
    path: DELIVER_PATH,
    requestStream: true,
    responseStream: true,
    requestSerialize: (bytes: Buffer): Buffer => bytes,
    requestDeserialize: (bytes: Buffer): Buffer => bytes,
    responseSerialize: encodeAck,
    responseDeserialize: decodeAck,
  },
} satisfies ServiceDefinition
