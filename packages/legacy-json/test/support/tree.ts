/** Folders with files for one test, removed at its end. */

import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { Effect } from "effect"

/** A new folder, free of links, until the scope closes. */
export const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => realpathSync(mkdtempSync(join(tmpdir(), "legacy-json-")))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

/** A new folder that holds files at these paths; text as it is, other values as JSON. */
export const tree = (files: Readonly<Record<string, unknown>>) =>
  Effect.tap(temporaryFolder, (folder) =>
    Effect.sync(() => {
      for (const [path, content] of Object.entries(files)) {
        mkdirSync(dirname(join(folder, path)), { recursive: true })
        writeFileSync(
          join(folder, path),
          typeof content === "string" || content instanceof Uint8Array ? content : JSON.stringify(content, null, 2)
        )
      }
    })
  )
