/**
 * Every call by which a command writes, made to fail: in making a database, in adding to one, in restoring copies, in
 * exporting, in undoing and in rebuilding.
 */
import assert from "node:assert/strict"
import { existsSync } from "node:fs"
import { type Call, type CallError, callErrors, type CallFault, type Profile, type Thread, traced } from "../Calls.ts"
import type { FaultCase } from "../Case.ts"
import type { Expected } from "../Invariants.ts"
import { Missed } from "../Missed.ts"
import type { Inspection } from "../Protocol.ts"
import { numberOf } from "../Random.ts"
import { cohortText, treeOf, type World } from "../World.ts"

/** A command that writes. */
interface Operation {
  readonly name: string
  readonly begin: (world: World) => void | Promise<void>
  readonly args: (world: World) => ReadonlyArray<string>
  /** What must hold after the fault, and once the command has done all of its work. */
  readonly check: (world: World, isComplete: boolean) => Promise<void>
  readonly expect?: Partial<Expected>
  /** What the plain migration afterwards leads to, where that is something else than without this command. */
  readonly reference?: (world: World) => Promise<Inspection>
}

/** The files of a folder are among the sources, none is half written, and all are there once it is done. */
const checkCopies = (folder: string, world: World, isComplete: boolean): void => {
  const contents = (where: string): ReadonlyArray<string> =>
    [...treeOf(where)]
      .filter(([name, { type }]) => type === "file" && !/\/\.[^/]*$/.test(name))
      .map(([, file]) => file.content)
  const there = contents(folder)
  const originals = contents(world.source)
  for (const content of there) assert.ok(originals.includes(content), "a file is not as its source")
  if (isComplete) assert.equal(new Set(there).size, new Set(originals).size, "files are missing")
}

const checkStored = async (world: World, isComplete: boolean): Promise<void> => {
  if (isComplete) assert.deepEqual(await world.program.inspect(world.database), await world.expected())
}

const out = (world: World): string => world.path("out")

/** What a database holds once the first migration is undone. */
const undone: Inspection = { _tag: "Opened", cohorts: [], mismatched: 0, findings: [] }

/** What there is after undoing and migrating again; the same for all. */
let afterUndoing: Inspection | undefined

const rollBack = (world: World): ReadonlyArray<string> => ["rollback", world.firstRun, "--db", world.database, "--json"]

const rebuilt = (world: World): string => world.path("rebuilt", "rebuilt.duckdb")

const operations: ReadonlyArray<Operation> = [
  {
    name: "making a database",
    begin: (world) => world.begin(),
    args: (world) => world.migration,
    check: checkStored
  },
  {
    name: "adding to a database",
    begin: async (world) => {
      await world.beginMigrated()
      world.write({ "c.json": cohortText("c"), "a.json": cohortText("a") })
    },
    args: (world) => world.migration,
    check: checkStored
  },
  {
    name: "restoring copies",
    begin: (world) => world.beginMigrated(),
    args: (world) => ["backup", "restore", "--db", world.database, "--out", out(world), "--json"],
    check: async (world, isComplete) => {
      checkCopies(out(world), world, false)
      if (!isComplete) return
      const { code } = await world.run("backup", "restore", "--db", world.database, "--out", out(world), "--json")
      assert.equal(code, 0)
      checkCopies(out(world), world, true)
    }
  },
  {
    name: "exporting",
    begin: (world) => world.beginMigrated(),
    args: (world) => ["export", "--all", "--compact", "--db", world.database, "--out", out(world)],
    check: async (world, isComplete) => checkCopies(out(world), world, isComplete)
  },
  {
    name: "undoing a run",
    begin: (world) => world.beginMigrated(),
    args: rollBack,
    check: async (world, isComplete) => {
      const found = await world.program.inspect(world.database)
      const before = await world.expected()
      const states = isComplete ? [undone] : [undone, before]
      assert.ok(
        states.some((state) => JSON.stringify(state) === JSON.stringify(found)),
        `half undone: ${JSON.stringify(found)}`
      )
    },
    reference: async (world) => {
      if (afterUndoing !== undefined) return afterUndoing
      await world.beginMigrated()
      await world.run(...rollBack(world))
      await world.migrate()
      afterUndoing = await world.program.inspect(world.database)
      return afterUndoing
    },
    expect: {
      heal: async (world) => {
        const { code, stderr } = await world.run(...rollBack(world))
        assert.ok(code === 0 || code === 3, `undoing once more ends with ${String(code)}: ${stderr}`)
        return undefined
      }
    }
  },
  {
    name: "rebuilding",
    begin: (world) => world.beginMigrated(),
    args: (world) => ["doctor", "--db", world.database, "--rebuild", rebuilt(world), "--json"],
    check: async (world, isComplete) => {
      if (!existsSync(rebuilt(world))) return assert.ok(!isComplete, "there is no rebuilt database")
      const { findings, ...found } = { findings: [], ...(await world.program.inspect(rebuilt(world))) }
      assert.deepEqual({ findings, ...found }, await world.expected())
    }
  }
]

/** What each operation calls where nothing fails, by process. */
const profiles = new Map<string, Profile>()

const profileOf = async (world: World, operation: Operation): Promise<Profile> => {
  const key = `${world.program.pid} ${operation.name}`
  const known = profiles.get(key)
  if (known !== undefined) return known
  await operation.begin(world)
  // The first time, modules are loaded.
  await world.repeat(operation.args(world))
  await operation.begin(world)
  const { result, ...profile } = await traced(world, operation.args(world))
  assert.equal(result.code, 0, `${operation.name} fails without a fault: ${result.stderr}`)
  profiles.set(key, profile)
  return profile
}

