import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { cohort, makeFolder, type Outcome, program, run, runOther, writeFiles } from "./support.ts"

const timeout = 120_000

/** A path that shells split, and end a quotation in. */
const PLACE = "my data/it's.duckdb"

/** A folder with a database of one cohort, one rejected source and one deleted cohort whose name is none for a shell. */
const makeDatabase = async () => {
  const folder = makeFolder()
  writeFiles(folder, {
    "my data/.keep": "",
    "old/a.json": cohort.text,
    "old/b.json": '{"patients":[',
    "c.json": '{"patients":[]}'
  })
  const db = ["--db", PLACE]
  assert.strictEqual((await run(folder, ["migrate", "old", ...db])).code, 3)
  assert.strictEqual((await run(folder, ["save", "it's $HOME", "c.json", ...db])).code, 0)
  return { folder, db }
}

/** The commands in a text that are told to be typed next, without what a sentence says of them. */
const hintsIn = ({ stderr, stdout }: Outcome): ReadonlyArray<string> =>
  [
    ...`${stdout}${stderr}`.matchAll(
      /\bmallard (?!0\.|is\b)[^`\n]*?(?=`|$| shows| undoes| lists| is\b| carries| says| names| brings| deletes| removes| writes| looks|, or |:)/gm
    )
  ].map(([command]) => command)

/** Types a command into a shell. */
const type = (folder: string, command: string): Promise<Outcome> =>
  runOther("/bin/bash", ["-c", `mallard() { '${process.execPath}' '${program}' "$@"; }\n${command}`], folder)

describe.skipIf(process.platform === "win32")("what is told to be typed next", () => {
  it(
    "leads to the database that the command was given",
    async () => {
      const { db, folder } = await makeDatabase()
      assert.strictEqual((await run(folder, ["delete", "it's $HOME", ...db])).code, 0)
      const commands: ReadonlyArray<readonly [args: ReadonlyArray<string>, hints: number]> = [
        [["report"], 0],
        [["report", "nope"], 1],
        [["report", ""], 1],
        [["resume", "nope"], 2],
        [["export", "nope"], 1],
        [["export"], 2],
        [["export", "--all"], 1],
        [["show", "it's $HOME"], 1],
        [["query"], 1],
        [["gc", "nope"], 2],
        [["gc", "--purge"], 1],
        [["gc", "it's $HOME", "--purge"], 1],
        [["rejects", "list"], 2],
        [["rejects", "show", "nope"], 1],
        [["rejects", "export", "--out", "to mend"], 1],
        [["rejects", "replay", "nope"], 1],
        [["savepoint", "restore", "nope"], 1],
        [["backup", "verify", "nope"], 1],
        [["import", "old"], 1],
        [["rollback", "last"], 1],
        [["migrate"], 1],
        [["plan", "old", "--out", "the plan.json"], 1]
      ]
      for (const [args, count] of commands) {
        const hints = hintsIn(await run(folder, [...args, ...db]))
        assert.strictEqual(hints.length, count, `${args.join(" ")}: ${hints.join(" | ")}`)
        for (const hint of hints) assert.include(hint, String.raw`/my data/it'\''s.duckdb'`, args.join(" "))
      }
    },
    timeout
  )

  it(
    "is typed as it stands",
    async () => {
      const { db, folder } = await makeDatabase()
      const next = async (args: ReadonlyArray<string>, at = 0): Promise<Outcome> => {
        const hint = hintsIn(await run(folder, [...args, ...db]))[at] ?? "false"
        return type(folder, hint)
      }
      assert.strictEqual((await next(["savepoint", "restore", "nope"])).stdout, "No savepoints\n")
      assert.strictEqual((await next(["resume", "nope"], 1)).code, 0)
      assert.match((await next(["export", "nope"])).stdout, /Diabetes 2024/)
      assert.match((await next(["delete", "it's $HOME"])).stdout, /restored/)
      assert.match((await next(["delete", "it's $HOME"], 1)).stderr, /needs a yes/)
      assert.match((await next(["gc", "it's $HOME", "--purge"])).stdout, /1 cohort.* gone/)
      assert.match((await next(["rejects", "show", "nope"])).stdout, /b\.json/)
      assert.match((await next(["rejects", "list"])).stdout, /1 source exported/)
      assert.strictEqual((await run(folder, ["rollback", "last", ...db])).code, 0)
    },
    timeout
  )

  it(
    "leads to the backups that the command was given",
    async () => {
      const { db, folder } = await makeDatabase()
      const dir = ["--backup-dir", "the copies"]
      assert.strictEqual((await run(folder, ["migrate", "c.json", ...db, ...dir])).code, 0)
      const hints = hintsIn(await run(folder, ["backup", "verify", "nope", ...dir]))
      assert.deepStrictEqual(hints, [`mallard backup list --backup-dir '${join(folder, "the copies")}'`])
      assert.match((await type(folder, hints[0]!)).stdout, /1 backup in/)
    },
    timeout
  )

  it(
    "names no database where none was given, and the program as it was called",
    async () => {
      const { folder } = await makeDatabase()
      const env = { MALLARD_DB: PLACE, npm_lifecycle_event: "mallard" }
      const { stderr } = await run(folder, ["savepoint", "restore", "nope"], env)
      assert.include(stderr, "  pnpm mallard savepoint list shows what there is.\n")
      assert.include((await run(folder, ["list", "--nope"], env)).stderr, "`pnpm mallard list --help`")
    },
    timeout
  )
})
