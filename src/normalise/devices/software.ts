/**
 * Programs: softphones, servers, libraries, and scanners. Their text often holds its owner's or computer's name, so a
 * model is the product's name as it stands here.
 */
import { type Rule, VERSION } from './rule.js'

/** Looked for before devices: they borrow other names. */
export const SCANNERS: readonly Rule[] = [
  {
    vendor: 'scanner',
    software: true,
    product: 'other',
    firmware: [],
    sign: new RegExp(
      'friendly-scanner|sipvicious|sip-scan|sundayddr|sipsak|sipcli|\\biWar\\b|pplsip|\\bsmap\\b|SIVuS|\\bsipptk\\b|' +
        'VaxSIPUserAgent|VaxIPUserAgent|\\bnmap\\b|Test Agent|\\beyeBeam release 1\\.0\\b|\\bcheck_sip\\b',
      'i',
    ),
  },
]

export const SOFTWARE: readonly Rule[] = [
  // Whatever else the text says (the owner's, the computer's, the handset's name) stays out.
  {
    vendor: 'Zoiper',
    software: true,
    sign: /Zoiper|(?:^|[ ])Z[ ]\d\.\d/i,
    product: 'Zoiper',
    firmware: [/(?<![0-9A-Za-z.])(?:r?v)?(\d{1,2}(?:\.\d{1,3}){1,3})(?![0-9A-Za-z]|\.\d)/],
  },
  {
    vendor: 'Linphone',
    software: true,
    sign: /Linphone|belle-sip/i,
    product: 'Linphone',
    products: [
      [/Linphone[ -]?Android/i, 'Linphone Android'],
      [/Linphone[ -]?(?:iPhone|iOS)/i, 'Linphone iOS'],
      [/Linphone[ -]?Desktop/i, 'Linphone Desktop'],
    ],
    firmware: [/^\/(\d{1,2}(?:\.\d{1,3}){1,3})(?![0-9A-Za-z]|\.\d)/],
  },
  {
    vendor: 'CounterPath',
    software: true,
    sign: /(?<![A-Za-z])(?:Bria|X-?Lite|eyeBeam|CounterPath)(?![a-z])/i,
    product: 'Bria',
    products: [
      [/X-?Lite/i, 'X-Lite'],
      [/eyeBeam/i, 'eyeBeam'],
      [/Bria[ ](?:(?:Mobile|Teams|Solo|Enterprise)[ ])?(?:iOS|iPhone|iPad)/i, 'Bria iOS'],
      [/Bria[ ](?:(?:Mobile|Teams|Solo|Enterprise)[ ])?Android/i, 'Bria Android'],
    ],
  },
  { vendor: 'MicroSIP', software: true, sign: /MicroSIP/i, product: 'MicroSIP' },
  {
    vendor: '3CX',
    software: true,
    sign: /(?<![A-Za-z0-9])3CX/i,
    product: '3CX',
    products: [
      [/3CX[ ]?Phone[ ]?System/i, 'Phone System'],
      [
        /3CX[ ]?(?:Phone|DesktopApp|SoftPhone|(?:Mobile|Windows|Mac|iOS|iPhone|Android|VoIP|Web)?[ ]?Client)/i,
        '3CXPhone',
      ],
      [/3CX[ ]?(?:SBC|Tunnel)/i, 'SBC'],
    ],
    // Up to version 15.0 builds have five digits and a part of three behind them: together as long as a number.
    firmware: [/(?<![0-9A-Za-z.])(\d{1,2}\.\d{1,2}\.\d{5})\.\d{3,4}(?:[ ]\(\d{4,5}\))?(?![0-9A-Za-z]|\.\d)/, VERSION],
  },
  {
    vendor: 'Acrobits',
    software: true,
    sign: /Acrobits|Groundwire|Cloud Softphone/i,
    product: 'Acrobits',
    products: [
      [/Groundwire/i, 'Groundwire'],
      [/Acrobits[ ]Softphone/i, 'Acrobits Softphone'],
      [/Cloud[ ]Softphone/i, 'Cloud Softphone'],
    ],
    firmware: [/^\/(\d{1,2}(?:\.\d{1,3}){1,3})(?![0-9A-Za-z]|\.\d)/],
  },
  {
    vendor: 'Jitsi',
    software: true,
    sign: /(?<![A-Za-z])Jitsi/,
    product: 'Jitsi',
    firmware: [/^(\d{1,2}(?:\.\d{1,4}){1,2})(?![0-9.])/],
  },
  { vendor: 'PortSIP', software: true, sign: /(?<![A-Za-z])PortSIP/i, product: 'PortSIP' },
  { vendor: 'Telephone', software: true, sign: /^Telephone(?=[ ]\d\.)/, product: 'Telephone' },
  { vendor: 'Microsoft', software: true, sign: /^Microsoft\.PSTNHub/, product: 'Teams', firmware: [] },
  { vendor: 'Ribbon', software: true, sign: /(?<![A-Za-z])(?:Sonus|Ribbon)[ _-]/, product: 'other', firmware: [] },
  {
    vendor: 'Mizu',
    software: true,
    sign: /(?<![A-Za-z])Mizu(?:Phone|Droid|-?WebPhone|[ ]softphone)/i,
    product: 'Mizu',
  },
  { vendor: 'SessionTalk', software: true, sign: /(?<![A-Za-z])SessionTalk/i, product: 'SessionTalk' },
  { vendor: 'Ringotel', software: true, sign: /(?<![A-Za-z])Ringotel/i, product: 'Ringotel' },
  { vendor: 'Twinkle', software: true, sign: /^Twinkle\//, product: 'Twinkle' },
  { vendor: 'Jami', software: true, sign: /^(?:Jami|SFLphone|Ring)(?=[ /]\d)/, product: 'Jami' },
  { vendor: 'Yate', software: true, sign: /^YATE\//i, product: 'Yate' },
  { vendor: 'Ekiga', software: true, sign: /(?<![A-Za-z])Ekiga/, product: 'Ekiga' },
  {
    vendor: 'PhonerLite',
    software: true,
    sign: /PhonerLite|SIPPER for PhonerLite|(?<![A-Za-z])Phoner(?![A-Za-z])/,
    product: 'PhonerLite',
  },
  {
    vendor: 'CSipSimple',
    software: true,
    sign: /CSipSimple/i,
    product: 'CSipSimple',
    firmware: [/\/(r\d{3,5})(?![0-9A-Za-z])/],
  },
  { vendor: 'AG Projects', software: true, sign: /(?<![A-Za-z])Blink(?![A-Za-z])/, product: 'Blink' },
  {
    vendor: 'Grandstream',
    software: true,
    sign: /GS Wave|(?<![A-Za-z])Wave[ ](?:Desktop|Android|iOS)/,
    product: 'Wave',
  },
  { vendor: 'baresip', software: true, sign: /(?<![A-Za-z])baresip(?![A-Za-z])/i, product: 'baresip' },
  { vendor: 'SIPp', software: true, sign: /(?<![A-Za-z])SIPp(?![A-Za-z])/, product: 'SIPp' },
  { vendor: 'JsSIP', software: true, sign: /(?<![A-Za-z])JsSIP/, product: 'JsSIP' },
  { vendor: 'SIP.js', software: true, sign: /(?<![A-Za-z])SIP\.js/, product: 'SIP.js' },
  { vendor: 'PJSIP', software: true, sign: /(?<![A-Za-z])(?:PJSUA|PJSIP|pjsip|pjproject)/i, product: 'PJSIP' },
  { vendor: 'Twilio', software: true, sign: /(?<![A-Za-z])Twilio/i, product: 'Twilio' },
  { vendor: 'Telnyx', software: true, sign: /(?<![A-Za-z])Telnyx/i, product: 'Telnyx' },
  { vendor: 'FreePBX', software: true, sign: /(?<![A-Za-z])(?:FPBX|FreePBX)/, product: 'FreePBX' },
  {
    vendor: 'Asterisk',
    software: true,
    sign: /(?<![A-Za-z])Asterisk/i,
    product: 'Asterisk PBX',
    firmware: [
      /^(?:[ ]PBX)?[ /](?:certified[ /-])?(\d{1,2}(?:\.\d{1,3}){1,3}(?:-cert\d{1,2}|-rc\d{1,2})?)(?![0-9A-Za-z]|\.\d)/,
    ],
  },
  { vendor: 'FreeSWITCH', software: true, sign: /FreeSWITCH/i, product: 'FreeSWITCH' },
  { vendor: 'Kamailio', software: true, sign: /(?<![A-Za-z])kamailio/i, product: 'Kamailio' },
  { vendor: 'OpenSIPS', software: true, sign: /(?<![A-Za-z])OpenSIPS/i, product: 'OpenSIPS' },
  { vendor: 'OpenSER', software: true, sign: /(?<![A-Za-z])(?:OpenSER|Sip EXpress router)/i, product: 'OpenSER' },
  {
    vendor: 'CommuniGate',
    software: true,
    sign: /CommuniGatePro/,
    product: 'CommuniGate Pro',
    firmware: [/^\/(\d{1,2}\.\d{1,2}(?:c\d{1,2}[a-z]?)?)(?![0-9A-Za-z])/],
  },
  { vendor: 'drachtio', software: true, sign: /(?<![A-Za-z])drachtio/i, product: 'drachtio' },
  { vendor: 'sofia-sip', software: true, sign: /(?<![A-Za-z])sofia-sip/i, product: 'sofia-sip' },
  { vendor: 'IceWarp', software: true, sign: /^IceWarp SIP/, product: 'IceWarp' },
  { vendor: 'Ringcentral', software: true, sign: /(?<![A-Za-z])RingCentral/i, product: 'RingCentral' },
  { vendor: 'Zoom', software: true, sign: /^Zoom(?![a-z])/, product: 'Zoom' },
  { vendor: 'Webex', software: true, sign: /(?<![A-Za-z])Webex/i, product: 'Webex' },
  { vendor: 'Dialpad', software: true, sign: /(?<![A-Za-z])Dialpad/i, product: 'Dialpad' },
  { vendor: 'Sipnetic', software: true, sign: /(?<![A-Za-z])Sipnetic/i, product: 'Sipnetic' },
  { vendor: 'Tone2', software: true, sign: /^Tone2 Phone/i, product: 'Tone2' },
  { vendor: 'resip', software: true, sign: /(?<![A-Za-z])(?:reSIProcate|repro)[ /]/i, product: 'reSIProcate' },
  { vendor: 'Flexisip', software: true, sign: /^Flexisip/i, product: 'Flexisip' },
  { vendor: 'rtpengine', software: true, sign: /^rtpengine/i, product: 'rtpengine' },
  { vendor: 'Oracle', software: true, sign: /(?<![A-Za-z])(?:Acme Packet|Oracle (?:SBC|ESBC))/i, product: 'SBC' },
]
