#!/usr/bin/env node
// Brings each file of a list into a table of a fresh database and back, in one of three ways:
//   read_json          DuckDB finds the types; back with to_json
//   read_json_objects  each file whole in one JSON column; nothing is split into entities or columns
//   insert             JSON.parse, one prepared INSERT per entity of its JSON; back by putting the pieces together
// usage, from a folder where @duckdb/node-api resolves: node duckdb-fidelity.mjs WAY LIST.json OUT.ndjson
import { readFileSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"

const { DuckDBInstance } = createRequire(join(process.cwd(), "x.js"))("@duckdb/node-api")
const [way, list, out] = process.argv.slice(2)

const read = (reader, back) => async (connection, file) => {
  await connection.run(`CREATE TABLE document AS SELECT * FROM ${reader}('${file.replaceAll("'", "''")}')`)
  const rows = (await connection.runAndReadAll(`SELECT (${back})::VARCHAR AS text FROM document`)).getRowObjects()
  if (rows.length !== 1) return [`[${rows.map(({ text }) => text).join(",")}]`]
  return [rows[0].text]
}

const insert = async (connection, file) => {
  const { entities, ...rest } = JSON.parse(readFileSync(file, "utf8"))
  await connection.run("CREATE TABLE cohorts (data JSON)")
  await connection.run("CREATE TABLE entities (type VARCHAR, data JSON)")
  const cohort = await connection.prepare("INSERT INTO cohorts VALUES ($1)")
  cohort.bindVarchar(1, JSON.stringify(rest))
  await cohort.run()
  const statement = await connection.prepare("INSERT INTO entities VALUES ($1, $2)")
  for (const [type, list] of Object.entries(entities ?? {})) {
    for (const one of list) {
      statement.bindVarchar(1, type)
      statement.bindVarchar(2, JSON.stringify(one))
      await statement.run()
    }
  }
  const back = JSON.parse((await connection.runAndReadAll("SELECT data::VARCHAR FROM cohorts")).getRows()[0][0])
  if (entities !== undefined) back.entities = {}
  const rows = (await connection.runAndReadAll("SELECT type, data::VARCHAR FROM entities ORDER BY rowid")).getRows()
  for (const [type, data] of rows) (back.entities[type] ??= []).push(JSON.parse(data))
  return [JSON.stringify(back)]
}

const ways = {
  read_json: read("read_json", "to_json(document)"),
  read_json_objects: read("read_json_objects", "json"),
  insert
}

// Tables know no difference between a column that is NULL and a key that was not there: the better reading counts.
const withoutNulls = (text) => {
  try {
    const drop = (value) => {
      if (value === null || typeof value !== "object" || JSON.isRawJSON(value)) return value
      if (Array.isArray(value)) return value.map(drop)
      return Object.fromEntries(Object.entries(value).flatMap(([k, v]) => (v === null ? [] : [[k, drop(v)]])))
    }
    const exact = (_, value, { source }) => (typeof value === "number" ? JSON.rawJSON(source) : value)
    return [JSON.stringify(drop(JSON.parse(text, exact)))]
  } catch {
    return []
  }
}

const lines = []
for (const file of JSON.parse(readFileSync(list, "utf8"))) {
  const instance = await DuckDBInstance.create(":memory:")
  const connection = await instance.connect()
  try {
    const texts = await ways[way](connection, file)
    lines.push({ file, texts: way === "read_json" ? texts.flatMap((text) => [text, ...withoutNulls(text)]) : texts })
  } catch (error) {
    lines.push({ file, error: String(error).slice(0, 300) })
  }
  connection.closeSync()
  instance.closeSync()
}
writeFileSync(out, lines.map((line) => `${JSON.stringify(line)}\n`).join(""))
