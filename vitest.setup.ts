import { addEqualityTesters } from "@effect/vitest"
import { enableCompileCache } from "node:module"
import { join } from "node:path"

addEqualityTesters()

// Programs that tests start from the sources begin in half the time where Node remembers what it compiled.
const { directory } = enableCompileCache(join(import.meta.dirname, "node_modules", ".cache", "mallard", "compiled"))
if (directory !== undefined) process.env["NODE_COMPILE_CACHE"] = directory

declare module "vitest" {
  interface ProvidedContext {
    /**
     * The folder `../shared` of facts and cases beside the project; undefined where there is none. A test that reads it
     * begins so: `const shared = inject("shared")`, `it.skipIf(shared === undefined)(…)`.
     */
    readonly shared: string | undefined
  }
}
