/** What the workspace consists of. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "./run.ts"

export interface Manifest {
  readonly name: string
  readonly version?: string
  readonly private?: boolean
  readonly bin?: Readonly<Record<string, string>>
  readonly exports?: Readonly<Record<string, string | Readonly<Record<string, string>> | null>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
}

export interface Package {
  /** The name of its folder, which is also that of its test project. */
  readonly folder: string
  readonly path: string
  readonly manifest: Manifest
}

export const readManifest = (path: string): Manifest => JSON.parse(readFileSync(join(path, "package.json"), "utf8"))

const packagesIn = (parent: string): ReadonlyArray<Package> =>
  readdirSync(join(root, parent))
    .toSorted()
    .map((folder) => ({ folder, path: join(root, parent, folder) }))
    .filter(({ path }) => existsSync(join(path, "package.json")))
    .map((found) => ({ ...found, manifest: readManifest(found.path) }))

/** Every library, also those not published. */
export const libraries = packagesIn("packages")

/** The programs. */
export const apps = packagesIn("apps")

export const isPublished = ({ manifest }: Package): boolean => manifest.private !== true

export const readText = (path: string): string => (existsSync(path) ? readFileSync(path, "utf8") : "")
