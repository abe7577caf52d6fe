/**
 * The suite `recovery`: what it costs to be safe. The copy of every source and its proof, undoing a run, and going on with
 * one that was killed, each beside RAW on the same files.
 */
import { spawnSync } from "node:child_process"
import { copyFileSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { barsOf, costTable, machine, type Report, type Result, roundsInWords } from "./Report.ts"
import { type Job, runRounds } from "./Runner.ts"
import { buildProgram, drop, fail, generated, mallard, root, rawJob, type Settings, sizeOf, work } from "./Setting.ts"
import { median, ratioOfRounds } from "./Statistics.ts"

/** Of the time that loading takes: where the run that is gone on with was killed. */
const KILLED_AT = 0.5

export const measureRecovery = async (settings: Settings): Promise<Report> => {
  buildProgram()
  const { entities, rounds } = settings
  const data = generated("many", 50, entities)
  const whole = join(work, "recovery.duckdb")
  const undone = join(work, "recovery-undone.duckdb")
  const killed = join(work, "recovery-killed.duckdb")
  const report = join(work, "recovery-report.json")
  /** By round. */
  const timings: Array<Timings> = []
  const killedRun = (...flags: ReadonlyArray<string>): void => {
    drop(killed)
    const [program = "", ...args] = mallard("migrate", data, "--db", killed, "--quiet", ...flags)
    const { find, backup, load } = timings.at(-1) ?? fail("the import failed")
    const timeout = Math.round(find + backup + KILLED_AT * load)
    const { signal } = spawnSync(program, args, { timeout, killSignal: "SIGKILL", stdio: "ignore" })
    if (signal !== "SIGKILL" || sizeOf(killed) === 0) fail(`no run was cut off after ${timeout} ms`)
  }
  const jobs: ReadonlyArray<Job> = [
    rawJob("RAW, 50 files", data),
    {
      name: "import + backup, 50 files",
      prepare: () => {
        drop(whole)
        rmSync(report, { force: true })
      },
      commands: [mallard("migrate", data, "--db", whole, "--quiet", "--no-verify", "--report", report)],
      after: () => timings.push(timingsIn(report))
    },
    { name: "backup verify", commands: [mallard("backup", "verify", "last", "--db", whole)] },
    {
      name: "rollback",
      prepare: () => {
        drop(undone)
        copyFileSync(whole, undone)
      },
      commands: [mallard("rollback", "last", "--db", undone, "--quiet", "--yes")]
    },
    {
      name: "resume, killed half-way",
      prepare: () => killedRun("--no-verify"),
      commands: [mallard("resume", "--db", killed, "--quiet")]
    },
    {
      name: "resume + verify, killed half-way",
      prepare: () => killedRun(),
      commands: [mallard("resume", "--db", killed, "--quiet")]
    }
  ]
  const measured = await runRounds(jobs, rounds, root)
  drop(whole, undone, killed)
  rmSync(report, { force: true })
  const seconds = (name: string): ReadonlyArray<number> =>
    (measured.samples.get(name) ?? []).map((sample) => sample.seconds)
  const backups = timings.map(({ backup }) => backup / 1000)
  const against = (target: string, list: ReadonlyArray<number>, must: number, stretch: number): Result => ({
    target,
    value: ratioOfRounds(list, seconds("RAW, 50 files")),
    must,
    stretch,
    unit: "x RAW, 50 files"
  })
  return {
    suite: "recovery",
    title: "What safety costs",
    about:
      `${entities} invented entities in 50 files. Before a migration writes anything it copies every source, and proves the copy by ` +
      "restoring it and comparing: what both took is what the run itself reports, and the proof is measured once more alone. A rollback " +
      "undoes the whole run. A run that was killed when half of the files were loaded is gone on with, without and with the verification at its end.",
    command: settings.command,
    machine: machine(),
    rounds,
    entities,
    missing: [...measured.failures].map(([name, why]) => `${name}: ${why}`),
    tables: [
      costTable(
        `Costs, medians of ${roundsInWords(rounds)}; of the import, ${median(backups).toFixed(2)} s are the copies and their proof`,
        measured
      )
    ],
    bars: [barsOf("Wall time", "seconds", measured.samples, ({ seconds }) => seconds)],
    curves: [],
    samples: Object.fromEntries(measured.samples),
    results: [
      against("backup and its proof", backups, 2, 1),
      against("backup verify", seconds("backup verify"), 1, 0.5),
      against("rollback", seconds("rollback"), 0.2, 0.1),
      against("resume, killed half-way", seconds("resume, killed half-way"), 1, 0.7)
    ]
  }
}

/** Milliseconds of the phases of a run. */
interface Timings {
  readonly find: number
  readonly backup: number
  readonly load: number
}

const timingsIn = (report: string): Timings => {
  const { timings }: { readonly timings?: Timings } = JSON.parse(readFileSync(report, "utf8"))
  return timings ?? fail("the report of the run has no timings")
}
