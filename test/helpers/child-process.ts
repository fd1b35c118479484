/**
 * Children as a shell would start them. The test runner hangs its own loader on every process that a test starts, by a
 * hook on the import of `node:child_process` and by NODE_OPTIONS; it costs a third of a second of CPU for each program
 * started, some hundred times in one run of the tests, and makes the program another one than users have.
 */
const { execFile, execFileSync, spawn, spawnSync } = process.getBuiltinModule('node:child_process')

delete process.env['NODE_OPTIONS']

export { execFile, execFileSync, spawn, spawnSync }
