/**
 * Devices, by vendor: what tells their User-Agents, and where their firmware stands in them. Their models are in
 * `models.ts`.
 */
import { FOUR_GROUPS, type Rule, VERSION } from './rule.js'

export const HARDWARE: readonly Rule[] = [
  { vendor: 'Poly', sign: /Polycom|PolyEdge|PolyCCX|Poly[ _-](?:Edge|CCX|VVX|Trio|Rove)|PolyTrio|PolyRove/ },
  // OBi devices say Obihai or Polycom; Poly's own rule has none of their models.
  { vendor: 'Obihai', sign: /OBIHAI|\bOBi\d{3,4}/i },
  {
    vendor: 'Yealink',
    sign: /Yealink/i,

    firmware: [FOUR_GROUPS],
  },
  {
    vendor: 'Grandstream',
    sign: /Grandstream/i,

    firmware: [FOUR_GROUPS, VERSION],
  },
  // TelePresence: model numbers after the slash, and the endpoint's name where the text has it.
  {
    vendor: 'Cisco',
    sign: /TANDBERG/,

    firmware: [/\(((?:X|ce|TC|TE|F)?\d{1,2}(?:\.\d{1,2}){1,2}(?:\.\d{1,3}(?=\)))?)(?=[.)(])/],
  },
  {
    vendor: 'Cisco',
    sign: /Cisco-SIPGateway/,
    product: 'SIPGateway',
    firmware: [
      /IOS-(\d{1,2}\.(?:x|\d{1,2})(?:\.\d{1,2}[A-Za-z]{0,2}\d{0,2})?(?:\.[A-Z]{1,3}\d{0,2}[a-z]?)?)(?![0-9A-Za-z])/,
    ],
  },
  { vendor: 'Cisco', sign: /Cisco-CUCM/, product: 'CUCM', firmware: [/^(\d{1,2}\.\d{1,2})(?![0-9A-Za-z])/] },
  { vendor: 'Cisco', sign: /(?<![A-Za-z])(?:Cisco|Linksys|Sipura)(?![A-Za-z])/i },
  {
    vendor: 'Snom',
    sign: /(?<![A-Za-z])snom/i,

    firmware: [/(?<![0-9A-Za-z.])(10\.1\.\d{1,3}\.\d{1,3})(?![0-9A-Za-z]|\.\d)/, VERSION],
  },
  { vendor: 'Fanvil', sign: /Fanvil/i },
  {
    vendor: 'Gigaset',
    sign: /Gigaset|(?<![A-Za-z0-9])[ACNSED][LXE]?\d{3}[A-Z]?(?:[ -]?(?:IP|DM)(?:[ -](?:PRO|R|GO))?|[ -]GO)\/\d{2}\./i,

    firmware: [
      /(?<![0-9A-Za-z.])\d{2,3}\.V(\d{1,2}\.\d{1,3}(?:\.\d{1,3})?)(?![0-9A-Za-z]|\.\d)/,
      /(?<![0-9A-Za-z.])(\d{2,3}\.\d{1,3}(?:\.\d{1,3}){0,3})(?![0-9A-Za-z]|\.\d)/,
      VERSION,
    ],
  },
  {
    vendor: 'AVM',
    sign: /(?<![A-Za-z])AVM(?![A-Za-z])|FRITZ!/,

    firmware: [/(?<![0-9A-Za-z.])(\d{2,3}\.\d{2}\.\d{2})(?![0-9A-Za-z]|\.\d)/, VERSION],
  },
  { vendor: 'Mitel', sign: /(?<![A-Za-z])(?:Mitel|Aastra)/i },
  { vendor: 'Panasonic', sign: /Panasonic|(?<![A-Za-z])KX-/i },
  {
    vendor: 'AudioCodes',
    sign: /Audiocodes|AUDC|(?<![A-Za-z])MP-1(?:12|14|18|24)(?![0-9])|(?<![A-Za-z])Mediant/i,

    firmware: [/(?<![0-9A-Za-z.])v?\.?(\d{1,2}\.\d{1,3}[A-Z]?(?:\.\d{1,4}){1,3})(?![0-9A-Za-z]|\.\d)/],
  },
  { vendor: 'Avaya', sign: /(?<![A-Za-z])Avaya|^IP Office/i },
  { vendor: 'Htek', sign: /(?<![A-Za-z])(?:Htek|Hanlong)/i },
  { vendor: 'VTech', sign: /(?<![A-Za-z])VTech|ErisTerminal/i },
  {
    vendor: 'Patton',
    sign: /(?<![A-Za-z])(?:Patton|SmartNode)/i,

    firmware: [/(?<![0-9A-Za-z])(R\d{1,2}\.(?:[A-Z]|\d{1,2})(?:\.\d{1,3})?)(?![0-9A-Za-z]|\.\d)/, VERSION],
  },
  { vendor: 'Technicolor', sign: /Technicolor|(?<![A-Za-z])Thomson|MediaAccess|SpeedTouch/i },
  {
    vendor: 'Eltex',
    sign: /(?<![A-Za-z])(?:Eltex|smg_pa_sip|TAU-\d|RG-\d{4})/,

    firmware: [/(?<![0-9A-Za-z.])(\d{1,2}(?:\.\d{1,3}){1,3})(?![0-9A-Za-z]|\.\d)/],
  },
  { vendor: 'Axis', sign: /(?<![A-Za-z])AXIS(?![A-Za-z])/ },
  {
    vendor: 'Huawei',
    sign: /(?<![A-Za-z])Huawei/i,

    firmware: [/(?<![0-9A-Za-z])(V\d{3}R\d{3}(?:C\d{2})?)(?![0-9A-Za-z])/],
  },
  {
    vendor: 'ZTE',
    sign: /(?<![A-Za-z])(?:ZTE|ZXDSL|ZXHN|ZXV10|F6\d{2}\/V)/,

    firmware: [/V(\d{1,2}\.\d{1,2}\.\d{1,3}(?:[A-Z]\d{1,2}){0,3}[A-Z]?)(?:\.[A-Z]{4}\d{2})?(?![0-9A-Za-z]|\.\d)/],
  },
  { vendor: 'Tilgin', sign: /(?<![A-Za-z])Tilgin/ },
  { vendor: 'RTX', sign: /(?<![A-Za-z])IPDECT(?![A-Za-z])/, product: 'IPDECT' },
  { vendor: 'ShoreTel', sign: /ShoreGear|ShoreTel|ShorePhone/i },
  { vendor: 'Fortinet', sign: /FortiVoice|FortiFone/ },
  { vendor: 'Valcom', sign: /(?<![A-Za-z])Valcom/ },
  { vendor: 'NEC', sign: /(?<![A-Za-z])NEC(?:-i)?(?![A-Za-z])/ },
  {
    vendor: 'Unify',
    sign: /OpenStage|OpenScape|optiPoint|Desk_?Phone_IP|Desk Phone IP|(?<![A-Za-z])Unify/,

    firmware: [/(?<![0-9A-Za-z])(V\d R\d{1,2}\.\d{1,2}\.\d{1,2})(?![0-9A-Za-z])/, VERSION],
  },
  { vendor: 'Wildix', sign: /(?<![A-Za-z])Wildix/ },
  { vendor: 'Algo', sign: /(?<![A-Za-z])Algo(?=[ -]\d{4})/ },
  { vendor: 'Ingate', sign: /SIParator|(?<![A-Za-z])Ingate/, product: 'SIParator' },
  { vendor: 'Sangoma', sign: /(?<![A-Za-z])Sangoma|(?<![A-Za-z])Vega[ -]?\d/ },
  {
    vendor: 'Digium',
    sign: /(?<![A-Za-z])Digium/,

    firmware: [/(?<![0-9A-Za-z_])(\d{1,2}(?:_\d{1,2}){1,3})(?![0-9A-Za-z_])/],
  },
  { vendor: 'Akuvox', sign: /(?<![A-Za-z])Akuvox/i },
  { vendor: '2N', sign: /(?<![A-Za-z0-9])2N[ _-]/ },
  {
    vendor: 'innovaphone',
    sign: /innovaphone/i,

    firmware: [/(?<![0-9A-Za-z])(\d{1,2}r\d{1,2}(?:sr\d{1,3})?)(?![0-9A-Za-z])/],
  },
  { vendor: 'Spectralink', sign: /Spectralink|(?<![A-Za-z])KIRK(?![A-Za-z])/i },
  { vendor: 'Alcatel-Lucent', sign: /(?<![A-Za-z])Alcatel|(?<![A-Za-z])OmniPCX|(?<![A-Za-z])ALE[ -](?=[A-Z0-9])/ },
  { vendor: 'Dinstar', sign: /(?<![A-Za-z])Dinstar/i },
  { vendor: 'Ooma', sign: /(?<![A-Za-z])Ooma/i },
  { vendor: 'D-Link', sign: /(?<![A-Za-z])D-?Link(?![A-Za-z])/i },
  { vendor: 'EnGenius', sign: /EnGenius_Router/, product: 'Router' },
  { vendor: 'TP-Link', sign: /(?<![A-Za-z])TP-?Link/i },
  { vendor: 'Zyxel', sign: /(?<![A-Za-z])Zyxel/i },
  { vendor: 'Sagemcom', sign: /Sagemcom/i },
  { vendor: 'M5T', sign: /(?<![A-Za-z])M5T(?![A-Za-z])/, product: 'SIP-UA SAFE' },
  // A vendor's name, and what its table holds.
  { vendor: 'Yeastar', sign: /(?<![A-Za-z])Yeastar/i },
  {
    vendor: 'Auerswald',
    sign: /(?<![A-Za-z])(?:Auerswald|COMfortel|COMpact[ ]\d|COMmander[ ]\d|COMtrexx)/,
    firmware: [/^[ /](\d\.\d{1,2}[A-Z]?)(?![0-9A-Za-z.])/],
  },
  { vendor: 'AGFEO', sign: /(?<![A-Za-z])AGFEO/i },
  { vendor: 'bintec elmeg', sign: /(?<![A-Za-z])(?:bintec|elmeg)|(?<![A-Za-z])be\.IP/i },
  {
    vendor: 'LANCOM',
    sign: /(?<![A-Za-z])LANCOM/,
    firmware: [/(?<![0-9A-Za-z.])(\d{1,2}\.\d{2}\.\d{4})(?:[ ]\/[ ]\d{2}\.\d{2}\.\d{4})?(?![0-9A-Za-z.])/],
  },
  { vendor: 'Telekom', sign: /(?<![A-Za-z])(?:Speedport|Speedphone|Digitalisierungsbox|Telekom)/ },
  { vendor: 'Flyingvoice', sign: /(?<![A-Za-z])Flying[ ]?voice/i },
  { vendor: 'Escene', sign: /(?<![A-Za-z])Escene/i },
  { vendor: 'ATCOM', sign: /(?<![A-Za-z])ATCOM/i },
  { vendor: 'Swissvoice', sign: /(?<![A-Za-z])Swissvoice/i },
  { vendor: 'Ascom', sign: /(?<![A-Za-z])Ascom(?![a-z])/i },
  { vendor: 'Tadiran', sign: /(?<![A-Za-z])Tadiran/i },
  { vendor: 'Xorcom', sign: /(?<![A-Za-z])Xorcom/i },
  { vendor: 'Ericsson', sign: /(?<![A-Za-z])(?:Ericsson|MX-ONE)/ },
  { vendor: 'Aristel', sign: /(?<![A-Za-z])Aristel/i },
  { vendor: 'Atlinks', sign: /(?<![A-Za-z])(?:Atlinks|Temporis)/i },
  { vendor: 'Ribbon', sign: /(?<![A-Za-z])(?:EdgeMarc|Edgewater)/i },
  { vendor: 'Matrix', sign: /(?<![A-Za-z])(?:SPARSH|SETU[ ]V|ETERNITY)/ },
  { vendor: 'Zultys', sign: /(?<![A-Za-z])Zultys/i },
  { vendor: 'Allworx', sign: /(?<![A-Za-z])Allworx/i },
  { vendor: 'Adtran', sign: /(?<![A-Za-z])Adtran/i },
  { vendor: 'beroNet', sign: /(?<![A-Za-z])bero(?:Net|\.fix)/i },
  { vendor: 'Vodafone', sign: /(?<![A-Za-z])(?:Vodafone|EasyBox)/i },
  { vendor: 'Cyberdata', sign: /(?<![A-Za-z])Cyberdata/i },
  { vendor: 'Invoxia', sign: /(?<![A-Za-z])Invoxia/i },
  { vendor: 'Konftel', sign: /(?<![A-Za-z])Konftel/i },
  { vendor: 'Siedle', sign: /(?<![A-Za-z])Siedle/i },
  { vendor: 'Doorbird', sign: /(?<![A-Za-z])Doorbird/i },
  { vendor: 'Commend', sign: /(?<![A-Za-z])Commend(?![a-z])/i },
  { vendor: 'Zenitel', sign: /(?<![A-Za-z])Zenitel/i },
]
