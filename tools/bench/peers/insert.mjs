#!/usr/bin/env node
// What most programs in TypeScript do: JSON.parse, then one prepared INSERT per entity, all in one transaction.
// usage, from a folder where @duckdb/node-api resolves: node insert.mjs DIR DB_FILE
import { readdirSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"

const { DuckDBInstance } = createRequire(join(process.cwd(), "x.js"))("@duckdb/node-api")
const [dir, file] = process.argv.slice(2)
const instance = await DuckDBInstance.create(file)
const connection = await instance.connect()
await connection.run("CREATE TABLE cohorts (name VARCHAR, data JSON)")
await connection.run("CREATE TABLE entities (id VARCHAR, type VARCHAR, data JSON)")
await connection.run("BEGIN")
const cohort = await connection.prepare("INSERT INTO cohorts VALUES ($1, $2)")
const entity = await connection.prepare("INSERT INTO entities VALUES ($1, $2, $3)")
for (const name of readdirSync(dir)) {
  const { entities, ...rest } = JSON.parse(readFileSync(join(dir, name), "utf8"))
  cohort.bindVarchar(1, rest.name)
  cohort.bindVarchar(2, JSON.stringify(rest))
  await cohort.run()
  for (const [type, list] of Object.entries(entities)) {
    for (const one of list) {
      entity.bindVarchar(1, String(one.id ?? one[`${type}_id`] ?? ""))
      entity.bindVarchar(2, type)
      entity.bindVarchar(3, JSON.stringify(one))
      await entity.run()
    }
  }
}
await connection.run("COMMIT")
await connection.run("CHECKPOINT")
connection.closeSync()
instance.closeSync()
