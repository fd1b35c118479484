/** Quality reports as phones publish them (RFC 6035): the body of one call's end, both ends' figures. */
import { Template } from './template.js'

/** Records of a body: what the phone measured, and what it was told by the other end. */
export const RECORDS_OF_BODY = 2

const TEXT = `VQSessionReport: CallTerm
CallID: 3c26{{id:9}}-7b@192.0.2.14
LocalID: "Extension 1004" <sip:+447700900{{calling:3}}@pbx.example>
RemoteID: <sip:02079460{{called:3}}@pbx.example;user=phone>
OrigID: <sip:+447700900{{calling:3}}@pbx.example>
LocalGroup: Home
LocalAddr: IP=192.0.2.14 PORT=5000 SSRC=1a3b5c7d
LocalMAC: 00005e0053{{mac:2}}
RemoteAddr: IP=198.51.100.7 PORT=5002 SSRC=0x2468abcd
LocalMetrics:
Timestamps:START=2026-11-24T10:00:00Z STOP=2026-11-24T10:02:17Z
SessionDesc:PT=8 PD=PCMA SR=8000 FD=20 FO=20 FPP=1 PPS=50 PLC=3 SSUP=off
JitterBuffer:JBA=3 JBR=2 JBN=40 JBM=80 JBX=120
PacketLoss:NLR=1.5 JDR=0.5
BurstGapLoss:BLD=0 BD=0 GLD=2.0 GD=500 GMIN=16
Delay:RTD=120 ESD=60 SOWD=60 IAJ=2 MAJ=10
Signal:SL=-18 NL=-60 RERL=55
QualityEst:RLQ=90 RCQ=85 EXTRI=90 MOSLQ=4.2 MOSCQ=4.1 QoEEstAlg=P.564
RemoteMetrics:
Timestamps:START=2026-11-24T10:00:00Z STOP=2026-11-24T10:02:17Z
SessionDesc:PT=8 PD=PCMA SR=8000 FD=20 FO=20 FPP=1 PPS=50 PLC=3 SSUP=off
PacketLoss:NLR=0.5 JDR=0.0
Delay:RTD=120 ESD=60
QualityEst:RLQ=91 RCQ=88 MOSLQ=4.3 MOSCQ=4.2
DialogID:3c26{{id:9}}-7b@192.0.2.14;to-tag=8472761;from-tag=9123dh311
`

/** The body of which call differs in its Call-ID, numbers and device. */
export class VqTemplate {
  readonly #template = new Template(TEXT.replaceAll('\n', '\r\n'), ['id', 'calling', 'called', 'mac'])

  body(): Buffer {
    return this.#template.copy()
  }

  write(body: Buffer, id: number): void {
    this.#template.write(body, 0, [id, id % 1000, (id * 7) % 1000, id % 100])
  }
}
