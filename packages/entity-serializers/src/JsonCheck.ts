/** Where a text that is not JSON stops being JSON. */
import { JsonProblem } from "./JsonProblem.ts"
import { Tokenizer } from "./internal/Tokenizer.ts"

/**
 * What is wrong with UTF-8 that should be one JSON value; undefined if nothing is. Python's `NaN` counts as a value, and a key
 * that its object has already is told to `onDuplicateKey`, with where it stands.
 */
export const jsonProblemOf = (
  bytes: Uint8Array,
  onDuplicateKey?: (pointer: string, offset: number) => void
): JsonProblem | undefined => {
  const tokenizer = new Tokenizer()
  if (onDuplicateKey !== undefined) {
    tokenizer.onDuplicateKey = (offset, level, key) => onDuplicateKey(tokenizer.pointerOfKey(level, key), offset)
  }
  // It wants a zero byte behind the text.
  tokenizer.input = new Uint8Array(bytes.length + 1)
  tokenizer.input.set(bytes)
  tokenizer.end = bytes.length
  tokenizer.last = true
  tokenizer.reserve()
  try {
    tokenizer.value()
    tokenizer.peek()
    return tokenizer.p < tokenizer.end ? new JsonProblem("trailing-content", tokenizer.p) : undefined
  } catch (error) {
    if (error instanceof JsonProblem) return error
    throw error
  }
}
