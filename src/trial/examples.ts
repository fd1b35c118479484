/** Records to try a policy on where one has none at hand: made of numbers and addresses that are nobody's. */
import type { Catalogue } from '../catalogue/catalogue.js'

const CALL_SECONDS = 192
const RING_SECONDS = 6

/**
 * A call, its quality report and a registration, as one encoded `Batch` behind its length.
 * @param nowMs the call ended then
 */
export function exampleRecords(catalogue: Catalogue, nowMs: number): Uint8Array {
  const startMs = nowMs - (CALL_SECONDS + RING_SECONDS) * 1000
  const common = {
    account: 'ACME-100',
    call_id: `${Math.floor(startMs / 1000)}.1`,
    start_ms: startMs,
    user_agent: 'Yealink SIP-T46S 66.85.0.5',
    mac: '00:00:5e:00:53:01',
    origin: 'SIMULATED',
  }
  const type = catalogue.root.lookupType('minim.v1.Batch')
  const batch = type.fromObject({
    calls: [
      {
        ...common,
        linked_id: common.call_id,
        direction: 'OUTBOUND',
        calling: '1001',
        called: '+447700900123',
        calling_name: 'Reception',
        answer_ms: startMs + RING_SECONDS * 1000,
        end_ms: nowMs,
        duration_seconds: CALL_SECONDS + RING_SECONDS,
        billable_seconds: CALL_SECONDS,
        disposition: 'ANSWERED',
        hangup_cause: 16,
        codec: 'G722',
        trunk: 'carrier-a',
        source_ip: '192.0.2.10',
        destination_ip: '198.51.100.7',
      },
    ],
    qualities: [
      {
        ...common,
        local_party: '1001',
        remote_party: '+447700900123',
        duration_seconds: CALL_SECONDS,
        end_ms: nowMs,
        codec: 'G722',
        mos_lq: 4.3,
        r_factor: 91,
        jitter_ms: 6.5,
        loss_percent: 0.4,
        round_trip_ms: 42,
        local_ip: '192.0.2.10',
        remote_ip: '198.51.100.7',
      },
    ],
    devices: [
      {
        account: common.account,
        party: 'sip:1001@pbx.example',
        start_ms: nowMs,
        mac: common.mac,
        user_agent: common.user_agent,
        contact_ip: '192.0.2.10',
        contact_port: 5060,
        event: 'REFRESHED',
        expires_seconds: 3600,
        origin: 'SIMULATED',
      },
    ],
  })
  return type.encodeDelimited(batch).finish()
}
