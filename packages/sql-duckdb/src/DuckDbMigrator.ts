/** Effect's migrator for a DuckDB client: each call runs the migrations that have not run yet, in one transaction. */
import { Effect, Layer, Semaphore } from "effect"
import { Migrator, SqlClient, type SqlError } from "effect/sql"

export { fromGlob, fromRecord } from "effect/sql/Migrator"

const runMissing = Migrator.make({})

// Effect's migrator waits for a lock of the table where a database has one. DuckDB has none: two that create the same
// table at the same time conflict, and one fails.
const semaphores = new WeakMap<SqlClient.SqlClient, Semaphore.Semaphore>()

const semaphoreOf = (client: SqlClient.SqlClient): Semaphore.Semaphore => {
  const semaphore = semaphores.get(client) ?? Semaphore.makeUnsafe(1)
  semaphores.set(client, semaphore)
  return semaphore
}

/**
 * Runs the missing migrations and answers with their ids and names. Calls with one client wait for each other, so a
 * migration must not call this itself.
 */
export const run = <R = never>(
  options: Migrator.MigratorOptions<R>
): Effect.Effect<
  ReadonlyArray<readonly [id: number, name: string]>,
  Migrator.MigrationError | SqlError.SqlError,
  SqlClient.SqlClient | R
> => Effect.flatMap(SqlClient.SqlClient, (client) => semaphoreOf(client).withPermit(runMissing(options)))

/** Runs the missing migrations when the layer is built. */
export const layer = <R>(
  options: Migrator.MigratorOptions<R>
): Layer.Layer<never, Migrator.MigrationError | SqlError.SqlError, SqlClient.SqlClient | R> =>
  Layer.effectDiscard(run(options))
