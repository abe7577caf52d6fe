import { addEqualityTesters } from "@effect/vitest"

addEqualityTesters()

declare module "vitest" {
  interface ProvidedContext {
    /**
     * The folder `../shared` of facts and cases beside the project; undefined where there is none. A test that reads it
     * begins so: `const shared = inject("shared")`, `it.skipIf(shared === undefined)(…)`.
     */
    readonly shared: string | undefined
  }
}
