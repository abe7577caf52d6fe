/** Cohort files of any size and awkwardness, written in pieces; the same arguments give the same bytes. */
import { closeSync, openSync, writeSync } from "node:fs"
import { join } from "node:path"

/** Writes a cohort of patients, entity by entity, until `entityAt` has none left. Gives the size of the file. */
export const writeCohort = (
  file: string,
  name: string,
  entityAt: (index: number, bytes: number) => string | undefined
): number => {
  const handle = openSync(file, "w")
  let bytes = 0
  let text = `{"name":${JSON.stringify(name)},"description":"made for a benchmark","entities":{"patient":[\n`
  const flush = (): void => {
    bytes += writeSync(handle, text)
    text = ""
  }
  for (let index = 0; ; index++) {
    const entity = entityAt(index, bytes + text.length)
    if (entity === undefined) break
    text += (index === 0 ? "" : ",\n") + entity
    if (text.length > PIECE) flush()
  }
  text += "\n]}}\n"
  flush()
  closeSync(handle)
  return bytes
}

/** A patient of about 260 bytes with values of its own; `keys` are members that no column is declared for. */
export const patient = (number: number, keys: ReadonlyArray<readonly [string, string]> = []): string => {
  const random = randomFrom(number)
  const digits = (count: number): string => String(Math.floor(random() * 10 ** count)).padStart(count, "0")
  const word = (): string => Math.floor(random() * 36 ** 7).toString(36)
  const more = keys.map(([key, value]) => `,${JSON.stringify(key)}:${value}`).join("")
  return (
    `{"patient_id":"P${String(number).padStart(9, "0")}","mrn":"MRN${digits(8)}","name":{"given":"${word()}","family":"${word()}"},` +
    `"birthDate":"19${digits(2)}-0${1 + Math.floor(random() * 9)}-1${Math.floor(random() * 9)}","gender":"female",` +
    `"address":{"line1":"${digits(4)} ${word()} St","city":"${word()}","postalCode":"${digits(5)}"}${more}}`
  )
}

/** Entities in files of up to 10,000. */
export const writeEntities = (folder: string, entities: number, first = 0): void => {
  for (let at = 0, file = 0; at < entities; at += 10_000, file++) {
    const count = Math.min(10_000, entities - at)
    writeCohort(join(folder, `cohort-${first}-${file}.json`), `cohort-${first}-${file}`, (index) =>
      index < count ? patient(first + at + index) : undefined
    )
  }
}

/** One file of about that many bytes, but for the few that one entity needs. */
export const writeBytes = (folder: string, bytes: number): void => {
  writeCohort(join(folder, "large.json"), "large", (index, written) =>
    index === 0 || written < bytes ? (bytes < 400 ? "{}" : patient(index)) : undefined
  )
}

/** Many files of two entities each. */
export const writeFiles = (folder: string, files: number): void => {
  for (let file = 0; file < files; file++) {
    writeCohort(join(folder, `small-${file}.json`), `small-${file}`, (index) =>
      index < 2 ? patient(2 * file + index) : undefined
    )
  }
}

/** Entities whose keys differ in as many ways as there are shapes; at most 65,536. */
export const writeShapes = (folder: string, entities: number, shapes: number): void => {
  writeCohort(join(folder, "shapes.json"), "shapes", (index) => {
    if (index >= entities) return undefined
    const bits = index % shapes
    const keys = Array.from({ length: 16 }, (_, bit) => bit).flatMap((bit): ReadonlyArray<readonly [string, string]> =>
      // Every entity has as many members, whichever they are called, so that only the number of shapes differs.
      [[(bits >> bit) % 2 === 0 ? `none_${bit}` : `some_${bit}`, String(bit)]]
    )
    return patient(index, keys)
  })
}

/** Entities with that many keys, of which five are those of every patient. */
export const writeWide = (folder: string, entities: number, width: number): void => {
  const keys = Array.from({ length: Math.max(0, width - 6) }, (_, at): readonly [string, string] => [
    `measure_${at}`,
    String(at * 1.5)
  ])
  writeCohort(join(folder, "wide.json"), "wide", (index) => (index < entities ? patient(index, keys) : undefined))
}

/** One entity of about that many bytes: a list of texts, or one text. */
export const writeHuge = (folder: string, bytes: number, way: "list" | "text"): void => {
  const line = `"${"a text of some length ".repeat(46)}"`
  const value =
    way === "text"
      ? `"${"a text of some length ".repeat(Math.ceil(bytes / 22))}"`
      : `[${Array<string>(Math.ceil(bytes / line.length))
          .fill(line)
          .join(",")}]`
  writeCohort(join(folder, "huge.json"), "huge", (index) => (index === 0 ? patient(0, [["notes", value]]) : undefined))
}

