import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { cohort, makeFolder, program, run, runOther, writeFiles } from "./support.ts"

const db = ["--db", "test.duckdb"]

const wards = '{"name":"wards","tags":["demo"],"patients":[{"id":"p1","w":71.50},{"id":"p3"}]}'

let template = ""

beforeAll(async () => {
  template = mkdtempSync(join(tmpdir(), "mallard-cohorts-"))
  writeFiles(template, { [cohort.file]: cohort.text, "wards.json": wards })
  for (const file of [cohort.file, "wards.json"]) {
    const outcome = await run(template, ["import", file, ...db])
    assert.strictEqual(outcome.code, 0, outcome.stdout + outcome.stderr)
  }
})
afterAll(() => rmSync(template, { recursive: true, force: true }))

/** A folder with two cohorts, imported. */
const filled = () => {
  const folder = makeFolder()
  cpSync(template, folder, { recursive: true })
  const mallard = async (...args: ReadonlyArray<string>) => {
    const outcome = await run(folder, [...args, ...db])
    return { ...outcome, all: outcome.stdout + outcome.stderr }
  }
  const json = async (...args: ReadonlyArray<string>) => {
    const outcome = await mallard(...args, "--json")
    assert.strictEqual(outcome.code, 0, outcome.all)
    return JSON.parse(outcome.stdout)
  }
  return { folder, mallard, json }
}

