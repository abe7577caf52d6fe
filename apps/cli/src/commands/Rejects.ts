/** `mallard rejects`: what was not stored, why, and the way to mend it and bring it in. */
import {
  type ConflictRule,
  exportRejects,
  isEncrypted,
  listRejects,
  readExport,
  type Reject,
  REJECTS_INDEX
} from "@mallard/migrator"
import { Effect } from "effect"
import { readdirSync, realpathSync } from "node:fs"
import { basename, join, resolve, sep } from "node:path"
import { cipherSettings } from "../Ciphers.ts"
import { withDatabase } from "../Database.ts"
import { plainRun } from "../Defaults.ts"
import { CommandFailed, Ended, exitCode, usage } from "../Failure.ts"
import { hintsOf, shellQuoted, withHints } from "../Hints.ts"
import type { ProgressFlag } from "../Progress.ts"
import { planned, remarkText, underNext } from "../RenderRun.ts"
import type { CommonOptions, Session } from "../Session.ts"
import { counted, printable, quoted, shownPath, size } from "../Text.ts"
import { checkShown, valuesIn } from "../Values.ts"
import { runMigrate } from "./Migrate.ts"
import { noSuchRun } from "./Report.ts"

export interface RejectsCommand extends CommonOptions {
  readonly run: string | undefined
}

export interface RejectCommand extends RejectsCommand {
  readonly showValues: boolean
  readonly source: string
}

export interface ExportRejectsCommand extends RejectsCommand {
  readonly out: string | undefined
  readonly passphraseFile: string | undefined
  readonly passphrase: boolean
  readonly identityFile: string | undefined
}

export interface ReplayCommand extends CommonOptions, ProgressFlag {
  readonly folder: string
  readonly onConflict: ConflictRule | undefined
  readonly dryRun: boolean
  readonly noBackup: boolean
  readonly backupDir: string | undefined
  readonly backupPassphraseFile: string | undefined
  readonly backupPassphrase: boolean
  readonly backupRecipients: ReadonlyArray<string>
}

const rejectsOf = (session: Session, command: RejectsCommand) =>
  withDatabase(session, command.db, (database) =>
    Effect.map(listRejects(database, command.run), (rejects) => ({ database, rejects }))
  ).pipe(
    Effect.catchTag("RunNotFound", ({ candidates, wanted }) => Effect.fail(noSuchRun(session, wanted, candidates)))
  )

/** The flag that leads to the same rejects. */
const ofRun = ({ run }: RejectsCommand): string => (run === undefined ? "" : ` --run ${shellQuoted(run)}`)

/** Where and what is wrong with one first. */
const reasonOf = ({ outcome, remarks: [first] }: Reject): string =>
  first === undefined ? printable(outcome) : remarkText(first)

export const runRejectsList = Effect.fnUntraced(function* (session: Session, command: RejectsCommand) {
  const { terminal } = session
  const { database, rejects } = yield* rejectsOf(session, command)
  if (command.json) return terminal.out(`${JSON.stringify(rejects, null, 2)}\n`)
  for (const reject of rejects) {
    const [first] = reject.remarks
    const done = reject.stored_by === null ? "" : ` (stored since by run ${reject.stored_by.slice(0, 8)})`
    const mark = reject.stored_by === null ? terminal.paint("red", "✗") : terminal.paint("green", "✓")
    terminal.out(
      `${mark} ${shownPath(reject.path, session.cwd)}${done}: ${reasonOf(reject)} [${printable(first?.code ?? reject.outcome)}]\n`
    )
  }
  if (command.quiet) return
  if (rejects.length === 0) {
    return terminal.out(
      `Nothing ${command.run === undefined ? "is waiting to be mended" : "was rejected in that run"}.\n`
    )
  }
  const hint = hintsOf(session, database)
  const open = rejects.filter(({ stored_by }) => stored_by === null)
  const next = open.some(({ remarks: [first] }) => !planned.has(first?.code ?? ""))
    ? [hint(`rejects export${ofRun(command)} --out mend`), `mend the files there, then ${hint("rejects replay mend")}`]
    : open.length > 0
      ? ["plan again: nothing in them is to be mended"]
      : []
  terminal.out(["", counted(rejects.length, "source"), ...underNext(next)].map((line) => `${line}\n`).join(""))
})

export const runRejectsShow = Effect.fnUntraced(function* (session: Session, command: RejectCommand) {
  const { terminal } = session
  yield* checkShown(session, command)
  const shownValue = command.showValues ? valuesIn() : undefined
  const { rejects } = yield* rejectsOf(session, command)
  const path = resolve(session.cwd, command.source)
  const reject =
    rejects.find((other) => other.path === path) ??
    only(rejects.filter((other) => basename(other.path) === command.source))
  if (reject === undefined) {
    return yield* new CommandFailed({
      code: exitCode.failed,
      what: `No one rejected source is called ${quoted(command.source)}.`,
      next: [`${hintsOf(session)(`rejects list${ofRun(command)}`)} shows what there is; give the path.`]
    })
  }
  if (command.json) return terminal.out(`${JSON.stringify(reject, null, 2)}\n`)
  const facts = [
    ["run", `${reject.run}, item ${reject.item}`],
    ["size", size(reject.bytes)],
    [
      "copy",
      reject.backup === null ? "none" : `backup ${reject.backup.backup_id} in ${printable(reject.backup.store)}`
    ],
    ...(reject.stored_by === null ? [] : [["stored since", `by run ${reject.stored_by}`]])
  ]
  const lines = [
    terminal.paint("bold", printable(reject.path)),
    ...facts.map(([name = "", value = ""]) => `  ${name.padEnd(14)}${value}`),
    "",
    ...reject.remarks.map((remark) => {
      const { code, column, line, message, part, pointer } = remark
      const value = shownValue?.(reject.path, remark)
      const place = [
        ...(part === undefined ? [] : [part]),
        ...(line === null ? [] : [`line ${line}${column === null ? "" : `, column ${column}`}`]),
        ...(pointer === null ? [] : [pointer])
      ].map(printable)
      return `  ${place.length === 0 ? "" : `${place.join(", ")}: `}${printable(message)}${value === undefined ? "" : `: ${value}`} [${printable(code)}]`
    })
  ]
  terminal.out(lines.map((line) => `${line}\n`).join(""))
})

