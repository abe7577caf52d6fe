#!/usr/bin/env node
// Floors: what a part of the work costs when nothing else is done.
// usage: node floor.mjs sha256 DIR          hashes the bytes of every file
//        node floor.mjs copy DATABASE NEW   DuckDB alone writes the same tables into a new file
//        node floor.mjs scan DATABASE       DuckDB alone reads every value of every table
import { createHash } from "node:crypto"
import { createRequire } from "node:module"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"

const [what, from, to] = process.argv.slice(2)

const connected = async (path, options) => {
  const client = createRequire(join(process.cwd(), "package.json")).resolve("@duckdb/node-api")
  const { DuckDBInstance } = await import(pathToFileURL(client))
  return (await DuckDBInstance.create(path, options)).connect()
}

const floors = {
  sha256: () => {
    const hash = createHash("sha256")
    for (const name of readdirSync(from)) hash.update(readFileSync(join(from, name)))
    console.log(hash.digest("hex"))
  },
  copy: async () => {
    const connection = await connected(to, {})
    await connection.run(`ATTACH '${from}' AS kept (READ_ONLY)`)
    const [[name]] = await (await connection.runAndReadAll("SELECT current_database()")).getRows()
    await connection.run(`COPY FROM DATABASE kept TO "${name}"`)
    await connection.run("CHECKPOINT")
  },
  scan: async () => {
    const connection = await connected(from, { access_mode: "READ_ONLY" })
    const tables = await connection.runAndReadAll(
      "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal"
    )
    for (const [schema, table] of tables.getRows())
      await connection.run(`SELECT bit_xor(hash(t)) FROM "${schema}"."${table}" t`)
  }
}

await floors[what]()
