import { availableParallelism } from "node:os"
import { existsSync, readdirSync, realpathSync } from "node:fs"
import { basename, join } from "node:path"
import { defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"

const here = import.meta.dirname
const folders = ["packages", "apps"].flatMap((parent) =>
  readdirSync(join(here, parent)).map((name) => join(parent, name))
)
const roots = [...folders, "tools"]
  .map((folder) => join(here, folder))
  .filter((root) => existsSync(join(root, "package.json")))
/** Whose tests start the program `mallard`. */
const startsProgram = new Set(["apps/cli", "apps/mcp"].map((folder) => join(here, folder)))
const shared = join(here, "..", "shared")

/** Files that take the better part of a minute or more, the longest first. */
const longest = [
  "crash",
  "Faults",
  "Cli",
  "roundtrip-mutations",
  "verify",
  "FaultsOfFiles",
  "CohortModel",
  "roundtrip",
  "Doctor",
  "FaultsOfCalls"
]

const rank = ({ moduleId }: TestSpecification): number => {
  const at = longest.indexOf(basename(moduleId, ".test.ts"))
  return at < 0 ? longest.length : at
}

/** Begins with what takes longest, so that nothing of that goes on alone when all else has ended. */
class LongestFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    return (await super.sort(files)).toSorted((left, right) => rank(left) - rank(right))
  }
}

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    // Most tests wait for the disk or for child processes: one worker more than there are processors keeps both busy.
    maxWorkers: availableParallelism() + 1,
    include: ["test/**/*.test.ts"],
    // `tools/test.ts` fails for a package without tests; here a package may be run before it has any.
    passWithNoTests: true,
    setupFiles: [join(here, "vitest.setup.ts")],
    // Once for all projects.
    globalSetup: [join(here, "vitest.folder.ts")],
    // Real databases on a machine of two cores, which may be busy with other things: a bound for what hangs, not for what is slow.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    provide: { shared: existsSync(shared) ? realpathSync(shared) : undefined },
    projects: roots.map((root) => ({
      extends: true as const,
      root,
      test: {
        name: basename(root),
        // Files of the same project share processes, and so the modules they load and what is compiled of them.
        isolate: false,
        globalSetup: startsProgram.has(root) ? [join(here, "vitest.program.ts")] : []
      }
    }))
  }
})
