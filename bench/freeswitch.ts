/**
 * A CDR as FreeSWITCH 1.10's mod_json_cdr posts it: as many variables and octets as real ones have (some 200, 13 kB),
 * numbers and addresses of reserved ranges. Each is another call: uuid, Call-ID, numbers and times differ.
 */
import { Template } from './template.js'

/** What each CDR gives: a call, a quality report, a device. */
export const RECORDS_OF_CDR = 3

const UUID = '5f3a{{id:4}}-8c1d-4a52-9d0b-{{id:12}}'
const B_UUID = '7b9c{{id:4}}-0d5e-4a1f-9a65-{{id:12}}'
const CALLER = '+447700900{{calling:3}}'
const CALLED = '02079460{{called:3}}'
const PBX = 'pbx.example'
const CODECS = [
  'mod_spandsp.G722@8000h@20i@64000b',
  'CORE_PCM_MODULE.PCMU@8000h@20i@64000b',
  'CORE_PCM_MODULE.PCMA@8000h@20i@64000b',
  'mod_spandsp.GSM@8000h@20i@13200b',
]

const SDP = [
  'v=0',
  'o=yealink 0 2 IN IP4 192.0.2.14',
  's=-',
  'c=IN IP4 192.0.2.14',
  't=0 0',
  'm=audio 5102 RTP/AVP 96 97 98 9 100 102 0 8 103 3 104 4 101',
  'a=rtpmap:96 opus/48000/2',
  'a=fmtp:96 usedtx=1',
  'a=rtpmap:97 SILK/24000',
  'a=rtpmap:98 SILK/16000',
  'a=rtpmap:9 G722/8000',
  'a=rtpmap:100 speex/32000',
  'a=rtpmap:102 speex/16000',
  'a=rtpmap:0 PCMU/8000',
  'a=rtpmap:8 PCMA/8000',
  'a=rtpmap:103 iLBC/8000',
  'a=rtpmap:3 GSM/8000',
  'a=rtpmap:104 speex/8000',
  'a=rtpmap:4 G723/8000',
  'a=fmtp:4 annexa=no;bitrate=6.3',
  'a=rtpmap:101 telephone-event/8000',
  'a=ptime:20',
  '',
].join('\r\n')

