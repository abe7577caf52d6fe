/**
 * Faults of an engine, as functions over the text that it renders: a round-trip harness is worth something only if it
 * notices each of them. Where a fault has nothing to bite on, the text comes back as it was.
 */

import {
  jsonArray,
  jsonMember,
  jsonNull,
  jsonNumber,
  jsonObject,
  jsonString,
  mapTree,
  stringValue,
  toText,
  type JsonMember,
  type JsonObject,
  type JsonTree
} from "./JsonTree.ts"
import { parseText } from "./Oracle.ts"

/** A fault in rendered text. Takes and gives JSON text; compact stays compact. */
export type Mutation = (text: string) => string

/** What a harness needs of an engine: the compact text that comes back for a JSON text. */
export type Render = (text: string) => string

/** The faults that show in the rendered text, by name. */
export const mutations: Readonly<Record<string, Mutation>> = {
  "trailing zeros dropped": onNumbers((text) =>
    text.includes(".") ? text.replace(/(\.\d*?)0+(?=$|[eE])/, "$1").replace(/\.(?=$|[eE])/, "") : text
  ),
  "sign of negative zero lost": onNumbers((text) => (/^-0(\.0*)?([eE]|$)/.test(text) ? text.slice(1) : text)),
  "numbers through doubles": onNumbers((text) => (Number.isFinite(Number(text)) ? String(Number(text)) : text)),
  "exponents in lower case": onNumbers((text) => text.toLowerCase()),
  "numbers out of range to null": onNodes((node) =>
    node._tag === "Number" && !Number.isFinite(Number(node.text)) ? jsonNull : node
  ),
  "NaN and infinities to null": onNodes((node) => (node._tag === "Token" && /[NI]/.test(node.text) ? jsonNull : node)),
  "numbers to strings": onFirst((node) => (node._tag === "Number" ? jsonString(node.text) : node)),
  "digits in strings to numbers": onFirst((node) =>
    node._tag === "String" && /^(0|[1-9]\d*)$/.test(stringValue(node)) ? jsonNumber(stringValue(node)) : node
  ),
  "two keys swapped": onFirst((node) => (node._tag === "Object" ? swapFirstTwo(node) : node)),
  "integer keys first": onObjects((members) => [
    ...members
      .filter(hasIntegerKey)
      .toSorted((one, other) => Number(stringValue(one.key)) - Number(stringValue(other.key))),
    ...members.filter((member) => !hasIntegerKey(member))
  ]),
  "null merged with missing": onObjects((members) =>
    members.filter(({ value }) => !(value._tag === "Token" && value.text === "null"))
  ),
  "[] to missing": onObjects((members) =>
    members.filter(({ value }) => !(value._tag === "Array" && value.elements.length === 0))
  ),
  "{} to missing": onObjects((members) =>
    members.filter(({ value }) => !(value._tag === "Object" && value.members.length === 0))
  ),
  "{} to null": onNodes((node) => (node._tag === "Object" && node.members.length === 0 ? jsonNull : node)),
  "empty text to null": onNodes((node) => (node._tag === "String" && stringValue(node) === "" ? jsonNull : node)),
  "last duplicate key wins": onObjects((members) => {
    const last = new Map(members.map((member) => [stringValue(member.key), member]))
    return [...last.values()]
  }),
  "first duplicate key wins": onObjects((members) =>
    members.filter(({ key }, at) => members.findIndex((one) => stringValue(one.key) === stringValue(key)) === at)
  ),
  "__proto__ lost": onObjects((members) => members.filter(({ key }) => stringValue(key) !== "__proto__")),
  "lone surrogate to U+FFFD": onStrings((value) => value.toWellFormed()),
  "leading byte order mark lost": onStrings((value) => value.replace(/^\ufeff/, "")),
  "text cut at NUL": onStrings((value) => value.split("\0")[0] ?? ""),
  "text in normal form C": onStrings((value) => value.normalize("NFC")),
  "text trimmed": onStrings((value) => value.replace(/^ +| +$/g, "")),
  "zone of a time lost": onStrings((value) => value.replace(/^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)Z$/, "$1")),
  "time cut to microseconds": onStrings((value) => value.replace(/(T\d\d:\d\d:\d\d\.\d{6})\d+/, "$1")),
  "members shifted by one": onFirst((node) =>
    node._tag === "Array" ? jsonArray([...node.elements.slice(1), ...node.elements.slice(0, 1)]) : node
  ),
  "repeated element once": onFirst((node) => {
    if (node._tag !== "Array") return node
    const once = new Map(node.elements.map((element) => [toText(element), element]))
    return jsonArray([...once.values()])
  }),
  "single object to list": onFirst((node) => (node._tag === "Object" ? wrapFirstObject(node) : node)),
  "last element lost": onFirst((node) => (node._tag === "Array" ? jsonArray(node.elements.slice(0, -1)) : node))
}

/** Faults that do not show in one rendered text: a harness finds them in rows, or by storing several documents. */
export const storeFaults: Readonly<Record<string, string>> = {
  "dedupe across kinds":
    "The digest alone names an entity, so that the same text in lists of two kinds is stored in the table of the first: " +
    "every text is right, and the second kind's table lacks a row.",
  "dedupe across documents by source id":
    "An id that occurs in two cohorts names one entity, so that the later cohort changes what the earlier one renders."
}

/** The engine with a fault. */
export const withFault =
  (render: Render, fault: Mutation): Render =>
  (text) =>
    fault(render(text))

function onNodes(change: (node: JsonTree) => JsonTree): Mutation {
  return (text) => toText(mapTree(parseText(text), change))
}

function onNumbers(change: (text: string) => string): Mutation {
  return onNodes((node) => (node._tag === "Number" ? { ...node, text: change(node.text) } : node))
}

/** Changes what strings and keys mean; those that stay the same keep their spelling. */
function onStrings(change: (value: string) => string): Mutation {
  const changed = <T extends JsonTree>(node: T): T => {
    if (node._tag !== "String") return node
    const value = stringValue(node)
    const next = change(value)
    // As the compact text spells it: a raw solidus, short escapes where there are some.
    return next === value ? node : { ...node, pieces: jsonString(next).pieces }
  }
  return onNodes((node) =>
    node._tag === "Object"
      ? { ...node, members: node.members.map(({ key, value }) => ({ key: changed(key), value })) }
      : changed(node)
  )
}

function onObjects(change: (members: ReadonlyArray<JsonMember>) => ReadonlyArray<JsonMember>): Mutation {
  return onNodes((node) => (node._tag === "Object" ? { ...node, members: change(node.members) } : node))
}

/** Changes one node alone: the first, innermost first, whose text the change alters. */
function onFirst(change: (node: JsonTree) => JsonTree): Mutation {
  return (text) => {
    let done = false
    return toText(
      mapTree(parseText(text), (node) => {
        if (done) return node
        const next = { ...change(node), before: node.before, after: node.after }
        if (toText(next) === toText(node)) return node
        done = true
        return next
      })
    )
  }
}

function swapFirstTwo(object: JsonObject): JsonObject {
  const [first, second, ...rest] = object.members
  return first === undefined || second === undefined ? object : { ...object, members: [second, first, ...rest] }
}

function wrapFirstObject(object: JsonObject): JsonObject {
  const at = object.members.findIndex(({ value }) => value._tag === "Object")
  return jsonObject(
    object.members.map((member, position) =>
      position === at ? jsonMember(member.key, jsonArray([member.value])) : member
    )
  )
}

function hasIntegerKey({ key }: JsonMember): boolean {
  return /^(0|[1-9]\d{0,8})$/.test(stringValue(key))
}