const only = (rejects: ReadonlyArray<Reject>): Reject | undefined => (rejects.length === 1 ? rejects[0] : undefined)

export const runRejectsExport = Effect.fnUntraced(function* (session: Session, command: ExportRejectsCommand) {
  const { terminal } = session
  if (command.out === undefined || command.out === "") {
    return yield* usage("Where to is missing.", "Give --out DIR: a new folder for the files to mend.")
  }
  const out = resolve(session.cwd, command.out)
  const { database, rejects } = yield* rejectsOf(session, command)
  const cipher = yield* cipherSettings(session, command)
  const result = yield* exportRejects({ rejects, out, cipher }).pipe(
    Effect.catchTag("ExportExists", ({ message }) =>
      Effect.fail(new CommandFailed({ code: exitCode.failed, what: message }))
    )
  )
  if (command.json) terminal.out(`${JSON.stringify(result)}\n`)
  else {
    for (const { reject, source } of result.exported) {
      terminal.out(`${shownPath(join(out, source), session.cwd)}: ${reasonOf(reject)}\n`)
    }
    for (const { path } of result.missing) {
      terminal.out(`${terminal.paint("yellow", "-")} ${shownPath(path, session.cwd)}: no copy of it was kept\n`)
    }
    terminal.out(
      `\n${counted(result.exported.length, "source")} exported\n${result.exported.length === 0 ? "" : `Next:     mend the files, then ${hintsOf(session, database)("rejects replay", [command.out])}\n`}`
    )
  }
  if (result.missing.length > 0) return yield* new Ended({ code: exitCode.rejects })
})

export const runRejectsReplay = Effect.fnUntraced(function* (session: Session, command: ReplayCommand) {
  const folder = resolve(session.cwd, command.folder)
  const replays = yield* readExport(folder).pipe(
    Effect.catchTag("ExportUnreadable", ({ message }) => Effect.fail(usage(withHints(message, hintsOf(session)))))
  )
  // Who has removed a file does not want it replayed.
  const paths = [...replays.keys()].filter(isThere)
  const strangers = strangersIn(folder, [...replays.keys()])
  const told = strangers.slice(0, SHOWN_STRANGERS).map((path) => strangerLine(session, path, [...replays.keys()]))
  const rest = strangers.length - told.length
  if (rest > 0) told.push(`Not replayed: ${counted(rest, "more file")}`)
  if (paths.length === 0) return yield* usage("None of the exported files is in its place any more.", ...told)
  if (told.length > 0) session.terminal.error(told.map((line) => `${line}\n`).join(""))
  const isLocked = command.noBackup
    ? false
    : yield* withDatabase(session, command.db, (database) => isEncrypted(database, replays.values()))
  const hasKey = command.backupPassphrase || command.backupPassphraseFile !== undefined
  // Copies of what was to be encrypted are never made in plain.
  if (isLocked && !hasKey && command.backupRecipients.length === 0) {
    return yield* new CommandFailed({
      code: exitCode.wrongKey,
      what: "The copies of the run that rejected them are encrypted, and those of the mended files would not be.",
      next: [
        "Give the key: --backup-passphrase asks for it, --backup-passphrase-file FILE reads it, --backup-recipient AGE1.",
        "Or --no-backup, if they need no copies."
      ]
    })
  }
  yield* runMigrate(session, {
    ...plainRun,
    ...command,
    isKeyKnown: isLocked,
    paths,
    replays
  })
})

const SHOWN_STRANGERS = 10

/** Files in the folder of an export that are none of the exported ones, or not where those were. */
const strangersIn = (folder: string, places: ReadonlyArray<string>): ReadonlyArray<string> => {
  const base = realpathSync(folder)
  const isKnown = (path: string): boolean =>
    basename(path) === REJECTS_INDEX || places.some((place) => path === place || path.startsWith(place + sep))
  return readdirSync(base, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith("."))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !isKnown(path))
    .sort()
}

/** Says of such a file that it is passed over, and where its place may be. */
const strangerLine = (session: Session, path: string, places: ReadonlyArray<string>): string => {
  const alike = places.filter((place) => basename(place) === basename(path))
  const next =
    alike.length === 0
      ? `it is none of the exported files; ${hintsOf(session)("migrate")} takes others`
      : `its place is ${alike.map((place) => shownPath(place, session.cwd)).join(" or ")}`
  return `Not replayed: ${shownPath(path, session.cwd)}: ${next}`
}

const isThere = (path: string): boolean => {
  try {
    return realpathSync(path) === path
  } catch {
    return false
  }
}