/** Variables by lines of `name=value`, in the order in which FreeSWITCH writes them. */
const VARIABLES = `
direction=inbound
uuid=${UUID}
session_id={{id:6}}
sip_from_user=1004
sip_from_uri=1004@${PBX}
sip_from_host=${PBX}
video_media_flow=disabled
audio_media_flow=sendrecv
text_media_flow=disabled
channel_name=sofia/internal/1004@${PBX}
call_uuid=${UUID}
sip_call_id=8f2c{{id:9}}a7d@192.0.2.14
ep_codec_string=${CODECS.join(',')}
sip_local_network_addr=198.51.100.10
sip_network_ip=192.0.2.14
sip_network_port=5060
sip_invite_stamp={{start:10}}557418
sip_received_ip=192.0.2.14
sip_received_port=5060
sip_via_protocol=udp
sip_authorized=true
sip_acl_authed_by=domains
Event-Name=REQUEST_PARAMS
Core-UUID=61b38010-fb8e-4022-89b0-000000000001
FreeSWITCH-Hostname=pbx
FreeSWITCH-Switchname=pbx
FreeSWITCH-IPv4=198.51.100.10
FreeSWITCH-IPv6=2001:db8::10
Event-Date-Local=2026-11-24 08:28:23
Event-Date-GMT=Tue, 24 Nov 2026 08:28:23 GMT
Event-Date-Timestamp={{start:10}}557418
Event-Calling-File=sofia.c
Event-Calling-Function=sofia_handle_sip_i_invite
Event-Calling-Line-Number=10096
Event-Sequence={{id:7}}
sip_number_alias=1004
sip_auth_username=1004
sip_auth_realm=${PBX}
number_alias=1004
requested_user_name=1004
requested_domain_name=${PBX}
record_stereo=true
transfer_fallback_extension=operator
toll_allow=domestic,international,local
accountcode=ac{{calling:6}}
user_context=default
effective_caller_id_name=Extension 1004
effective_caller_id_number=${CALLER}
outbound_caller_id_name=Example Ltd
outbound_caller_id_number=${CALLER}
callgroup=techsupport
user_name=1004
domain_name=${PBX}
sip_from_user_stripped=1004
sip_from_tag=a{{id:9}}
sofia_profile_name=internal
sofia_profile_url=sip:mod_sofia@198.51.100.10:5060
recovery_profile_name=internal
sip_full_via=SIP/2.0/UDP 192.0.2.14:5060;branch=z9hG4bK{{id:9}};rport=5060
sip_recover_via=SIP/2.0/UDP 192.0.2.14:5060;branch=z9hG4bK{{id:9}};rport=5060
sip_full_from="Extension 1004" <sip:1004@${PBX}>;tag=a{{id:9}}
sip_full_to=<sip:${CALLED}@${PBX}>;tag=b{{id:9}}
sip_allow=INVITE, ACK, OPTIONS, CANCEL, BYE, UPDATE, INFO, SUBSCRIBE, NOTIFY, REFER, MESSAGE
sip_req_user=${CALLED}
sip_req_uri=${CALLED}@${PBX}
sip_req_host=${PBX}
sip_to_user=${CALLED}
sip_to_uri=${CALLED}@${PBX}
sip_to_host=${PBX}
sip_contact_params=transport=udp
sip_contact_user=1004
sip_contact_port=5062
sip_contact_uri=1004@192.0.2.15:5062
sip_contact_host=192.0.2.15
sip_user_agent=Yealink SIP-T46S 66.85.0.5 00005e0053{{mac:2}}
sip_via_host=192.0.2.14
sip_via_port=5060
sip_via_rport=5060
presence_id=1004@${PBX}
max_forwards=69
transfer_history={{start:10}}:ec99d6a9-72b7-4184-88aa-87b240f5465c:bl_xfer:${CALLED}/default/XML
transfer_source={{start:10}}:ec99d6a9-72b7-4184-88aa-87b240f5465c:bl_xfer:${CALLED}/default/XML
DP_MATCH=ARRAY::${CALLED}|:${CALLED}
RFC2822_DATE=Tue, 24 Nov 2026 08:28:23 +0000
export_vars=RFC2822_DATE,dialed_extension
dialed_extension=${CALLED}
ringback=%(2000,4000,440,480)
transfer_ringback=local_stream://moh
call_timeout=30
hangup_after_bridge=true
continue_on_fail=true
called_party_callgroup=techsupport
current_application_data=sofia/gateway/carrier-a/${CALLED}
current_application=bridge
dialed_user=${CALLED}
dialed_domain=${PBX}
originated_legs=ARRAY::${B_UUID};Outbound Call;${CALLED}|:${B_UUID};Outbound Call;${CALLED}
originate_causes=ARRAY::${B_UUID};NONE|:${B_UUID};NONE
originate_disposition=SUCCESS
DIALSTATUS=SUCCESS
last_bridge_to=${B_UUID}
bridge_channel=sofia/external/${CALLED}
bridge_uuid=${B_UUID}
signal_bond=${B_UUID}
last_sent_callee_id_name=Outbound Call
last_sent_callee_id_number=${CALLED}
rtp_use_codec_name=PCMA
rtp_use_codec_rate=8000
rtp_use_codec_ptime=20
rtp_use_codec_channels=1
rtp_last_audio_codec_string=PCMA@8000h@20i@1c
read_codec=PCMA
original_read_codec=PCMA
read_rate=8000
original_read_rate=8000
write_codec=PCMA
write_rate=8000
video_possible=true
local_media_ip=198.51.100.10
local_media_port=22992
advertised_media_ip=198.51.100.10
remote_media_ip=192.0.2.16
remote_media_port=5102
rtp_use_timer_name=soft
rtp_use_pt=8
rtp_use_ssrc=850142423
rtp_2833_send_payload=101
rtp_2833_recv_payload=101
dtmf_type=rfc2833
endpoint_disposition=ANSWER
remote_audio_ip_reported=192.0.2.16
remote_audio_ip=192.0.2.16
remote_audio_port_reported=5102
remote_audio_port=5102
rtp_auto_adjust_audio=true
sip_term_status=200
proto_specific_hangup_cause=sip:200
sip_term_cause=16
last_bridge_role=originator
sip_user_agent_of_b=carrier
sip_hangup_disposition=recv_bye
bridge_hangup_cause=NORMAL_CLEARING
hangup_cause=NORMAL_CLEARING
hangup_cause_q850=16
digits_dialed=none
start_stamp=2026-11-24 08:28:23
profile_start_stamp=2026-11-24 08:28:23
answer_stamp=2026-11-24 08:28:31
bridge_stamp=2026-11-24 08:28:31
hold_stamp=
progress_stamp=2026-11-24 08:28:23
progress_media_stamp=2026-11-24 08:28:31
end_stamp=2026-11-24 08:29:24
start_epoch={{start:10}}
start_uepoch={{start:10}}557418
profile_start_epoch={{start:10}}
profile_start_uepoch={{start:10}}617274
answer_epoch={{answer:10}}
answer_uepoch={{answer:10}}037574
bridge_epoch={{answer:10}}
bridge_uepoch={{answer:10}}037574
last_hold_epoch=0
last_hold_uepoch=0
hold_accum_seconds=0
hold_accum_usec=0
hold_accum_ms=0
resurrect_epoch=0
resurrect_uepoch=0
progress_epoch={{start:10}}
progress_uepoch={{start:10}}637959
progress_media_epoch={{answer:10}}
progress_media_uepoch={{answer:10}}037574
end_epoch={{end:10}}
end_uepoch={{end:10}}057232
last_app=bridge
last_arg=sofia/gateway/carrier-a/${CALLED}
caller_id="Extension 1004" <1004>
duration=61
billsec=53
progresssec=0
answersec=8
waitsec=8
progress_mediasec=8
flow_billsec=61
mduration=60500
billmsec=53020
progressmsec=80
answermsec=7480
waitmsec=7480
progress_mediamsec=7480
flow_billmsec=60500
uduration=60499814
billusec=53019658
progressusec=80541
answerusec=7480156
waitusec=7480156
progress_mediausec=7480156
flow_billusec=60499814
rtp_audio_recv_pt=8
rtp_audio_in_raw_bytes=454288
rtp_audio_in_media_bytes=452980
rtp_audio_in_packet_count=2650
rtp_audio_in_media_packet_count=2642
rtp_audio_in_skip_packet_count=8
rtp_audio_in_jitter_packet_count=0
rtp_audio_in_dtmf_packet_count=0
rtp_audio_in_cng_packet_count=0
rtp_audio_in_flush_packet_count=2
rtp_audio_in_largest_jb_size=0
rtp_audio_in_jitter_min_variance=1.19
rtp_audio_in_jitter_max_variance=24.83
rtp_audio_in_jitter_loss_rate=0.01
rtp_audio_in_jitter_burst_rate=0.00
rtp_audio_in_mean_interval=20.02
rtp_audio_in_flaw_total=1
rtp_audio_in_quality_percentage=99.00
rtp_audio_in_mos=4.49
rtp_audio_out_raw_bytes=455800
rtp_audio_out_media_bytes=455800
rtp_audio_out_packet_count=2650
rtp_audio_out_media_packet_count=2650
rtp_audio_out_skip_packet_count=0
rtp_audio_out_dtmf_packet_count=0
rtp_audio_out_cng_packet_count=0
rtp_audio_rtcp_packet_count=0
rtp_audio_rtcp_octet_count=0
`

