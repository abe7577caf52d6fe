/**
 * Type-checks everything with Effect's own diagnostics as errors, and proves first that those are on: without them a
 * floating Effect, a statement that does nothing, would pass unnoticed.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { cacheFolder, root, run, runOrThrow } from "./lib/run.ts"

// An installation that skips scripts leaves the plain compiler behind; patching again does nothing.
await runOrThrow("effect-tsgo", ["patch"])

/** Faults that TypeScript alone accepts, by the rule that must report each. */
const faults = {
  floatingEffect: `Effect.log("never run")`,
  missingReturnYieldStar: `export const fault = Effect.gen(function* () { yield* Effect.fail("ends here") })`,
  tryCatchInEffectGen: `export const fault = Effect.gen(function* () { try { yield* Effect.void } catch {} })`,
  effectFnIife: `export const fault = Effect.fn("f")(function* () { yield* Effect.void })()`
}

const folder = join(cacheFolder, "types")
mkdirSync(folder, { recursive: true })
for (const [rule, fault] of Object.entries(faults)) {
  writeFileSync(join(folder, `${rule}.ts`), `import { Effect } from "effect"\n${fault}\n`)
}
writeFileSync(
  join(folder, "tsconfig.json"),
  JSON.stringify({
    extends: join(root, "tsconfig.base.json"),
    files: Object.keys(faults).map((rule) => `${rule}.ts`),
    compilerOptions: { rootDir: ".", types: [] }
  })
)
const probe = await run("tsc", ["-p", folder, "--noEmit"])
for (const rule of Object.keys(faults)) {
  if (probe.exitCode === 0 || !probe.output.includes(`effect(${rule})`)) {
    throw new Error(`the type checker does not report ${rule}:\n${probe.output}`)
  }
}

const outcome = await run("tsc", ["-b"])
console.log(outcome.output)
console.log(`${Object.keys(faults).length} planted faults found`)
process.exitCode = outcome.exitCode
