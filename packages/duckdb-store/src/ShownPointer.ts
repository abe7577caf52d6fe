/** Pointers as errors and warnings show them: what may be a value of a document is left out. */

import { kinds, parsePath } from "@mallard/schema"

/** A pointer whose keys outside the known vocabulary are `*`: they may be values. */
export const shownPointer = (pointer: string): string =>
  pointer
    .split("/")
    .map((token) => (token === "" || /^\d+$/.test(token) || vocabulary.has(token) ? token : "*"))
    .join("/")

const vocabulary: ReadonlySet<string> = new Set([
  "entities",
  "data",
  "name",
  "description",
  "tags",
  "product",
  ...kinds.flatMap(({ columns, typeKeys }) => [
    ...typeKeys,
    ...columns.flatMap(({ paths }) =>
      paths.flatMap((path) => parsePath(path).flatMap((step) => (step._tag === "Key" ? [step.key] : [])))
    )
  ])
])
