/**
 * Bundles the program into `dist`, or the folder given: few files start several times faster than its hundreds of modules.
 */
import { rm } from "node:fs/promises"
import { join, resolve } from "node:path"
import { type Plugin, rolldown } from "rolldown"

const here = import.meta.dirname
const dist = resolve(process.argv[2] ?? join(here, "dist"))
const SERVER = "@mallard/mcp"

const SEGMENTER = /new Intl\.Segmenter\(undefined, \{\s*granularity: "grapheme"\s*\}\)/

/**
 * Effect's help makes a segmenter of texts as soon as it is loaded, for which Node reads its tables of Unicode: a sixth of
 * the time in which the program starts, whatever it then does. Here it is made for the first text that is not ASCII.
 */
const lateSegmenter = (): Plugin => {
  let isPut = false
  return {
    name: "late-segmenter",
    transform: {
      filter: { id: /[\\/]effect[\\/]dist[\\/]cli[\\/]CliOutput\.js$/ },
      handler(code) {
        isPut = SEGMENTER.test(code)
        const late = `{
  made: undefined,
  segment(text) {
    if (/^[ -~]*$/.test(text)) return Array.from(text, (segment) => ({ segment }))
    return (this.made ??= $&).segment(text)
  }
}`
        return { code: code.replace(SEGMENTER, late), map: null }
      }
    },
    buildEnd() {
      if (!isPut)
        this.error("effect/cli measures texts in another way: see whether it still starts slowly because of that")
    }
  }
}

const build = async (
  input: Readonly<Record<string, string>>,
  apart: ReadonlyArray<string>,
  plugins: ReadonlyArray<Plugin> = []
) => {
  const bundle = await rolldown({
    input: { ...input },
    cwd: here,
    plugins: [...plugins],
    platform: "node",
    // Native code cannot be bundled; its package is a direct dependency of the published program.
    external: ["@duckdb/node-bindings", /^node:/, ...apart],
    onLog: (level, log, report) => (level === "warn" ? report("error", log) : report(level, log))
  })
  await bundle.write({
    dir: dist,
    format: "esm",
    sourcemap: true,
    entryFileNames: "[name].js",
    chunkFileNames: "[name]-[hash].js",
    paths: { [SERVER]: "./mcp.js" }
  })
  await bundle.close()
}

await rm(dist, { recursive: true, force: true })
await build(
  {
    main: join(here, "src", "main.ts"),
    // A query runs in a process of its own; its program is looked for beside the one that starts it.
    "internal/query-child": join(here, "../../packages/duckdb-store/src/internal/query-child.ts"),
    // So do the threads that read sources,
    "internal/read-thread": join(here, "../../packages/legacy-json/src/internal/read-thread.ts"),
    // the one that writes exports,
    "internal/layout-thread": join(here, "src", "internal", "layout-thread.ts"),
    // and what looks at a damaged database.
    "internal/doctor-child": join(here, "../../packages/duckdb-store/src/internal/doctor-child.ts")
  },
  [SERVER],
  [lateSegmenter()]
)
// Apart: in one bundle, what only the server needs would be read at every start of the program.
await build({ mcp: join(here, "../mcp/src/index.ts") }, [])
