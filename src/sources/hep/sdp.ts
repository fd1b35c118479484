/** The codec that an SDP body names first (RFC 4566, RFC 3264 §6.1): of an answer, the one that is used. */

export interface Codec {
  /** As RTP calls it: PCMA, opus. */
  readonly name: string
  /** Of its RTP timestamps, Hz. */
  readonly clockHz: number
}

/** RFC 3551 §6: those that need no rtpmap. */
const STATIC: Readonly<Record<number, Codec>> = {
  0: { name: 'PCMU', clockHz: 8000 },
  3: { name: 'GSM', clockHz: 8000 },
  4: { name: 'G723', clockHz: 8000 },
  8: { name: 'PCMA', clockHz: 8000 },
  // G.722 samples at 16 kHz, and its timestamps count at 8 kHz by an old mistake (RFC 3551 §4.5.2).
  9: { name: 'G722', clockHz: 8000 },
  15: { name: 'G728', clockHz: 8000 },
  18: { name: 'G729', clockHz: 8000 },
}

/** Longest body that is looked at. */
const MAX_BYTES = 8192

/** The first codec of the first audio stream that carries speech; null where there is none. */
export function codecOf(sdp: Uint8Array): Codec | null {
  const text = Buffer.from(sdp.buffer, sdp.byteOffset, Math.min(sdp.length, MAX_BYTES)).toString('latin1')
  const media = /^m=audio \d{1,5}(?:\/\d{1,3})? [A-Z/a-z]{3,32} ([\d ]{1,200})/m.exec(text)
  if (media === null) return null
  const after = text.slice(media.index)
  const section = after.slice(0, /\nm=/.exec(after)?.index ?? after.length)
  for (const payload of media[1].trim().split(/ +/).slice(0, 16).map(Number)) {
    const named = new RegExp(`^a=rtpmap:${payload} ([A-Za-z0-9._-]{1,32})/(\\d{1,6})`, 'm').exec(section)
    if (named !== null && !/^(telephone-event|CN|RED)$/i.test(named[1]))
      return { name: named[1], clockHz: Number(named[2]) }
    if (named === null && Object.hasOwn(STATIC, payload)) return STATIC[payload]
  }
  return null
}
