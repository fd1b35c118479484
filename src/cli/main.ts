#!/usr/bin/env node
/**
 * The `minim` command's entry. It imports nothing before it has seen which Node.js this is, and its syntax is one that
 * old versions read: else they would end in a syntax error of some package, which tells nobody what to do.
 */
import process from 'node:process'

const OLDEST_MAJOR = 20

if (Number(process.versions.node.split('.')[0]) < OLDEST_MAJOR) {
  process.stderr.write(
    `minim: needs Node.js 24 (or 22.19, or 20.19.4), and this is ${process.versions.node}: install a newer one\n`,
  )
  process.exit(2)
}
await import('./program.js')
