/**
 * What a case of faults plays in: a folder with sources and a place for a database, and the program. All cases of a process
 * use the same paths one after the other, so that a database made once can be put back by copying.
 */
import { createHash } from "node:crypto"
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync
} from "node:fs"
import { dirname, join } from "node:path"
import type { Inspection, Surroundings } from "./Protocol.ts"
import { type Ended, Program } from "./Program.ts"

/** Stands in every scalar of the documents, and must stand in nothing that the program prints. */
export const SECRET = "Vq7x"

/** A cohort of few patients, as JSON. */
export const cohortText = (name: string, id = name, patients = 2): string =>
  JSON.stringify({
    name,
    patients: Array.from({ length: patients }, (_, at) => ({ id: `${SECRET}-${id}-${at}`, note: `${SECRET} 1${at}` }))
  })

/** The sources that most cases begin with: two files, and a folder that is one cohort. */
export const ordinary: Readonly<Record<string, string>> = {
  "a.json": cohortText("a"),
  "b.json": cohortText("b"),
  "folder/cohort.json": JSON.stringify({ name: "folder", description: `${SECRET} of two files` }),
  "folder/patients.json": JSON.stringify({ patients: [{ id: `${SECRET}-f` }] })
}

export class World {
  readonly root: string
  readonly folder: string
  readonly source: string
  readonly database: string
  /** Where copies of sources are. */
  readonly store: string
  readonly program: Program
  /** The program as a user to whom is denied what modes deny. Started when first used. */
  readonly limited: Program
  /** The tree of sources as the program must leave it. */
  frozen: Tree = new Map()
  /** The run of `beginMigrated`. */
  firstRun = ""
  private readonly undisturbed = new Map<string, Inspection>()
  private readonly inspections = new Map<string, Inspection>()
  private readonly continued = new Map<string, { readonly again: Ended; readonly found: Inspection }>()

  constructor(root: string) {
    this.root = realpathSync(root)
    chmodSync(this.root, 0o755)
    this.folder = join(this.root, "world")
    this.source = join(this.folder, "source")
    this.database = join(this.folder, "db", "test.duckdb")
    this.store = `${this.database}.backups`
    const placeOf = (name: string): string => {
      mkdirSync(join(this.root, name))
      return join(this.root, name)
    }
    this.program = new Program(placeOf("program"))
    this.limited = process.getuid?.() === 0 ? new Program(placeOf("limited"), asNobody) : this.program
  }

  /** An empty folder with sources. */
  begin(files: Readonly<Record<string, string | Uint8Array>> = ordinary): void {
    removeTree(this.folder)
    mkdirSync(this.source, { recursive: true })
    this.write(files)
  }

  /** The same as after `begin` and one migration of the ordinary sources; flags must not lead into the folder of the case. */
  async beginMigrated(...flags: ReadonlyArray<string>): Promise<void> {
    const kept = join(this.root, `migrated-${sha256(flags.join("\n")).slice(0, 8)}`)
    if (!existsSync(kept)) {
      this.begin()
      const { code, stderr, stdout } = await this.migrate(...flags)
      if (code !== 0) throw new Error(`The first migration ends with ${String(code)}: ${stderr}`)
      if (flags.length === 0) this.firstRun = /"run":"([0-9a-f-]+)"/.exec(stdout)?.[1] ?? ""
      cpSync(this.folder, kept, { recursive: true, preserveTimestamps: true })
      return
    }
    removeTree(this.folder)
    cpSync(kept, this.folder, { recursive: true, preserveTimestamps: true })
  }

