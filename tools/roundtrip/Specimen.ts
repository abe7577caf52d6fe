/**
 * What one run of the soak migrates: a document of the testkit, or JSON text of any other sort. Many of them share a
 * database, so those that would claim one cohort name are told apart first, without changing what they are.
 */
import {
  arbitraryDocument,
  arbitraryJsonText,
  bytesOfFile,
  type Encoding,
  type GeneratedDocument,
  type JsonString,
  type JsonTree,
  parseText,
  stringValue,
  textOfFile,
  type Variant,
  writeFiles
} from "@mallard/testkit"
import * as fc from "fast-check"
import { join } from "node:path"

export interface Specimen extends Omit<GeneratedDocument, "variant"> {
  readonly variant: Variant | "other"
  /** Whether the path of the single file is given to the migration, or of the folder in which it lies alone. */
  readonly given: "file" | "folder"
}

/** Documents of all variants, damaged ones among them, and now and then JSON text that is none of them. */
export const arbitrarySpecimen: fc.Arbitrary<Specimen> = fc
  .tuple(
    fc.oneof(
      { weight: 12, arbitrary: arbitraryDocument({ damaged: true }) },
      {
        weight: 1,
        arbitrary: fc.tuple(
          arbitraryJsonText({ container: true }),
          fc.constantFrom<Encoding>("utf-8", "utf-8", "utf-8-bom", "utf-16le")
        )
      }
    ),
    fc.constantFrom<Specimen["given"]>("file", "folder")
  )
  .map(([found, given]): Specimen => {
    if ("variant" in found) return { ...found, given: found.directory === undefined ? given : "folder" }
    const [text, encoding] = found
    const file = { name: "other.json", tree: parseText(text), encoding, cutTo: undefined }
    return { variant: "other", directory: undefined, files: [file], expected: undefined, given }
  })

/** The specimen as it is written and read by people: its files with their names, encodings and texts. */
export const describeSpecimen = (specimen: Specimen): string =>
  [
    `${specimen.variant}, given as a ${specimen.given}${specimen.directory === undefined ? "" : ` named ${JSON.stringify(specimen.directory)}`}`,
    ...specimen.files.map((file) => {
      const text = textOfFile(file)
      const shown = JSON.stringify(file.cutTo === undefined ? text : text.slice(0, file.cutTo))
      return `  ${file.name} (${file.encoding}${file.cutTo === undefined ? "" : ", cut off"}): ${shown}`
    })
  ].join("\n")

/** Whether the file is text that must be stored: whole, and an array or an object. */
export const isValidFile = (file: Specimen["files"][number]): boolean =>
  file.cutTo === undefined && (file.tree._tag === "Array" || file.tree._tag === "Object")

/** The name of the folder for a specimen's files: its own, else one that no other specimen has. */
export const folderOf = (specimen: Specimen, number: number): string => specimen.directory ?? `case ${number}`

/** Writes the files of a specimen below a folder, and gives the path to migrate. */
export const writeSpecimen = async (folder: string, specimen: Specimen, number: number): Promise<string> => {
  const own = join(folder, folderOf(specimen, number))
  const files = Object.fromEntries(specimen.files.map((file) => [file.name, bytesOfFile(file)]))
  const [first] = await writeFiles(own, files)
  return specimen.given === "file" && first !== undefined ? first : own
}

/**
 * The specimens that can share a database, and the numbers of those that would claim a cohort name that another one has.
 * A few of the latter stay in on purpose: conflicts too must be told and must leave nothing behind.
 */
