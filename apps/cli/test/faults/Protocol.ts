/** What is sent to the program that goes on living, and what it answers. */

/** Something that happens while a command runs. */
export interface Meanwhile {
  /** When a path is about to be opened for the `nth` time, or something is about to be written to stderr. */
  readonly at: { readonly opens: string; readonly nth: number } | { readonly says: string }
  readonly does: MeanwhileAction
}

export type MeanwhileAction =
  /** The process gets a signal; `twice` one more soon afterwards. */
  | { readonly _tag: "Signal"; readonly signal: "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGKILL"; readonly twice?: boolean }
  /** The file at `path` becomes something else. */
  | { readonly _tag: "Change"; readonly path: string; readonly change: SourceChange }

export type SourceChange =
  | "append"
  | "truncate"
  | "remove"
  | "replace"
  | "rewrite"
  | "touch"
  | "folder"
  | "link"
  | "fifo"
  | "remove-folder"
  | "add-sibling"

/** How a command finds its surroundings. */
export interface Surroundings {
  readonly env?: Readonly<Record<string, string | null>> | undefined
  /** Milliseconds that the clock is off. */
  readonly clock?: number | undefined
  readonly meanwhile?: Meanwhile | undefined
  /** Whether random names are the same ones each time, and the clock stands still: then each call has a path known before. */
  readonly isRepeatable?: boolean | undefined
  /** The `nth` process that the command starts, from 1, is started by a command of the case. */
  readonly starts?: { readonly nth: number; readonly by: ReadonlyArray<string> } | undefined
}

export type Request =
  | {
      readonly _tag: "Run"
      readonly args: ReadonlyArray<string>
      readonly cwd: string
      /** The folder of the case, which is the home too. */
      readonly folder: string
      readonly surroundings: Surroundings
    }
  | { readonly _tag: "Inspect"; readonly database: string; readonly sources: ReadonlyArray<string> }

/** What is in a database, or why it cannot be opened. */
export type Inspection =
  | {
      readonly _tag: "Opened"
      /** Each cohort by name, with all of it that two databases can have in common. */
      readonly cohorts: ReadonlyArray<readonly [name: string, state: string]>
      readonly mismatched: number
      readonly findings: ReadonlyArray<string>
    }
  | { readonly _tag: "Refused"; readonly reason: string }

export type Answer =
  /** A command ended; `open` is what the process still has open below the folder of the case. */
  | { readonly _tag: "Ran"; readonly code: number; readonly open: ReadonlyArray<string> }
  | { readonly _tag: "Inspected"; readonly found: Inspection }
