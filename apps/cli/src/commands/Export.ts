/** `mallard export`: gives back the JSON of cohorts, checked against its digest on the way out. */
import { createHash } from "node:crypto"
import { statSync } from "node:fs"
import { join, resolve } from "node:path"
import {
  type ExportFormat,
  type ExportRemark,
  makeRenderer,
  partsOfContent,
  partsOfHeads,
  type StoredPart,
  visitParts
} from "@mallard/duckdb-store"
import { pathBelow } from "@mallard/duckdb-store/Disk"
import { shownPointer } from "@mallard/duckdb-store/ShownPointer"
import { type PrettyOptions, PrettyText } from "@mallard/entity-serializers/Pretty"
import { mayHoldLines } from "@mallard/entity-serializers/Lines"
import { Effect } from "effect"
import { endWithWords } from "../Crash.ts"
import { CommandFailed, exitCode, usage } from "../Failure.ts"
import { hintsOf } from "../Hints.ts"
import { type Opened, withCohorts } from "../Opened.ts"
import { fileFailure, FileSet, type OpenFile, safeName } from "../Outputs.ts"
import type { CommonOptions, Session } from "../Session.ts"
import { counted, printable, shownPath } from "../Text.ts"

export interface ExportCommand extends CommonOptions {
  readonly name: string | undefined
  readonly out: string | undefined
  readonly all: boolean
  readonly compact: boolean
  readonly ascii: boolean
  readonly format: ExportFormat | undefined
  readonly jobs: number | undefined
  readonly memory: string | undefined
}

export const runExport = Effect.fnUntraced(function* (session: Session, command: ExportCommand) {
  const { all, name, out } = command
  const hint = hintsOf(session)
  if (all && name !== undefined) return yield* usage("Give a NAME or --all, not both.")
  if (all && out === undefined) {
    return yield* usage("--all needs a folder.", hint("export --all --out DIR"))
  }
  if (!all && name === undefined) {
    return yield* usage("Which cohort?", `${hint("export NAME")}, or ${hint("export --all --out DIR")} for every one.`)
  }
  endWithWords(session)
  const { format } = command
  if (format !== undefined && format !== "documents") {
    if (name === undefined) return yield* usage(`--format ${format} is for one cohort.`, "Give a NAME, not --all.")
    return yield* withCohorts(
      session,
      command.db,
      (opened) => exportAs(session, command, opened, name, format),
      command
    )
  }
  return yield* withCohorts(
    session,
    command.db,
    (opened) =>
      name === undefined
        ? exportAll(session, command, opened, resolve(session.cwd, out ?? ""))
        : exportOne(session, command, opened, name),
    command
  )
})

/** Writes a cohort in a form other than its documents; remarks go to stderr. */
const exportAs = Effect.fnUntraced(function* (
  session: Session,
  command: ExportCommand,
  { cohorts }: Opened,
  name: string,
  format: Exclude<ExportFormat, "documents">
) {
  const { ascii, compact } = command
  const { terminal } = session
  let remarks: ReadonlyArray<ExportRemark> = []
  if (command.out === undefined) {
    if (format === "csv" || format === "parquet" || format === "ndjson") {
      return yield* usage(`${format} is a file per kind, so it needs a folder.`, "Name one with --out DIR.")
    }
    const exported = yield* cohorts.exportTexts(name, { format, ascii, compact })
    if (exported.files.length > 1) {
      return yield* usage(
        "The cohort consists of several files, so it needs a folder to go to.",
        "Name one with --out DIR."
      )
    }
    for (const { text } of exported.files) terminal.out(compact || text.endsWith("\n") ? text : `${text}\n`)
    remarks = exported.remarks
  } else {
    const out = resolve(session.cwd, command.out)
    const exported = yield* cohorts.export(name, /[/\\]$/.test(command.out) ? `${out}/` : out, {
      format,
      ascii,
      compact
    })
    remarks = exported.remarks
    tellFiles(session, command, exported.paths, remarks)
  }
  // What reads stderr may be a log; with --json the remarks on stdout have all keys.
  for (const { code, message, path, pointer } of remarks) {
    terminal.error(`! ${code}: ${printable(path)} ${printable(shownPointer(pointer))}: ${message}\n`)
  }
  return undefined
})

