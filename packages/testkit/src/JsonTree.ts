/**
 * A syntax tree of JSON text that carries its spelling: white space, escapes, digits. It gives the text back byte for
 * byte (`toText`) and, without any parser, the compact text that a lossless store must give back (`toCompactText`).
 */

/** White space around a node, keys included. */
interface Spaced {
  readonly before: string
  readonly after: string
}

/** A number token, byte for byte. */
export interface JsonNumber extends Spaced {
  readonly _tag: "Number"
  readonly text: string
}

/** `null`, `true`, `false`, and Python's `NaN`, `Infinity`, `-Infinity`. */
export interface JsonToken extends Spaced {
  readonly _tag: "Token"
  readonly text: "null" | "true" | "false" | "NaN" | "Infinity" | "-Infinity"
}

/** A stretch of a string: what it means, in UTF-16 code units, and how it is written between the quotes. */
export interface StringPiece {
  readonly means: string
  readonly spelt: string
}

export interface JsonString extends Spaced {
  readonly _tag: "String"
  readonly pieces: ReadonlyArray<StringPiece>
}

export interface JsonArray extends Spaced {
  readonly _tag: "Array"
  readonly elements: ReadonlyArray<JsonTree>
  /** White space between the brackets of an array without elements. */
  readonly inner: string
}

export interface JsonMember {
  readonly key: JsonString
  readonly value: JsonTree
}

/** Members in their order; keys may repeat. */
export interface JsonObject extends Spaced {
  readonly _tag: "Object"
  readonly members: ReadonlyArray<JsonMember>
  /** White space between the braces of an object without members. */
  readonly inner: string
}

export type JsonTree = JsonNumber | JsonToken | JsonString | JsonArray | JsonObject

/** How the characters of a string are written: as they are where JSON allows it, or as one of the escapes. */
export type Spelling = "raw" | "short" | "lower" | "upper"

export const jsonNumber = (text: string): JsonNumber => ({ _tag: "Number", text, before: "", after: "" })

export const jsonToken = (text: JsonToken["text"]): JsonToken => ({ _tag: "Token", text, before: "", after: "" })

export const jsonNull: JsonToken = jsonToken("null")

export const stringOfPieces = (pieces: ReadonlyArray<StringPiece>): JsonString => ({
  _tag: "String",
  pieces,
  before: "",
  after: ""
})

/** A string of this value. Lone surrogates are always escaped: raw, no encoding could hold them. */
export const jsonString = (value: string, spelling: Spelling = "raw"): JsonString =>
  stringOfPieces(
    spelling === "raw" && plain.test(value)
      ? [{ means: value, spelt: value }]
      : Array.from(value, (character) => spellPiece(character, spelling))
  )

export const jsonArray = (elements: ReadonlyArray<JsonTree>): JsonArray => ({
  _tag: "Array",
  elements,
  inner: "",
  before: "",
  after: ""
})

export const jsonMember = (key: string | JsonString, value: JsonTree): JsonMember => ({
  key: typeof key === "string" ? jsonString(key) : key,
  value
})

export const jsonObject = (members: ReadonlyArray<JsonMember>): JsonObject => ({
  _tag: "Object",
  members,
  inner: "",
  before: "",
  after: ""
})

/** One character (one or two code units) with the way it is written; falls back where a spelling does not exist. */
export const spellPiece = (character: string, spelling: Spelling): StringPiece => {
  const short = shortEscapes[character]
  if (spelling === "raw" && plain.test(character)) return { means: character, spelt: character }
  if ((spelling === "raw" || spelling === "short") && short !== undefined) return { means: character, spelt: short }
  const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at))
  const spelt = units.map((unit) => {
    const hex = unit.toString(16).padStart(4, "0")
    return `\\u${spelling === "upper" ? hex.toUpperCase() : hex}`
  })
  return { means: character, spelt: spelt.join("") }
}

/** The code units that a string stands for. */
export const stringValue = (string: JsonString): string => string.pieces.map(({ means }) => means).join("")

/** The text of a tree, as it is spelt. Walks without recursion, so depth is no limit. */
export const toText = (tree: JsonTree): string =>
  write(tree, {
    space: (text) => text,
    string: (string) => `"${string.pieces.map(({ spelt }) => spelt).join("")}"`
  })

/** The compact text of a tree: no white space, strings as `JSON.stringify` writes them, all other tokens unchanged. */
export const toCompactText = (tree: JsonTree): string =>
  write(tree, { space: () => "", string: (string) => JSON.stringify(stringValue(string)) })

/** The same tree with white space put in from `gaps`, used in turn; none where `gaps` is empty. */
export const withWhitespace = (tree: JsonTree, gaps: ReadonlyArray<string>): JsonTree => {
  if (gaps.length === 0) return tree
  let at = 0
  const next = () => gaps[at++ % gaps.length] ?? ""
  const spaced = <T extends JsonTree>(node: T): T => ({ ...node, before: next(), after: next() })
  return mapTree(tree, (node) => {
    switch (node._tag) {
      case "Array":
        return spaced({ ...node, inner: next() })
      case "Object":
        return spaced({
          ...node,
          inner: next(),
          members: node.members.map(({ key, value }) => ({ key: spaced(key), value }))
        })
      default:
        return spaced(node)
    }
  })
}

