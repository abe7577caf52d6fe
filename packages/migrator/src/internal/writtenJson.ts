/** What is wrong with JSON that people write or change, as rules and plans: in words, with line and column. */
import { jsonProblemOf, positionAt } from "@mallard/entity-serializers"
import { printablePath } from "@mallard/legacy-json"

/** Where and why a text stops being JSON. */
export const brokenAt = (text: string): string => {
  const bytes = Buffer.from(text)
  const problem = jsonProblemOf(bytes)
  if (problem === undefined) return "it holds a value that JSON does not know"
  return `${problem.message} ${placeAt(bytes, problem.offset)}`
}

/** The first key that its object has already, and where; undefined if there is none. */
export const repeatedKeyIn = (text: string): string | undefined => {
  const bytes = Buffer.from(text)
  let first: string | undefined
  jsonProblemOf(bytes, (pointer, offset) => {
    first ??= `${printablePath(pointer)} stands there twice ${placeAt(bytes, offset)}`
  })
  return first
}

const placeAt = (bytes: Uint8Array, offset: number): string => {
  const { column, line } = positionAt(bytes, offset)
  return `(line ${line}, column ${column})`
}