/** A case that makes one call fail; `choose` names it among those that the operation makes. */
const callCase = (
  operation: Operation,
  name: string,
  error: CallError,
  isForever: boolean,
  choose: (calls: ReadonlyArray<Call>) => Call | undefined
): FaultCase => {
  let hit = ""
  let reference: Inspection | undefined
  return {
    group: `a call that fails in ${operation.name}`,
    name,
    needs: ["strace"],
    arrange: operation.begin,
    act: async (world) => {
      const { alone, calls: made } = await profileOf(world, operation)
      const at = choose(made)
      if (at === undefined) throw new Missed("this machine makes no such call")
      reference = await operation.reference?.(world)
      await operation.begin(world)
      world.freeze()
      const fault: CallFault = { at, error, forever: isForever, alone }
      const { calls, result } = await traced(world, operation.args(world), fault)
      hit = at.call
      const injected = calls.filter(({ isInjected }) => isInjected)
      if (injected.length === 0) throw new Missed("the call was not made")
      if (injected.some(({ path }) => path.startsWith("outside"))) throw new Missed("another file was hit")
      return result
    },
    expect: async (world, ended) => {
      const isHarmless = ended.code === 0
      await operation.check(world, isHarmless)
      const isRemoval = /unlink|rmdir/.test(hit)
      return {
        code: [0, 1, 3],
        ...operation.expect,
        reference,
        // What cannot be removed stays.
        leaves: isRemoval || isForever ? /\.tmp|\.mallard-|\.scratch-|\.wal$/ : undefined
      }
    }
  }
}

const shareNames = ["first", "middle", "last"] as const

const pick = (calls: ReadonlyArray<Call>, thread: Thread, call: string, share: number): Call | undefined => {
  const fitting = calls.filter((one) => one.thread === thread && one.call === call)
  return fitting[Math.floor((fitting.length - 1) * share)]
}

/** The calls of each operation that matter, as they are made by Linux. */
const chosen: Readonly<Record<string, ReadonlyArray<readonly [thread: Thread, call: string]>>> = {
  "making a database": [
    ["other", "openat"],
    ["other", "pwrite64"],
    ["other", "fsync"],
    ["other", "write"],
    ["main", "openat"],
    ["main", "mkdir"],
    ["main", "write"],
    ["main", "pwrite64"],
    ["main", "fsync"],
    ["main", "link"],
    ["main", "rename"],
    ["main", "unlink"]
  ],
  "adding to a database": [
    ["other", "openat"],
    ["other", "pwrite64"],
    ["other", "fsync"],
    ["other", "write"],
    ["other", "unlink"]
  ],
  "restoring copies": [
    ["main", "write"],
    ["main", "fsync"],
    ["main", "link"],
    ["main", "chmod"]
  ],
  exporting: [
    ["other", "write"],
    ["other", "fsync"],
    ["main", "rename"],
    ["main", "openat"]
  ],
  "undoing a run": [
    ["other", "write"],
    ["other", "pwrite64"],
    ["other", "fsync"]
  ],
  rebuilding: []
}

/** A few calls of each sort, with each error in turn. Whoever is interrupted tries again, so that is never for ever. */
export const someCallCases: ReadonlyArray<FaultCase> = operations.flatMap((operation) => {
  let at = 0
  return (chosen[operation.name] ?? []).flatMap(([thread, call]) => {
    const shares = thread === "other" && operation.name === "making a database" ? [0, 1] : [at % 2]
    return shares.map((share) => {
      const error = callErrors[at++ % callErrors.length] ?? "EIO"
      const which = shareNames[share * 2] ?? ""
      return callCase(
        operation,
        `${which} ${call} of the ${thread} threads, ${error}`,
        error,
        at % 4 === 0 && error !== "EINTR",
        (calls) => pick(calls, thread, call, share)
      )
    })
  })
})

/** Its name says which call of which thread it is, in every process the same. */
const nameOf = ({ call, number, process, thread }: Call): string =>
  `${call} number ${number} of the ${thread} threads${process === 0 ? "" : ` of process ${process} that it starts`}`

/** Every error alone; one that a full or broken disk gives also with all calls after it. */
const failures = callErrors.flatMap((error) =>
  (error === "ENOSPC" || error === "EIO" ? [false, true] : [false]).map((isForever) => ({ error, isForever }))
)

/** One of the failures: which, is drawn from the seed and the call alone, so that all processes draw the same. */
const drawFailure = (seed: number, call: string) => {
  const at = numberOf(`${seed} ${call}`, failures.length)
  return failures.slice(at, at + 1)
}

/** Every call of every operation, each with every failure, or, with a seed, with one drawn from it. */
export const allCallCases = async (world: World, seed: number | undefined): Promise<ReadonlyArray<FaultCase>> => {
  const cases: Array<FaultCase> = []
  for (const operation of operations) {
    for (const at of (await profileOf(world, operation)).calls) {
      const call = nameOf(at)
      const put = seed === undefined ? failures : drawFailure(seed, `${operation.name}: ${call}`)
      for (const { error, isForever } of put) {
        const name = `${call}${isForever ? " and all after it" : ""}, ${error}`
        // Another process, after one that ended, has other names and counts anew.
        cases.push(callCase(operation, name, error, isForever, (calls) => calls.find((one) => nameOf(one) === call)))
      }
    }
  }
  return cases
}
