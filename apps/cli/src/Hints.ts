/** Commands that users are told to type next: a copy of one, pasted into a shell, does what was said. */
import { resolve } from "node:path"
import { printablePath } from "@mallard/legacy-json/SourceError"
import { chooseDatabase, type Place } from "./DatabaseChoice.ts"
import type { Session } from "./Session.ts"

/** The whole command, as users call the program and for the database at work: its words, then names, then flags. */
export type Hint = (words: string, names?: ReadonlyArray<string>, flags?: string) => string

/** How to write commands about a database, which is the one at work unless it is named, or about the backups at work. */
export const hintsOf =
  (session: Session, database?: string): Hint =>
  (words, names = [], flags = "") =>
    shellCommand(`${session.invocation} ${words}`, names, `${flags}${placeFlag(session, words, database)}`)

const placeFlag = (session: Session, words: string, database: string | undefined): string => {
  const { named, reading } = session
  return named.backupDir !== undefined && words.startsWith("backup ")
    ? ` --backup-dir ${shellQuoted(resolve(session.cwd, named.backupDir))}`
    : databaseFlag(session, database ?? reading.database ?? chooseDatabase(session, named.db).path)
}

/** `--db FILE` where the user needs it to reach this database again, else nothing. */
const databaseFlag = (place: Place, path: string): string =>
  chooseDatabase(place, undefined).path === path ? "" : ` --db ${shellQuoted(path)}`

/** A text of a library, which calls the program `mallard` and knows no flags: its commands stand in backticks. */
export const withHints = (text: string, hint: Hint): string =>
  text.replaceAll(/`mallard ([^`]+)`/g, (_, words: string) => `\`${hint(words)}\``)

/** A word as a shell takes it; what would not show, or would steer the terminal, as bash, zsh and ksh escape it. */
export const shellQuoted = (word: string): string => {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word
  if (printablePath(word) === word) return `'${word.replaceAll("'", String.raw`'\''`)}'`
  const escaped = Array.from(word, (character) => {
    if (character === "'" || character === "\\") return `\\${character}`
    if (printablePath(character) === character) return character
    return `\\U${character.codePointAt(0)!.toString(16).padStart(8, "0")}`
  })
  return `$'${escaped.join("")}'`
}

/** A command about things that are named; names that begin like flags come last. */
export const shellCommand = (command: string, names: ReadonlyArray<string>, flags: string): string => {
  const words = names.map((name) => ` ${shellQuoted(name)}`).join("")
  return names.some((name) => name.startsWith("-")) ? `${command}${flags} --${words}` : `${command}${words}${flags}`
}
