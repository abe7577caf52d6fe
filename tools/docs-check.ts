/**
 * Runs what the documentation shows, and follows its links.
 *
 * - A "```ts run" fence is a program of its own. If the next fence is "```text", it must be exactly what the program prints.
 * - A "```console" fence is a session: its `mallard …`, `pnpm migrate …` and `pnpm mallard …` are run, in an empty home
 *   folder that the sessions of one page share, and must print what stands below them. They must succeed, unless
 *   `$ echo $?` follows and shows how they ended. Other commands are only counted.
 * - Local links lead to files and headings that exist.
 *
 * The README of a library must hold a program, the one of the project a session.
 */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync
} from "node:fs"
import { availableParallelism, tmpdir } from "node:os"
import { basename, dirname, join, relative, resolve } from "node:path"
import { bundleProgram } from "./lib/bundle.ts"
import {
  anchorsOf,
  type Command,
  commandsOf,
  differenceOf,
  type Fence,
  fencesOf,
  localLinksOf
} from "./lib/markdown.ts"
import { root, run } from "./lib/run.ts"
import { apps, isPublished, libraries, readText } from "./lib/workspace.ts"

/** `mallard` is the program as users install it; what pages start through pnpm runs from the sources. */
const bundle = await bundleProgram()

const counts = { programs: 0, commands: 0, links: 0, shownOnly: 0 }

/**
 * Programs are written beside the sources whose packages they import, in a folder for each page of each check; git and
 * every tool ignore it.
 */
const programFolderOf = (page: string) => {
  const library = libraries.find(({ path }) => page.startsWith(join(path, "/")))
  return join(programsBelow(library?.path ?? join(root, "tools")), basename(page, ".md"))
}

/** The folder of this check: another one may be going on in the same checkout. */
const programsBelow = (folder: string): string => join(folder, ".docs-check", String(process.pid))

const checkProgram = async (page: string, fence: Fence, next: Fence | undefined, sandbox: string) => {
  const folder = programFolderOf(page)
  const file = join(folder, `line-${fence.line}.ts`)
  mkdirSync(folder, { recursive: true })
  writeFileSync(file, `${fence.content}\n`)
  const outcome = await run("node", [file], {
    cwd: sandbox,
    env: environmentOf(sandbox),
    separate: true,
    timeoutSeconds: 60
  })
  rmSync(folder, { recursive: true })
  counts.programs++
  if (outcome.exitCode !== 0) {
    return `exit code ${outcome.exitCode}\n${outcome.output}`
  }
  if (next?.info === "text" && outcome.stdout.trimEnd() !== next.content.trimEnd()) {
    const difference = differenceOf(next.content.split("\n"), outcome.stdout) ?? "only in white space or wildcards"
    return `prints something else than the text below it: ${difference}\nprinted in full:\n${outcome.stdout}`
  }
  return undefined
}

const runnable = /^(mallard|pnpm (migrate|mallard)|npx -y pnpm@12 (migrate|mallard))( |$)/

/** What a machine that is busy with other work prints while it goes; no page shows it. */
const progressLine = /^(?:finding sources|(?:copying|reading|verifying) +\d+%).*\n/gm

const checkSession = async (commands: ReadonlyArray<Command>, sandbox: string) => {
  let exitCode = 0
  for (const [index, { command, expected }] of commands.entries()) {
    if (command === "echo $?") {
      const difference = differenceOf(expected, `${exitCode}\n`)
      if (difference !== undefined) return `$ ${commands[index - 1]?.command}\nexit code, ${difference}`
      continue
    }
    if (!runnable.test(command)) {
      counts.shownOnly++
      continue
    }
    const outcome = await run("bash", ["-c", command], {
      cwd: sandbox,
      env: environmentOf(sandbox),
      timeoutSeconds: 120
    })
    counts.commands++
    exitCode = outcome.exitCode
    if (exitCode !== 0 && commands[index + 1]?.command !== "echo $?") {
      return `$ ${command}\nexit code ${exitCode}\n${outcome.output}`
    }
    const difference = differenceOf(expected, outcome.output.replace(progressLine, ""))
    if (difference !== undefined) return `$ ${command}\n${difference}\nprinted in full:\n${outcome.output}`
  }
  return undefined
}

