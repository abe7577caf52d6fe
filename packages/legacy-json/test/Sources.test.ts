import { execFileSync } from "node:child_process"
import { chmodSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { basename, join, relative } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect } from "effect"
import { inject } from "vitest"
import { defaultPlaces, findSources, type FoundSources, listSources, rootHintOf } from "../src/index.ts"
import { temporaryFolder, tree } from "./support/tree.ts"

/** What was found, with paths relative to the folder: `name <- path: files`. */
const shown = (folder: string, { ignored, missing, sources, unreadable }: FoundSources) => ({
  sources: sources.map(
    ({ files, kind, name, path }) =>
      `${name} <- ${relative(folder, path) || "."}${kind === "file" ? "" : `: ${files.map((file) => file.name).join(" ")}`}`
  ),
  ignored: ignored.map(({ path, reason }) => `${relative(folder, path)} ${reason}`),
  missing: missing.map(({ path, reason }) => `${relative(folder, path)} ${reason}`),
  unreadable: unreadable.map(({ path, reason }) => `${relative(folder, path)} ${reason}`)
})

const found = (sources: ReadonlyArray<string>, others: Partial<ReturnType<typeof shown>> = {}) => ({
  sources,
  ignored: [],
  missing: [],
  unreadable: [],
  ...others
})

const cohort = { name: "x", entities: { patients: [] } }

/** What `findSources` makes of one folder with these files. */
const foundIn = (files: Readonly<Record<string, unknown>>) =>
  Effect.gen(function* () {
    const folder = yield* tree(Object.fromEntries(Object.entries(files).map(([name, value]) => [`c/${name}`, value])))
    return shown(folder, yield* findSources([folder]))
  })

const isAlwaysSuperuser = process.geteuid?.() === 0 && process.seteuid === undefined

