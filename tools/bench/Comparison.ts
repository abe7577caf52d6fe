/**
 * How much of a document came back, told by code that shares nothing with the program measured: a scanner of strings and
 * everything between them, and `JSON.parse`.
 */

/**
 * - `exact`: the same compact text, so the same keys in the same order and the same spelling of numbers
 * - `equal`: the same values to a program that reads both with `JSON.parse`
 * - `lost`: accepted without an error, and something else came back
 * - `error`: the tool said that it could not
 */
export type Fidelity = "exact" | "equal" | "lost" | "error"

/** Compares a document with what came back; of several ways to bring it back, the best counts. */
export const fidelityOf = (source: string, returned: ReadonlyArray<string>): "exact" | "equal" | "lost" => {
  const wanted = compactOf(source)
  if (returned.some((text) => compactOf(text) === wanted)) return "exact"
  const value = valueOf(source)
  return returned.some((text) => isReadable(text) && isSameValue(value, valueOf(text))) ? "equal" : "lost"
}

/** The text without white space, strings as `JSON.stringify` writes them, all else byte for byte. */
export const compactOf = (text: string): string =>
  replaceTokens(
    text,
    (string) => JSON.stringify(JSON.parse(string)),
    (between) => between.replaceAll(/[ \t\n\r]+/g, "")
  )

/** Whether two values from `JSON.parse` are the same; the order of keys does not count, `-0` is `0`. */
export const isSameValue = (a: unknown, b: unknown): boolean => {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return a === b
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b)) return false
    return a.length === b.length && a.every((item, at) => isSameValue(item, b[at]))
  }
  const [ours, theirs] = [new Map<string, unknown>(Object.entries(a)), new Map<string, unknown>(Object.entries(b))]
  return (
    ours.size === theirs.size &&
    [...ours].every(([key, value]) => theirs.has(key) && isSameValue(value, theirs.get(key)))
  )
}

/** `JSON.parse` that also takes the three tokens Python writes. */
const valueOf = (text: string): unknown =>
  JSON.parse(
    replaceTokens(
      text.replace(/^\uFEFF/, ""),
      (string) => string,
      (between) => between.replaceAll("NaN", String.raw`"\u0000NaN"`).replaceAll("Infinity", "1e999")
    )
  )

const isReadable = (text: string): boolean => {
  try {
    valueOf(text)
    return true
  } catch {
    return false
  }
}

const replaceTokens = (
  text: string,
  ofString: (string: string) => string,
  ofBetween: (between: string) => string
): string => {
  const strings = /"(?:[^"\\]|\\.)*"/gs
  let result = ""
  let at = 0
  for (const match of text.matchAll(strings)) {
    result += ofBetween(text.slice(at, match.index)) + ofString(match[0])
    at = match.index + match[0].length
  }
  return (result + ofBetween(text.slice(at))).replace(/^\uFEFF/, "")
}