  /** Writes sources. */
  write(files: Readonly<Record<string, string | Uint8Array>>): void {
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(dirname(join(this.source, name)), { recursive: true })
      writeFileSync(join(this.source, name), content)
    }
  }

  path(...steps: ReadonlyArray<string>): string {
    return join(this.folder, ...steps)
  }

  /** Remembers the sources as they are now. */
  freeze(): void {
    this.frozen = treeOf(this.source)
  }

  /** Runs the program. */
  run(...args: ReadonlyArray<string>): Promise<Ended> {
    return this.program.run(args, this.folder)
  }

  /** Runs the program so that it makes the same calls with the same names each time. */
  repeat(args: ReadonlyArray<string>, starts?: Surroundings["starts"]): Promise<Ended> {
    return this.program.run(args, this.folder, { isRepeatable: true, starts })
  }

  /** Migrates all sources in other surroundings. */
  migrateIn(surroundings: Surroundings & { readonly cwd?: string }, ...more: ReadonlyArray<string>): Promise<Ended> {
    return this.program.run([...this.migration, ...more], this.folder, surroundings)
  }

  /** Migrates all sources. */
  migrate(...more: ReadonlyArray<string>): Promise<Ended> {
    return this.run(...this.migration, ...more)
  }

  /** The command that migrates all sources. */
  get migration(): ReadonlyArray<string> {
    return ["migrate", this.source, "--db", this.database, "--json", "--no-verify"]
  }

  /** What a migration of the sources as they are now leads to where nothing is in its way. */
  async expected(): Promise<Inspection> {
    const tree = [...treeOf(this.source)].map(([path, { content, type }]) => [path, type, content])
    const key = sha256(JSON.stringify(tree))
    const known = this.undisturbed.get(key)
    if (known !== undefined) return known
    const aside = join(this.root, "undisturbed")
    const database = join(aside, "test.duckdb")
    await this.program.run(
      ["migrate", this.source, "--db", database, "--quiet", "--no-verify", "--no-backup"],
      this.root
    )
    const found = await this.program.inspect(database)
    removeTree(aside)
    this.undisturbed.set(key, found)
    return found
  }

  /** Verifies a database; the same bytes are verified once. */
  async inspected(database: string): Promise<Inspection> {
    const key = keyOf(treeOf(dirname(database)), ([name]) => /\.duckdb(?:\.wal)?$/.test(name))
    const known = this.inspections.get(key)
    if (known !== undefined) return known
    const found = await this.program.inspect(database)
    // Reading changes nothing, and if it did, the bytes were others now.
    this.inspections.set(key, found)
    return found
  }

  /** Migrates once more and verifies what comes of it; where everything on the disk is as it was before, so is this. */
  async goOn(database: string, withSources: boolean): Promise<{ readonly again: Ended; readonly found: Inspection }> {
    const key = [database, withSources, keyOf(treeOf(this.source)), keyOf(treeOf(dirname(database)))].join()
    const known = this.continued.get(key)
    if (known !== undefined) return known
    const again = await this.run("migrate", this.source, "--db", database, "--json", "--no-verify")
    const found = await this.program.inspect(database, withSources ? [this.source] : [])
    const result = { again, found }
    this.continued.set(key, result)
    return result
  }

  /** The next command runs in another process. */
  async restart(): Promise<void> {
    await this.program.stop()
    await this.limited.stop()
  }

  async end(): Promise<void> {
    await this.program.stop()
    await this.limited.stop()
    removeTree(this.root)
  }
}

/** What a file, folder or anything else is. */
interface Entry {
  readonly type: "file" | "folder" | "link" | "other"
  /** SHA-256 of a file. */
  readonly content: string
  readonly mode: number
  /** Time of modification of what is no folder. */
  readonly modified: string
}

export type Tree = ReadonlyMap<string, Entry>

/** Everything below a folder, by name in Latin-1, so that every byte of a name counts. */
export const treeOf = (folder: string): Tree => {
  const tree = new Map<string, Entry>()
  const visit = (path: Buffer, name: string): void => {
    const stats = lstatSync(path, { bigint: true })
    const type = stats.isFile() ? "file" : stats.isDirectory() ? "folder" : stats.isSymbolicLink() ? "link" : "other"
    tree.set(name, {
      type,
      content: type === "file" ? sha256(readFileSync(path)) : "",
      mode: Number(stats.mode & 0o7777n),
      modified: type === "folder" ? "" : String(stats.mtimeNs)
    })
    if (type !== "folder") return
    for (const entry of readdirSync(path, { encoding: "buffer" }).sort((left, right) => left.compare(right))) {
      visit(Buffer.concat([path, Buffer.from("/"), entry]), `${name}/${entry.toString("latin1")}`)
    }
  }
  if (existsSync(folder)) visit(Buffer.from(folder), "")
  return tree
}

const keyOf = (tree: Tree, isWanted: (entry: readonly [string, Entry]) => boolean = () => true): string =>
  sha256(JSON.stringify([...tree].filter(isWanted)))

export const sha256 = (bytes: string | Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

/** Removes a folder, also where modes are in the way. */
const removeTree = (folder: string): void => {
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
}

export const asNobody: ReadonlyArray<string> = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
