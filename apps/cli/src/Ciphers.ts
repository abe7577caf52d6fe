/** Keys for backups, read from files: what stands on a command line is seen by others. */
import type { CipherSettings } from "@mallard/migrator"
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { type CommandFailed, usage } from "./Failure.ts"
import type { Session } from "./Session.ts"
import { printable } from "./Text.ts"

/** What the user gave of keys. */
export interface KeySources {
  readonly passphraseFile?: string | undefined
  readonly identityFile?: string | undefined
  readonly recipients?: ReadonlyArray<string> | undefined
}

/** The keys; undefined if there are none. */
export const cipherSettings = (
  session: Session,
  { identityFile, passphraseFile, recipients = [] }: KeySources
): Effect.Effect<CipherSettings | undefined, CommandFailed> =>
  Effect.gen(function* () {
    if (identityFile === undefined && passphraseFile === undefined && recipients.length === 0) return undefined
    // The line break at the end of the file is no part of a passphrase.
    const passphrase =
      passphraseFile === undefined ? undefined : (yield* readKey(session, passphraseFile)).replace(/\r?\n$/, "")
    if (passphrase === "") return yield* usage("The file of --backup-passphrase-file is empty.")
    const identities =
      identityFile === undefined
        ? []
        : (yield* readKey(session, identityFile)).split(/\r?\n/).filter((line) => line !== "" && !line.startsWith("#"))
    return { passphrase, recipients, identities }
  })

const readKey = (session: Session, path: string): Effect.Effect<string, CommandFailed> =>
  Effect.try({
    try: () => readFileSync(resolve(session.cwd, path), "utf8"),
    catch: () => usage(`Cannot read the key in ${printable(path)}.`, "Check the path and who may read the file.")
  })
