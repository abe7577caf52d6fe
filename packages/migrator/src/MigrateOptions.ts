/** What a migration is asked to do, what it tells while it runs, and how it fails. */
import { type Lack, lackOf } from "@mallard/duckdb-store/Disk"
import { printablePath, WHOLE_FILE_BYTES, WINDOW_BYTES } from "@mallard/legacy-json"
import { Schema } from "effect"
import type { CipherSettings } from "./Backup.ts"
import type { ConflictRule } from "./Decision.ts"
import type { PlannedItem } from "./Plan.ts"
import type { ItemReport } from "./Report.ts"
import type { Rules } from "./Validation.ts"
import type { RejectLimit } from "./internal/rejectLimit.ts"

export interface MigrateOptions {
  readonly paths: ReadonlyArray<string>
  /** Absolute path of the database. */
  readonly database: string
  readonly onConflict: ConflictRule
  readonly dryRun: boolean
  readonly program: string
  readonly maxEntityBytes: number
  readonly maxDepth: number
  readonly memoryLimit?: string | undefined
  /** How much is read, compressed and computed at once; without it as the machine's cores allow. Changes no result. */
  readonly jobs?: number | undefined
  /** A source with a larger file is rejected, and nothing of it is read. */
  readonly maxFileBytes?: number | undefined
  readonly cwd?: string | undefined
  /** False leaves out the verification of what was stored; `verify` can be run later. */
  readonly verify?: boolean | undefined
  /** Asked between items and windows, and during the proof; true ends the run after what is whole has been stored. */
  readonly isStopped?: (() => boolean) | undefined
  readonly onProgress?: ((progress: Progress) => void) | undefined
  /** How a run divides its work; what is left out is as in `defaultSizes`. */
  readonly sizes?: Partial<Sizes> | undefined
  /** Where the sources are copied to before anything is written; without it they are not. */
  readonly backup?: { readonly store: string; readonly cipher?: CipherSettings | undefined } | undefined
  /** Absolute path of a folder that the originals of what is stored are moved to, once that and the backup are proven. */
  readonly moveOriginals?: string | undefined
  /** Where sources that are not stored are copied to when there is no backup of all; without it they are not. */
  readonly rejectStore?: string | undefined
  /** Where each source, by path, comes from that an earlier run rejected and that has been mended since. */
  readonly replays?: ReadonlyMap<string, Replayed> | undefined
  /** The run that was cut short and that this one goes on with. Without it, the last one over the same sources. */
  readonly resumes?: string | undefined
  /** The run whose failures this one takes again. */
  readonly retries?: string | undefined
  /** Leaves out all sources but those of these paths. */
  readonly only?: ReadonlySet<string> | undefined
  /** What is decided about each source, by path: anything else is refused, and sources not named are left out. */
  readonly plan?: ReadonlyMap<string, Planned> | undefined
  /** Rejects what would only be remarked. */
  readonly strict?: boolean | undefined
  /** Rules for the content; see `readRules`. */
  readonly rules?: Rules | undefined
  /** The file that the rules were read from, for what is said of them. */
  readonly rulesPath?: string | undefined
  /** Stops when more sources are rejected; `migrateWithin` then undoes the run too. */
  readonly maxRejects?: RejectLimit | undefined
}

/** What a plan says about a source. */
export type Planned = Pick<PlannedItem, "action" | "source_sha256" | "bytes">

/** An item of an earlier run. */
export interface Replayed {
  readonly run: string
  readonly item: number
  /** Where it was then. */
  readonly path: string
}

/** How a run divides its work: what it stores does not depend on it. */
export interface Sizes {
  /** A batch holds items until it has this many entities, files or bytes. */
  readonly batchEntities: number
  readonly batchFiles: number
  readonly batchBytes: number
  /** A batch that has taken so long is stored as it is, so that what became of its items is told. */
  readonly batchMs: number
  /** Files up to this size are read whole, larger ones through a window. Sources that are larger in all are written as they are read. */
  readonly wholeFileBytes: number
  /** With more rows to write, of some hundred bytes each, a smaller file counts as large too; asked every few MB. */
  readonly wholeFileRows: number
  readonly windowBytes: number
  /** Files from `least` to `most` bytes are read by threads of their own when there are `total` bytes of them. */
  readonly threaded: { readonly least: number; readonly most: number; readonly total: number }
}

/** What a run tells while it goes. */
export type Progress =
  | { readonly phase: "found"; readonly sources: number; readonly bytes: number }
  /** Bytes copied, or found to be copied already, and bytes proven: each counts once for either. */
  | { readonly phase: "backup"; readonly bytes: number }
  | { readonly phase: "read"; readonly bytes: number }
  /** Entities read, whatever becomes of them; those of a source that is read again count again, unchanged ones never. */
  | { readonly phase: "entities"; readonly count: number }
  /** Told again, with what it was told to be, where what had been stored is taken back. */
  | { readonly phase: "item"; readonly item: ItemReport; readonly formerly?: ItemReport["outcome"] }
  | { readonly phase: "verify"; readonly done: number; readonly documents: number }
  | CopiesProgress
  | UndoProgress

/** How many bytes of copies, of how many in how many files, have been compared or restored. */
export interface CopiesProgress {
  readonly phase: "check" | "restore"
  readonly done: number
  readonly bytes: number
  readonly files: number
}

/** How far an undoing is: each cohort counts when its revision is written, and again when it is compared. */
export interface UndoProgress {
  readonly phase: "undo"
  readonly done: number
  readonly cohorts: number
}

const lacks = {
  space: [": there is no space left on its disk", "free some space there"],
  memory: [
    ": DuckDB needs more memory than it may have, and could not use the disk beside the database instead",
    "give it more with --memory, or see to the space and the permissions there"
  ],
  permission: [": the operating system does not permit it", "check who owns the file and its folder"],
  other: ["", "check the disk, and the database with `mallard doctor`"]
} as const

/** The database failed in the middle of a run, while it was written unless it says otherwise; what had been committed is whole. */
export class MigrationFailed extends Schema.TaggedError<MigrationFailed>()("MigrationFailed", {
  database: Schema.String,
  cause: Schema.Defect(),
  while: Schema.optional(Schema.Literals(["writing", "reading"]))
}) {
  /** What could not be had, as far as that can be told. */
  get lack(): Lack | undefined {
    return lackOf(this.cause)
  }
  override get message(): string {
    const [what, next] = lacks[this.lack ?? "other"]
    const database = printablePath(this.database)
    const [failed, kept] =
      this.while === "reading"
        ? [`Reading ${database} failed`, "That changed nothing of what is stored"]
        : [`Writing to ${database} failed`, "Nothing is half stored, and what was stored before is whole"]
    return `${failed}${what}. ${kept}: ${next}, then run the same command again.`
  }
}

/** Sizes that measurements have shown to be good. */
export const defaultSizes: Sizes = {
  batchEntities: 600_000,
  batchFiles: 500,
  batchBytes: 512 << 20,
  batchMs: 10_000,
  wholeFileBytes: WHOLE_FILE_BYTES,
  wholeFileRows: 1_000_000,
  windowBytes: WINDOW_BYTES,
  threaded: { least: 128 << 10, most: 8 << 20, total: 256 << 20 }
}

/** The default limits: see promise P9. */
export const defaultLimits = { maxEntityBytes: 64 << 20, maxDepth: 10_000 } as const