const exportOne = Effect.fnUntraced(function* (session: Session, command: ExportCommand, opened: Opened, name: string) {
  const { terminal } = session
  const cohort = yield* opened.cohorts.find(name)
  const parts = yield* opened.cohorts.parts(cohort.contentId)
  const isOneFile = parts.length === 1
  const where = partsOfContent(cohort.contentId)
  const files = `${printable(cohort.name)} consists of ${counted(parts.length, "file")}`
  if (command.out === undefined) {
    if (!isOneFile) {
      return yield* usage(`${files}, so it needs a folder to go to.`, hintsOf(session)("export", [name], " --out DIR"))
    }
    let isSound = true
    const sinkOf = (part: StoredPart): Sink => {
      const layout = layoutOf(command, part)
      const text = layout === undefined ? undefined : new PrettyText(layout, (bytes) => terminal.out(bytes))
      return {
        write: (bytes) => (text === undefined ? terminal.out(bytes) : text.push(bytes)),
        end: (isAsStored) => {
          text?.end()
          if (!command.compact) terminal.out("\n")
          isSound = isAsStored
        }
      }
    }
    yield* streamDocuments(opened, where, sinkOf, {
      canRestart: false,
      isClosed: () => terminal.isOutClosed,
      pause: Effect.void
    })
    return isSound ? undefined : yield* changed(session, [cohort.name])
  }
  const out = resolve(session.cwd, command.out)
  const there = statSync(out, { throwIfNoEntry: false })
  const isFolder = /[/\\]$/.test(command.out) || there?.isDirectory() === true
  if (!isOneFile && !isFolder && there !== undefined) {
    return yield* usage(`${files}, and ${shownPath(out, session.cwd)} is no folder.`, "Name a folder with --out.")
  }
  const paths = isOneFile && !isFolder ? [out] : yield* pathsBelow(out, parts)
  const broken = yield* writeFiles(
    command,
    opened,
    where,
    new Map(parts.map(({ part }, index) => [keyOf(cohort.contentId, part), [paths[index]!]]))
  )
  if (broken.length > 0) return yield* changed(session, broken)
  tellFiles(session, command, paths)
})

/** Writes every cohort: one of a single file as `NAME.json` (or `.ndjson`), one of several files as a folder. */
const exportAll = Effect.fnUntraced(function* (
  session: Session,
  command: ExportCommand,
  opened: Opened,
  folder: string
) {
  const stored = yield* opened.cohorts.unchanged()
  const taken = new Set<string>()
  const targets = new Map<string, Array<string>>()
  let cohorts = 0
  let files = 0
  for (const parts of Map.groupBy(stored, ({ cohortId }) => cohortId).values()) {
    const [first] = parts
    if (first === undefined) continue
    const extension = parts.length > 1 ? "" : mayHoldLines(first.path) ? ".ndjson" : ".json"
    const place = join(folder, safeName(first.cohortName, taken, extension))
    const paths = parts.length === 1 ? [place] : yield* pathsBelow(place, parts)
    parts.forEach(({ contentId, part }, index) => {
      const key = keyOf(contentId, part)
      targets.set(key, [...(targets.get(key) ?? []), paths[index]!])
    })
    cohorts++
    files += paths.length
  }
  const broken = yield* writeFiles(command, opened, partsOfHeads, targets)
  if (broken.length > 0) return yield* changed(session, broken)
  if (command.json) tellFiles(session, command, [...targets.values()].flat())
  else if (!command.quiet) {
    const where = shownPath(folder, session.cwd)
    session.terminal.error(`Wrote ${counted(cohorts, "cohort")} in ${counted(files, "file")} to ${where}\n`)
  }
})

/** Says where the files are: as JSON on stdout, which holds no document then, else on stderr. */
const tellFiles = (
  { cwd, terminal }: Session,
  { json, quiet }: ExportCommand,
  paths: ReadonlyArray<string>,
  remarks: ReadonlyArray<ExportRemark> = []
): void => {
  if (json) terminal.out(`${JSON.stringify({ files: paths, remarks }, null, 2)}\n`)
  else if (!quiet) terminal.error(paths.map((path) => `Wrote ${shownPath(path, cwd)}\n`).join(""))
}

const keyOf = (contentId: number, part: number): string => `${contentId}/${part}`

/** Where the files of a cohort go, under the names that they had. */
const pathsBelow = Effect.fnUntraced(function* (folder: string, parts: ReadonlyArray<{ readonly path: string }>) {
  const paths: Array<string> = []
  for (const { path } of parts) {
    const below = pathBelow(folder, path)
    if (below === undefined) {
      return yield* new CommandFailed({
        code: exitCode.mismatch,
        what: `A file of the cohort is called ${printable(path)}, which leads out of the folder. Nothing was written.`
      })
    }
    paths.push(below)
  }
  return paths
})

/** The documents are not what was stored. */
const changed = (session: Session, names: ReadonlyArray<string>): CommandFailed =>
  new CommandFailed({
    code: exitCode.mismatch,
    what: `The database no longer holds what was migrated: the digest of ${names.map(printable).join(", ")} is another one.`,
    next: [`${hintsOf(session)("verify")} says what is wrong.`]
  })

/**
 * Writes documents to files. The files of a cohort get their names when all of them are whole and as they were stored;
 * gives the names of files that are not.
 */