describe("mallard import and save", () => {
  it("say what a file is that is compressed, or in an encoding that is not read", async () => {
    const { folder, mallard } = filled()
    writeFileSync(join(folder, "packed.json"), gzipSync("[]"))
    writeFileSync(join(folder, "wide.json"), Buffer.from("[]", "utf16le"))
    const packed = await mallard("import", "packed.json")
    assert.strictEqual(packed.code, 1)
    assert.include(packed.stderr, "(it is compressed with gzip; unpack it and migrate what is in it)\n")
    const wide = await mallard("save", "wide", "wide.json")
    assert.include(
      wide.stderr,
      "(it looks like UTF-16 without a byte order mark; save the file as UTF-8 and try again)"
    )
  })

  it("store what a migration of the same file stores, and verify", async () => {
    const { folder, json, mallard } = filled()
    const imported = await json("show", cohort.name)
    const migrated = await run(folder, ["migrate", cohort.file, "--db", "other.duckdb"])
    assert.strictEqual(migrated.code, 0)
    const other = JSON.parse((await run(folder, ["show", cohort.name, "--db", "other.duckdb", "--json"])).stdout)
    const facts = ({ description, digest, entities, parts, tags }: Record<string, unknown>) => ({
      description,
      digest,
      entities,
      parts,
      tags
    })
    assert.deepStrictEqual(facts(imported), facts(other))
    assert.strictEqual((await mallard("verify")).code, 0)
    assert.strictEqual((await mallard("export", cohort.name, "--compact")).stdout, cohort.text)
  })

  it("take another name, description and tags, replace with --overwrite, and read standard input", async () => {
    const { folder, json, mallard } = filled()
    const copied = await json("import", "wards.json", "--as", "copy", "--tag", "x", "--tag", "y", "--description", "d")
    assert.deepInclude(copied, { name: "copy", outcome: "created", entities: { patient: 2 } })
    assert.deepInclude((await json("list", "--tag", "y"))[0], { name: "copy", description: "d", tags: ["x", "y"] })
    const taken = await mallard("import", "wards.json")
    assert.deepStrictEqual([taken.code, taken.stdout], [1, ""])
    assert.include(taken.stderr, 'There is a cohort "wards" already.')
    const again = await mallard("import", "wards.json", "--overwrite")
    assert.strictEqual(again.stdout, "✓ wards: unchanged, revision 1, 2 entities (2 patient)\n")
    const piped = await runOther(
      "sh",
      ["-c", `"$0" "$1" save piped - --db test.duckdb < wards.json`, process.execPath, program],
      folder
    )
    assert.include(piped.stdout, "✓ piped: created", piped.stderr)
  })

  it("take NDJSON as a migration does, and what an export wrote of it", async () => {
    const { folder, json, mallard } = filled()
    const rows = '{"resourceType":"Patient","id":"1"}\n{"resourceType":"Claim","id":"2","total":4.50}\n'
    const documents = '{"name":"one","patients":[{"id":"p","w":1E2}]}\n{"note": 1}\n'
    writeFiles(folder, { "rows.ndjson": rows, "documents.jsonl": documents })
    const migrated = await run(folder, ["migrate", "rows.ndjson", "documents.jsonl", "--db", "other.duckdb"])
    assert.strictEqual(migrated.code, 0, migrated.stderr)
    for (const name of ["rows.ndjson", "documents.jsonl"]) {
      const { name: cohort_name } = await json("import", name)
      const other = await run(folder, ["show", cohort_name, "--db", "other.duckdb", "--json"])
      const { digest, entities, parts } = JSON.parse(other.stdout)
      assert.deepInclude(await json("show", cohort_name), { digest, entities, parts })
    }
    assert.strictEqual((await mallard("export", "rows", "--out", "back.ndjson")).code, 0)
    assert.strictEqual(readFileSync(join(folder, "back.ndjson"), "utf8"), rows)
    assert.deepInclude(await json("import", "back.ndjson", "--as", "rows", "--overwrite"), { outcome: "unchanged" })
    const script = '"$0" "$1" save piped - --db test.duckdb < rows.ndjson && "$0" "$1" export piped --db test.duckdb'
    assert.include((await runOther("sh", ["-c", script, process.execPath, program], folder)).stdout, rows)
    writeFiles(folder, { "cut.ndjson": '{"a":1}\n{"b":' })
    const cut = await mallard("import", "cut.ndjson")
    assert.strictEqual(cut.code, 1)
    assert.match(
      cut.stderr,
      /^mallard: cut\.ndjson: The text is no JSON document\. \(.+, line 2, column 6, byte 13\)$/m
    )
    assert.strictEqual((await mallard("verify")).code, 0)
  })

  it("refuse a file that is too large to be held, before it is read", async () => {
    const { folder, mallard } = filled()
    writeFileSync(join(folder, "large.json"), "")
    truncateSync(join(folder, "large.json"), 2 ** 28 + 1)
    const words =
      /large[.]json: The file is larger than 256 MiB, .*`mallard migrate --db .*test[.]duckdb` reads files of any size[.]/
    const outcome = await mallard("import", "large.json")
    assert.deepStrictEqual([outcome.code, outcome.stdout], [1, ""])
    assert.match(outcome.stderr, words)
    const script = '"$0" "$1" import - < large.json; cat large.json | "$0" "$1" import -'
    const piped = await runOther("sh", ["-c", script, process.execPath, program], folder)
    assert.match(piped.stderr, /^mallard: -: The file is larger than 256 MiB.*\n.*-: The file is larger than 256 MiB/)
  })

  it("refuse what is no JSON, and say nothing of what is in it", async () => {
    const { folder, mallard } = filled()
    writeFileSync(join(folder, "bad.json"), '{"secret": Mustermann}')
    const outcome = await mallard("import", "bad.json")
    assert.deepStrictEqual([outcome.code, outcome.stdout], [1, ""])
    assert.include(outcome.stderr, "no JSON")
    assert.notInclude(outcome.stderr, "Mustermann")
    assert.strictEqual((await mallard("import", "missing.json")).code, 1)
  })
})

describe("mallard load", () => {
  it("gives the entities by type, spelt as they were, and pages of them", async () => {
    const { json, mallard } = filled()
    const loaded = await mallard("load", "wards")
    assert.include(loaded.stdout, '"entities":{"patients":[{"id":"p1","w":71.50},{"id":"p3"}]}}')
    assert.deepInclude(JSON.parse(loaded.stdout), { name: "wards", counts: { patient: 2 } })
    const first = await json("load", "wards", "--limit", "1")
    assert.deepStrictEqual(first.items, [
      { kind: "patient", type: "patients", path: "wards.json", pointer: "/patients/0", entity: { id: "p1", w: 71.5 } }
    ])
    const second = await json("load", "wards", "--cursor", first.next)
    assert.deepStrictEqual([second.items.length, second.next], [1, null])
    assert.strictEqual((await mallard("load", "wards", "--kind", "thing")).code, 2)
  })
})

