/**
 * Lets something happen at a chosen moment of a command, when it opens a certain file or says a certain thing; starts one
 * of its processes in another way; and gives it the same random names each time, where that is wanted. Imported before
 * anything that uses any of these.
 */
import childProcess from "node:child_process"
import crypto from "node:crypto"
import fs from "node:fs"
import { syncBuiltinESMExports } from "node:module"
import { dirname, join } from "node:path"
import type { Meanwhile, MeanwhileAction, SourceChange, Surroundings } from "./Protocol.ts"

const STDERR = 2
const { openSync, writeSync } = fs

let waiting: Meanwhile | undefined
let opened = 0

/** Lets it happen once, during the next command. */
export const prepare = (meanwhile: Meanwhile | undefined): void => {
  waiting = meanwhile
  opened = 0
}

const { spawn } = childProcess
let starts: Surroundings["starts"]
let started = 0

/** From here on, one of the processes that are started is started by another command. */
export const setStarts = (by: Surroundings["starts"]): void => {
  starts = by
  started = 0
}

const watchedSpawn = (command: string, args: ReadonlyArray<string>, options: childProcess.SpawnOptions) => {
  const [before, ...more] = ++started === starts?.nth ? [...starts.by, command, ...args] : [command, ...args]
  return spawn(before ?? command, more, options)
}
Object.assign(childProcess, { spawn: watchedSpawn })

const { randomBytes, randomUUID } = crypto
let drawn: number | undefined

/** From here on, random names are the same ones each time, or random again. */
export const setRepeatable = (isRepeatable: boolean): void => {
  drawn = isRepeatable ? 0 : undefined
}

const draw = (digits: number): string => {
  drawn = (drawn ?? 0) + 1
  return drawn.toString(16).padStart(digits, "0")
}

const happen = (does: MeanwhileAction): void => {
  waiting = undefined
  if (does._tag === "Change") return changes[does.change](does.path)
  process.kill(process.pid, does.signal)
  // Later than two signals that count as one.
  if (does.twice === true) setTimeout(() => process.kill(process.pid, does.signal), 150)
}

const changes: Readonly<Record<SourceChange, (path: string) => void>> = {
  append: (path) => fs.appendFileSync(path, " "),
  truncate: (path) => fs.truncateSync(path, 10),
  remove: (path) => fs.rmSync(path),
  replace: (path) => {
    fs.writeFileSync(`${path}.new`, fs.readFileSync(path, "utf8").replace("id", "ID"))
    fs.renameSync(`${path}.new`, path)
  },
  rewrite: (path) => {
    const { atime, mtime } = fs.statSync(path)
    fs.writeFileSync(path, fs.readFileSync(path, "utf8").replace("id", "ID"))
    fs.utimesSync(path, atime, mtime)
  },
  touch: (path) => fs.utimesSync(path, 1, 1),
  folder: (path) => {
    fs.rmSync(path)
    fs.mkdirSync(path)
  },
  link: (path) => {
    fs.rmSync(path)
    fs.symlinkSync("/dev/zero", path)
  },
  fifo: (path) => {
    fs.rmSync(path)
    childProcess.spawnSync("mkfifo", [path])
  },
  "remove-folder": (path) => fs.rmSync(dirname(path), { recursive: true }),
  "add-sibling": (path) => fs.writeFileSync(join(dirname(path), "late.json"), '{"name":"late","patients":[{"id":"l"}]}')
}

fs.openSync = (path, ...rest) => {
  if (waiting !== undefined && "opens" in waiting.at && path === waiting.at.opens && ++opened === waiting.at.nth) {
    happen(waiting.does)
  }
  return openSync(path, ...rest)
}

const text = (data: unknown): string => (data instanceof Uint8Array ? Buffer.from(data).toString("utf8") : String(data))

const watchedWrite = (
  handle: number,
  data: string | NodeJS.ArrayBufferView,
  ...rest: ReadonlyArray<unknown>
): number => {
  const written: unknown = Reflect.apply(writeSync, fs, [handle, data, ...rest])
  if (waiting !== undefined && handle === STDERR && "says" in waiting.at && text(data).includes(waiting.at.says)) {
    happen(waiting.does)
  }
  return Number(written)
}
Object.assign(fs, { writeSync: watchedWrite })
Object.assign(crypto, {
  randomUUID: () => (drawn === undefined ? randomUUID() : `00000000-0000-4000-8000-${draw(12)}`),
  randomBytes: (size: number) => (drawn === undefined ? randomBytes(size) : Buffer.from(draw(size * 2), "hex"))
})

syncBuiltinESMExports()
