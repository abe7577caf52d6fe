/**
 * Paths that a model may name: JSON files below folders that the user has named, reached without any link. Everything else
 * is refused before it is opened.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, readFileSync, realpathSync } from "node:fs"
import { isAbsolute, join, relative, resolve, sep } from "node:path"
import { Effect } from "effect"
import { ToolError } from "./ToolServer.ts"

/** A file that was read. */
export interface ReadFile {
  readonly path: string
  readonly bytes: Buffer
}

/** Where an export may go. */
export interface Target {
  readonly path: string
  /** Whether a file of that name is there already. */
  readonly exists: boolean
}

/** The folders that may be read from and written to. */
export interface Roots {
  readonly folders: ReadonlyArray<string>
  readonly read: (path: string) => Effect.Effect<ReadFile, ToolError>
  /** A place for one file (`isFolder` false), or for a folder that is not there yet or is empty. */
  readonly target: (path: string, isFolder: boolean) => Effect.Effect<Target, ToolError>
}

/** Larger files are for the command line. */
export const MAX_IMPORT_BYTES = 64 * 1024 * 1024

const FILE = /\.json$/i

/** Makes the roots of existing folders; throws for one that is missing or no folder. */
export const makeRoots = (folders: ReadonlyArray<string>): Roots => {
  const real = folders.map((folder) => {
    const path = realpathSync(folder)
    if (!lstatSync(path).isDirectory()) throw new Error(`${path} is not a folder`)
    return path
  })
  const list = real.map((folder) => JSON.stringify(folder)).join(", ")

  /** The absolute path below a root, and the names that lead to it. */
  const locate = (path: string): { readonly root: string; readonly path: string; readonly names: Array<string> } => {
    if (path === "" || path.length > MAX_PATH || unfit.test(path) || !path.isWellFormed()) {
      throw new ToolError({ message: "This is no path. Name a file below one of the folders: " + list })
    }
    const wanted = isAbsolute(path) ? resolve(path) : resolve(real[0] ?? "", path)
    for (const root of real) {
      const way = relative(root, wanted)
      if (way === "" || way === ".." || way.startsWith(`..${sep}`) || isAbsolute(way)) continue
      const names = way.split(sep)
      if (names.some((name) => name.startsWith("."))) {
        throw new ToolError({ message: "Names that begin with a dot are not allowed. Choose another path." })
      }
      return { root, path: wanted, names }
    }
    throw new ToolError({ message: `The path is not below a folder that this server may use. Those are: ${list}` })
  }

  /** How many of the names exist; none of them may be a link. */
  const existing = (root: string, names: ReadonlyArray<string>): number => {
    let path = root
    for (const [at, name] of names.entries()) {
      path = join(path, name)
      const stat = lstatSync(path, { throwIfNoEntry: false })
      if (stat === undefined) return at
      if (stat.isSymbolicLink())
        throw new ToolError({ message: "The path leads through a link, which is not followed." })
      if (at < names.length - 1 && !stat.isDirectory()) throw notThere
    }
    return names.length
  }

  return {
    folders: real,
    read: (wanted) =>
      attempt(() => {
        const { names, path, root } = locate(wanted)
        if (!FILE.test(path))
          throw new ToolError({
            message: "Only files that end in .json are imported; `mallard migrate` in a terminal takes others."
          })
        if (existing(root, names) < names.length) throw notThere
        const handle = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
        try {
          const stat = fstatSync(handle)
          if (!stat.isFile()) throw new ToolError({ message: "The path is not that of a plain file." })
          // A folder on the way could have become a link meanwhile.
          if (realpathSync(path) !== path) throw new ToolError({ message: "The path leads through a link." })
          if (stat.size > MAX_IMPORT_BYTES) {
            throw new ToolError({
              message: "The file is larger than 64 MiB. Ask the user to run `mallard migrate` on it in a terminal."
            })
          }
          return { path, bytes: readFileSync(handle) }
        } finally {
          closeSync(handle)
        }
      }),
    target: (wanted, isFolder) =>
      attempt(() => {
        const { names, path, root } = locate(wanted)
        const isThere = existing(root, names) === names.length
        if (isFolder) {
          if (isThere && (!lstatSync(path).isDirectory() || readdirSync(path).length > 0)) {
            throw new ToolError({ message: "Several files are written, so name a folder that does not exist yet." })
          }
          return { path, exists: false }
        }
        if (!FILE.test(path)) {
          throw new ToolError({ message: "One file is written: name one that ends in .json." })
        }
        if (isThere && !lstatSync(path).isFile())
          throw new ToolError({ message: "The path is not that of a plain file." })
        return { path, exists: isThere }
      })
  }
}

const MAX_PATH = 1024
// oxlint-disable-next-line no-control-regex
const unfit = /[\u0000-\u001f\u007f-\u009f]/

const notThere = new ToolError({ message: "There is no such file. Check the path." })

const attempt = <A>(use: () => A): Effect.Effect<A, ToolError> =>
  Effect.try({
    try: use,
    catch: (cause) =>
      cause instanceof ToolError
        ? cause
        : new ToolError({ message: "The file system refused it. Check the path and the permissions." })
  })
