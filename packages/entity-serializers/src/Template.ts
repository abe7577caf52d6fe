/**
 * Templates: the skeleton of an entity or document with labels where its values go, and their rendering. Rendering is
 * the only way back from rows to text, so it is kept apart from everything that reads text.
 */
import { codecsOf, type ColumnCodec, type ColumnValue, renderValue, styleFromName } from "./Codec.ts"
import { LABEL } from "./internal/ShapeTrie.ts"

/** What stands at a label. */
export type Label =
  | { readonly tag: "column"; readonly column: number; readonly style: number }
  | { readonly tag: "extra"; readonly column: number | undefined }
  | { readonly tag: "list" }
  | { readonly tag: "one" }
  /** Only in documents: a list without brackets, its elements joined by line feeds. */
  | { readonly tag: "lines" }

/** Literal JSON and labels in turn; literals may be empty. */
export interface Template {
  readonly literals: ReadonlyArray<string>
  readonly labels: ReadonlyArray<Label>
}

/** Thrown for a template, or a row under it, that no writer of ours can have made. */
export class TemplateProblem extends Error {
  override readonly name = "TemplateProblem"
}

const parseLabel = (text: string, codecs: ReadonlyArray<ColumnCodec>): Label => {
  if (text === "x") return { tag: "extra", column: undefined }
  if (text === "list" || text === "one" || (text === "lines" && codecs.length === 0)) return { tag: text }
  const [kind, name = "", style = "", ...rest] = text.split(":")
  const column = codecs.findIndex((codec) => codec.name === name)
  if (column < 0 || rest.length > 0) throw new TemplateProblem("a label names no column")
  if (kind === "x" && (style === "" || style === "o" || style === "z")) return { tag: "extra", column }
  const parsed = kind === "c" ? styleFromName(codecs[column]!, style) : undefined
  if (parsed === undefined) throw new TemplateProblem("a label has an unknown style")
  return { tag: "column", column, style: parsed }
}

/** The labels seen, by kind: however many templates there are, there are few of them. */
const seenLabels: Array<Map<string, Label>> = []

/** The pieces of a kind's template; code 0 gives those of a document's. */
export const parseTemplate = (kind: number, template: string): Template => {
  const codecs = codecsOf(kind)
  const seen = (seenLabels[kind] ??= new Map())
  const pieces = template.split(LABEL)
  if (pieces.length % 2 === 0) throw new TemplateProblem("a template ends inside a label")
  const literals: Array<string> = []
  const labels: Array<Label> = []
  for (const [at, piece] of pieces.entries()) {
    if (at % 2 === 0) literals.push(piece)
    else {
      let label = seen.get(piece)
      if (label === undefined) seen.set(piece, (label = parseLabel(piece, codecs)))
      labels.push(label)
    }
  }
  return { literals, labels }
}

/** Where the values of one row come from. */
export interface RowSource {
  /** DATE as days, TIMESTAMP as microseconds, DECIMAL as scaled integer; see `renderValue`. */
  readonly column: (index: number) => ColumnValue
  /** The `extra` text without its template line; null when there are no fragments. */
  readonly extra: string | null
  /** The compact texts of the children of a collection, in order. */
  readonly children: (collection: number) => ReadonlyArray<string>
}

/** The compact text of an entity. */
export const renderEntity = (kind: number, template: Template, row: RowSource): string => {
  const codecs = codecsOf(kind)
  const fragments = row.extra === null ? [] : row.extra.split("\n")
  let fragment = 0
  let collection = 0
  // Joined at the end: texts put together piece by piece keep their pieces in memory.
  const pieces = [template.literals[0]!]
  for (let i = 0; i < template.labels.length; i++) {
    const label = template.labels[i]!
    switch (label.tag) {
      case "column":
        pieces.push(renderValue(codecs[label.column]!, row.column(label.column), label.style))
        break
      case "extra":
        if (fragment === fragments.length) throw new TemplateProblem("a row has fewer fragments than its shape")
        pieces.push(fragments[fragment++]!)
        break
      case "list":
        pieces.push(`[${row.children(collection++).join(",")}]`)
        break
      case "lines":
        throw new TemplateProblem("an entity has no lines")
      case "one": {
        const children = row.children(collection++)
        if (children.length !== 1) throw new TemplateProblem("a single child is missing or not alone")
        pieces.push(children[0]!)
      }
    }
    pieces.push(template.literals[i + 1]!)
  }
  if (fragment !== fragments.length) throw new TemplateProblem("a row has more fragments than its shape")
  return pieces.join("")
}

/** Splits the `extra` of a row under shape 0 into its template and its fragments. */
export const splitFolded = (extra: string): { readonly template: string; readonly extra: string | null } => {
  const at = extra.indexOf("\n")
  return at < 0 ? { template: extra, extra: null } : { template: extra.slice(0, at), extra: extra.slice(at + 1) }
}

const COLLECTION = new RegExp(`${LABEL}(?:list|one)${LABEL}`)

/** Where a template's collections stand: JSON pointers from its root, in the order of the labels. */
export const collectionPointers = (
  template: string
): ReadonlyArray<{ readonly pointer: string; readonly list: boolean }> => {
  if (!COLLECTION.test(template)) return []
  const found: Array<{ pointer: string; list: boolean }> = []
  /** Open containers: the key last seen of an object, or the index of an array. */
  const path: Array<string | number> = []
  const pointer = (): string =>
    path.map((step) => `/${typeof step === "number" ? step : step.replace(/~/g, "~0").replace(/\//g, "~1")}`).join("")
  template.split(LABEL).forEach((piece, at) => {
    if (at % 2 === 1) {
      if (piece === "list" || piece === "one") found.push({ pointer: pointer(), list: piece === "list" })
      return
    }
    // No regular expression: those that skip a string run out of stack in one of some megabytes.
    for (let p = 0; p < piece.length; p++) {
      const c = piece[p]
      if (c === "{") path.push("")
      else if (c === "[") path.push(0)
      else if (c === "}" || c === "]") path.pop()
      else if (c === ",") {
        const top = path.length - 1
        if (typeof path[top] === "number") path[top] += 1
      } else if (c === '"') {
        const end = stringEnd(piece, p)
        if (piece[end] === ":") path[path.length - 1] = String(JSON.parse(piece.slice(p, end)))
        p = end - 1
      }
    }
  })
  return found
}

/** The index after the string that starts at `at`. */
const stringEnd = (text: string, at: number): number => {
  let p = at + 1
  while (p < text.length && text[p] !== '"') p += text[p] === "\\" ? 2 : 1
  return p + 1
}
