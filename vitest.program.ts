import type { TestProject } from "vitest/node"
import { bundleProgram } from "./tools/lib/bundle.ts"

declare module "vitest" {
  interface ProvidedContext {
    /** The folder of the program as users install it, bundled from the sources when the tests begin. */
    readonly bundle: string
  }
}

/** For projects whose tests start the program. */
export default async (project: TestProject): Promise<void> => project.provide("bundle", await bundleProgram())
