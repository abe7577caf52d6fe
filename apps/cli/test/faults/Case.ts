/** A case of a fault: what there is, what happens, and what must come of it; and how it is carried out. */
import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { canTrace } from "./Calls.ts"
import { checkInvariants, type Expected } from "./Invariants.ts"
import type { Ended } from "./Program.ts"
import { asNobody, treeOf, type World } from "./World.ts"

/** How much is tried: with every change, every night, before a release. */
export type Tier = "pr" | "nightly" | "release"

/** What a machine needs for some faults. */
export type Need = "strace" | "prlimit" | "nobody" | "mkfifo" | "mknod" | "bytes"

export interface FaultCase {
  readonly group: string
  /** Unique within its group. */
  readonly name: string
  readonly needs?: ReadonlyArray<Need> | undefined
  /** Makes the world, the fault included if it is one that lasts. */
  readonly arrange: (world: World) => void | Promise<void>
  /** Runs the program, with the fault. */
  readonly act: (world: World) => Promise<Ended>
  readonly expect: Expected | ((world: World, ended: Ended) => Expected | Promise<Expected>)
}

/** Carries out a case and checks everything that must hold. Throws `Missed` where the fault could not be put. */
export const runCase = async (world: World, { act, arrange, expect }: FaultCase): Promise<void> => {
  await arrange(world)
  world.freeze()
  const before = treeOf(join(world.database, ".."))
  const ended = await act(world)
  const expected = typeof expect === "function" ? await expect(world, ended) : expect
  await checkInvariants(world, ended, expected, before)
}

const works = (command: string, ...args: ReadonlyArray<string>): boolean => spawnSync(command, args).status === 0

const needs: Readonly<Record<Need, readonly [works: () => boolean, why: string]>> = {
  strace: [canTrace, "strace is not there or may not be put on another process"],
  prlimit: [() => works("prlimit", "--fsize=100000000:", "true"), "there is no prlimit"],
  nobody: [
    () => process.getuid?.() !== 0 || works(asNobody[0] ?? "", ...asNobody.slice(1), process.execPath, "--version"),
    "root ignores modes, and there is no setpriv to be another user"
  ],
  mkfifo: [() => works("mkfifo", "--version") || works("which", "mkfifo"), "there is no mkfifo"],
  mknod: [() => process.getuid?.() === 0 && process.platform === "linux", "only root makes devices"],
  bytes: [() => process.platform === "linux", "the file system takes no names that are not UTF-8"]
}

const found = new Map<Need, string | undefined>()

/** Why a case cannot be carried out on this machine; undefined if it can. */
export const missingFor = ({ needs: needed = [] }: Pick<FaultCase, "needs">): string | undefined => {
  for (const need of needed) {
    if (!found.has(need)) found.set(need, needs[need][0]() ? undefined : needs[need][1])
    const missing = found.get(need)
    if (missing !== undefined) return missing
  }
  return undefined
}
