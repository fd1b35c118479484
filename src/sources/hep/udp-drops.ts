/** What the kernel dropped of a UDP socket because it was read too slowly: Linux says so in /proc/net/udp (proc(5)). */
import { readFile } from 'node:fs/promises'
import { isIPv6 } from 'node:net'

/**
 * The table's count for the sockets of this port; null where there is no such table (another system), or no such
 * socket.
 */
export async function udpDrops(address: string, port: number): Promise<number | null> {
  try {
    return dropsIn(await readFile(isIPv6(address) ? '/proc/net/udp6' : '/proc/net/udp', 'latin1'), port)
  } catch {
    return null
  }
}

/** Sum of the last column (`drops`) over the lines whose local port this is. */
export function dropsIn(table: string, port: number): number | null {
  const hex = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  let drops: number | null = null
  for (const line of table.split('\n').slice(1)) {
    const columns = line.trim().split(/\s+/)
    if (columns.length < 13 || !columns[1].endsWith(hex)) continue
    const count = Number(columns[columns.length - 1])
    if (Number.isFinite(count)) drops = (drops ?? 0) + count
  }
  return drops
}
