/** Where a running demo leaves its Kafka address and policy, so that `minim tail` finds it without being told. */
import { readFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import path from 'node:path'
import process from 'node:process'

export function demoFile(): string {
  return path.join(tmpdir(), `minim-demo-${userInfo().uid}.json`)
}

/** What a running demo tells. */
export interface RunningDemo {
  readonly bootstrap: string
  readonly pid: number
  /** Path of its policy. */
  readonly policy: string
}

/** The demo that runs, or null. */
export function runningDemo(): RunningDemo | null {
  try {
    const demo = JSON.parse(readFileSync(demoFile(), 'utf8')) as RunningDemo
    process.kill(demo.pid, 0)
    return demo
  } catch {
    return null
  }
}
