/** What a killed process and the one that watches it both know. */
import { createHash } from "node:crypto"
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { join, relative } from "node:path"

/** What a process can be asked to do, in order. */
export type StepName =
  | "reset"
  | "prepare"
  /** Keeps the state as it is for `reset`. */
  | "keep"
  /** Says what is stored. */
  | "list"
  /** The same, after everything has been verified; as a writer opens it, which cleans up. */
  | "inspect"
  | "inspect-as-writer"
  /** The same with what is exported. */
  | "inspect-all"
  | "act"
  | "finish"

export interface Request {
  readonly folder: string
  /** Of the scenario. */
  readonly name: string
  readonly steps: ReadonlyArray<StepName>
  /** Where the process kills itself. */
  readonly kill?: { readonly point: string; readonly passing: number } | undefined
}

/** What a database holds, free of ids and times. */
export interface Inspection {
  readonly exists: boolean
  /** By name: digest and counts of entities. */
  readonly cohorts: Readonly<Record<string, string>>
  /** Numbers of the revisions, by name of the cohort. */
  readonly revisions: Readonly<Record<string, number>>
  /** SHA-256 of what is exported, by cohort and path; empty unless it was asked for. */
  readonly texts: Readonly<Record<string, string>>
  /** Ids and hashes of the backups that runs have made. */
  readonly backups: ReadonlyArray<string>
  /** Runs that could be gone on with. */
  readonly unfinished: number
  readonly hasLog: boolean
}

/** File of a case with the fingerprints of its sources as they were. */
export const ORIGINALS = "originals.json"

/** Where the state before the work is kept. */
export const templateOf = (folder: string): string => `${folder}.template`

/** Bytes, time and mode of every file below a folder, by path; files that have no name of their own yet left out. */
export const fingerprint = (folder: string): Readonly<Record<string, string>> => {
  if (!existsSync(folder)) return {}
  const found: Record<string, string> = {}
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || isAside(entry.name)) continue
    const path = join(entry.parentPath, entry.name)
    const { mode, mtimeMs } = statSync(path)
    const sha256 = createHash("sha256").update(readFileSync(path)).digest("hex")
    found[relative(folder, path)] = `${sha256} ${mtimeMs} ${mode}`
  }
  return found
}

/** Whether a file is one that was never finished. */
export const isAside = (name: string): boolean => /^\.(?:.*\.tmp-|mallard-)/.test(name)
