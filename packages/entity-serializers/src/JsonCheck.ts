/** Where a text that is not JSON stops being JSON. */
import { JsonProblem } from "./JsonProblem.ts"
import { Tokenizer } from "./internal/Tokenizer.ts"

/** What is wrong with UTF-8 that should be one JSON value; undefined if nothing is. Python's `NaN` counts as a value. */
export const jsonProblemOf = (bytes: Uint8Array): JsonProblem | undefined => {
  const tokenizer = new Tokenizer()
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