describe("finding files", () => {
  it.effect("finds JSON in any case, hidden and nested, in the order of the bytes, and names the rest", () =>
    Effect.gen(function* () {
      const folder = yield* tree({
        "b.json": cohort,
        "a/z.JSON": cohort,
        "a/deep/er/n.NdJson": cohort,
        "a-b/x.json": cohort,
        ".hidden.json": cohort,
        ".git/h.json": cohort,
        ".json": cohort,
        "é.json": cohort,
        "Z.json": cohort,
        "a.b.json": cohort,
        "README.md": "x",
        "a.json.tmp": "x",
        "a.json.gz": "x"
      })
      mkdirSync(join(folder, "empty"))
      assert.deepStrictEqual(
        shown(folder, yield* findSources([folder])),
        found(
          [
            "h <- .git/h.json",
            ".hidden <- .hidden.json",
            ".json <- .json",
            "Z <- Z.json",
            "x <- a-b/x.json",
            "a.b <- a.b.json",
            "n <- a/deep/er/n.NdJson",
            "z <- a/z.JSON",
            "b <- b.json",
            "é <- é.json"
          ],
          { ignored: ["README.md not-json", "a.json.gz not-json", "a.json.tmp not-json"] }
        )
      )
    })
  )

  it.effect("tells of each file what shows a change", () =>
    Effect.gen(function* () {
      const folder = yield* tree({ "a.json": "[ ]" })
      utimesSync(join(folder, "a.json"), 1_700_000_000, 1_700_000_000.5)
      const [source] = (yield* findSources([folder])).sources
      assert.strictEqual(source?.path, join(folder, "a.json"))
      const [file] = source?.files ?? []
      assert.strictEqual(file?.path, join(folder, "a.json"))
      assert.strictEqual(file?.bytes, 3)
      assert.strictEqual(file?.modifiedMs, 1_700_000_000_500)
      assert.strictEqual(file?.identity.size, 3n)
      assert.strictEqual(file?.identity.mtimeNs, 1_700_000_000_500_000_000n)
    })
  )

  it.effect("never follows links, waits for a FIFO, or takes a folder for a file", () =>
    Effect.gen(function* () {
      const folder = yield* tree({ "real/a.json": cohort, "x.json/inside.json": cohort })
      const outside = yield* tree({ "secret.json": cohort })
      symlinkSync("..", join(folder, "real/up"))
      symlinkSync(join(outside, "secret.json"), join(folder, "link.json"))
      symlinkSync("/dev/zero", join(folder, "zero.json"))
      symlinkSync("nowhere", join(folder, "dangling.json"))
      execFileSync("mkfifo", [join(folder, "fifo.json"), join(folder, "fifo")])
      yield* Effect.acquireRelease(
        Effect.promise(
          () =>
            new Promise<ReturnType<typeof createServer>>((resolve) => {
              const server = createServer().listen(join(folder, "socket.json"), () => resolve(server))
            })
        ),
        (server) => Effect.sync(() => server.close())
      )
      assert.deepStrictEqual(
        shown(folder, yield* findSources([folder])),
        found(["a <- real/a.json"], {
          ignored: [
            "dangling.json symbolic-link",
            "fifo fifo",
            "fifo.json fifo",
            "link.json symbolic-link",
            "real/up symbolic-link",
            "socket.json socket",
            "x.json folder-named-json",
            "zero.json symbolic-link"
          ]
        })
      )
    })
  )

  it.effect("resolves a path that is given as a link, once for all ways that lead to it", () =>
    Effect.gen(function* () {
      const folder = yield* tree({ "real/a.json": cohort, "real/sub/b.json": cohort })
      symlinkSync("real", join(folder, "folder-link"))
      symlinkSync("folder-link/a.json", join(folder, "current.json"))
      const paths = ["current.json", "folder-link", "real/sub", "real/a.json", "./real/../real", "real"]
      const expected = found(["a <- real/a.json", "b <- real/sub/b.json"])
      assert.deepStrictEqual(shown(folder, yield* findSources(paths, { cwd: folder })), expected)
      assert.deepStrictEqual(shown(folder, yield* findSources(paths.toReversed(), { cwd: folder })), expected)
    })
  )

  it.effect("takes a file that is given whatever its extension, and a folder whatever its name", () =>
    Effect.gen(function* () {
      const folder = yield* tree({ "d/export.txt": cohort, "d/dump": cohort, "x.json/in.json": cohort })
      assert.deepStrictEqual(
        shown(folder, yield* findSources([folder, "d/export.txt", "x.json"], { cwd: folder })),
        found(["export <- d/export.txt", "in <- x.json/in.json"], { ignored: ["d/dump not-json"] })
      )
      assert.deepStrictEqual(
        ["patients.txt", "patients.v2.ndjson", "patients", ".json"].map(
          (name) => rootHintOf(name, new Uint8Array()).stem
        ),
        ["patients", "patients.v2", "patients", ".json"],
        "what the name says does not hang on the extension"
      )
    })
  )

  it.effect("keeps odd names byte for byte and as different sources", () =>
    Effect.gen(function* () {
      const names = [
        "a\nb.json",
        "-rf.json",
        "...json",
        "..a.json",
        "Case.json",
        "case.json",
        "caf\u00e9.json",
        "cafe\u0301.json",
        `${"😀".repeat(62)}ab.json`,
        " .json",
        "a\\b.json",
        "\u202egnp.json",
        "con.json"
      ]
      const folder = yield* tree(Object.fromEntries(names.map((name) => [name, cohort])))
      const { ignored, sources } = yield* findSources([folder])
      assert.deepStrictEqual(new Set(sources.map(({ path }) => basename(path))), new Set(names))
      assert.deepStrictEqual(ignored, [])
    })
  )

  it.effect.skipIf(process.platform !== "linux")("names what is not UTF-8 instead of losing it", () =>
    Effect.gen(function* () {
      const folder = yield* tree({ "a.json": cohort })
      const bytes = (name: string) => Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(name, "latin1")])
      writeFileSync(bytes("Zo\xeb.json"), "{}")
      writeFileSync(bytes("Zo\xeb.txt"), "")
      mkdirSync(bytes("Ren\xe9"))
      // Two names stay two, also where one of them spells what stands for a byte of the other.
      writeFileSync(bytes("a\\xff\xfe.json"), "{}")
      writeFileSync(bytes("a\xff\xfe.json"), "{}")
      const result = shown(folder, yield* findSources([folder]))
      assert.deepStrictEqual(
        result,
        found(["a <- a.json"], {
          ignored: ["Zo\\xeb.txt not-json"],
          unreadable: [
            "Ren\\xe9 not-utf8-name",
            "Zo\\xeb.json not-utf8-name",
            "a\\x5cxff\\xfe.json not-utf8-name",
            "a\\xff\\xfe.json not-utf8-name"
          ]
        })
      )
    })
  )

  it.effect("names paths that lead nowhere and finds the others", () =>
    Effect.gen(function* () {
      const folder = yield* tree({ "a.json": cohort })
      execFileSync("mkfifo", [join(folder, "fifo")])
      symlinkSync("gone", join(folder, "dangling"))
      const paths = [
        "a.json",
        "nope",
        "a.json/deeper",
        "nul\0.json",
        "",
        "fifo",
        "dangling",
        "/dev/null",
        "x".repeat(300)
      ]
      const { missing, sources } = yield* findSources(paths, { cwd: folder })
      assert.deepStrictEqual(
        sources.map(({ name }) => name),
        ["a"]
      )
      assert.deepStrictEqual(
        missing.map(({ path, reason }) => [path.replace(folder, ""), reason]),
        [
          ["", "missing"],
          ["/dev/null", "not-regular"],
          ["/a.json/deeper", "missing"],
          ["/dangling", "missing"],
          ["/fifo", "not-regular"],
          ["/nope", "missing"],
          ["/nul\0.json", "missing"],
          [`/${"x".repeat(300)}`, "missing"]
        ]
      )
      assert.strictEqual(
        missing[6]?.detail,
        "there is nothing at this path; check its spelling and the folder it is relative to"
      )
      assert.strictEqual(
        missing[6]?.message,
        `Cannot read ${folder}/nul\\u{0}.json: there is nothing at this path; check its spelling and the folder it is relative to`
      )
    })
  )

  it.effect.skipIf(isAlwaysSuperuser)("goes on past folders it may not read", () =>
    Effect.gen(function* () {
      const folder = yield* tree({ "locked/a.json": cohort, "open/b.json": cohort })
      chmodSync(folder, 0o755)
      chmodSync(join(folder, "locked"), 0o000)
      const asOther = findSources([folder, join(folder, "locked")])
      const asGiven = findSources([folder])
      const [given, nested] = yield* asOrdinaryUser(Effect.all([asOther, asGiven]))
      chmodSync(join(folder, "locked"), 0o755)
      assert.deepStrictEqual(shown(folder, given), found(["b <- open/b.json"], { missing: ["locked permission"] }))
      assert.deepStrictEqual(shown(folder, nested), found(["b <- open/b.json"], { unreadable: ["locked permission"] }))
    })
  )

  it.effect("finds files two hundred folders deep, and ten thousand in one", () =>
    Effect.gen(function* () {
      const deep = Array.from({ length: 200 }, () => "d").join("/")
      const folder = yield* tree({ [`${deep}/a.json`]: cohort })
      mkdirSync(join(folder, "wide"))
      for (let index = 0; index < 10_000; index++) {
        writeFileSync(join(folder, `wide/${index}.json`), "{}")
      }
      const { sources } = yield* findSources([folder])
      assert.strictEqual(sources.length, 10_001)
      assert.strictEqual(sources[0]?.path, join(folder, deep, "a.json"))
    })
  )
})

