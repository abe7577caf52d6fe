/**
 * What is the matter with a database, and its repairs. DuckDB crashes on some damaged files, so that they are looked at and
 * copied in a process of their own; the database must not be open in this one.
 */

import { Clock, Effect } from "effect"
import { spawn } from "node:child_process"
import { closeSync, openSync, renameSync, rmSync } from "node:fs"
import { getCompileCacheDir } from "node:module"
import { dirname, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { InvalidRequest } from "./CohortErrors.ts"
import type { DoctorAnswer, DoctorRequest } from "./internal/doctor-protocol.ts"
import { type Check, type Diagnosis, type ExamineDepth, unreadable } from "./internal/examining.ts"
import { programBeside, syncPath, systemCode } from "./Disk.ts"
import { hasName, ownPath, removeDatabase, temporaryPath } from "./internal/files.ts"
import { type RebuildReport, rebuildingPath } from "./internal/rebuilding.ts"
import type { StoreConfig } from "./Store.ts"
import { StoreError, toStoreError } from "./StoreError.ts"

export type { Check, Diagnosis } from "./internal/examining.ts"
export type { FileHeader, LogState } from "./internal/fileState.ts"
export type { LeftRevision, RebuildReport } from "./internal/rebuilding.ts"

export interface ExamineOptions {
  /** Leaves out rendering every document. */
  readonly skipVerify?: boolean | undefined
  readonly onDocument?: ((done: number, documents: number) => void) | undefined
}

/**
 * Looks at a database, its log and what lies beside it, and says what is wrong. Changes nothing. Fails only where the
 * operating system does not let it look.
 */
export const examine = Effect.fn("Doctor.examine")(function* (config: StoreConfig, options: ExamineOptions = {}) {
  const path = ownPath(config.path)
  const depths: ReadonlyArray<ExamineDepth["depth"]> = ["documents", "tables", "files"]
  for (const depth of options.skipVerify === true ? depths.slice(1) : depths) {
    const answer = yield* ask({ ask: "examine", config: { ...config, path }, depth }, options.onDocument)
    if (answer.answer === "diagnosis")
      return depth === "files" ? crashed(answer.diagnosis) : withCrash(answer.diagnosis, depth, options)
    if (answer.answer !== "died") return yield* failureOf(answer, path)
  }
  return yield* new StoreError({ reason: "damaged", path })
})

/**
 * Copies what verifies of a database into a new one at `out`, with history, runs and items, and verifies that. `out` must
 * not exist, and does not when this fails; the database itself is only read. A cohort whose last revision is left behind
 * shows the one before, unless it was deleted: then all of it is left behind. So are tables and views of the owner.
 */
export const rebuild = Effect.fn("Doctor.rebuild")(function* (config: StoreConfig, out: string) {
  const path = ownPath(config.path)
  const target = resolve(out)
  const answer = yield* ask({ ask: "rebuild", config: { ...config, path }, out: target })
  if (answer.answer === "rebuilt") return answer.report satisfies RebuildReport
  if (answer.answer === "died") {
    const building = rebuildingPath(target, answer.pid)
    for (const file of [building, temporaryPath(building, answer.pid)]) {
      yield* Effect.ignore(Effect.try({ try: () => removeDatabase(file), catch: (cause) => toStoreError(file, cause) }))
    }
    return yield* new StoreError({ reason: "damaged", path })
  }
  return yield* failureOf(answer, path)
})

/**
 * Moves the write-ahead log of a database away, under a dated name beside it, and gives the new paths. Nothing is deleted.
 * What the log holds and the file does not is then missing from the database. Refused while the database is open elsewhere.
 */
export const quarantineLog = Effect.fn("Doctor.quarantineLog")(function* (config: StoreConfig) {
  const path = ownPath(config.path)
  const { holder, refused } = yield* examine(config, { skipVerify: true })
  if (refused === "locked") {
    return yield* new StoreError({ reason: "locked", path, ...(holder === undefined ? {} : { holder }) })
  }
  const stamp = new Date(yield* Clock.currentTimeMillis).toISOString().replaceAll(/[-:]|\.\d+/g, "")
  return yield* Effect.try({
    try: (): ReadonlyArray<string> => {
      const moved: Array<string> = []
      for (const suffix of logSuffixes) {
        const from = `${path}${suffix}`
        if (!hasName(from)) continue
        moved.push(moveAway(from, `${from}.quarantined-${stamp}`))
      }
      if (moved.length > 0) syncPath(dirname(path))
      return moved
    },
    catch: (cause) => toStoreError(path, cause)
  })
})

/** Moves a file to a name that nobody has, with a number where `to` is taken, and gives that. */
const moveAway = (from: string, to: string): string => {
  for (let number = 1; ; number++) {
    const free = number === 1 ? to : `${to}-${number}`
    try {
      // Only whoever creates the file has the name: a rename replaces what another process has put there meanwhile.
      closeSync(openSync(free, "wx", 0o600))
    } catch (cause) {
      if (systemCode(cause) === "EEXIST") continue
      throw cause
    }
    try {
      renameSync(from, free)
    } catch (cause) {
      rmSync(free, { force: true })
      throw cause
    }
    return free
  }
}

/** The log, and what DuckDB puts beside it while it writes a checkpoint. */
const logSuffixes = [".wal", ".wal.checkpoint", ".wal.recovery"]

/** The process is gone without an answer. */
interface Died {
  readonly answer: "died"
  readonly pid: number | undefined
}

const ask = (
  request: DoctorRequest,
  onDocument?: (done: number, documents: number) => void
): Effect.Effect<Exclude<DoctorAnswer, { readonly answer: "progress" }> | Died> =>
  Effect.callback((resume) => {
    const child = spawn(process.execPath, [fileURLToPath(programBeside(import.meta.url, "doctor-child"))], {
      env: { ...process.env, NODE_COMPILE_CACHE: getCompileCacheDir() },
      stdio: ["ignore", "ignore", "ignore", "ipc"],
      windowsHide: true
    })
    const { pid } = child
    let ended: Exclude<DoctorAnswer, { readonly answer: "progress" }> | Died = { answer: "died", pid }
    child.on("message", (message: DoctorAnswer) => {
      if (message.answer === "progress") onDocument?.(message.done, message.documents)
      else ended = message
    })
    child.on("error", () => resume(Effect.succeed(ended)))
    child.on("close", () => resume(Effect.succeed(ended)))
    // One that has died already does not take it.
    child.send(request, () => {})
    return Effect.sync(() => child.kill("SIGKILL"))
  })

const failureOf = (answer: DoctorAnswer, path: string): StoreError | InvalidRequest => {
  switch (answer.answer) {
    case "failed":
      return new StoreError({
        reason: answer.reason,
        path: answer.path,
        ...(answer.holder === undefined ? {} : { holder: answer.holder })
      })
    case "refused":
      return new InvalidRequest({
        reason: answer.reason,
        ...(answer.detail === undefined ? {} : { detail: answer.detail })
      })
    default:
      return new StoreError({ reason: "io", path })
  }
}

/** A diagnosis that left out the documents because reading them takes the process along. */
const withCrash = (diagnosis: Diagnosis, depth: ExamineDepth["depth"], options: ExamineOptions): Diagnosis =>
  depth === "documents" || options.skipVerify === true || diagnosis.refused !== undefined
    ? diagnosis
    : { ...diagnosis, checks: [...diagnosis.checks, { ...unreadable, message: "DuckDB crashes when it is read" }] }

/** Nor can it be opened. */
const crashed = (diagnosis: Diagnosis): Diagnosis => {
  const { next } = new StoreError({ reason: "damaged", path: diagnosis.path })
  const check: Check = { check: "open", status: "problem", message: "DuckDB crashes when it is opened", next }
  return { ...diagnosis, refused: "damaged", checks: [...diagnosis.checks, check] }
}
