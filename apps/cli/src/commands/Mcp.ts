/** `mallard mcp`: serves the cohorts to assistants, over standard input and output or over HTTP. */
import type { Roots, ServerConfig } from "@mallard/mcp"
import { systemCode } from "@mallard/duckdb-store/Disk"
import { printablePath } from "@mallard/legacy-json/SourceError"
import { Effect } from "effect"
import { randomBytes } from "node:crypto"
import { closeSync, constants, fstatSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { chooseDatabase } from "../DatabaseChoice.ts"
import { CommandFailed, exitCode, usage } from "../Failure.ts"
import type { CommonOptions, Session } from "../Session.ts"
import { quoted } from "../Text.ts"

export interface McpCommand extends CommonOptions {
  readonly http: number | undefined
  readonly host: string | undefined
  readonly root: ReadonlyArray<string>
  readonly readOnly: boolean
  readonly allowQuery: boolean
  readonly oldNames: boolean
  readonly tokenFile: string | undefined
}

export const runMcp = Effect.fnUntraced(function* (session: Session, command: McpCommand) {
  const { terminal } = session
  // It is bundled apart, so that no other command has to read what only it needs.
  const { makeRoots, runStdio, startHttp } = yield* Effect.promise(() => import("@mallard/mcp"))
  const choice = chooseDatabase(session, command.db)
  if (command.http === undefined && (command.host !== undefined || command.tokenFile !== undefined)) {
    return yield* usage("--host and --token-file belong to --http.", "Add --http PORT.")
  }
  const config: ServerConfig = {
    database: { path: choice.path, instead: choice.instead, program: session.program },
    version: session.program.split(" ").at(-1) ?? "",
    roots: command.root.length === 0 ? undefined : yield* rootsOf(makeRoots, session, command.root),
    readOnly: command.readOnly,
    allowQuery: command.allowQuery,
    oldNames: command.oldNames,
    report: (line) => terminal.error(`mallard mcp: ${line}\n`)
  }
  if (command.http === undefined) {
    if (process.stdin.isTTY) terminal.error("Waiting for messages of an assistant; docs/mcp.md says how to add one.\n")
    return yield* Effect.promise((signal) => runStdio(config, process.stdin, process.stdout, signal))
  }
  if (command.http < 0 || command.http > 65_535) return yield* usage("--http is no port.", "Give a number up to 65535.")
  const host = command.host ?? "127.0.0.1"
  if (!/^[\w.:-]+$/.test(host) || /^[0.:]+$/.test(host)) {
    return yield* usage(
      "--host is not one address of this machine.",
      "Name a single address: what is not asked for by its exact name is refused."
    )
  }
  const tokenPath =
    command.tokenFile === undefined
      ? join(session.home, ".healthsim", "mallard-mcp.token")
      : resolve(session.cwd, command.tokenFile)
  const token = yield* tokenOf(tokenPath)
  return yield* Effect.scoped(
    Effect.gen(function* () {
      const { url } = yield* Effect.acquireRelease(
        Effect.tryPromise({
          try: () => startHttp(config, { host, port: command.http ?? 0, token }),
          catch: (cause) =>
            new CommandFailed({
              code: exitCode.failed,
              what: `Cannot listen on port ${command.http}${codeOf(cause)}.`,
              next: ["Choose another port; 0 takes any that is free."]
            })
        }),
        (listener) => Effect.promise(() => listener.close())
      )
      terminal.error(`mallard mcp listens on ${url}\n`)
      terminal.error(`Clients send the token in ${printablePath(tokenPath)} as \`Authorization: Bearer <token>\`.\n`)
      if (host !== "127.0.0.1" && host !== "localhost" && host !== "::1") {
        terminal.error("The connection is not encrypted: put a proxy with TLS before it.\n")
      }
      return yield* Effect.never
    })
  )
})

const codeOf = (cause: unknown): string => {
  const code = systemCode(cause)
  return code === undefined ? "" : ` (${code})`
}

const rootsOf = (
  makeRoots: (folders: ReadonlyArray<string>) => Roots,
  session: Session,
  folders: ReadonlyArray<string>
) =>
  Effect.try({
    try: () => makeRoots(folders.map((folder) => resolve(session.cwd, folder))),
    catch: () => {
      const isFolder = (path: string) => statSync(resolve(session.cwd, path), { throwIfNoEntry: false })?.isDirectory()
      const wrong = folders.find((folder) => isFolder(folder) !== true) ?? ""
      return usage(`--root ${quoted(wrong)} is no folder.`, "Give folders that exist.")
    }
  })

const TOKEN_BYTES = 32
const OTHERS = 0o077

/** The token in the file, which is made when it is missing. */
const tokenOf = (path: string): Effect.Effect<string, CommandFailed> =>
  Effect.try({
    try: () => {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
      try {
        writeFileSync(path, `${randomBytes(TOKEN_BYTES).toString("base64url")}\n`, { mode: 0o600, flag: "wx" })
      } catch (cause) {
        if (systemCode(cause) !== "EEXIST") throw cause
      }
      const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW)
      try {
        const token = readFileSync(file, "utf8").trim()
        return { token, isOpen: process.platform !== "win32" && (fstatSync(file).mode & OTHERS) !== 0 }
      } finally {
        closeSync(file)
      }
    },
    catch: () =>
      usage(
        `The token cannot be kept in ${printablePath(path)}.`,
        "Check the folder and its permissions, or name another file by --token-file."
      )
  }).pipe(
    Effect.flatMap(({ isOpen, token }) => {
      if (isOpen) {
        return Effect.fail(
          usage(
            `Others can read the token in ${printablePath(path)}.`,
            `Run \`chmod 600\` on it, or remove it to get a new one.`
          )
        )
      }
      return /^[\x21-\x7e]{16,}$/.test(token)
        ? Effect.succeed(token)
        : Effect.fail(
            usage(
              `What stands in ${printablePath(path)} is no token.`,
              "Put at least 16 characters without blanks there, or remove the file to get a new one."
            )
          )
    })
  )
