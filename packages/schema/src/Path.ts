/**
 * The path grammar of declarations: `a.b` goes to a key, `a[0]` to an element, `a[k=v]` to the first element whose `k`
 * is the text `v`. Keys hold none of `. [ ] = +`.
 */

/** One step of a path. */
export type Step =
  | { readonly _tag: "Key"; readonly key: string }
  | { readonly _tag: "Index"; readonly index: number }
  | { readonly _tag: "Where"; readonly key: string; readonly value: string }

/** Where a context path starts: at the enclosing entity, or at the document. */
export interface ContextPath {
  readonly from: "parent" | "document"
  readonly steps: ReadonlyArray<Step>
}

/** The steps of a path, at least one. Throws on anything outside the grammar: paths are written in code, not read. */
export const parsePath = (path: string): ReadonlyArray<Step> => {
  const steps: Array<Step> = []
  for (const match of `.${path}`.matchAll(stepOrRest)) {
    const { key, index, where, value } = match.groups ?? {}
    if (key !== undefined) steps.push({ _tag: "Key", key })
    else if (index !== undefined) steps.push({ _tag: "Index", index: Number(index) })
    else if (where !== undefined && value !== undefined) steps.push({ _tag: "Where", key: where, value })
    else throw new SyntaxError(`Not a path: "${path}"`)
  }
  return steps
}

/** The text of a path; `parsePath` gives the steps back. */
export const formatPath = (steps: ReadonlyArray<Step>): string =>
  steps
    .map((step, position) => {
      switch (step._tag) {
        case "Key":
          return position === 0 ? step.key : `.${step.key}`
        case "Index":
          return `[${step.index}]`
        case "Where":
          return `[${step.key}=${step.value}]`
      }
    })
    .join("")

/** The paths that an id path joins, one or more: `claim_id+line_number` has two. */
export const parseIdPath = (path: string): ReadonlyArray<ReadonlyArray<Step>> => path.split("+").map(parsePath)

/** The parts of `$parent.x` and `$doc.key.x`. Throws on any other start. */
export const parseContextPath = (path: string): ContextPath => {
  if (path.startsWith("$parent.")) return { from: "parent", steps: parsePath(path.slice("$parent.".length)) }
  if (path.startsWith("$doc.")) return { from: "document", steps: parsePath(path.slice("$doc.".length)) }
  throw new SyntaxError(`Not a context path: "${path}"`)
}

const stepOrRest = /\.(?<key>[^.[\]=+]+)|\[(?<index>0|[1-9]\d{0,8})\]|\[(?<where>[^.[\]=+]+)=(?<value>[^\]]*)\]|[^]/g
