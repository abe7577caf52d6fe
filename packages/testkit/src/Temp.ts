/** Temporary directories that are gone when the test is over, and files in them. */

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { Effect, type Scope } from "effect"
import { bytesOfFile, type GeneratedDocument } from "./Documents.ts"

/** A fresh directory, removed with all it holds when the scope closes. */
export const tempDirectory: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.promise(() => make()),
  (directory) => Effect.promise(() => remove(directory))
)

/** Runs `use` with a fresh directory, which is removed whether `use` succeeds or not. */
export const withTempDirectory = async <A>(use: (directory: string) => A | Promise<A>): Promise<A> => {
  const directory = await make()
  try {
    return await use(directory)
  } finally {
    await remove(directory)
  }
}

/** Writes files by path relative to `directory`, with the folders they need; gives their absolute paths in order. */
export const writeFiles = async (
  directory: string,
  files: Readonly<Record<string, string | Uint8Array>>
): Promise<ReadonlyArray<string>> => {
  const written: Array<string> = []
  for (const [name, content] of Object.entries(files)) {
    const path = join(directory, name)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, content)
    written.push(path)
  }
  return written
}

/**
 * Writes the files of a document, in a folder of their own where they belong together. Gives the absolute path of that
 * folder, or of the single file.
 */
export const writeDocument = async (directory: string, document: GeneratedDocument): Promise<string> => {
  const folder = document.directory === undefined ? directory : join(directory, document.directory)
  const paths = await writeFiles(
    folder,
    Object.fromEntries(document.files.map((file) => [file.name, bytesOfFile(file)]))
  )
  return document.directory === undefined ? (paths[0] ?? folder) : folder
}

const make = () => mkdtemp(join(tmpdir(), "mallard-"))

const remove = (directory: string) => rm(directory, { recursive: true, force: true, maxRetries: 3 })