describe("mallard delete, undelete and gc", () => {
  it("delete keeps, undelete brings back, gc says what would go, and only --purge with --yes removes", async () => {
    const { folder, json, mallard } = filled()
    const deleted = await mallard("delete", "wards")
    assert.deepStrictEqual([deleted.code, deleted.stdout], [0, "✓ wards: deleted, revision 2\n"])
    const gone = await mallard("show", "wards")
    const words = `mallard: The cohort "wards" is deleted.\n  \`mallard undelete wards --db ${join(folder, "test.duckdb")}\` brings it back.\n`
    assert.deepStrictEqual([gone.code, gone.stderr], [1, words])
    assert.strictEqual((await mallard("diff", "wards")).stdout, "Revision 2 deleted the cohort\n")
    assert.deepInclude(await json("undelete", "wards"), { name: "wards", seq: 3, changed: true })
    const twice = await run(folder, ["undelete", "wards"], { MALLARD_DB: "test.duckdb" })
    assert.strictEqual(twice.code, 2)
    assert.include(twice.stderr, "\n  --revision NUMBER says it; `mallard history NAME` lists them.\n")
    await json("delete", "wards")
    assert.deepStrictEqual(
      (await json("history", "wards")).map(({ change }: { readonly change: string }) => change),
      ["saved", "deleted", "restored", "deleted"]
    )
    const bytes = readFileSync(join(folder, "test.duckdb"))
    const plan = await json("gc")
    assert.deepInclude(plan, { purged: false, revisions: 4, documents: 1, entities: { patient: 2 } })
    const asked = await mallard("gc", "--purge")
    assert.strictEqual(asked.code, 2)
    assert.include(asked.stdout, "- wards, 4 revisions, deleted ")
    assert.include(asked.stderr, "This cannot be undone")
    assert.isTrue(bytes.equals(readFileSync(join(folder, "test.duckdb"))))
    const purged = await mallard("gc", "--purge", "--yes")
    assert.strictEqual(purged.code, 0, purged.all)
    assert.include(purged.stdout, "1 cohort, 1 document and 2 entities (2 patient) gone; what other cohorts have stays")
    assert.strictEqual((await mallard("history", "wards")).code, 1)
    assert.strictEqual((await mallard("verify")).code, 0)
    assert.strictEqual((await mallard("gc")).stdout, "Nothing to remove: no cohort is deleted\n")
    const unknown = await mallard("gc", "wards", "--purge", "--yes")
    assert.strictEqual(unknown.code, 1)
    assert.include(unknown.stderr, 'No deleted cohort is called "wards". Nothing was removed.')
    assert.notInclude(readdirSync(folder).join(), "purged")
  })

  it("a purge is in the list of runs, and the reports of the runs before it balance without what it removed", async () => {
    const { folder, json, mallard } = filled()
    for (const name of ["one", "two"])
      writeFileSync(join(folder, `${name}.json`), `{"name":"${name}","patients":[{"mrn":"${name}"}]}`)
    const paths = ["one.json", "two.json"].map((name) => join(folder, name))
    assert.strictEqual((await mallard("migrate", ...paths, "--no-backup")).code, 0)
    for (const name of ["one", "wards"]) {
      await json("delete", name)
      await json("gc", "--purge", "--yes")
    }
    const [migration, first, second, ...others] = await json("runs")
    assert.deepStrictEqual(others, [])
    for (const run of [first, second]) assert.deepInclude(run, { command: "purge", outcome: "done", revisions: 0 })
    assert.match((await mallard("runs")).stdout, /  purge done: 1 cohort removed for good\n/)
    assert.deepStrictEqual([first.user, first.host], [migration.user, migration.host])
    const report = await json("report", first.run)
    assert.strictEqual(report.totals.balanced, true)
    assert.deepInclude(report.purged, {
      revisions: 2,
      documents: 1,
      entities: { patient: 1 },
      items: { [migration.run]: 1 }
    })
    const told = await mallard("report", first.run)
    assert.include(told.stdout, "Removed 1 deleted cohort for good, with 1 document and 1 entity that no other has.")
    // What was asked for last and can be undone is the migration still.
    const before = await json("report")
    assert.deepStrictEqual([before.run, before.items.length, before.totals.migrated], [migration.run, 1, 2])
    assert.strictEqual(before.totals.balanced, true)
    assert.include(
      before.notes.join(),
      "1 source was counted and is not listed: its cohort has since been removed for good."
    )
    assert.strictEqual((await mallard("report", "--format", "junit")).stdout.match(/<failure/), null)
  })
})