/** The superuser may read everything, so for it the effect runs as nobody, where a process may change its user. */
const asOrdinaryUser = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  process.geteuid?.() === 0
    ? Effect.acquireUseRelease(
        Effect.sync(() => process.seteuid?.(65_534)),
        () => effect,
        () => Effect.sync(() => process.seteuid?.(0))
      )
    : effect

describe("cohorts in several files", () => {
  const patients = [{ mrn: "1" }]

  it.effect.each([
    {
      title: "metadata beside a bare list (V11a)",
      files: {
        "scenario.json": { id: "1", name: "n", description: "d", created_at: "t", tags: ["a"] },
        "patients.json": patients
      },
      sources: ["c <- c: patients.json scenario.json"]
    },
    {
      title: "a saver's directory (V9)",
      files: {
        "cohort.json": { cohort_id: "1", name: "n", entity_count: 2, tags: [], files: ["core.json"] },
        "core.json": { patients, pharmacys: [] },
        "populationsim.json": { sdoh_indexs: [] }
      },
      sources: ["c <- c: cohort.json core.json populationsim.json"]
    },
    {
      title: "a sharing directory with files of any name (V16b)",
      files: {
        "metadata.json": { cohort: { id: "1", name: "n" }, entity_counts: { patient: 1 }, exported_at: "t" },
        "patient.json": patients,
        "unknown-thing.json": []
      },
      sources: ["c <- c: metadata.json patient.json unknown-thing.json"]
    },
    {
      title: "SDTM's domains (V14)",
      files: { "dm.json": [{ USUBJID: "1" }], "AE.json": [], "ex.json": { domain: "EX", records: [] } },
      sources: ["c <- c: AE.json dm.json ex.json"]
    },
    {
      title: "a bulk export of FHIR (V15)",
      files: {
        "Patient.ndjson": '{"resourceType":"Patient"}\n{"resourceType":"Patient"}\n',
        "Location.ndjson": '{"resourceType":"Location","name":"Ward"}\n',
        "MedicationRequest.ndjson": ""
      },
      sources: ["c <- c: Location.ndjson MedicationRequest.ndjson Patient.ndjson"]
    },
    {
      title: "a wrapper per file (V11b)",
      files: { "person.json": { person: {} }, "patient.json": { patient: {} }, "claim.json": { claim: {} } },
      sources: ["c <- c: claim.json patient.json person.json"]
    },
    {
      title: "clinical documents, an enrollment and transactions (V11c, d, e)",
      files: {
        "patient.json": { patient: {} },
        "Pharmacy-Claim-NCPDP.JSON": { transaction_header: {} },
        "claim-837p.json": { claim: {} },
        "labResults.json": [],
        "enrollment.json": { coverage: {} }
      },
      sources: ["c <- c: Pharmacy-Claim-NCPDP.JSON claim-837p.json enrollment.json labResults.json patient.json"]
    },
    {
      title: "one part alone, and a part that is a bare entity whose name is an object (V13)",
      files: { "patient.json": { name: { given_name: "A" }, mrn: "1" } },
      sources: ["c <- c: patient.json"]
    },
    {
      title: "parts that are broken, empty or begin with a byte order mark",
      files: { "patient.json": '{"patient": {', "claims.json": "", "labs.json": "\ufeff[]", "orders.json": "nonsense" },
      sources: ["c <- c: claims.json labs.json orders.json patient.json"]
    },
    {
      title: "parts beside metadata that is broken",
      files: { "scenario.json": '{"name": "n"', "patients.json": patients },
      sources: ["c <- c: patients.json scenario.json"]
    },
    {
      title: "parts whose name lies in a nested object or in a text",
      files: { "patients.json": { patients: [{ name: "x" }], note: '{"name":"x"}' } },
      sources: ["c <- c: patients.json"]
    }
  ])("are one source: $title", ({ files, sources }) =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* foundIn(files), found(sources))
    })
  )

  it.effect.each([
    {
      title: "a whole cohort named after a part",
      files: { "patients.json": { name: "diabetics", patients }, "claims.json": { claims: [] } }
    },
    { title: "entities in a part", files: { "patients.json": { entities: { patients } } } },
    { title: "entities after a long list", files: { "claims.json": { notes: ["x".repeat(60_000)], entities: {} } } },
    {
      title: "a named file cut off by the look inside",
      files: { "labs.json": { name: "n", labs: ["x".repeat(70_000)] } }
    },
    { title: "a workspace file", files: { "patientsim.json": { metadata: { name: "w" }, entities: {} } } },
    { title: "an automatic export", files: { "members.json": { cohort_name: "x", members: [] } } },
    { title: "an older automatic export", files: { "members.json": { scenario_name: "x", members: [] } } },
    { title: "a name with escapes in its key", files: { "members.json": '{"n\\u0061me": "x", "members": []}' } },
    { title: "a name in UTF-16", files: { "members.json": Buffer.from('\ufeff{"name": "x"}', "utf16le") } },
    { title: "a stem that is no part", files: { "patient.json": { patient: {} }, "alice.json": { patient: {} } } },
    { title: "a part with a date in its name", files: { "patients_20250101_120000.json": { patients } } },
    { title: "metadata alone", files: { "metadata.json": { name: "n" } } },
    { title: "metadata with entities", files: { "cohort.json": cohort, "patients.json": patients } },
    {
      title: "metadata with content of its own",
      files: { "cohort.json": { name: "n", patients }, "b.json": patients }
    },
    { title: "metadata with samples", files: { "cohort.json": { name: "n", samples: {} }, "b.json": patients } },
    { title: "metadata that names nothing", files: { "metadata.json": { version: 1 }, "b.json": patients } },
    { title: "metadata beside a whole cohort", files: { "metadata.json": { name: "n" }, "b.json": cohort } },
    { title: "metadata that is a list", files: { "metadata.json": [{ name: "n" }], "b.json": patients } }
  ])("are not made of $title", ({ files }) =>
    Effect.gen(function* () {
      const { sources } = yield* foundIn(files)
      assert.deepStrictEqual(
        sources,
        Object.keys(files)
          .toSorted()
          .map((name) => `${name.slice(0, -".json".length)} <- c/${name}`)
      )
    })
  )

  it.effect("tell which file is metadata", () =>
    Effect.gen(function* () {
      const folder = yield* tree({
        "a/scenario.json": { id: "1", name: "n" },
        "a/patients.json": patients,
        "b/patients.json": patients
      })
      const { sources } = yield* findSources([folder])
      assert.deepStrictEqual(
        sources.map(({ metadata }) => metadata),
        ["scenario.json", undefined]
      )
    })
  )

  it.effect("stand beside sub-folders that are sources of their own", () =>
    Effect.gen(function* () {
      const folder = yield* tree({
        "patient.json": { patient: {} },
        "old/whole.json": cohort,
        "sub/member.json": { member: {} },
        "notes.md": "x"
      })
      const name = basename(folder)
      assert.deepStrictEqual(
        shown(folder, yield* findSources([folder])),
        found([`${name} <- .: patient.json`, "whole <- old/whole.json", "sub <- sub: member.json"], {
          ignored: ["notes.md not-json"]
        })
      )
    })
  )

  it.effect("swallow a part that is given too, and leave a part that is given alone", () =>
    Effect.gen(function* () {
      const folder = yield* tree({ "c/patient.json": { patient: {} }, "c/claim.json": { claim: {} } })
      assert.deepStrictEqual(
        shown(folder, yield* findSources(["c/patient.json", "c"], { cwd: folder })),
        found(["c <- c: claim.json patient.json"])
      )
      assert.deepStrictEqual(
        shown(folder, yield* findSources(["c/patient.json"], { cwd: folder })),
        found(["patient <- c/patient.json"])
      )
    })
  )

  it.effect("hide nothing behind the first 64 KiB but what lies there", () =>
    Effect.gen(function* () {
      const long = { patients: ["x".repeat(70_000)], name: "late" }
      assert.deepStrictEqual((yield* foundIn({ "patients.json": long, "claims.json": [] })).sources, [
        "c <- c: claims.json patients.json"
      ])
      assert.deepStrictEqual(
        (yield* foundIn({ "cohort.json": { name: "n", description: "x".repeat(70_000) }, "b.json": [] })).sources,
        ["b <- c/b.json", "cohort <- c/cohort.json"]
      )
    })
  )
})

