/**
 * Bundles the program into `dist`, or the folder given: few files start several times faster than its hundreds of modules.
 */
import { rm } from "node:fs/promises"
import { join, resolve } from "node:path"
import { rolldown } from "rolldown"

const here = import.meta.dirname
const dist = resolve(process.argv[2] ?? join(here, "dist"))

await rm(dist, { recursive: true, force: true })
const bundle = await rolldown({
  input: {
    main: join(here, "src", "main.ts"),
    // A query runs in a process of its own; its program is looked for beside the one that starts it.
    "internal/query-child": join(here, "../../packages/duckdb-store/src/internal/query-child.ts")
  },
  cwd: here,
  platform: "node",
  // Native code cannot be bundled; the packages are direct dependencies of the published program.
  external: [/^@duckdb\//, /^node:/],
  onLog: (level, log, report) => (level === "warn" ? report("error", log) : report(level, log))
})
await bundle.write({
  dir: dist,
  format: "esm",
  sourcemap: true,
  entryFileNames: "[name].js",
  chunkFileNames: "[name]-[hash].js"
})
await bundle.close()