describe("mallard rename, tag, clone and merge", () => {
  it("make revisions that history and list show", async () => {
    const { json, mallard } = filled()
    assert.strictEqual((await mallard("rename", "wards", "halls")).stdout, "✓ halls: renamed, revision 2\n")
    assert.strictEqual((await mallard("rename", "halls", cohort.name)).code, 1)
    const blank = await mallard("tag", "halls", "--add", " ", "--remove", "demo")
    assert.deepStrictEqual([blank.code, (await mallard("tag", "halls")).stdout], [2, "demo\n"], blank.all)
    const tagged = await mallard("tag", "halls", "--add", "a", "--add", "b", "--remove", "demo")
    assert.strictEqual(tagged.stdout, "✓ halls: tagged, revision 3\n", tagged.all)
    assert.strictEqual((await mallard("tag", "halls")).stdout, "a\nb\n")
    assert.strictEqual((await mallard("tag")).stdout, "a: 1 cohort\nb: 1 cohort\ndemo: 1 cohort\n")
    assert.strictEqual((await mallard("clone", "halls", "wards")).code, 0)
    const shown = (await mallard("history", "halls")).stdout
    assert.match(shown, /^SEQ {2}CHANGE {2}NAME .*\n {2}1 {2}saved {3}wards /)
    assert.deepStrictEqual(
      (await json("list", "--search", "AR")).map(({ name }: { readonly name: string }) => name),
      ["wards"]
    )
    const page = await json("list", "--limit", "1")
    assert.deepStrictEqual(page.cohorts[0].name, "wards")
    assert.strictEqual((await json("list", "--limit", "5", "--cursor", page.next)).cohorts.length, 2)
  })

  it("merge by kind and id, and say what was in common and in conflict", async () => {
    const { json, mallard } = filled()
    const merged = await mallard("merge", cohort.name, "wards", "--into", "all", "--conflict", "rename", "--verbose")
    assert.strictEqual(merged.code, 0, merged.all)
    assert.include(merged.stdout, "✓ all: created, 5 entities (4 patient, 1 encounter)")
    assert.include(merged.stdout, "  patient p1: renamed to p1-2")
    assert.deepInclude(await json("merge", cohort.name, "wards", "--into", "all", "--overwrite"), {
      outcome: "replaced",
      entities: { patient: 3, encounter: 1 },
      conflicts: [{ kind: "patient", id: "p1", outcome: "skipped" }]
    })
    assert.strictEqual((await mallard("merge", "wards", "--into", "x")).code, 2)
  })
})

describe("mallard diff and summary", () => {
  it("diff shows what changed by entity and pointer", async () => {
    const { folder, json, mallard } = filled()
    assert.strictEqual((await mallard("diff", "wards")).stdout, "Revision 1 is the first: none stands before it\n")
    writeFileSync(join(folder, "wards.json"), wards.replace("71.50", "71.5").replace(',{"id":"p3"}', ""))
    await json("import", "wards.json", "--overwrite")
    const shown = await mallard("diff", "wards")
    assert.strictEqual(
      shown.stdout,
      "- patient p3 (wards.json /patients/1)\n~ patient p1 (wards.json /patients/0)\n    /w: 71.50 → 71.5\n" +
        "0 entities added, 1 removed, 1 changed, 0 unchanged\n"
    )
    assert.isTrue((await json("diff", "wards", "--from", "2", "--to", "2")).isSame)
    assert.strictEqual((await mallard("diff", "wards", "--from", "9")).code, 2)
    assert.strictEqual((await mallard("diff", "wards", "--with", cohort.name)).code, 0)
  })

  it("summary shows counts, ranges and samples, the same each time", async () => {
    const { json, mallard } = filled()
    const shown = await mallard("summary", cohort.name, "--samples", "1")
    assert.include(shown.stdout, "2 patient\n  id: 2 with a value, 2 different\n")
    assert.include(shown.stdout, "birth_date: 1 with a value, 1 different, 1961-02-03 to 1961-02-03")
    const facts = await json("summary", cohort.name, "--strategy", "random")
    assert.deepStrictEqual(await json("summary", cohort.name, "--strategy", "random"), facts)
    assert.strictEqual(facts.kinds[0].samples.length, 2)
  })
})

