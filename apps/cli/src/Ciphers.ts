/** Keys for backups, read from files or asked for on a terminal: what stands on a command line is seen by others. */
import { areRecipients, type CipherSettings } from "@mallard/migrator"
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { type CommandFailed, Ended, exitCode, usage } from "./Failure.ts"
import { readSecret } from "./Secret.ts"
import type { Session } from "./Session.ts"
import { printable } from "./Text.ts"

/** What the user gave of keys. */
export interface KeySources {
  readonly passphraseFile?: string | undefined
  /** Asks for the passphrase. */
  readonly passphrase?: boolean | undefined
  readonly identityFile?: string | undefined
  readonly recipients?: ReadonlyArray<string> | undefined
}

/** The keys; undefined if there are none. A passphrase that locks what it is `new` to is asked for twice. */
export const cipherSettings = (
  session: Session,
  { identityFile, passphrase: asks = false, passphraseFile, recipients = [] }: KeySources,
  use: "new" | "known" = "known"
): Effect.Effect<CipherSettings | undefined, CommandFailed | Ended> =>
  Effect.gen(function* () {
    if (identityFile === undefined && passphraseFile === undefined && !asks && recipients.length === 0) return undefined
    if (asks && passphraseFile !== undefined) {
      return yield* usage("--backup-passphrase asks, --backup-passphrase-file reads.", "Give one of the two.")
    }
    if (recipients.length > 0 && !(yield* Effect.promise(() => areRecipients(recipients)))) {
      return yield* usage("A --backup-recipient is not one of age.", "Recipients begin with age1; copy them whole.")
    }
    const passphrase = asks
      ? yield* askPassphrase(session, use)
      : passphraseFile === undefined
        ? undefined
        : // The line break at the end of the file is no part of a passphrase.
          (yield* readKey(session, passphraseFile)).replace(/\r?\n$/, "")
    if (passphrase === "") {
      return yield* usage(asks ? "The passphrase is empty." : "The file of --backup-passphrase-file is empty.")
    }
    const identities =
      identityFile === undefined
        ? []
        : (yield* readKey(session, identityFile)).split(/\r?\n/).filter((line) => line !== "" && !line.startsWith("#"))
    return { passphrase, recipients, identities }
  })

const askPassphrase = Effect.fnUntraced(function* (session: Session, use: "new" | "known") {
  if (!process.stdin.isTTY || !session.terminal.isErrorTerminal) {
    return yield* usage(
      "--backup-passphrase asks on a terminal, and there is none.",
      "Give the passphrase in a file: --backup-passphrase-file FILE."
    )
  }
  const passphrase = yield* ask(session, "Passphrase of the copies: ")
  if (use === "known" || passphrase === "") return passphrase
  const again = yield* ask(session, "Once more: ")
  if (again !== passphrase) return yield* usage("The two passphrases are not the same; nothing was done.")
  return passphrase
})

const ask = Effect.fnUntraced(function* ({ terminal }: Session, question: string) {
  const answer = yield* Effect.promise(() => readSecret(process.stdin, () => terminal.error(question)))
  terminal.error("\n")
  if (answer === undefined) return yield* new Ended({ code: exitCode.interrupted })
  return answer
})

const readKey = (session: Session, path: string): Effect.Effect<string, CommandFailed> =>
  Effect.try({
    try: () => readFileSync(resolve(session.cwd, path), "utf8"),
    catch: () => usage(`Cannot read the key in ${printable(path)}.`, "Check the path and who may read the file.")
  })
