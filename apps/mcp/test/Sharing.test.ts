import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { type Assistant, type Called, connect, listening, makeFolder, run } from "./support.ts"

const db = ["--db", "test.duckdb"]
const FILES = 40
const PEOPLE = 400

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** As a model would: what is locked is tried again. */
const persist = async (assistant: Assistant, name: string, args: Record<string, unknown>): Promise<Called> => {
  for (let turn = 0; ; turn++) {
    const called = await assistant.call(name, args)
    if (!called.isError || turn === 20 || !called.text.includes("Try again")) return called
    await pause(50)
  }
}

describe("the command line and two assistants", () => {
  it("share one database: 50 mixed calls during a migration lose nothing, and all come back", async () => {
    const folder = makeFolder()
    mkdirSync(join(folder, "old"))
    for (let file = 0; file < FILES; file++) {
      const patients = Array.from({ length: PEOPLE }, (_, at) => ({ id: `m${file}-${at}`, gender: "female" }))
      writeFileSync(join(folder, "old", `m${file}.json`), JSON.stringify({ name: `m${file}`, patients }))
    }
    const first = await connect("legacy", { folder, args: db })
    const second = await connect("current", await listening(folder, db))

    /** 25 calls: cohorts saved, added to, read, and some of them deleted. */
    const session = async (assistant: Assistant, who: string): Promise<ReadonlyArray<string>> => {
      const failures: Array<string> = []
      const call = async (name: string, args: Record<string, unknown>) => {
        const { isError, text } = await persist(assistant, name, args)
        if (isError) failures.push(`${name}: ${text}`)
        await pause(20)
      }
      for (let round = 0; round < 5; round++) {
        const cohort = `${who}${round}`
        await call("save_cohort", { name: cohort, entities: { patients: [{ id: `${cohort}-1` }] } })
        await call("add_entities", { name_or_id: cohort, entities: { patients: [{ id: `${cohort}-2` }] } })
        await call("list_cohorts", { limit: 5 })
        await call("load_cohort", { name_or_id: cohort, include_entities: true })
        if (round === 4) await call("delete_cohort", { name_or_id: cohort, confirm: true })
        else await call("get_cohort_summary", { name_or_id: cohort, samples: 1 })
      }
      return failures
    }

    const [migration, ...failures] = await Promise.all([
      run(folder, ["migrate", "old", ...db, "--json"]),
      session(first, "a"),
      session(second, "b")
    ])
    assert.deepStrictEqual(failures, [[], []])
    assert.strictEqual(migration.code, 0, migration.stdout.slice(-2000) + migration.stderr)
    const verified = await run(folder, ["verify", ...db])
    assert.strictEqual(verified.code, 0, verified.stdout + verified.stderr)
    const listed: ReadonlyArray<{ readonly name: string }> = JSON.parse(
      (await run(folder, ["list", ...db, "--json"])).stdout
    )
    assert.deepStrictEqual(
      listed.map(({ name }) => name).toSorted(),
      [
        ...Array.from({ length: FILES }, (_, at) => `m${at}`),
        ...["a", "b"].flatMap((who) => [0, 1, 2, 3].map((round) => `${who}${round}`))
      ].toSorted()
    )
    for (const name of ["a0", "b3"]) {
      const { structured } = await first.call("load_cohort", { name_or_id: name })
      assert.strictEqual(structured["entity_count"], 2)
    }
  })
})