const caller = (uuid: string, channel: string): Record<string, string> => ({
  username: '1004',
  dialplan: 'XML',
  caller_id_name: 'Extension 1004',
  ani: CALLER,
  aniii: '',
  caller_id_number: CALLER,
  network_addr: '192.0.2.14',
  rdnis: '',
  destination_number: CALLED,
  uuid,
  source: 'mod_sofia',
  context: 'default',
  chan_name: channel,
})

function cdrText(): string {
  const variables = Object.fromEntries(
    VARIABLES.trim()
      .split('\n')
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
  const applications = [
    'set:ringback=',
    'set:call_timeout=30',
    'export:dialed_extension=',
    'bind_meta_app:1 b s execute_extension::dx XML features',
    `bridge:sofia/gateway/carrier-a/${CALLED}`,
  ].map((text) => ({ app_name: text.slice(0, text.indexOf(':')), app_data: text.slice(text.indexOf(':') + 1) }))
  const audio = {
    inbound: {
      raw_bytes: 454_288,
      media_bytes: 452_980,
      packet_count: 2650,
      media_packet_count: 2642,
      skip_packet_count: 8,
      jitter_packet_count: 0,
      dtmf_packet_count: 0,
      cng_packet_count: 0,
      flush_packet_count: 2,
      largest_jb_size: 0,
      jitter_min_variance: 1.19,
      jitter_max_variance: 24.83,
      jitter_loss_rate: 0.01,
      jitter_burst_rate: 0,
      mean_interval: 20.02,
      flaw_total: 1,
      quality_percentage: 99,
      mos: 4.492,
      errorLog: [
        { start: '{{start:10}}460545', stop: '{{answer:10}}478926', flaws: 2, consecutiveFlaws: 0, durationMS: 18 },
      ],
    },
    outbound: {
      raw_bytes: 455_800,
      media_bytes: 455_800,
      packet_count: 2650,
      media_packet_count: 2650,
      skip_packet_count: 0,
      dtmf_packet_count: 0,
      cng_packet_count: 0,
      rtcp_packet_count: 0,
      rtcp_octet_count: 0,
    },
  }
  return JSON.stringify({
    'core-uuid': '61b38010-fb8e-4022-89b0-000000000001',
    switchname: 'pbx',
    channel_data: {
      state: 'CS_REPORTING',
      direction: 'inbound',
      state_number: '11',
      flags: '0=1;1=1;3=1;20=1;37=1;38=1;40=1;43=1;48=1;53=1;75=1;77=1;112=1;113=1;122=1;134=1',
      caps: '1=1;2=1;3=1;4=1;5=1;6=1',
    },
    callStats: { audio },
    variables: { ...variables, switch_r_sdp: SDP, switch_m_sdp: SDP.replace('yealink', 'carrier') },
    app_log: { applications: applications.map((application) => ({ ...application, app_stamp: '{{start:10}}580845' })) },
    callflow: [
      {
        dialplan: 'XML',
        unique_id: UUID,
        profile_index: '1',
        extension: { name: 'outbound', number: CALLED, applications },
        caller_profile: {
          ...caller(UUID, `sofia/internal/1004@${PBX}`),
          originatee: {
            originatee_caller_profiles: [
              caller(B_UUID, `sofia/external/${CALLED}`),
              caller(B_UUID, `sofia/external/${CALLED}`),
            ],
          },
        },
        times: {
          created_time: '{{start:10}}557418',
          profile_created_time: '{{start:10}}617274',
          progress_time: '{{start:10}}637959',
          progress_media_time: '{{answer:10}}037574',
          answered_time: '{{answer:10}}037574',
          bridged_time: '{{answer:10}}037574',
          last_hold_time: '0',
          hold_accum_time: '0',
          hangup_time: '{{end:10}}057232',
          resurrect_time: '0',
          transfer_time: '0',
        },
      },
    ],
  })
}

export class CdrTemplate {
  readonly #template = new Template(cdrText(), ['id', 'calling', 'called', 'mac', 'start', 'answer', 'end'])

  /** @param nowMs no call has ended later */
  readonly #nowMs: number

  constructor(nowMs: number) {
    this.#nowMs = nowMs
  }

  get length(): number {
    return this.#template.bytes.length
  }

  /** A body to write calls to. */
  body(): Buffer {
    return this.#template.copy()
  }

  /** Makes a body that of another call. */
  write(body: Buffer, id: number): void {
    const end = Math.floor(this.#nowMs / 1000) - 60 - (id % 3600)
    this.#template.write(body, 0, [id, id % 1000, (id * 7) % 1000, id % 100, end - 61, end - 53, end])
  }
}