describe("mallard export --format", () => {
  it("writes HealthSim's form, the form for sharing, and tables", async () => {
    const { folder, mallard } = filled()
    const v1 = await mallard("export", "wards", "--format", "v1")
    assert.strictEqual(v1.code, 0, v1.all)
    assert.deepInclude(JSON.parse(v1.stdout), { name: "wards", description: null, tags: ["demo"] })
    const wanting = await mallard("export", "wards", "--format", "csv")
    assert.strictEqual(wanting.code, 2)
    assert.strictEqual((await mallard("export", "--all", "--out", "x", "--format", "v1")).code, 2)
    const tables = await mallard("export", cohort.name, "--format", "parquet", "--out", "tables")
    assert.strictEqual(tables.code, 0, tables.all)
    assert.sameMembers(readdirSync(join(folder, "tables")), ["patients.parquet", "encounters.parquet"])
    const odd = await mallard("export", cohort.name, "--format", "v1", "--out", "odd.json")
    assert.include(odd.stderr, "! lone-surrogate: diabetes.json /patients/1: ")
    writeFileSync(
      join(folder, "keys.json"),
      '{"name":"keys","Jo Doe 1961-02-03":1,"product":"x","patients":[{"id":"p"}]}'
    )
    assert.strictEqual((await mallard("import", "keys.json")).code, 0)
    const masked = await mallard("export", "keys", "--format", "v1", "--out", "v1.json", "--json")
    assert.match(
      masked.stderr,
      /^! outside-entities: keys\.json \/\*: .+\n! outside-entities: keys\.json \/product: .+\n$/
    )
    assert.include(masked.stdout, "/Jo Doe 1961-02-03")
  })

  it("ends a file with its document, and what is printed with a line feed that --compact leaves out", async () => {
    const { folder, mallard } = filled()
    for (const format of ["documents", "sharing", "v1"]) {
      for (const compact of [[], ["--compact"]]) {
        const asked = ["export", "wards", "--format", format, ...compact]
        const printed = await mallard(...asked)
        assert.strictEqual((await mallard(...asked, "--out", "wards.json")).code, 0)
        const written = readFileSync(join(folder, "wards.json"), "utf8")
        assert.match(written, /\}$/, asked.join(" "))
        assert.strictEqual(printed.stdout, compact.length > 0 ? written : `${written}\n`, asked.join(" "))
      }
    }
  })

  it("with --json prints the document, or the files that it wrote with their remarks", async () => {
    const { folder, mallard } = filled()
    const document = await mallard("export", "wards", "--compact", "--json")
    assert.deepStrictEqual([document.code, document.stdout], [0, wards], document.all)
    const written = await mallard("export", cohort.name, "--format", "v1", "--out", "odd.json", "--json")
    const { files, remarks } = JSON.parse(written.stdout)
    assert.deepStrictEqual(files, [join(realpathSync(folder), "odd.json")])
    assert.deepStrictEqual(
      remarks.map(({ code }: { readonly code: string }) => code),
      ["lone-surrogate"]
    )
    const all = JSON.parse((await mallard("export", "--all", "--out", "all", "--json")).stdout)
    assert.strictEqual(all.files.length, 2)
  })
})

describe("changes", () => {
  it("of a database that is not there are refused, and create none", async () => {
    const folder = makeFolder()
    for (const args of [["delete", "x"], ["rename", "x", "y"], ["tag", "x", "--add", "t"], ["gc"]]) {
      assert.strictEqual((await run(folder, [...args, ...db])).code, 10, args.join(" "))
    }
    assert.deepStrictEqual(readdirSync(folder), [])
  })
})
