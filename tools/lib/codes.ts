/** The codes that reports and errors carry, read from the sources that raise them. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "./run.ts"

/** Where codes come from that users see; the driver's own are translated by the store. */
const folders = [
  ...["entity-serializers", "legacy-json", "duckdb-store", "migrator"].map((name) => join("packages", name)),
  join("apps", "cli")
].map((folder) => join(root, folder, "src"))

const declarations = [
  // type IgnoredReason = | "a" | "b", readonly code: "a" | "b"
  /(?:type \w+(?:Code|Reason) =|readonly code:)((?:\s*\|?\s*(?:"[a-z0-9-]+"|[A-Z]\w+))+)/g,
  // const StoreReason = Schema.Literals(["a", "b"]), { reason: Schema.Literals(["a", "b"]) }
  /(?:Reason = |\breason: )Schema\.Literals\(\[([^\]]*)\]/g,
  // plainRemark("a", …), { code: "a", … }
  /(?:plainRemark\(\s*|\bcode: )("[a-z0-9-]+")/g
]

/** The codes in a source text, in order of appearance. */
export const codesIn = (source: string): ReadonlySet<string> =>
  new Set(
    declarations.flatMap((declaration) =>
      [...source.matchAll(declaration)].flatMap(([, list = ""]) =>
        [...list.matchAll(/"([a-z0-9-]+)"/g)].map(([, code = ""]) => code)
      )
    )
  )

/** The codes of all packages. */
export const allCodes = (): ReadonlySet<string> =>
  new Set(
    folders.flatMap((folder) =>
      readdirSync(folder, { recursive: true, encoding: "utf8" })
        // Objects of programs have errors of their own, which no report carries.
        .filter((name) => name.endsWith(".ts") && name !== "Objects.ts")
        .flatMap((name) => [...codesIn(readFileSync(join(folder, name), "utf8"))])
    )
  )

/** The codes that a page explains: those in the first column of its tables. */
export const codesExplained = (page: string): ReadonlySet<string> =>
  new Set([...page.matchAll(/^\| `([a-z0-9-]+)` \|/gm)].map(([, code = ""]) => code))
