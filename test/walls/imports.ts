/**
 * What each source file imports: statically, dynamically, as a type, or as a worker's entry (`new URL('./x.js',
 * import.meta.url)`).
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import ts from 'typescript'
import { given } from '../helpers/given.js'

export interface Import {
  /** Paths below `src/`, with `.ts`. */
  readonly from: string
  readonly to: string
}

/** All TypeScript files below a folder, by their path in it. */
export function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => name.replaceAll('\\', '/'))
    .sort()
}

/** The imports of a file's text. @param file its path below `src/` */
export function importsOf(file: string, text: string): Import[] {
  const specifiers = new Set<string>()
  const visit = (node: ts.Node): void => {
    if (
      (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) &&
      node.moduleSpecifier !== undefined &&
      ts.isStringLiteral(node.moduleSpecifier)
    ) {
      specifiers.add(node.moduleSpecifier.text)
    }
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument) && ts.isStringLiteral(node.argument.literal))
      specifiers.add(node.argument.literal.text)
    if (
      ts.isCallExpression(node) &&
      node.expression.kind === ts.SyntaxKind.ImportKeyword &&
      ts.isStringLiteral(node.arguments[0])
    ) {
      specifiers.add(node.arguments[0].text)
    }
    if (
      ts.isNewExpression(node) &&
      node.expression.getText() === 'URL' &&
      node.arguments?.[1]?.getText() === 'import.meta.url' &&
      ts.isStringLiteral(node.arguments[0]) &&
      node.arguments[0].text.endsWith('.js')
    ) {
      specifiers.add(node.arguments[0].text)
    }
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true))
  return [...specifiers]
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) => ({ from: file, to: posix.join(posix.dirname(file), specifier).replace(/\.js$/, '.ts') }))
}

/**
 * Packages that are loaded with a file: by what it imports at once, and what that imports, types left out.
 * @param file its path below the folder
 */
export function packagesWith(folder: string, file: string): Set<string> {
  const packages = new Set<string>()
  const seen = new Set<string>()
  const visit = (path: string): void => {
    if (seen.has(path)) return
    seen.add(path)
    const source = ts.createSourceFile(path, readFileSync(join(folder, path), 'utf8'), ts.ScriptTarget.Latest)
    for (const statement of source.statements) {
      const specifier = loadedBy(statement)
      if (specifier === null) continue
      if (specifier.startsWith('.')) visit(posix.join(posix.dirname(path), specifier).replace(/\.js$/, '.ts'))
      else packages.add(specifier)
    }
  }
  visit(file)
  return packages
}

/** What a statement has loaded before its file runs; null for one that loads nothing. */
function loadedBy(statement: ts.Statement): string | null {
  if (!ts.isImportDeclaration(statement) && !ts.isExportDeclaration(statement)) return null
  const { moduleSpecifier } = statement
  if (moduleSpecifier === undefined || !ts.isStringLiteral(moduleSpecifier)) return null
  if (ts.isExportDeclaration(statement)) return statement.isTypeOnly ? null : moduleSpecifier.text
  const clause = statement.importClause
  const names = clause?.namedBindings
  const onlyTypes =
    clause !== undefined &&
    (clause.phaseModifier === ts.SyntaxKind.TypeKeyword ||
      (clause.name === undefined &&
        names !== undefined &&
        ts.isNamedImports(names) &&
        names.elements.every(({ isTypeOnly }) => isTypeOnly)))
  return onlyTypes ? null : moduleSpecifier.text
}

/** The imports of all files below a folder. */
export function allImports(folder: string): Import[] {
  return sourceFiles(folder).flatMap((file) => importsOf(file, readFileSync(join(folder, file), 'utf8')))
}

/** Groups of files that import each other in a circle (Tarjan's strongly connected components of more than one). */
export function circles(imports: readonly Import[]): string[][] {
  const edges = new Map<string, string[]>()
  for (const { from, to } of imports) edges.set(from, [...(edges.get(from) ?? []), to])
  const index = new Map<string, number>()
  const low = new Map<string, number>()
  const stack: string[] = []
  const found: string[][] = []
  const visit = (file: string): void => {
    index.set(file, index.size)
    low.set(file, given(index.get(file)))
    stack.push(file)
    for (const next of edges.get(file) ?? []) {
      if (!index.has(next)) {
        visit(next)
        low.set(file, Math.min(given(low.get(file)), given(low.get(next))))
      } else if (stack.includes(next)) low.set(file, Math.min(given(low.get(file)), given(index.get(next))))
    }
    if (low.get(file) !== index.get(file)) return
    const group = stack.splice(stack.indexOf(file))
    if (group.length > 1) found.push(group.sort())
  }
  for (const file of edges.keys()) if (!index.has(file)) visit(file)
  return found
}
