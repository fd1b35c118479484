// Whether this Node.js is one that package.json names: any release of those lines from the one given on.
import { readFileSync } from 'node:fs'

const { engines } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
const [major, minor, patch] = process.versions.node.split('.').map(Number)
const supported = engines.node.split('||').map((range) => /^\^(\d+)\.(\d+)\.(\d+)$/.exec(range.trim()).slice(1).map(Number))
const fits = supported.some(([m, n, p]) => major === m && (minor > n || (minor === n && patch >= p)))
console.log(`Node.js ${process.versions.node}, package.json wants ${engines.node}`)
if (!fits) process.exit(1)