const writeFiles = (
  command: ExportCommand,
  opened: Opened,
  where: string,
  targets: ReadonlyMap<string, ReadonlyArray<string>>
): Effect.Effect<ReadonlyArray<string>, Effect.Error<ReturnType<typeof streamDocuments>>> =>
  Effect.suspend(() => {
    const broken: Array<string> = []
    const files = new FileSet()
    let content: number | undefined
    let started: { readonly key: string; readonly open: ReadonlyArray<OpenFile> } | undefined
    let isSound = true
    const settle = (): void => {
      files.settle(isSound)
      isSound = true
    }
    const sinkOf = (part: StoredPart): Sink => {
      if (content !== undefined && part.contentId !== content) settle()
      content = part.contentId
      const key = keyOf(part.contentId, part.part)
      if (started?.key === key) started.open.forEach((file) => files.drop(file))
      const open = (targets.get(key) ?? []).map((path) => files.open(path, layoutOf(command, part)))
      started = { key, open }
      return {
        write: (bytes) => open.forEach((file) => file.write(bytes)),
        end: (isAsStored) => {
          open.forEach((file) => {
            // The last line of NDJSON ends too, unless the bytes are to be those of the digest.
            if (!command.compact && mayHoldLines(part.path)) file.write(LINE_FEED)
            file.finish()
          })
          if (isAsStored) return
          isSound = false
          broken.push(part.path)
        }
      }
    }
    const waitFor = (done: () => Promise<void>): Effect.Effect<void, CommandFailed> =>
      Effect.catchDefect(Effect.promise(done), failOfFile)
    return streamDocuments(opened, where, sinkOf, {
      canRestart: true,
      isClosed: () => false,
      pause: waitFor(() => files.room())
    }).pipe(
      Effect.andThen(
        Effect.suspend(() => {
          settle()
          return Effect.as(
            waitFor(() => files.close()),
            broken
          )
        })
      ),
      Effect.ensuring(Effect.promise(() => files.discard()))
    )
  })

const LINE_FEED = Buffer.from("\n")

/** Where the text of one document goes. */
interface Sink {
  readonly write: (bytes: Uint8Array) => void
  readonly end: (isAsStored: boolean) => void
}

/** The reader of the output has gone: there is nobody to write for. */
class OutputClosed extends Error {}

/** Undefined for a text that is wanted compact, as it is stored. */
const layoutOf = ({ ascii, compact }: ExportCommand, { path }: StoredPart): PrettyOptions | undefined => {
  // Of NDJSON, each document has its line.
  const isCompact = compact || mayHoldLines(path)
  if (isCompact) return ascii ? { ascii } : undefined
  return { ascii, indent: 2 }
}

/** Text is hashed and handed on in blocks of this size. */
const BLOCK = 1 << 18

/** Streams the documents that a condition on parts selects, each to its sink. */
const streamDocuments = Effect.fnUntraced(function* (
  opened: Opened,
  where: string,
  sinkOf: (part: StoredPart) => Sink,
  {
    canRestart,
    isClosed,
    pause
  }: {
    /** A sink takes back what it got when another one is asked for the same document. */
    readonly canRestart: boolean
    readonly isClosed: () => boolean
    readonly pause: Effect.Effect<void, CommandFailed>
  }
) {
  const renderer = yield* makeRenderer(opened.client)
  const block = Buffer.allocUnsafe(BLOCK)
  let used = 0
  let hash = createHash("sha256")
  let digest = ""
  let isSound: boolean | undefined
  let take: (bytes: Uint8Array) => void = () => {}
  let finish: (isAsStored: boolean) => void = () => {}
  const hand = (bytes: Uint8Array): void => {
    hash.update(bytes)
    take(bytes)
    if (isClosed()) throw new OutputClosed()
  }
  const drain = (): void => {
    if (used > 0) hand(block.subarray(0, used))
    used = 0
  }
  const isAsStored = (): boolean => {
    drain()
    return (isSound ??= hash.digest("hex") === digest)
  }
  yield* visitParts(opened.client, renderer, where, {
    ...(canRestart ? { isAsStored } : {}),
    start: (part) => {
      const sink = sinkOf(part)
      hash = createHash("sha256")
      used = 0
      isSound = undefined
      digest = part.digest
      take = sink.write
      finish = sink.end
    },
    text: (bytes, start, end) => {
      if (end - start > BLOCK - used) drain()
      if (end - start > BLOCK) return hand(bytes.subarray(start, end))
      bytes.copy(block, used, start, end)
      used += end - start
    },
    sound: () => {},
    changed: () => {},
    gap: () => {},
    pause,
    end: () => finish(isAsStored())
  }).pipe(Effect.catchDefect((defect) => (defect instanceof OutputClosed ? Effect.void : failOfFile(defect))))
})

const failOfFile = (defect: unknown): Effect.Effect<never, CommandFailed> => {
  const failure = fileFailure(defect)
  return failure === undefined ? Effect.die(defect) : Effect.fail(failure)
}
