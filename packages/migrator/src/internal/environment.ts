/** Who runs the program, where, and on what. */
import { hostname, userInfo } from "node:os"
import type { Environment } from "../Report.ts"

/** The account and the machine; an account without a name has none. */
export const environmentOf = (duckdb: string): Environment => ({
  user: userName(),
  host: hostname(),
  platform: `${process.platform} ${process.arch}`,
  node: process.version,
  duckdb
})

const userName = (): string => {
  try {
    return userInfo().username
  } catch {
    return ""
  }
}