/** Where millions of tiny members stand. */
export type Crowd =
  | "entity"
  | "address"
  | "wrapper"
  | "repeated"
  | "contested"
  | "list"
  | "nested"
  | "collection"
  | "document"
  | "container"
  | "again"

/** One document of about that many bytes in members (or elements) of a few bytes each. */
export const writeCrowd = (folder: string, bytes: number, crowd: Crowd): void => {
  const handle = openSync(join(folder, "crowd.json"), "w")
  const [open, close, member] = CROWDS[crowd]
  let written = writeSync(handle, `{"name":"crowd",${open}${member(0)}`)
  for (let at = 1; written < bytes; at += 10_000) {
    written += writeSync(handle, Array.from({ length: 10_000 }, (_, i) => `,${member(at + i)}`).join(""))
  }
  writeSync(handle, `${close}}\n`)
  closeSync(handle)
}

const keyOf = (at: number): string => `"a${at}":1`

/** What stands before and after the members of a crowd, and what each is. */
const CROWDS: Readonly<Record<Crowd, readonly [string, string, (at: number) => string]>> = {
  entity: ['"entities":{"patient":[{"mrn":"1",', "}]}", keyOf],
  address: ['"entities":{"patient":[{"mrn":"1","address":{"city":"A",', "}}]}", keyOf],
  wrapper: ['"entities":{"patient":[{"data":{', '},"entity_type":"patient","entity_id":"1"}]}', keyOf],
  repeated: ['"entities":{"patient":[{', "}]}", () => '"gender":"F"'],
  contested: ['"entities":{"patient":[{', "}]}", (at) => `"given_name":"${at}","name":{"given":"A"}`],
  list: ['"entities":{"patient":[{"extra":[', "]}]}", (at) => `{"a":${at}}`],
  nested: [
    '"entities":{"patient":[{"mrn":"1","encounters":[',
    "]}]}",
    (at) => `{"encounter_id":"e${String(at).padStart(8, "0")}","status":"planned","visit_number":${at % 100}}`
  ],
  collection: ['"entities":{"patient":[{"mrn":"1",', "}]}", (at) => `"encounters":[{"encounter_id":"${at % 10}"}]`],
  document: ['"entities":{"patient":[{"mrn":"1"}]},"x":{', "}", keyOf],
  container: ['"entities":{', ',"patient":[{"mrn":"1"},{"mrn":"2"}]}', keyOf],
  again: ['"entities":{"patient":[{"mrn":"1"}]},', "", (at) => `"patients":[{"mrn":"${at}"}]`]
}

/** One file of about that many bytes in lines, each a small cohort. */
export const writeLines = (folder: string, bytes: number): void => {
  const handle = openSync(join(folder, "lines.ndjson"), "w")
  for (let at = 0, written = 0; written < bytes; at += 10_000) {
    const line = (number: number): string => `{"name":"c${number}","patients":[{"mrn":"${number}"}]}\n`
    written += writeSync(handle, Array.from({ length: 10_000 }, (_, i) => line(at + i)).join(""))
  }
  closeSync(handle)
}

/** One entity with that many levels of nesting, objects and lists in turn. */
export const writeDeep = (folder: string, levels: number): void => {
  const pairs = Math.floor(levels / 2)
  const value = `${'{"in":['.repeat(pairs)}1${"]}".repeat(pairs)}`
  writeCohort(join(folder, "deep.json"), "deep", (index) => (index === 0 ? patient(0, [["tree", value]]) : undefined))
}

/** A document of no known form: rows of numbers, about that many bytes. */
export const writeForeign = (folder: string, bytes: number): void => {
  const handle = openSync(join(folder, "foreign.json"), "w")
  let written = writeSync(handle, '{"rows":[[0]')
  for (let row = 0; written < bytes; row += 1000) {
    written += writeSync(handle, Array.from({ length: 1000 }, (_, at) => `,[${row + at},${at}.50,"x"]`).join("\n"))
  }
  writeSync(handle, "]}")
  closeSync(handle)
}

const PIECE = 1 << 20

/** Numbers from 0 to 1 that depend on nothing but the seed. */
const randomFrom = (seed: number): (() => number) => {
  let state = (seed * 2_654_435_761 + 1_013_904_223) >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
