/**
 * Checks what users would install. Every published package is built and packed; its tarball must be whole and name only
 * versions that a registry can serve. Then each library is installed alone into a blank project, the programs of its
 * README are type-checked there and run by plain Node, and must print what the README shows; the command line program
 * must start. What was found good is remembered by the content of the tarballs and READMEs, not by time.
 */
import { createHash } from "node:crypto"
import { existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { differenceOf, fencesOf } from "./lib/markdown.ts"
import { cacheFolder, pnpm, root, run, runOrThrow } from "./lib/run.ts"
import { apps, isPublished, libraries, type Package, readManifest, readText } from "./lib/workspace.ts"

interface Packed extends Package {
  readonly tarball: string
  /** The tarball unpacked. */
  readonly content: string
}

const problems: Array<string> = []
const runPnpm = (args: ReadonlyArray<string>, cwd: string) => runOrThrow(pnpm[0], [...pnpm.slice(1), ...args], { cwd })

const pack = async (found: Package, folder: string): Promise<Packed> => {
  const tarball = join(folder, `${found.folder}.tgz`)
  const content = join(folder, "content", found.folder)
  await runPnpm(["pack", "--out", tarball], found.path)
  mkdirSync(content, { recursive: true })
  await runOrThrow("tar", ["-xzf", tarball, "-C", content, "--strip-components=1"])
  return { ...found, tarball, content }
}

const filesOf = (folder: string) =>
  globSync("**/*", { cwd: folder, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .toSorted()

/** What the types of public modules name by a module that nobody can import: errors, which a caller cannot tell apart then. */
const unnameable = (content: string): ReadonlyArray<string> => {
  const types = globSync("dist/*.d.ts", { cwd: content })
    .map((file) => readText(join(content, file)))
    .join("\n")
  const names = [...types.matchAll(/import\("\.\/internal\/[^"]+"\)\.(\w+)/g)].map((match) => match[1] ?? "")
  return [...new Set(names)].filter((name) => !new RegExp(`^export [^;]*\\b${name}\\b`, "m").test(types))
}

const inspect = ({ manifest, content }: Packed) => {
  const packed = readManifest(content)
  const files = filesOf(content)
  const complain = (text: string) => problems.push(`${manifest.name}: ${text}`)
  for (const file of ["README.md", "LICENSE"]) if (!files.includes(file)) complain(`${file} is not in the tarball`)
  if (!files.some((file) => file.startsWith("dist/"))) complain("dist is not in the tarball")
  for (const file of files) {
    if (/(^|\/)(test|\.docs-check)\/|\.test\.|\.tsbuildinfo$/.test(file))
      complain(`${file} does not belong in the tarball`)
  }
  for (const [name, range] of Object.entries({
    ...packed.dependencies,
    ...packed.peerDependencies,
    ...packed.optionalDependencies
  })) {
    if (/^(workspace|catalog|link|file):/.test(range)) complain(`depends on ${name} at "${range}"`)
  }
  for (const name of unnameable(content)) complain(`its types name ${name}, which it does not export`)
  const targets = Object.values(packed.exports ?? {}).flatMap((target) =>
    target === null ? [] : typeof target === "string" ? [target] : Object.values(target)
  )
  for (const target of [...targets, ...Object.values(packed.bin ?? {})]) {
    const wanted = target.replace(/^\.\//, "")
    if (wanted.startsWith("src/")) complain(`exports sources: ${target}`)
    if (!files.some((file) => new RegExp(`^${wanted.replace(/[.]/g, "\\.").replace("*", ".+")}$`).test(file))) {
      complain(`exports ${target}, which is not in the tarball`)
    }
  }
}

/** Name and content of everything that decides the result. */
const fingerprintOf = (packed: ReadonlyArray<Packed>) => {
  const hash = createHash("sha256").update(process.version)
  const own = [import.meta.filename, join(root, "pnpm-lock.yaml"), join(root, "tsconfig.base.json")]
  const contents = packed.flatMap(({ content }) => filesOf(content).map((file) => join(content, file)))
  for (const file of [...own, ...contents])
    hash.update(`\0${file.split("/content/").at(-1)}\0`).update(readFileSync(file))
  return hash.digest("hex")
}

const importedBy = (program: string) =>
  [...program.matchAll(/(?:from|import)\s*\(?\s*"((?:@[^/"]+\/)?[^./"@][^/"]*)/g)]
    .map((match) => match[1] ?? "")
    .filter((name) => !name.startsWith("node:"))

/** Versions as this workspace has them installed. */
const installedVersion = (name: string) => {
  const holders = [root, ...libraries.map(({ path }) => path), ...apps.map(({ path }) => path)]
  const holder = holders.find((path) => existsSync(join(path, "node_modules", name, "package.json")))
  if (holder === undefined) throw new Error(`a program imports ${name}, which no package here uses`)
  return readManifest(join(holder, "node_modules", name)).version ?? "*"
}

const writeJson = (path: string, value: unknown) => writeFileSync(path, JSON.stringify(value, null, 2))

/** Checks all README programs in blank projects, one per library, and returns how many ran. */
const checkPrograms = async (packed: ReadonlyArray<Packed>, folder: string) => {
  const tarballs = Object.fromEntries(packed.map(({ manifest, tarball }) => [manifest.name, `file:${tarball}`]))
  const blank = join(folder, "blank")
  mkdirSync(blank)
  writeJson(join(blank, "package.json"), { name: "blank", private: true })
  const overrides = Object.entries(tarballs).map(([name, file]) => `  ${JSON.stringify(name)}: ${JSON.stringify(file)}`)
  writeFileSync(
    join(blank, "pnpm-workspace.yaml"),
    `packages:\n  - projects/*\noverrides:\n${overrides.join("\n")}\nminimumReleaseAge: 0\n`
  )
  const projects = packed.map((one) => {
    const fences = fencesOf(readText(join(one.content, "README.md")))
    const programs = fences.flatMap((fence, index) => {
      const next = fences[index + 1]
      return fence.info === "ts run" ? [{ fence, text: next?.info === "text" ? next.content : undefined }] : []
    })
    const path = join(blank, "projects", one.folder)
    const packed = readManifest(one.content)
    const wanted = [
      ...Object.keys(packed.peerDependencies ?? {}),
      ...programs.flatMap((p) => importedBy(p.fence.content))
    ]
    const others = wanted.map((name) => [name, tarballs[name] ?? installedVersion(name)] as const)
    mkdirSync(path, { recursive: true })
    writeJson(join(path, "package.json"), {
      name: `use-${one.folder}`,
      private: true,
      type: "module",
      dependencies: { ...Object.fromEntries(others), [packed.name]: tarballs[packed.name] },
      devDependencies: { "@types/node": installedVersion("@types/node") }
    })
    return { ...one, path, programs }
  })
  await runPnpm(["install", "--prefer-offline", "--no-frozen-lockfile"], blank)
  for (const { manifest, path, programs } of projects) {
    for (const { fence, text } of programs) {
      const name = `${manifest.name}, program in line ${fence.line} of its README`
      const file = join(path, `line-${fence.line}.ts`)
      writeFileSync(file, `${fence.content}\n`)
      const flags = "--ignoreConfig --noEmit --strict --skipLibCheck --module nodenext --target es2024 --types node"
      const types = await run("tsc", [...flags.split(" "), "--allowImportingTsExtensions", file], { cwd: path })
      if (types.exitCode !== 0) problems.push(`${name}: does not type-check\n${types.output}`)
      const outcome = await run("node", [file], { cwd: path, separate: true, timeoutSeconds: 60 })
      const difference = text === undefined ? undefined : differenceOf(text.split("\n"), outcome.stdout)
      if (outcome.exitCode !== 0) problems.push(`${name}: exit code ${outcome.exitCode}\n${outcome.output}`)
      else if (difference !== undefined) problems.push(`${name}: prints something else, ${difference}`)
    }
    for (const command of Object.keys(manifest.bin ?? {})) {
      const outcome = await run(join(path, "node_modules", ".bin", command), ["--version"], { cwd: path })
      if (outcome.exitCode !== 0 || !outcome.output.includes(manifest.version ?? "?")) {
        problems.push(`${manifest.name}: ${command} --version, exit code ${outcome.exitCode}\n${outcome.output}`)
      }
    }
  }
  return projects.reduce((sum, { programs }) => sum + programs.length, 0)
}

const published = [...libraries, ...apps].filter(isPublished)
const folder = mkdtempSync(join(tmpdir(), "mallard-packages-"))
try {
  await runOrThrow("turbo", ["run", "build", "--output-logs=errors-only"])
  const packed: Array<Packed> = []
  for (const one of published) packed.push(await pack(one, folder))
  for (const one of packed) inspect(one)
  const memory = join(cacheFolder, "packages-check.json")
  const fingerprint = fingerprintOf(packed)
  const remembered = existsSync(memory) ? JSON.parse(readFileSync(memory, "utf8")) : {}
  const isKnown = remembered.fingerprint === fingerprint
  const programs: number = isKnown ? remembered.programs : await checkPrograms(packed, folder)
  if (problems.length === 0) {
    mkdirSync(cacheFolder, { recursive: true })
    writeJson(memory, { fingerprint, programs })
  }
  for (const problem of problems) console.log(`${problem}\n`)
  console.log(`${packed.length} packages, ${programs} programs ran${isKnown ? " before with the same content" : ""}`)
  process.exitCode = problems.length > 0 ? 1 : 0
} finally {
  rmSync(folder, { recursive: true, force: true })
}
