/**
 * No value is exported that nobody imports: what is only its file's own says so, and what nobody calls goes. Types are
 * left out: those in the signature of something exported belong to it, whether anybody names them or not.
 */
import { readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { repositoryRoot } from './helpers/shared.js'
import { sourceFiles } from './walls/imports.js'

const root = repositoryRoot()

interface Read {
  /** Names of values that it exports. */
  readonly exported: readonly string[]
  /** Names that it takes, by file; `*`: all of it. */
  readonly taken: readonly { readonly from: string; readonly name: string }[]
}

/** What a file exports and imports. @param file its path below the repository */
function read(file: string, text: string): Read {
  const exported: string[] = []
  const taken: { from: string; name: string }[] = []
  const take = (specifier: string, name: string): void => {
    if (specifier.startsWith('.'))
      taken.push({ from: posix.join(posix.dirname(file), specifier).replace(/\.js$/, '.ts'), name })
  }
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier)) {
      const bindings = node.importClause?.namedBindings
      if (bindings !== undefined && ts.isNamedImports(bindings))
        for (const one of bindings.elements) take(node.moduleSpecifier.text, (one.propertyName ?? one.name).text)
      if (bindings !== undefined && ts.isNamespaceImport(bindings)) take(node.moduleSpecifier.text, '*')
    }
    if (ts.isExportDeclaration(node)) {
      const clause = node.exportClause
      const specifier =
        node.moduleSpecifier !== undefined && ts.isStringLiteral(node.moduleSpecifier)
          ? node.moduleSpecifier.text
          : null
      if (clause !== undefined && ts.isNamedExports(clause)) {
        for (const one of clause.elements) {
          exported.push(one.name.text)
          if (specifier !== null) take(specifier, (one.propertyName ?? one.name).text)
        }
      } else if (specifier !== null) take(specifier, '*')
    }
    // Of a file that is imported when it is needed, or by a type, all may be used.
    if (
      ts.isCallExpression(node) &&
      node.expression.kind === ts.SyntaxKind.ImportKeyword &&
      ts.isStringLiteral(node.arguments[0])
    )
      take(node.arguments[0].text, '*')
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument) && ts.isStringLiteral(node.argument.literal)) {
      take(
        node.argument.literal.text,
        node.qualifier !== undefined && ts.isIdentifier(node.qualifier) ? node.qualifier.text : '*',
      )
    }
    if (
      ts.canHaveModifiers(node) &&
      ts.getModifiers(node)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) === true
    ) {
      if (ts.isVariableStatement(node)) {
        for (const { name } of node.declarationList.declarations) if (ts.isIdentifier(name)) exported.push(name.text)
      } else if ((ts.isFunctionDeclaration(node) || ts.isClassDeclaration(node)) && node.name !== undefined) {
        exported.push(node.name.text)
      }
    }
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true))
  return { exported, taken }
}

/**
 * Exports that nobody imports, as `file: name`. @param files by path, with their texts; those below `src/` are looked
 * at
 */
function unused(files: ReadonlyMap<string, string>, readers: (file: string) => boolean): string[] {
  const reads = [...files].map(([file, text]) => ({ file, ...read(file, text) }))
  const taken = new Set(
    reads.filter(({ file }) => readers(file)).flatMap((one) => one.taken.map(({ from, name }) => `${from}: ${name}`)),
  )
  return reads
    .filter(({ file }) => file.startsWith('src/'))
    .flatMap(({ file, exported }) =>
      taken.has(`${file}: *`) ? [] : exported.map((name) => `${file}: ${name}`).filter((name) => !taken.has(name)),
    )
    .sort()
}

t.test('the checker sees what is exported, and what takes it', (t) => {
  const files = new Map([
    [
      'src/a.ts',
      'export const a = 1, b = 2\nexport function c() {}\nexport class D {}\nexport interface E {}\nexport type F = 1\nconst g = 1',
    ],
    ['src/b.ts', 'import { a as x, type E } from "./a.js"\nexport { c } from "./a.js"\ntype Y = import("./a.js").F'],
    ['src/c.ts', 'export const h = 1'],
    ['src/d.ts', 'const all = await import("./c.js")'],
    ['test/e.ts', 'import { b } from "../src/a.js"'],
  ])
  t.same(
    unused(files, () => true),
    ['src/a.ts: D', 'src/b.ts: c'],
  )
  t.same(
    unused(files, (file) => file.startsWith('src/')),
    ['src/a.ts: D', 'src/a.ts: b', 'src/b.ts: c'],
  )
  t.end()
})

const files = new Map(
  ['src', 'test', 'bench'].flatMap((folder) =>
    sourceFiles(join(root, folder)).map((file): [string, string] => {
      const path = `${folder}/${file}`
      return [path, readFileSync(join(root, path), 'utf8')]
    }),
  ),
)

t.test('every export is imported by somebody', (t) => {
  t.same(
    unused(files, () => true),
    [],
  )
  t.end()
})
