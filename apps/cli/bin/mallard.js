#!/usr/bin/env node
// Starts mallard. It must parse on any Node, however old, so that the user reads what to do instead of a syntax error:
// no syntax newer than ES2015 here, except the dynamic import.
import { existsSync, readFileSync } from "fs"
import * as nodeModule from "module"
import { dirname, join } from "path"
import { fileURLToPath } from "url"

const home = dirname(dirname(fileURLToPath(import.meta.url)))
const source = join(home, "src", "main.ts")
const inRepository = existsSync(source)

const fail = (problem, remedy) => {
  process.stderr.write("mallard: " + problem + "\n" + remedy + "\n")
  process.exit(1)
}

// The repository runs its TypeScript sources as they are; the published program is bundled JavaScript.
const wanted = inRepository ? [22, 18] : [22, 0]
const version = process.versions.node.split(".").map(Number)
if (version[0] < wanted[0] || (version[0] === wanted[0] && version[1] < wanted[1])) {
  fail(
    "Node " + wanted.join(".") + " or newer is needed; this is Node " + process.versions.node + ".",
    inRepository
      ? "Run it through `npx -y pnpm@12 migrate ...` or `npx -y pnpm@12 mallard ...`, which bring their own Node 24."
      : "Install a newer Node and run the same command again."
  )
}

const manifest = JSON.parse(readFileSync(join(home, "package.json"), "utf8"))
const needed = Object.keys(Object.assign({}, manifest.dependencies, inRepository ? manifest.devDependencies : {}))
const folders = nodeModule.createRequire(import.meta.url).resolve.paths("mallard") || []
const missing = needed.filter((name) => !folders.some((folder) => existsSync(join(folder, name))))
if (missing.length > 0) {
  fail(
    "not installed: " + missing.join(", ") + ".",
    inRepository ? "Run `npx -y pnpm@12 install`, then the same command again." : "Install @mallard/cli again."
  )
}

if (typeof nodeModule.enableCompileCache === "function") {
  nodeModule.enableCompileCache()
}
import(inRepository ? "../src/main.ts" : "../dist/main.js")
