import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * Path of `../shared/<name>` beside the checkout, or null where it is not there.
 * Those files belong to others and their licences keep them out of the project: a test that gets null says so with
 * `t.comment` and goes on with the project's own fixtures.
 */
export function shared(name: string): string | null {
  const path = join(dirname(repositoryRoot()), 'shared', name)
  return existsSync(path) ? path : null
}

/** Folder that holds package.json: the compiled tests sit deeper (dist/test/...) than their sources. */
export function repositoryRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error('no package.json above the tests')
    folder = parent
  }
  return folder
}
