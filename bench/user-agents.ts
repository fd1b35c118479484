/**
 * About 200 User-Agents as desk phones, softphones and gateways send them; some carry a MAC address, all of the
 * reserved range.
 */

const DEVICES: readonly (readonly [pattern: string, models: readonly string[]])[] = [
  ['Yealink SIP-% 96.86.0.#', ['T42S', 'T46U', 'T53W', 'T54W', 'T57W', 'T33G']],
  ['Yealink SIP-% 66.85.0.# 00005e0053@@', ['T46S', 'T48S', 'T41P']],
  ['PolycomVVX-VVX_%-UA/5.9.5.061#', ['250', '311', '411', '450', '601']],
  ['PolycomVVX-VVX_%-UA/6.3.1.824#_00005e0053@@', ['150', '350', '501']],
  ['PolycomEdge-Edge_%-UA/8.0.1.270#', ['E100', 'E220', 'E350', 'B20']],
  ['Cisco/SPA%-7.6.2SR#', ['303', '504G', '508G', '525G2']],
  ['Cisco-CP-%-3PCC/11.3.7_00005e0053@@_', ['7841', '8841', '8851']],
  ['snom%/10.1.169.1#', ['D315', 'D385', 'D735', 'D785', 'M900']],
  ['Grandstream GXP% 1.0.11.6#', ['1625', '1630', '2135', '2170']],
  ['Grandstream HT% 1.0.49.# 00005e0053@@', ['801', '802', '812', '818']],
  ['Fanvil % 2.12.1.# 00005e0053@@', ['X3U', 'X4U', 'X5U', 'X6U', 'V64']],
  ['Panasonic_KX-%/22.1#0 (00005e0053@@)', ['HDV130', 'HDV230', 'TGP600']],
  ['Gigaset N%/83.V2.5#', ['510 IP PRO', '670 IP PRO', '870 IP PRO']],
  ['% rv2.10.20.#', ['Z 5.6 Zoiper', 'Z 5.5 Zoiper']],
  ['Linphone-Desktop/5.2.# (%) LinphoneCore/5.3', ['Debian', 'Ubuntu', 'Windows', 'macOS']],
  ['MicroSIP/3.21.# (%)', ['x64', 'x86']],
  ['AVM FRITZ!Box % 154.07.5#', ['7530', '7590', '6660']],
  ['FreeSWITCH-mod_sofia/1.10.1#-release%', ['', '~64bit']],
]

/** The list: the same on every call. */
export function userAgents(): string[] {
  const list: string[] = []
  DEVICES.forEach(([pattern, models], d) => {
    models.forEach((model, m) => {
      for (let version = 0; version < 3; version++) {
        const last = (d * 37 + m * 11 + version) & 0xff
        list.push(
          pattern
            .replace('%', model)
            .replace('#', String(version + 1))
            .replace('@@', last.toString(16).padStart(2, '0')),
        )
      }
    })
  })
  return list
}
