/**
 * The thread that reads the UDP socket, and does nothing else, so that nothing holds it up: a commit, a garbage
 * collection of the main thread is a second's packets that the kernel's buffer would not hold. What is no HEP3, or may
 * not send, goes no further.
 */
import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import type { Allowed } from '../../sections/authorise.js'
import { frameLength } from './frame.js'
import { Ring, type RingMemory } from './ring.js'
import { Senders } from './senders.js'

/** What the thread is started with. */
export interface UdpThreadOptions {
  readonly host: string
  readonly port: number
  readonly receiveBufferBytes: number
  readonly allow: readonly Allowed[]
  readonly ratePerSecond: number
  readonly ring: RingMemory
}

/** What it says. `null`: there is something in the ring. */
export type UdpThreadMessage =
  | null
  | { readonly kind: 'listening'; readonly address: string; readonly port: number; readonly bufferBytes: number }
  | { readonly kind: 'failed'; readonly code: string }
  | { readonly kind: 'closed' }

const WAKE_MS = 1

if (parentPort !== null) serve(parentPort, workerData as UdpThreadOptions)

function serve(main: NonNullable<typeof parentPort>, options: UdpThreadOptions): void {
  const { host, port, receiveBufferBytes, allow, ratePerSecond } = options
  const say = (message: UdpThreadMessage): void => {
    main.postMessage(message)
  }
  const ring = new Ring(options.ring)
  const senders = new Senders(allow, ratePerSecond)
  let waking = false
  const socket = createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4' })
  socket.on('error', (error) => {
    say({ kind: 'failed', code: (error as NodeJS.ErrnoException).code ?? 'error' })
  })
  socket.on('message', (bytes, remote) => {
    ring.count('received')
    const taken = senders.take(remote.address, performance.now())
    if (taken !== 'taken') {
      ring.count(taken)
      return
    }
    const length = frameLength(bytes, 0, bytes.length)
    if (length <= 0 || length > bytes.length) {
      ring.count('malformed')
      return
    }
    if (!ring.write(bytes, senders.place(remote.address))) {
      ring.count('dropped')
      return
    }
    if (waking) return
    // A message to the other thread costs more than a packet: one for all that come within a millisecond.
    waking = true
    setTimeout(() => {
      waking = false
      if (ring.wake()) say(null)
    }, WAKE_MS)
  })
  socket.bind({ port, address: host, exclusive: true }, () => {
    try {
      socket.setRecvBufferSize(receiveBufferBytes)
    } catch {
      // Some systems refuse what they cannot give, and keep what there is.
    }
    // Linux says twice what it gives: the other half is for its own use (socket(7)).
    const size = socket.getRecvBufferSize()
    say({
      kind: 'listening',
      address: socket.address().address,
      port: socket.address().port,
      bufferBytes: process.platform === 'linux' ? size / 2 : size,
    })
  })
  main.once('message', () => {
    socket.close(() => {
      say({ kind: 'closed' })
      main.close()
    })
  })
}
