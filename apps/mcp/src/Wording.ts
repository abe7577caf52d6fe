/** How the tools put things into words. */

export const more = (next: string | undefined): ReadonlyArray<string> =>
  next === undefined ? [] : [`There are more: call again with the same arguments and "cursor": "${next}".`]

export const sum = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((total, one) => total + one, 0)

export const countsText = (counts: Readonly<Record<string, number>>): string => {
  const parts = Object.entries(counts).map(([kind, size_]) => `${size_} ${kind}`)
  return parts.length === 0 ? "no entities" : `${entitiesText(sum(counts))} (${parts.join(", ")})`
}

export const many = (number: number, one: string, several: string): string =>
  `${number} ${number === 1 ? one : several}`

export const entitiesText = (number: number): string => many(number, "entity", "entities")

export const remarksText = (remarks: number): string =>
  remarks === 0
    ? ""
    : ` ${many(remarks, "value is kept but does not fit its column", "values are kept but do not fit their columns")}; nothing is lost.`
