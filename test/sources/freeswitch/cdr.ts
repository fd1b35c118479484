/** CDRs as FreeSWITCH writes them: of reserved numbers and addresses, in every form that mod_json_cdr has for them. */

export const UUID = '3f0d6c1e-8a52-4a52-9d0b-1c1b7f2a9b10'
export const B_UUID = '7a9b2c44-0d5e-4a1f-9a65-22d3b6a0c001'

/** µs of a call that began on 2026-11-24. */
export const START_US = 1_795_514_445_000_000

export const VARIABLES: Readonly<Record<string, string>> = {
  direction: 'inbound',
  uuid: UUID,
  call_uuid: UUID,
  session_id: '5',
  accountcode: 'ACME-101',
  sip_from_user: '1004',
  sip_from_uri: '1004@pbx.example',
  channel_name: 'sofia/internal/1004@pbx.example',
  caller_id: '"Extra 1004" <1004>',
  sip_full_from: '"Extra 1004" <sip:1004@pbx.example>;tag=a1',
  sip_call_id: 'b1acaf21@192.0.2.14',
  sip_auth_username: '1004',
  domain_name: 'pbx.example',
  sip_network_ip: '192.0.2.14',
  sip_network_port: '5060',
  sip_contact_host: '192.0.2.15',
  sip_contact_port: '5062',
  remote_media_ip: '192.0.2.16',
  sip_user_agent: 'Yealink SIP-T46S 66.85.0.5 00005e005304',
  read_codec: 'PCMA',
  bridge_uuid: B_UUID,
  start_stamp: '2026-11-24 10:00:45',
  start_epoch: '1795514445',
  start_uepoch: String(START_US),
  answer_epoch: '1795514453',
  answer_uepoch: String(START_US + 8_000_000),
  end_epoch: '1795514582',
  end_uepoch: String(START_US + 137_000_000),
  duration: '137',
  billsec: '129',
  hangup_cause: 'NORMAL_CLEARING',
  hangup_cause_q850: '16',
  last_arg: 'sofia/gateway/x/+447700900123',
  switch_r_sdp: 'v=0\r\no=- 1 1 IN IP4 192.0.2.14\r\nm=audio 5102 RTP/AVP 8\r\n',
  rtp_audio_in_media_bytes: '1000',
  rtp_audio_out_media_bytes: '2000',
  rtp_audio_in_packet_count: '6000',
  rtp_audio_out_packet_count: '5990',
  rtp_audio_in_mos: '4.35',
  rtp_audio_in_mean_interval: '20.02',
  rtp_audio_in_jitter_max_variance: '25.00',
  rtp_audio_in_jitter_loss_rate: '0.02',
}

export interface ProfileOf {
  readonly index: number
  readonly destination: string
  readonly createdUs: number
  readonly bridgedUs?: number
  readonly originator?: boolean
}

export function profile({ index, destination, createdUs, bridgedUs = 0, originator = false }: ProfileOf): object {
  return {
    dialplan: 'XML',
    profile_index: String(index),
    extension: {
      name: 'to +447700900199',
      number: destination,
      applications: [{ app_name: 'bridge', app_data: 'sofia/gateway/x/+447700900123' }],
    },
    caller_profile: {
      username: '1004',
      dialplan: 'XML',
      caller_id_name: 'Extra 1004',
      ani: '1004',
      aniii: '',
      caller_id_number: '1004',
      network_addr: '192.0.2.14',
      rdnis: '',
      destination_number: destination,
      uuid: UUID,
      source: 'mod_sofia',
      context: 'default',
      chan_name: 'sofia/internal/1004@pbx.example',
      ...(originator
        ? { originator: { originator_caller_profiles: [{ caller_id_number: '1004', destination_number: '9999' }] } }
        : { originatee: { originatee_caller_profiles: [{ caller_id_number: '1004', destination_number: '8888' }] } }),
    },
    times: {
      created_time: String(START_US),
      profile_created_time: String(createdUs),
      progress_time: '0',
      answered_time: String(START_US + 8_000_000),
      bridged_time: String(bridgedUs),
      hangup_time: String(START_US + 137_000_000),
      transfer_time: '0',
    },
  }
}

export interface CdrOf {
  readonly variables?: Readonly<Record<string, string | number | null | undefined>>
  readonly profiles?: readonly object[]
  readonly stats?: object
  /** `array`: as of version 1.8; `keys`: the key `callflow` once for each. */
  readonly callflow?: 'array' | 'keys'
  /** `encode-values` */
  readonly encodeValues?: boolean
}

/** `switch_url_encode` of switch_utils.c. */
export function switchUrlEncode(text: string): string {
  return [...Buffer.from(text, 'utf8')]
    .map((c) => {
      const letter = String.fromCharCode(c)
      return c < 0x20 || c > 0x7e || '\r\n "#%&+:;<=>?@[\\]^`{|}'.includes(letter)
        ? `%${c.toString(16).toUpperCase().padStart(2, '0')}`
        : letter
    })
    .join('')
}

/** The JSON text; the entries of `callflow` last one first, as FreeSWITCH has them. */
export function cdrText({
  variables = {},
  profiles = [profile({ index: 1, destination: '07700 900123', createdUs: START_US, bridgedUs: START_US + 8_000_000 })],
  stats,
  callflow = 'array',
  encodeValues = false,
}: CdrOf = {}): string {
  const all = Object.fromEntries(
    Object.entries({ ...VARIABLES, ...variables })
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [name, encodeValues && typeof value === 'string' ? switchUrlEncode(value) : value]),
  )
  const reversed = [...profiles].reverse().map((entry) => JSON.stringify(entry))
  const flow =
    callflow === 'array'
      ? `"callflow":[${reversed.join(',')}]`
      : reversed.map((entry) => `"callflow":${entry}`).join(',')
  const calls = stats === undefined ? '' : `"callStats":${JSON.stringify(stats)},`
  return (
    `{"core-uuid":"61b38010-fb8e-4022-89b0-3c0be6e500b9","switchname":"pbx",` +
    `"channel_data":{"state":"CS_REPORTING","direction":"inbound"},` +
    `${calls}"variables":${JSON.stringify(all)},` +
    `"app_log":{"applications":[{"app_name":"set","app_data":"x=\\"{[+447700900124"}]}${flow === '' ? '' : `,${flow}`}}`
  )
}

/** Every form that a body comes in. */
export const FORMS: Readonly<Record<string, (json: string) => Buffer>> = {
  'as it is': (json) => Buffer.from(json),
  'cdr= url-encoded by switch_url_encode': (json) => Buffer.from(`cdr=${switchUrlEncode(json)}`),
  'cdr= url-encoded by a form': (json) => Buffer.from(`cdr=${encodeURIComponent(json).replaceAll('%20', '+')}`),
  'cdr= in base64, not url-encoded': (json) => Buffer.from(`cdr=${Buffer.from(json).toString('base64')}`),
  'cdr= in base64, its pluses spaces': (json) =>
    Buffer.from(`cdr=${Buffer.from(json).toString('base64').replaceAll('+', ' ')}`),
  'cdr= in base64, url-encoded': (json) =>
    Buffer.from(`cdr=${encodeURIComponent(Buffer.from(json).toString('base64'))}`),
  'behind another field of the form': (json) => Buffer.from(`uuid=a_${UUID}&cdr=${encodeURIComponent(json)}`),
  'cdr= and JSON as it is': (json) => Buffer.from(`cdr=${json}`),
  'with a mark and a line feed': (json) => Buffer.from(`\uFEFF ${json}\r\n\0`),
}
