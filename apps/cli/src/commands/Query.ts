/** `mallard query`: asks the database in SQL, and `--tables` what there is to ask. */
import { describeTables, openStore, queryDatabase, whileLocked } from "@mallard/duckdb-store"
import { isBlankSql } from "@mallard/sql-duckdb/SqlText"
import { Effect } from "effect"
import { withDatabase } from "../Database.ts"
import { hintsOf } from "../Hints.ts"
import { usage } from "../Failure.ts"
import { readInputText, STANDARD_INPUT } from "../InputText.ts"
import { pageJson, renderCsv, renderPage, renderTables, tablesJson } from "../RenderQuery.ts"
import type { CommonOptions, Session } from "../Session.ts"
import { memoryOf } from "../Size.ts"
import { grouped } from "../Text.ts"

export interface QueryCommand extends CommonOptions {
  readonly sql: string | undefined
  readonly cohort: string | undefined
  readonly limit: number
  readonly cursor: string | undefined
  readonly timeout: number
  readonly memory: string | undefined
  readonly csv: boolean
  readonly tables: boolean
}

export const runQuery = Effect.fnUntraced(function* (session: Session, command: QueryCommand) {
  const { terminal } = session
  if (command.tables) {
    if (command.sql !== undefined) return yield* usage("--tables takes no query.")
    for (const flag of ["cohort", "cursor", "csv"] as const) {
      const given = command[flag]
      if (given !== undefined && given !== false) return yield* usage(`--${flag} and --tables exclude each other.`)
    }
    return yield* showTables(session, command)
  }
  const sql = command.sql === STANDARD_INPUT ? yield* readInputText(command.sql, "query") : command.sql
  if (sql === undefined || isBlankSql(sql)) {
    return yield* usage("There is no query.", `${hintsOf(session)("query --tables")} shows what there is to ask.`)
  }
  if (command.csv && command.json) return yield* usage("--csv and --json exclude each other.")
  const memory = yield* memoryOf(command.memory)
  const page = yield* withDatabase(session, command.db, (path) =>
    whileLocked(
      queryDatabase({
        path,
        sql,
        cohort: command.cohort,
        limit: command.limit,
        cursor: command.cursor,
        timeout: Math.round(command.timeout * 1000),
        memory: memory?.bytes
      })
    )
  )
  if (command.json) return terminal.out(`${JSON.stringify(pageJson(page), null, 2)}\n`)
  terminal.out(command.csv ? renderCsv(page) : renderPage(page, terminal.paint))
  if (page.nextCursor !== undefined) {
    terminal.error(
      `These are ${grouped(page.rowCount)} rows, and there are more: --cursor ${page.nextCursor} gets the next.\n`
    )
  } else if (!command.quiet && !command.csv) {
    terminal.error(`${grouped(page.rowCount)} ${page.rowCount === 1 ? "row" : "rows"}\n`)
  }
})

const showTables = Effect.fnUntraced(function* (session: Session, command: QueryCommand) {
  const { terminal } = session
  const tables = yield* withDatabase(session, command.db, (path) =>
    Effect.scoped(Effect.flatMap(openStore({ path, readonly: true }), describeTables))
  )
  terminal.out(command.json ? `${JSON.stringify(tablesJson(tables), null, 2)}\n` : renderTables(tables, terminal.paint))
})
