/** SIP messages for tests, with addresses and numbers that are nobody's. */
export const PHONE = 'sip:+447700900123@pbx.example'

/** Joins lines by CRLF, with the empty line behind and the body's length, unless the lines say one. */
export function sip(lines: readonly string[], body: string | Buffer = ''): Buffer {
  const bytes = Buffer.from(body)
  const length = lines.some((line) => /^(?:content-length|l)\s*:/i.test(line))
    ? []
    : [`Content-Length: ${bytes.length}`]
  return Buffer.concat([Buffer.from([...lines, ...length, '', ''].join('\r\n')), bytes])
}

let serial = 0

/** Headers that every request has; each call is another transaction. */
export function common(method: string, over: Readonly<Record<string, string>> = {}): string[] {
  serial++
  const headers: Record<string, string> = {
    Via: `SIP/2.0/UDP 192.0.2.14:5060;branch=z9hG4bK${serial};rport`,
    From: `"Extra" <${PHONE}>;tag=a${serial}`,
    To: `<${PHONE}>`,
    'Call-ID': `c${serial}@192.0.2.14`,
    CSeq: `${serial} ${method}`,
    'Max-Forwards': '70',
    ...over,
  }
  return Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
}

/** A report of one call (RFC 6035 §4.7, figures of our own). */
export function vqBody(callId = '1890463548@192.0.2.14', mosLq = '4.2'): string {
  return [
    'VQSessionReport: CallTerm',
    `CallID: ${callId}`,
    'LocalID: "Extra 1004" <sip:+447700900123@pbx.example>',
    'RemoteID: <sip:+442079460101@pbx.example;user=phone>',
    'OrigID: <sip:+447700900123@pbx.example>',
    'LocalAddr: IP=192.0.2.14 PORT=5000 SSRC=1a3b5c7d',
    'LocalMAC: 00005e005304',
    'RemoteAddr: IP=198.51.100.7 PORT=5002 SSRC=0x2468abcd',
    'RemoteMAC: 00-00-5E-00-53-05',
    'LocalMetrics:',
    'Timestamps:START=2026-11-24T10:00:00Z STOP=2026-11-24T10:02:17Z',
    'SessionDesc:PT=18 PD=G729 SR=8000 FD=20 FO=20 FPP=2 PPS=50 FMTP="annexb=no" PLC=3 SSUP=on',
    'JitterBuffer:JBA=3 JBR=2 JBN=40 JBM=80 JBX=120',
    'PacketLoss:NLR=5.0 JDR=2.0',
    'BurstGapLoss:BLD=0 BD=0 GLD=2.0 GD=500 GMIN=16',
    'Delay:RTD=200 ESD=140 SOWD=200 IAJ=2 MAJ=10',
    'Signal:SL=-18 NL=-60 RERL=55',
    `QualityEst:RLQ=90 RCQ=85 EXTRI=90 MOSLQ=${mosLq} MOSCQ=4.3 QoEEstAlg=P.564`,
    'RemoteMetrics:',
    'Timestamps:START=2026-11-24T10:00:00Z STOP=2026-11-24T10:02:17Z',
    'SessionDesc:PT=18 PD=G729 SSUP=off',
    'PacketLoss:NLR=1.5 JDR=127',
    'Delay:RTD=65535 ESD=65535',
    'QualityEst:RLQ=127 RCQ=80 MOSLQ=127 MOSCQ=4.0',
    'DialogID:1890463548@192.0.2.14;to-tag=8472761;from-tag=9123dh311',
    '',
  ].join('\r\n')
}

/** A PUBLISH of one. */
export function publish(body = vqBody(), over: Readonly<Record<string, string>> = {}): Buffer {
  return sip(
    [
      'PUBLISH sip:collector.example SIP/2.0',
      ...common('PUBLISH', {
        Event: 'vq-rtcpxr',
        Expires: '600',
        'User-Agent': 'Yealink SIP-T46S 66.85.0.5',
        'Content-Type': 'application/vq-rtcpxr',
        ...over,
      }),
    ],
    body,
  )
}

/** A REGISTER of one contact. */
export function register(over: Readonly<Record<string, string>> = {}): Buffer {
  return sip([
    'REGISTER sip:pbx.example SIP/2.0',
    ...common('REGISTER', {
      Contact: '<sip:1004@192.0.2.14:5062;line=abc>;expires=3600',
      'User-Agent': 'Yealink SIP-T46S 66.85.0.5',
      ...over,
    }),
  ])
}