/** The same tree laid out as `json.dump(…, indent=indent)` does, with `newline` between lines. */
export const withIndent = (tree: JsonTree, indent: number, newline = "\n"): JsonTree => {
  const line = (depth: number) => newline + " ".repeat(indent * depth)
  const lay = (node: JsonTree, depth: number, before: string, after: string): JsonTree => {
    switch (node._tag) {
      case "Array": {
        const last = node.elements.length - 1
        return {
          ...node,
          before,
          after,
          elements: node.elements.map((element, at) =>
            lay(element, depth + 1, line(depth + 1), at === last ? line(depth) : "")
          )
        }
      }
      case "Object": {
        const last = node.members.length - 1
        return {
          ...node,
          before,
          after,
          members: node.members.map(({ key, value }, at) => ({
            key: { ...key, before: line(depth + 1), after: "" },
            value: lay(value, depth + 1, " ", at === last ? line(depth) : "")
          }))
        }
      }
      default:
        return { ...node, before, after }
    }
  }
  return lay(tree, 0, "", "")
}

/** The same tree with all characters beyond ASCII escaped, as `json.dump` does. */
export const withAsciiEscapes = (tree: JsonTree): JsonTree => {
  const escape = (string: JsonString): JsonString => ({
    ...string,
    // oxlint-disable-next-line eslint/no-control-regex
    pieces: string.pieces.flatMap((piece) => (/^[\u0000-\u007f]*$/.test(piece.spelt) ? [piece] : escapePiece(piece)))
  })
  return mapTree(tree, (node) => {
    if (node._tag === "String") return escape(node)
    return node._tag === "Object"
      ? { ...node, members: node.members.map(({ key, value }) => ({ key: escape(key), value })) }
      : node
  })
}

/** The tree with every node replaced by `change(node)`, children first. */
export const mapTree = (tree: JsonTree, change: (node: JsonTree) => JsonTree): JsonTree => {
  switch (tree._tag) {
    case "Array":
      return change({ ...tree, elements: tree.elements.map((element) => mapTree(element, change)) })
    case "Object":
      return change({
        ...tree,
        members: tree.members.map(({ key, value }) => ({ key, value: mapTree(value, change) }))
      })
    default:
      return change(tree)
  }
}

/** Every node of the tree with its depth (0 for the root), parents first. Keys are not nodes. */
export function* nodesOf(tree: JsonTree): Generator<{ readonly node: JsonTree; readonly depth: number }> {
  const stack: Array<{ readonly node: JsonTree; readonly depth: number }> = [{ node: tree, depth: 0 }]
  for (let entry = stack.pop(); entry !== undefined; entry = stack.pop()) {
    yield entry
    const { node, depth } = entry
    const children =
      node._tag === "Array" ? node.elements : node._tag === "Object" ? node.members.map(({ value }) => value) : []
    for (const child of children.toReversed()) stack.push({ node: child, depth: depth + 1 })
  }
}

/** The tree inside `depth` arrays and objects in turn. */
export const nestTree = (depth: number, leaf: JsonTree): JsonTree => {
  let tree = leaf
  for (let level = 0; level < depth; level++) {
    tree = level % 3 === 0 ? jsonArray([tree]) : jsonObject([jsonMember("a", tree)])
  }
  return tree
}

// Only the characters that may stand in a string of well-formed UTF-8 unescaped.
// oxlint-disable-next-line eslint/no-control-regex
const plain = /^[^"\\\u0000-\u001f\p{Surrogate}]*$/u

const shortEscapes: Readonly<Record<string, string>> = {
  "\b": "\\b",
  "\t": "\\t",
  "\n": "\\n",
  "\f": "\\f",
  "\r": "\\r",
  '"': '\\"',
  "\\": "\\\\",
  "/": "\\/"
}

// A piece with a raw character has no escapes, so it is spelt as it reads.
const escapePiece = ({ spelt }: StringPiece): ReadonlyArray<StringPiece> =>
  Array.from(spelt, (character) => spellPiece(character, character < "\u0080" ? "raw" : "lower"))

interface Writer {
  readonly space: (text: string) => string
  readonly string: (string: JsonString) => string
}

const write = (tree: JsonTree, { space, string }: Writer): string => {
  const out: Array<string> = []
  const stack: Array<JsonTree | string> = [tree]
  for (let entry = stack.pop(); entry !== undefined; entry = stack.pop()) {
    if (typeof entry === "string") {
      out.push(entry)
      continue
    }
    out.push(space(entry.before))
    const after = space(entry.after)
    switch (entry._tag) {
      case "Number":
      case "Token":
        out.push(entry.text, after)
        break
      case "String":
        out.push(string(entry), after)
        break
      case "Array": {
        out.push("[", entry.elements.length === 0 ? space(entry.inner) : "")
        stack.push(after, "]")
        const { elements } = entry
        for (let at = elements.length - 1; at >= 0; at--) {
          const element = elements[at]
          if (element !== undefined) stack.push(element, at === 0 ? "" : ",")
        }
        break
      }
      case "Object": {
        out.push("{", entry.members.length === 0 ? space(entry.inner) : "")
        stack.push(after, "}")
        const { members } = entry
        for (let at = members.length - 1; at >= 0; at--) {
          const member = members[at]
          if (member !== undefined) stack.push(member.value, ":", member.key, at === 0 ? "" : ",")
        }
        break
      }
    }
  }
  return out.join("")
}
