/** The program `mallard` as users install it. */
import { createHash } from "node:crypto"
import { existsSync, globSync, readFileSync } from "node:fs"
import { cp, mkdir, mkdtemp, readdir, rename, rm, stat, utimes } from "node:fs/promises"
import { join } from "node:path"
import { root, runOrThrow } from "./run.ts"

const home = join(root, "apps", "cli")

/**
 * Bundles the program from the sources of this moment and gives the folder that holds it, with its entry file at
 * `bin/mallard.js`. It begins several times faster than from its sources. The same sources give the same folder, so that
 * Node remembers the compiled code.
 */
export const bundleProgram = async (): Promise<string> => {
  // Below the package, where the native modules that no bundle contains are found.
  const cache = join(home, "node_modules", ".cache", "bundles")
  await mkdir(cache, { recursive: true })
  const building = await mkdtemp(join(cache, ".building-"))
  try {
    for (const name of ["package.json", "bin"]) await cp(join(home, name), join(building, name), { recursive: true })
    await runOrThrow(process.execPath, [join(home, "build.ts"), join(building, "dist")])
    const hash = createHash("sha256")
    for (const name of globSync("**/*.{js,json}", { cwd: building }).toSorted()) {
      hash.update(`${name}\0`).update(readFileSync(join(building, name)))
    }
    const bundle = join(cache, hash.digest("hex").slice(0, 16))
    // Another run may be as far as this: its files are the same.
    if (!existsSync(bundle)) {
      await rename(building, bundle).catch((cause: unknown) => {
        if (!existsSync(bundle)) throw cause
      })
    }
    await removeOld(cache, bundle)
    return bundle
  } finally {
    await rm(building, { recursive: true, force: true })
  }
}

const DAY_MS = 86_400_000

/** Bundles of other sources that no run can still be using. */
const removeOld = async (cache: string, current: string): Promise<void> => {
  const now = new Date()
  await utimes(current, now, now)
  for (const name of await readdir(cache)) {
    const other = join(cache, name)
    const age = now.getTime() - (await stat(other).catch(() => ({ mtimeMs: now.getTime() }))).mtimeMs
    if (age > DAY_MS) await rm(other, { recursive: true, force: true })
  }
}
