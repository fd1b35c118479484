/**
 * Ports for what must be told its port before it listens. They lie below those that the system gives to whoever asks
 * for port 0, so that no other process can be given one between here and the program's own listen.
 */
import { createSocket } from 'node:dgram'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'

/** Above what needs privileges or is commonly in use. */
const FIRST = 15_000
/** Linux's own default, where /proc does not say. */
const FIRST_EPHEMERAL = 32_768
const TRIES = 100

function firstEphemeral(): number {
  try {
    return Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s+/)[0])
  } catch {
    return FIRST_EPHEMERAL
  }
}

const tcpIsFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => {
      resolve(false)
    })
    server.listen(port, '127.0.0.1', () => {
      server.close(() => {
        resolve(true)
      })
    })
  })

const udpIsFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createSocket('udp4')
    socket.once('error', () => {
      resolve(false)
    })
    socket.bind(port, '127.0.0.1', () => {
      socket.close(() => {
        resolve(true)
      })
    })
  })

/** Given once already by this process. */
const given = new Set<number>()

/**
 * @returns a port of the loopback interface that nobody has, by TCP and UDP
 * @throws {Error} where the system gives every port above 15,000 away, or 100 tries in a row met a taken one
 */
export async function freePort(): Promise<number> {
  const end = firstEphemeral()
  if (end <= FIRST) throw new Error(`no port is left below ${end}`)
  for (let n = 0; n < TRIES; n++) {
    const port = FIRST + Math.floor(Math.random() * (end - FIRST))
    if (given.has(port)) continue
    given.add(port)
    if ((await tcpIsFree(port)) && (await udpIsFree(port))) return port
  }
  throw new Error(`no free port in ${TRIES} tries`)
}
