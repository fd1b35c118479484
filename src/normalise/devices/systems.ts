/**
 * Operating systems by name, with the release where it follows a closed form: what a device says it runs on. What is
 * none of these is `other`.
 */
const NAMES: readonly (readonly [name: string, pattern: RegExp])[] = [
  ['Windows', /^(?:Microsoft )?Windows(?: (?:NT|Server))?$/i],
  ['macOS', /^(?:mac ?OS(?: X)?|OS X|Darwin)$/i],
  ['iOS', /^(?:iOS|iPhone OS)$/i],
  ['iPadOS', /^iPadOS$/i],
  ['watchOS', /^watchOS$/i],
  ['Android', /^Android$/i],
  ['ChromeOS', /^(?:Chrome ?OS|CrOS)$/i],
  ['Ubuntu', /^Ubuntu(?: Linux)?$/i],
  ['Debian', /^Debian(?: GNU\/Linux)?$/i],
  ['Fedora', /^Fedora(?: Linux)?$/i],
  ['CentOS', /^CentOS(?: Linux| Stream)?$/i],
  ['Red Hat Enterprise Linux', /^(?:Red Hat(?: Enterprise)? Linux|RHEL)$/i],
  ['Rocky Linux', /^Rocky(?: Linux)?$/i],
  ['AlmaLinux', /^Alma ?Linux$/i],
  ['Alpine', /^Alpine(?: Linux)?$/i],
  ['openSUSE', /^openSUSE$/i],
  ['SUSE', /^(?:SLES|SUSE(?: Linux)?(?: Enterprise)?(?: Server)?)$/i],
  ['Arch Linux', /^Arch(?: Linux)?$/i],
  ['OpenWrt', /^OpenWrt$/i],
  ['Raspberry Pi OS', /^(?:Raspberry Pi OS|Raspbian)$/i],
  ['HarmonyOS', /^Harmony ?OS$/i],
  ['Tizen', /^Tizen$/i],
  ['KaiOS', /^KaiOS$/i],
  ['FreeBSD', /^FreeBSD$/i],
  ['OpenBSD', /^OpenBSD$/i],
  ['NetBSD', /^NetBSD$/i],
  ['Solaris', /^(?:Solaris|SunOS)$/i],
  ['VxWorks', /^VxWorks$/i],
  ['QNX', /^QNX$/i],
  ['FreeRTOS', /^FreeRTOS$/i],
  ['Linux', /^(?:GNU\/)?Linux(?: kernel)?$/i],
]

/** A name, and a release of up to three groups: `14`, `10.15.7`, `22.04`. */
const WRITTEN =
  /^([A-Za-z][A-Za-z /]{0,31}?)(?:[ /-]?(\d{1,2}(?:[._]\d{1,2}){0,2}|XP|Vista|2000|20[0-2]\d)(?: ?LTS)?)?$/

/** The operating system that a whole text names; null where it names none. */
export function systemOf(text: string): string | null {
  const match = WRITTEN.exec(text.trim())
  if (match === null) return null
  const found = NAMES.find(([, pattern]) => pattern.test(match[1].trim()))
  if (found === undefined) return null
  const release = (match.at(2) ?? '').replaceAll('_', '.')
  return release === '' ? found[0] : `${found[0]} ${release}`
}
