/** Who runs the program, where, and on what. */
import { hostname, userInfo } from "node:os"
import { engineVersion, type LedgerRun } from "@mallard/duckdb-store"
import { isRunning } from "@mallard/duckdb-store/Processes"
import { DuckDbClient } from "@mallard/sql-duckdb"
import { Effect, Option, Schema } from "effect"
import type { Environment } from "../Report.ts"
import { type RunOptions, RunProcess } from "./RunFacts.ts"

/** The account and the machine; an account without a name has none. */
export const environmentOf = (duckdb: string): Environment => ({
  user: userName(),
  host: hostname(),
  platform: `${process.platform} ${process.arch}`,
  node: process.version,
  duckdb
})

/** What was asked, with who did, as the ledger keeps it. */
export const withEnvironment = Effect.fnUntraced(function* (asked: RunOptions) {
  const client = yield* DuckDbClient
  return JSON.stringify({ ...asked, environment: environmentOf(yield* engineVersion(client)) })
})

/**
 * Whether another process of this machine is still at work on the run. Of its own process nothing is told: whoever asks
 * there has the end of the run already.
 */
export const isGoingOn = ({ options }: LedgerRun): boolean =>
  Option.exists(
    readProcess(options),
    ({ environment, process: { pid, since } }) =>
      environment.host === hostname() && pid !== process.pid && isRunning({ pid, since })
  )

const readProcess = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Struct({ environment: Schema.Struct({ host: Schema.String }), process: RunProcess }))
)

const userName = (): string => {
  try {
    return userInfo().username
  } catch {
    return ""
  }
}
