/**
 * Engines with a fault, to show that the laws notice it. Faults of one text change what comes back; faults of rows change
 * the database between the migration and the reading, behind the back of every check that the engine makes itself.
 */
import { openStore, quoteName } from "@mallard/duckdb-store"
import type { RunReport } from "@mallard/migrator"
import { kinds } from "@mallard/schema"
import type { Mutation } from "@mallard/testkit"
import { Effect } from "effect"
import type { Engine, Snapshot } from "./Engine.ts"

/** The engine, except that every text comes back changed. */
export const withTextFault = (engine: Engine, fault: Mutation): Engine => ({
  ...engine,
  read: async (database) => {
    const snapshot = await engine.read(database)
    const cohorts = [...snapshot.cohorts].map(([name, cohort]) => {
      const parts = cohort.parts.map((part) => ({ ...part, text: Buffer.from(fault(part.text.toString("utf8"))) }))
      return [name, { ...cohort, parts }] as const
    })
    return { ...snapshot, cohorts: new Map(cohorts) }
  }
})

/** The engine, except that these statements run after each migration. */
export const withRowFault = (engine: Engine, statements: ReadonlyArray<string>): Engine => ({
  ...engine,
  migrate: async (paths, database) => {
    const report = await engine.migrate(paths, database)
    await Effect.runPromise(
      Effect.scoped(
        Effect.flatMap(openStore({ path: database }), (client) =>
          Effect.forEach(statements, (statement) => client.unsafe(statement), { discard: true })
        )
      )
    )
    return report
  }
})

const rows = kinds
  .map(({ code, table }) => `SELECT ${code} AS kind, entity_id, digest FROM mallard.${quoteName(table)}`)
  .join(" UNION ALL ")

/** Faults of rows by name, as statements. */
export const rowFaults = {
  "dedupe across kinds": [
    `UPDATE mallard.cohort_members SET kind = f.kind, entity_id = f.entity_id
     FROM (${rows}) r JOIN (SELECT digest, min(kind) AS kind, arg_min(entity_id, kind) AS entity_id FROM (${rows}) GROUP BY digest) f
       ON f.digest = r.digest AND f.kind < r.kind
     WHERE cohort_members.kind = r.kind AND cohort_members.entity_id = r.entity_id`
  ],
  "members shifted by one": [
    `UPDATE mallard.cohort_members SET ordinal = (cohort_members.ordinal + 1) % n.members
     FROM (SELECT content_id, part, collection, count(*) AS members FROM mallard.cohort_members GROUP BY ALL) n
     WHERE n.content_id = cohort_members.content_id AND n.part = cohort_members.part
       AND n.collection = cohort_members.collection AND n.members > 1`
  ]
} as const satisfies Readonly<Record<string, ReadonlyArray<string>>>

/** An engine that gives the first answer again to whoever asks the same: many faults of texts share one migration. */
export const remembering = (engine: Engine): Engine => {
  const runs = new Map<string, Promise<RunReport>>()
  const snapshots = new Map<string, Promise<Snapshot>>()
  return {
    ...engine,
    migrate: (paths, database) =>
      remember(runs, `${database} ${paths.join(" ")}`, () => engine.migrate(paths, database)),
    read: (database) => remember(snapshots, database, () => engine.read(database))
  }
}

const remember = <A>(answers: Map<string, Promise<A>>, key: string, ask: () => Promise<A>): Promise<A> => {
  const answer = answers.get(key) ?? ask()
  answers.set(key, answer)
  return answer
}
