/**
 * Names of codecs: the one text of a call that passes as it is for most purposes, so it is held against a closed list.
 * A shape alone could not tell a codec from a person's name.
 *
 * The RTP payload names (IANA, RTP Payload Format Media Types) and those that Asterisk, FreeSWITCH and phones write;
 * case, dots, spaces, hyphens and underscores do not count, and a clock rate and channels may follow: `G.711 A-Law`,
 * `opus/48000/2`.
 */
const NAMES = `
  pcmu pcma ulaw alaw g711 g711u g711a g711ulaw g711alaw g711mulaw pcmuwb pcmawb g722 g7221 g72216 g722132 g722132c g7222 g723 g72363 g72353
  g7231 g726 g72616 g72624 g72632 g72640 g726aal2 aal2g72616 aal2g72624 aal2g72632 aal2g72640 g728 g729 g729a g729b g729ab g729d g729e g7291
  gsm gsmefr gsmhr gsmhr08 amr amrnb amrwb amrwb+ evs opus speex speex8 speex16 speex32 silk silk8 silk12 silk16 silk24 ilbc isac lpc lpc10
  l8 l16 l20 l24 slin slin12 slin16 slin24 slin32 slin44 slin48 slin96 slin192 adpcm dvi4 vdvi qcelp evrc evrc0 evrc1 evrcb evrcwb evrcnw smv
  codec2 siren7 siren14 bv16 bv32 mpa mp3 mparobust mp4alatm mpeg4generic aac aacld aaceld ac3 eac3 vorbis cn comfortnoise telephoneevent
  red ulpfec t38 t140 t140c clearmode none testlaw
  h261 h263 h263p h2631998 h2632000 h264 h265 h266 vp8 vp9 av1 jpeg mpv mp4ves mpeg4 theora rtx
`
  .trim()
  .split(/\s+/)
const KNOWN: ReadonlySet<string> = new Set(NAMES)

/** Name, clock rate (RFC 4566 rtpmap), channels. */
const FORM = /^([A-Za-z0-9 ._+-]{1,24})(?:\/(8000|11025|12000|16000|22050|24000|32000|44100|48000|90000)(?:\/[1-8])?)?$/

/** Whether a whole text is the name of a codec. */
export function isCodec(text: string): boolean {
  const match = FORM.exec(text)
  return match !== null && KNOWN.has(match[1].toLowerCase().replace(/[ ._-]/g, ''))
}
