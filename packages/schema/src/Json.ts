/**
 * `JSON.parse` without a fault of V8 (found in 13.6 and 14.6; nodejs/node#63785): it can take a key that is written with an
 * escape for another that it has seen before and that holds a backslash, so that `{"a":1,"\n":2}` becomes
 * `{"a":1,"\\":2}`. It does so only while keys hold escapes, so keys are freed of them before and given back after.
 */

/**
 * The value of a JSON text, as `JSON.parse` should give it: of duplicate keys the last, numbers as doubles. Throws
 * `SyntaxError` for what is no JSON.
 */
export const parseJson = (text: string): unknown => {
  const plain = withoutEscapedKeys(text)
  return plain === text ? JSON.parse(text) : JSON.parse(plain, (_, value: unknown) => ownKeysRestored(value))
}

/**
 * The same JSON for a parser that is not ours, with no escape in any key. `withEscapedKeys` gives the keys back in what it
 * made of it. Throws `SyntaxError` for an escape that is none.
 */
export const withoutEscapedKeys = (text: string): string =>
  text.includes("\\") || text.includes(MARK)
    ? text.replaceAll(STRING, (all, content: string, colon: string | undefined) =>
        colon !== undefined && (content.includes("\\") || content.includes(MARK))
          ? `"${plainKey(String(JSON.parse(`"${content}"`)))}"${colon}`
          : all
      )
    : text

/** A value, read from what `withoutEscapedKeys` gave, with the keys of the text. */
export const withEscapedKeys = (value: unknown): unknown =>
  ownKeysRestored(
    Array.isArray(value)
      ? value.map(withEscapedKeys)
      : isObject(value)
        ? Object.fromEntries(Object.entries(value).map(([key, member]) => [key, withEscapedKeys(member)]))
        : value
  )

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null

const ownKeysRestored = (value: unknown): unknown =>
  isObject(value) && !Array.isArray(value) && Object.keys(value).some((key) => key.includes(MARK))
    ? Object.fromEntries(Object.entries(value).map(([key, member]) => [restoredKey(key), member]))
    : value

/** One spelling for each key, so that duplicates stay duplicates. */
const plainKey = (key: string): string =>
  key.replaceAll(NOT_PLAIN, (character) => `${MARK}${character.charCodeAt(0).toString(16).padStart(4, "0")}`)

const restoredKey = (key: string): string =>
  key.replaceAll(MARKED, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))

/** A character for private use, which keys of documents hardly have. */
const MARK = "\ue07f"
const MARKED = new RegExp(`${MARK}([0-9a-f]{4})`, "g")
/** What has to be escaped in a key, or what would be taken for it. */
const NOT_PLAIN = new RegExp(`[\\u0000-\\u001f"\\\\${MARK}]|\\p{Surrogate}`, "gu")
/** A string, and what makes it a key. One that does not end is taken as well: looked for in it, others would be many. */
const STRING = /"([^"\\]*(?:\\[^]?[^"\\]*)*)(?:"(\s*:)?|$)/g
