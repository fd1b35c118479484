/** UTF-8, told by its bytes where they lie: a call into the runtime costs more than most values are long. */

/** Whether bytes are UTF-8: no overlong form, no surrogate, nothing above U+10FFFF. */
export function isUtf8(bytes: Uint8Array, start: number, end: number): boolean {
  let p = start
  while (p < end) {
    const c = bytes[p++]
    if (c < 0x80) continue
    if (c < 0xc2 || c > 0xf4) return false
    if (p >= end) return false
    const c1 = bytes[p++]
    if (c < 0xe0) {
      if ((c1 & 0xc0) !== 0x80) return false
      continue
    }
    const low = c === 0xe0 ? 0xa0 : c === 0xf0 ? 0x90 : 0x80
    const high = c === 0xed ? 0x9f : c === 0xf4 ? 0x8f : 0xbf
    if (c1 < low || c1 > high) return false
    if (p >= end || (bytes[p++] & 0xc0) !== 0x80) return false
    if (c >= 0xf0 && (p >= end || (bytes[p++] & 0xc0) !== 0x80)) return false
  }
  return true
}