export const tellApart = (
  specimens: ReadonlyMap<number, Specimen>,
  options: {
    /** One in so many of those that must be renamed keeps its name; 60 if absent. */
    readonly sparing?: number
    /** Whether a folder of several files counts as claiming the names of each: it may turn out to be no cohort. */
    readonly strict?: boolean
  } = {}
): { readonly together: ReadonlyMap<number, Specimen>; readonly left: ReadonlyArray<number> } => {
  const { sparing = 60, strict = false } = options
  const claimed = new Set<string>()
  const together = new Map<number, Specimen>()
  const left: Array<number> = []
  let spared = 0
  for (const [number, specimen] of specimens) {
    let chosen = specimen
    const isTaken = (): boolean => namesOf(chosen, number, strict).some((name) => claimed.has(name))
    if (isTaken() && ++spared % sparing !== 0) {
      chosen = renamed(specimen, String(number))
      if (isTaken()) {
        left.push(number)
        continue
      }
    }
    for (const name of namesOf(chosen, number, strict)) claimed.add(name)
    together.set(number, chosen)
  }
  return { together, left }
}

/** The specimen under other names: in its documents, of its files where their names say nothing, of its folder. */
export const renamed = (specimen: Specimen, tag: string): Specimen => {
  const isFree = !namedAfterContent.has(specimen.variant)
  const nameOf = (name: string): string =>
    isFree && !(specimen.directory !== undefined && metadataNames.has(name))
      ? name.replace(/(?=\.json$)/i, `-${tag}`)
      : name
  return {
    ...specimen,
    directory: specimen.directory === undefined ? undefined : `${specimen.directory} ${tag}`,
    given: isFree ? specimen.given : "folder",
    files: specimen.files.map((file) => ({ ...file, name: nameOf(file.name), tree: withOtherName(file.tree, tag) })),
    expected: specimen.expected && {
      collections: specimen.expected.collections.map((found) => ({ ...found, file: nameOf(found.file) }))
    }
  }
}

/** Variants whose file names say what is in them. */
const namedAfterContent: ReadonlySet<string> = new Set<Specimen["variant"]>([
  "V11a",
  "V11b",
  "V11b-directory",
  "V11c",
  "V11d",
  "V11e",
  "V13",
  "V16b"
])

/** Files that are looked for by their names in a folder. */
const metadataNames: ReadonlySet<string> = new Set(["cohort.json", "scenario.json", "metadata.json"])

const nameKeys: ReadonlySet<string> = new Set(["name", "cohort_name", "scenario_name"])
const nameBlocks: ReadonlySet<string> = new Set(["metadata", "cohort", "scenario"])

/** The cohort names that a specimen may claim, as near as can be told without the engine. */
const namesOf = (specimen: Specimen, number: number, strict: boolean): ReadonlyArray<string> => {
  const stated = specimen.files.flatMap(({ tree }) => statedNames(tree)).map(stringValue)
  const usable = stated.filter((name) => name !== "")
  if (specimen.files.length === 1 && usable.length > 0) return usable
  const stems = specimen.files.map(({ name }) => name.replace(/\.json$/i, ""))
  if (strict) return [...usable, ...stems, folderOf(specimen, number)]
  if (specimen.directory !== undefined) return [...usable, specimen.directory]
  return specimen.given === "folder" && namedAfterContent.has(specimen.variant)
    ? [folderOf(specimen, number)]
    : [...usable, ...stems]
}

const statedNames = (tree: JsonTree, inside = false): ReadonlyArray<JsonString> =>
  tree._tag === "Object"
    ? tree.members.flatMap(({ key, value }) => {
        if (value._tag === "String" && nameKeys.has(stringValue(key))) return [value]
        return !inside && nameBlocks.has(stringValue(key)) ? statedNames(value, true) : []
      })
    : []

const withOtherName = (tree: JsonTree, tag: string, inside = false): JsonTree => {
  if (tree._tag !== "Object") return tree
  const members = tree.members.map(({ key, value }) => {
    if (value._tag === "String" && nameKeys.has(stringValue(key)) && value.pieces.length > 0) {
      const text = ` ${tag}`
      return { key, value: { ...value, pieces: [...value.pieces, { means: text, spelt: text }] } }
    }
    const isBlock = !inside && nameBlocks.has(stringValue(key))
    return { key, value: isBlock ? withOtherName(value, tag, true) : value }
  })
  return { ...tree, members }
}
