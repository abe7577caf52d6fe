/**
 * How the entities of a document that is saved are found, and what the document says about its cohort. The rules here
 * know cohort files, entities by type beside or below `entities`; programs that read legacy files of every sort bring
 * rules of their own.
 */

import {
  anyEncounter,
  type Collection,
  type CohortMeta,
  cohortMeta,
  cohortRules,
  type DocumentResult,
  type DocumentRules,
  pointerToken,
  type Rules
} from "@mallard/entity-serializers"
import { kindOfTypeKey } from "@mallard/schema"

/** What a document says about its cohort, and what sort of document it is, for `parts.format`. */
export interface DocumentFacts extends Omit<CohortMeta, "unusableName"> {
  readonly format: string
}

/** How to read a document. */
export interface Recogniser {
  readonly rules: DocumentRules
  /** Other rules, when the first reading shows that they fit better. */
  readonly again?: (result: DocumentResult) => DocumentRules | undefined
  readonly facts: (result: DocumentResult) => DocumentFacts
}

const keyRules = (): Rules => cohortRules((_, type) => type ?? anyEncounter)

/** Knows cohort files: type keys at the root or below `entities`; a list at the root is a list of `array`, if given. */
export const cohortRecogniser = (options: { readonly array?: string; readonly format?: string } = {}): Recogniser => ({
  rules: {
    tag: "keys",
    rules: keyRules(),
    array: options.array === undefined ? undefined : kindOfTypeKey(options.array)?.code
  },
  facts: (result) => ({ ...cohortMeta(result.captures), format: options.format ?? "saved" })
})

/** A place of a stored document, and of which kind what stands there is: 0 when it is empty or of no known kind. */
export interface StoredCollection extends Collection {
  readonly kind: number
}

/** Knows the places where a stored document has entities already; everywhere else the rules of cohort files count. */
export const storedRecogniser = (stored: ReadonlyArray<StoredCollection>, format: string): Recogniser => {
  const byPointer = new Map(stored.map((collection) => [collection.pointer, collection]))
  const inner = new Set<string>()
  for (const { pointer } of stored) {
    for (let end = pointer.lastIndexOf("/"); end > 0; end = pointer.lastIndexOf("/", end - 1))
      inner.add(pointer.slice(0, end))
  }
  const below =
    (place: string, others: Rules): Rules =>
    (key) => {
      const pointer = place + pointerToken(key)
      const known = byPointer.get(pointer)
      const other = others(key)
      if (known !== undefined) {
        // A list without entities of a known kind does not tell what it is for; its key may.
        const isTold = known.kind === 0 && other?.tag === "entities" && other.arrays !== false
        return { tag: "entities", kind: isTold ? other.kind : known.kind }
      }
      if (!inner.has(pointer)) return other
      return { tag: "object", rules: below(pointer, other?.tag === "object" ? other.rules : () => undefined) }
    }
  const root = byPointer.get("")
  return {
    rules:
      root?.list === false
        ? { tag: "entity", kind: root.kind }
        : { tag: "keys", rules: below("", keyRules()), array: root?.kind },
    facts: (result) => ({ ...cohortMeta(result.captures), format })
  }
}