describe("HealthSim's folders", () => {
  const home = tree({
    ".healthsim/cohorts/patients.json": { patients: [] },
    ".healthsim/cohorts/sub/claims.json": { claims: [] },
    ".healthsim/workspaces/1.json": cohort,
    ".healthsim/scenarios_backup_20260101_120000/old.json": cohort,
    ".healthsim/cohorts_backup/old.json": cohort,
    ".healthsim/profiles/p.json": {},
    ".healthsim/journeys/j.json": {},
    ".healthsim/config.yaml": "",
    "Downloads/patients.JSON": { patients: [] }
  })

  it.effect("are found where they exist, and what may hold more is named", () =>
    Effect.gen(function* () {
      const folder = yield* home
      assert.deepStrictEqual(yield* defaultPlaces(folder), {
        places: [join(folder, ".healthsim/cohorts"), join(folder, ".healthsim/workspaces")],
        noticed: [
          { path: join(folder, ".healthsim/cohorts_backup"), reason: "backup" },
          { path: join(folder, ".healthsim/scenarios_backup_20260101_120000"), reason: "backup" },
          { path: join(folder, "Downloads"), reason: "downloads" }
        ]
      })
      rmSync(join(folder, "Downloads/patients.JSON"))
      assert.strictEqual((yield* defaultPlaces(folder)).noticed.length, 2)
      assert.deepStrictEqual(yield* defaultPlaces(join(folder, "nobody")), { places: [], noticed: [] })
    })
  )

  it.effect("are stores of cohorts, not cohorts, and what is none is left alone", () =>
    Effect.gen(function* () {
      const folder = yield* home
      const store = join(folder, ".healthsim")
      assert.deepStrictEqual(
        shown(store, yield* findSources([store])),
        found(["patients <- cohorts/patients.json", "sub <- cohorts/sub: claims.json", "1 <- workspaces/1.json"], {
          ignored: [
            "cohorts_backup backup",
            "config.yaml not-json",
            "journeys not-cohorts",
            "profiles not-cohorts",
            "scenarios_backup_20260101_120000 backup"
          ]
        })
      )
    })
  )

  it.effect("are left alone in a workspace of the agent, too", () =>
    Effect.gen(function* () {
      const cohort = '{"name":"c","entities":{}}'
      const folder = yield* tree({
        "w/workspace.json": '{"cohort_ids":[]}',
        "w/profiles/p.json": "{}",
        "w/cohorts/c.json": cohort,
        "plain/profiles/p.json": cohort
      })
      assert.deepStrictEqual(
        shown(folder, yield* findSources([folder])),
        found(["p <- plain/profiles/p.json", "c <- w/cohorts/c.json", "workspace <- w/workspace.json"], {
          ignored: ["w/profiles not-cohorts"]
        })
      )
    })
  )

  it.effect("are read if they are given", () =>
    Effect.gen(function* () {
      const folder = yield* home
      const store = join(folder, ".healthsim")
      const { ignored, sources } = shown(store, yield* findSources([store, join(store, "cohorts_backup")]))
      assert.include(sources, "old <- cohorts_backup/old.json")
      assert.notInclude(ignored, "cohorts_backup backup")
    })
  )

  it.effect("have names that mean nothing elsewhere", () =>
    Effect.gen(function* () {
      const folder = yield* tree({ "profiles/p.json": cohort, "cohorts_backup/o.json": cohort })
      assert.deepStrictEqual(
        shown(folder, yield* findSources([folder])),
        found(["o <- cohorts_backup/o.json", "p <- profiles/p.json"])
      )
    })
  )
})

