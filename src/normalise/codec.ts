/**
 * Names of codecs: the one text of a call that most purposes see, so it is written out of a closed table. A shape alone
 * could not tell a codec from a person's name; and what Asterisk, FreeSWITCH and phones call differently is one name.
 *
 * The names are those of the RTP payload formats (IANA, RTP Payload Format Media Types); behind each what it is called
 * elsewhere. Case, dots, spaces, hyphens and underscores do not count, and a clock rate, channels, packet time or bit
 * rate may follow: `G.711 A-Law`, `opus/48000/2`, `opus@48000h@20i@1c`.
 */
const TABLE = `
  PCMU: ulaw mulaw g711 g711u g711ulaw g711mulaw g711µlaw g711mu ulaw64k pcmu64 u-law
  PCMA: alaw g711a g711alaw alaw64k pcma64 testlaw
  PCMU-WB: pcmuwb g7111u g711.1u
  PCMA-WB: pcmawb g7111a
  G7110: g7110
  G722: g72264 g722wb g72264k
  G7221: g7221 g722.1 siren7 siren7wb g722124 g722132 g72216 g722124k g722132k polycomsiren7
  G7221C: g7221c g722.1c g722132c siren14 g722124c g722148c g72232 polycomsiren14
  G722-2: g7222
  G719: g719
  G723: g7231 g723.1 g72353 g72363 g723153 g723163 g7231a
  G726-16: g72616 g72616k aal2g72616
  G726-24: g72624 g72624k aal2g72624
  G726-32: g726 g72632 g72632k g726aal2 aal2g72632 g721 g726aal2g72632 adpcm32
  G726-40: g72640 g72640k aal2g72640
  G728: g72816
  G729: g729a g729b g729ab g7298 g729annexa g729annexb g729annexab g729anxb g729wannexb g729woannexb g729br8 g729r8 g729bnb
  G729D: g729d
  G729E: g729e
  G7291: g729.1 g729j
  GSM: gsmfr gsm610 gsmfull gsm0610 gsmmsgsm msgsm
  GSM-EFR: gsmefr
  GSM-HR-08: gsmhr gsmhr08 gsmhalf
  AMR: amrnb amr8
  AMR-WB: amrwb g7222amrwb
  AMR-WB+: amrwb+
  EVS: evs
  EVRC: evrc evrc0 evrc1
  EVRCB: evrcb evrcb0 evrcb1
  EVRCWB: evrcwb evrcwb0 evrcwb1
  EVRCNW: evrcnw evrcnw0 evrcnw1
  QCELP: qcelp
  SMV: smv smv0
  opus: opuswb opusnb opusfb opusswb opus48 opus16 opus8
  speex: speexnb speexwb speexuwb speex8 speex16 speex32 spx
  SILK: silk8 silk12 silk16 silk24 silknb silkwb silkswb
  iLBC: ilbc20 ilbc30 ilbc13 ilbc15
  iSAC: isac16 isac32 isacwb isacswb
  LPC: lpc10 lpc10e
  L8: slin8bit
  L16: l16 slin slin8 slin12 slin16 slin24 slin32 slin44 slin48 slin96 slin192 slinear linear linear16 lpcm pcm pcm16 signedlinear
  L20: l20
  L24: l24
  DVI4: adpcm dvi dvi48 dvi416 ima imaadpcm
  VDVI: vdvi
  codec2: codec2 codec22400 codec2400
  BV16: broadvoice16 bv16nb
  BV32: broadvoice32 bv32wb
  ATRAC3: atrac3
  MPA: mpa
  MP3: mp3 mpamp3
  mpa-robust: mparobust
  MP4A-LATM: mp4alatm aac aacld aaceld heaac aaclc
  mpeg4-generic: mpeg4generic
  ac3: ac3
  eac3: eac3
  vorbis: ogg
  flac: flac
  CN: comfortnoise cng
  telephone-event: telephoneevent rfc2833 rfc4733 dtmf dtmfrelay
  tone: tone
  RED: red
  ulpfec: ulpfec flexfec flexfec03
  t38: t38 t38fax udptl imaget38 t.38
  t140: text rtt
  t140c: t140c
  CLEARMODE: clearmode g.clear gclear ccd x-ccd xccd clearchannel nse x-nse xnse
  H261: h261
  H263: h263p h263+ h2631996
  H263-1998: h2631998
  H263-2000: h2632000 h263++
  H264: h264svc avc x264
  H265: h265 hevc
  H266: h266 vvc
  VP8: vp8
  VP9: vp9
  AV1: av1x
  JPEG: mjpeg
  MPV: mpeg2
  MP4V-ES: mp4ves mpeg4 mp4v
  theora: theora
  raw: rawvideo yuv
  rtx: rtx
  none: none
`

/** Static payload types (RFC 3551, tables 4 and 5), where a source writes their number. */
const PAYLOAD_TYPES: Readonly<Record<number, string>> = {
  0: 'PCMU',
  3: 'GSM',
  4: 'G723',
  5: 'DVI4',
  6: 'DVI4',
  7: 'LPC',
  8: 'PCMA',
  9: 'G722',
  10: 'L16',
  11: 'L16',
  12: 'QCELP',
  13: 'CN',
  14: 'MPA',
  15: 'G728',
  16: 'DVI4',
  17: 'DVI4',
  18: 'G729',
  26: 'JPEG',
  31: 'H261',
  32: 'MPV',
  34: 'H263',
}

/** What is in no row is called this. */
export const OTHER_CODEC = 'other'

/** Every name that can come out. */
export const CODECS: readonly string[] = [OTHER_CODEC]
const BY_SPELLING = new Map<string, string>()
for (const line of TABLE.trim().split('\n')) {
  const [name, others] = line.trim().split(': ')
  ;(CODECS as string[]).push(name)
  for (const spelling of [name, ...others.split(' ')]) {
    const key = squeezed(spelling)
    if (!BY_SPELLING.has(key)) BY_SPELLING.set(key, name)
  }
}

/**
 * A module of FreeSWITCH's in front, the name, and behind it what SDP (`/8000/1`), FreeSWITCH (`@8000h@20i@64000b@1c`)
 * or a phone (`8 kHz`, `(64 kbit/s)`) add.
 */
const FORM = new RegExp(
  '^(?:(?:mod_[a-z0-9_]{1,24}|CORE_[A-Z0-9_]{1,24})\\.)?(?:audio|video)?/?' +
    '([A-Za-z0-9µ ._+-]{1,24}?)' +
    '(?:[/@](?:8000|11025|12000|16000|22050|24000|32000|44100|48000|90000|96000|192000)h?(?:/[1-8])?)?' +
    '(?:@\\d{1,6}[hibc]){0,4}(?:[ (]{1,2}\\d{1,3}[ ]?(?:kHz|kbps|kbit/s|k)\\)?)?$',
  'i',
)

/** The name of a codec, as IANA writes it; {@link OTHER_CODEC} where the text names none. */
export function codecOf(text: string): string {
  if (/^\d{1,2}$/.test(text)) return PAYLOAD_TYPES[Number(text)] ?? OTHER_CODEC
  const match = FORM.exec(text.trim())
  return match === null ? OTHER_CODEC : (BY_SPELLING.get(squeezed(match[1])) ?? OTHER_CODEC)
}

function squeezed(text: string): string {
  return text.toLowerCase().replace(/[ ._-]/g, '')
}