/** A home and a working folder of its own, so that nothing shown can touch the project or the user's data. */
const makeSandbox = () => {
  const sandbox = mkdtempSync(join(tmpdir(), "mallard-docs-"))
  const bin = join(sandbox, ".bin")
  const start = `exec node '${join(root, "apps", "cli", "bin", "mallard.js")}'`
  const startInstalled = `exec node '${join(bundle, "bin", "mallard.js")}'`
  mkdirSync(bin)
  const shim = (name: string, script: string) =>
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  shim("mallard", `${startInstalled} "$@"`)
  shim("pnpm", `if [ "$1" = mallard ]; then shift; fi\n${start} "$@"`)
  shim("npx", `shift 2\n[ "$1" = mallard ] && shift\n${start} "$@"`)
  if (existsSync(join(root, "examples"))) cpSync(join(root, "examples"), join(sandbox, "examples"), { recursive: true })
  return sandbox
}

const environmentOf = (sandbox: string): NodeJS.ProcessEnv => ({
  PATH: [join(sandbox, ".bin"), join(root, "node_modules", ".bin"), process.env["PATH"]].join(":"),
  HOME: sandbox,
  USERPROFILE: sandbox,
  INIT_CWD: sandbox,
  // Programs from the sources begin in half the time where Node remembers what it compiled.
  NODE_COMPILE_CACHE: join(tmpdir(), "node-compile-cache"),
  MALLARD_DB: undefined,
  HEALTHSIM_DB_PATH: undefined
})

const checkLinks = (page: string, text: string): ReadonlyArray<string> => {
  const problems: Array<string> = []
  for (const { target, line } of localLinksOf(text)) {
    counts.links++
    const [path = "", anchor] = decodeURI(target).split("#")
    const file = path === "" ? page : resolve(dirname(page), path)
    if (!existsSync(file)) problems.push(`${relative(root, page)}:${line}: nothing at ${target}`)
    else if (anchor !== undefined && statSync(file).isFile() && !anchorsOf(readText(file)).has(anchor)) {
      problems.push(`${relative(root, page)}:${line}: no heading for #${anchor} in ${relative(root, file)}`)
    }
  }
  return problems
}

const checkPage = async (page: string): Promise<ReadonlyArray<string>> => {
  const text = readText(page)
  const problems = [...checkLinks(page, text)]
  const fences = fencesOf(text)
  const sandbox = makeSandbox()
  for (const [index, fence] of fences.entries()) {
    const problem =
      fence.info === "ts run"
        ? await checkProgram(page, fence, fences[index + 1], sandbox)
        : fence.info === "console"
          ? await checkSession(commandsOf(fence.content), sandbox)
          : undefined
    if (problem !== undefined) problems.push(`${relative(root, page)}:${fence.line}: ${problem}`)
  }
  rmSync(sandbox, { recursive: true, force: true })
  return problems
}

const markdownIn = (folder: string) =>
  existsSync(join(root, folder))
    ? readdirSync(join(root, folder))
        .filter((name) => name.endsWith(".md") && name !== "CHANGELOG.md")
        .map((name) => join(root, folder, name))
    : []

const readme = join(root, "README.md")
const readmes = [...libraries, ...apps].map(({ path }) => join(path, "README.md")).filter((path) => existsSync(path))

const problems: Array<string> = []
for (const library of libraries.filter(isPublished)) {
  const fences = fencesOf(readText(join(library.path, "README.md")))
  if (!fences.some(({ info }) => info === "ts run")) {
    problems.push(`packages/${library.folder}/README.md: no program that can be run (a fence "ts run")`)
  }
}
const sessions = fencesOf(readText(readme)).filter(({ info }) => info === "console")
if (!sessions.some(({ content }) => commandsOf(content).some(({ command }) => runnable.test(command)))) {
  problems.push("README.md: no console session that runs mallard")
}
const pages = [...markdownIn("."), ...readmes, ...markdownIn("docs")]
const found = pages.map((): ReadonlyArray<string> => [])
const waiting = pages.entries()
// The sessions of a page follow each other and often wait for the disk; pages have nothing to do with each other.
const checkWaiting = async () => {
  for (const [index, page] of waiting) found[index] = await checkPage(page)
}
await Promise.all(Array.from({ length: availableParallelism() }, checkWaiting))
problems.push(...found.flat())
for (const folder of [...libraries.map(({ path }) => path), join(root, "tools")]) {
  const own = programsBelow(folder)
  rmSync(own, { recursive: true, force: true })
  try {
    rmdirSync(dirname(own))
  } catch {
    // Another check has its programs there, or there were none.
  }
}

for (const problem of problems) console.log(`${problem}\n`)
console.log(
  `${counts.programs} programs and ${counts.commands} commands ran, ${counts.links} links followed, ` +
    `${counts.shownOnly} commands only shown`
)
process.exitCode = problems.length > 0 ? 1 : 0
