import { DuckDBInstance } from "@duckdb/node-api"
import { Effect, Exit, Scope } from "effect"
import { enableCompileCache } from "node:module"
import { join } from "node:path"
import { afterAll, beforeAll } from "vitest"
import { kinds } from "@mallard/schema"
import { cohortId, insert, recordAll, temporaryFolder, withStore } from "./support.ts"

// Each query starts a process, which this makes a third faster.
enableCompileCache()

const code = (name: string): number => kinds.find(({ kind }) => kind === name)?.code ?? 0

/** Three people in two cohorts, `first` and `second`; Ann is in both. */
const fill = Effect.gen(function* () {
  yield* insert(
    "patients",
    { entity_id: 1, mrn: "M1", given_name: "Ann", gender: "female", birth_date: "1950-01-02" },
    { entity_id: 2, mrn: "M2", given_name: "Bob", gender: "male", birth_date: "1960-03-04" },
    { entity_id: 3, mrn: "M3", given_name: "Cyd", gender: "female", birth_date: "1970-05-06" }
  )
  yield* insert("encounters", { entity_id: 1, encounter_id: "E1", patient_mrn: "M1" })
  yield* insert("json_values", { entity_id: 1, extra: '{"a":[1,{"b":"deep"}],"n":12345678901234567890}' })
  for (const [index, name] of ["first", "second"].entries()) {
    const id = index + 1
    const own = [
      { revision_id: id, cohort_id: cohortId(id), seq: 1, change: "saved", name, tags: `["t${id}"]`, content_id: id }
    ]
    yield* insert("revisions", ...own)
    yield* insert("parts", { content_id: id, part: 0, path: `${name}.json` })
    for (const [collection, pointer] of ["/patients", "/encounters", "/notes"].entries()) {
      yield* insert("collections", { content_id: id, part: 0, collection, pointer, list: true })
    }
  }
  const member = (content_id: number, collection: number, kind: string, ordinal: number, entity_id: number) =>
    insert("cohort_members", { content_id, part: 0, collection, ordinal, kind: code(kind), entity_id })
  yield* member(1, 0, "patient", 0, 1)
  yield* member(1, 0, "patient", 1, 2)
  yield* member(1, 1, "encounter", 0, 1)
  yield* member(1, 2, "json", 0, 1)
  yield* member(2, 0, "patient", 0, 3)
  yield* member(2, 0, "patient", 1, 1)
  yield* insert("migration_runs", { run_id: cohortId(9), event: "started" })
  yield* insert(
    "migration_items",
    { run_id: cohortId(9), item: 0, path: "first.json", cohort_id: cohortId(1) },
    { run_id: cohortId(9), item: 1, path: "second.json", cohort_id: cohortId(2) }
  )
  yield* recordAll
})

/** Makes a database of the two cohorts in a folder of its own. */
export const makeDatabase = (name = "cohorts.duckdb") =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder
    const path = join(folder, name)
    yield* withStore({ path }, fill)
    return { folder, path }
  })

/** One database for all tests of a file. */
export const sharedDatabase = (): { folder: string; path: string } => {
  const made = { folder: "", path: "" }
  const scope = Scope.makeUnsafe()
  beforeAll(async () => {
    Object.assign(made, await Effect.runPromise(Scope.provide(makeDatabase(), scope)))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  return made
}

/** Parses as the process of a query does. */
export const makeSerializer = async () => {
  const instance = await DuckDBInstance.create(":memory:")
  const connection = await instance.connect()
  const serialize = async (sql: string) => {
    const reader = await connection.runAndReadAll("SELECT json_serialize_sql($1::VARCHAR)::VARCHAR", [sql])
    return String(reader.getRows()[0]?.[0])
  }
  return { connection, serialize }
}