const shared = inject("shared")
describe.skipIf(shared === undefined)("the shared cases", () => {
  const cases = join(shared ?? "", "cases")

  it.effect("hold three saved cohorts of several files", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(shown(cases, yield* findSources([join(cases, "saved")])).sources, [
        "ad-hoc-patients <- saved/ad-hoc-patients: patients.json scenario.json",
        "bob-thompson-er-visit <- saved/bob-thompson-er-visit: claim.json encounter.json member.json patient.json person.json",
        "mark-oswald-colorectal-cancer <- saved/mark-oswald-colorectal-cancer: claims.json patient.json"
      ])
    })
  )

  it.effect("hold a workspace and edge cases that are one source per file", () =>
    Effect.gen(function* () {
      const { sources } = yield* findSources([join(cases, "workspaces"), join(cases, "edge")])
      assert.isTrue(sources.every(({ files, kind }) => kind === "file" && files.length === 1))
      assert.deepStrictEqual(
        sources.map(({ path }) => relative(cases, path)).toSorted(),
        ["edge", "workspaces"]
          .flatMap((name) => readdirSync(join(cases, name)).map((file) => `${name}/${file}`))
          .toSorted()
      )
    })
  )
})

describe("listSources", () => {
  it.effect("lists each source with what is recognised in it", () =>
    Effect.gen(function* () {
      const folder = yield* tree({ "c/patient.json": "{}", "c/claim.json": "[ ]", "w.json": cohort })
      utimesSync(join(folder, "c/patient.json"), 0, 1_700_000_000)
      utimesSync(join(folder, "c/claim.json"), 0, 1_600_000_000)
      const list = yield* listSources(["."], ({ files }) => Effect.succeed(files.length), { cwd: folder })
      assert.deepStrictEqual(
        list.map(({ name, variant }) => [name, variant]),
        [
          ["c", 2],
          ["w", 1]
        ]
      )
      assert.strictEqual(list[0]?.bytes, 5)
      assert.strictEqual(list[0] && DateTime.formatIso(list[0].modified), "2023-11-14T22:13:20.000Z")
    })
  )

  it.effect("fails for a path that does not exist", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const error = yield* Effect.flip(listSources(["nope"], Effect.succeed, { cwd: folder }))
      assert.strictEqual(error.reason, "missing")
      assert.strictEqual(error.path, join(folder, "nope"))
    })
  )

  it.effect("gives the same list wherever the folder lies", () =>
    Effect.gen(function* () {
      const folder = yield* tree({ "one/b/x.json": cohort, "one/a.json": cohort, "one/c/claims.json": [] })
      const names = findSources([folder]).pipe(Effect.map(({ sources }) => sources.map(({ name }) => name)))
      const before = yield* names
      renameSync(join(folder, "one"), join(folder, "two"))
      assert.deepStrictEqual(yield* names, before)
    })
  )
})
