/**
 * An HTTP client that costs little, since it shares the machine with the server: requests are octets made beforehand,
 * answers are compared.
 */
import { connect, type Socket } from 'node:net'

export interface Post {
  readonly host: string
  readonly port: number
  readonly path: string
  readonly contentType: string
}

/** What a connection does: makes its next body, or says that there is no more. */
export type NextBody = () => Buffer | null

/** One keep-alive connection: one post after the other. */
export class Poster {
  readonly #socket: Socket
  readonly #head: string
  #answered: (answer: string) => void = () => undefined
  #failed: (error: Error) => void = () => undefined
  #text = ''

  private constructor(socket: Socket, { host, port, path, contentType }: Post) {
    this.#socket = socket
    this.#head = `POST ${path} HTTP/1.1\r\nHost: ${host}:${port}\r\nContent-Type: ${contentType}\r\nContent-Length: `
    socket.setNoDelay(true)
    socket.setEncoding('latin1')
    socket.on('data', (chunk: string) => {
      this.#text += chunk
      const end = this.#text.indexOf('\r\n\r\n')
      if (end < 0) return
      const length = Number(/content-length: (\d+)/i.exec(this.#text.slice(0, end))?.[1] ?? NaN)
      if (this.#text.length < end + 4 + length) return
      const answer = `${this.#text.slice(9, 12)} ${this.#text.slice(end + 4)}`
      this.#text = ''
      this.#answered(answer)
    })
    socket.on('error', (error) => {
      this.#failed(error)
    })
    socket.on('close', () => {
      this.#failed(new Error('the server closed the connection'))
    })
  }

  static open(post: Post): Promise<Poster> {
    return new Promise((resolve, reject) => {
      const socket = connect(post.port, post.host, () => {
        resolve(new Poster(socket, post))
      })
      socket.once('error', reject)
    })
  }

  /** Posts until there is no more. @param check is told each answer, `status body`, and throws where it is wrong */
  async run(next: NextBody, check: (answer: string) => void): Promise<void> {
    for (let body = next(); body !== null; body = next()) {
      const answer = await new Promise<string>((resolve, reject) => {
        this.#answered = resolve
        this.#failed = reject
        this.#socket.cork()
        this.#socket.write(`${this.#head}${body.length}\r\n\r\n`, 'latin1')
        this.#socket.write(body)
        this.#socket.uncork()
      })
      check(answer)
    }
  }

  close(): void {
    this.#failed = () => undefined
    this.#socket.destroy()
  }
}

/** A file's lines in bodies of so many. */
export function bodiesOf(file: Buffer, lines: number): Buffer[] {
  const bodies: Buffer[] = []
  let start = 0
  let count = 0
  for (let at = file.indexOf(10); at >= 0; at = file.indexOf(10, at + 1)) {
    if (++count < lines) continue
    bodies.push(file.subarray(start, at + 1))
    start = at + 1
    count = 0
  }
  if (start < file.length) bodies.push(file.subarray(start))
  return bodies
}
