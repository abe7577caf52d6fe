/** Effect's migrator for a DuckDB client: each call runs the migrations that have not run yet, in one transaction. */
import { type Effect, Layer } from "effect"
import { Migrator, type SqlClient, type SqlError } from "effect/sql"

export { fromGlob, fromRecord } from "effect/sql/Migrator"

/** Runs the missing migrations and answers with their ids and names. */
export const run: <R = never>(
  options: Migrator.MigratorOptions<R>
) => Effect.Effect<
  ReadonlyArray<readonly [id: number, name: string]>,
  Migrator.MigrationError | SqlError.SqlError,
  SqlClient.SqlClient | R
> = Migrator.make({})

/** Runs the missing migrations when the layer is built. */
export const layer = <R>(
  options: Migrator.MigratorOptions<R>
): Layer.Layer<never, Migrator.MigrationError | SqlError.SqlError, SqlClient.SqlClient | R> =>
  Layer.effectDiscard(run(options))
