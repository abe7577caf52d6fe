/** Ways to hold a process to an amount of memory, the strictest that this machine allows. */
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type RunOptions } from "./Runner.ts"

export interface Limit {
  /** How it is enforced, in words. */
  readonly how: string
  readonly options: Pick<RunOptions, "wrapper" | "limitBytes">
  readonly release: () => void
}

/**
 * A control group of the kernel if one can be made: no process in it can ever have more. Otherwise the process is watched
 * and ended once it is seen with more, forty times a second. An address space limit would not do: the engine of Node
 * reserves many times what it uses.
 */
export const limitOf = (bytes: number): Limit => bySystemd(bytes) ?? byControlGroup(bytes) ?? byWatching(bytes)

export const byWatching = (bytes: number): Limit => ({
  how: "watched 40 times a second and ended when above",
  options: { limitBytes: bytes },
  release: () => {}
})

const bySystemd = (bytes: number): Limit | undefined => {
  if (!existsSync("/run/systemd/system")) return undefined
  const user = process.getuid?.() === 0 ? [] : ["--user"]
  const limits = ["-p", `MemoryMax=${bytes}`, "-p", "MemorySwapMax=0"]
  const wrapper = ["systemd-run", ...user, "--scope", "--quiet", ...limits]
  const { status } = spawnSync(wrapper[0] ?? "", [...wrapper.slice(1), "true"])
  return status === 0
    ? { how: "a control group made by systemd-run", options: { wrapper }, release: () => {} }
    : undefined
}

const byControlGroup = (bytes: number): Limit | undefined => {
  const version2 = existsSync("/sys/fs/cgroup/cgroup.controllers")
  const parent = version2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory"
  const group = join(parent, `mallard-bench-${process.pid}`)
  const release = (): void => {
    try {
      rmdirSync(group)
    } catch {
      // It was never made, or a process is still leaving it: an empty group costs nothing.
    }
  }
  try {
    if (!existsSync(parent)) return undefined
    mkdirSync(group)
    writeFileSync(join(group, version2 ? "memory.max" : "memory.limit_in_bytes"), String(bytes))
    const wrapper = ["sh", "-c", `echo $$ > ${join(group, "cgroup.procs")} && exec "$@"`, "sh"]
    const { status } = spawnSync("sh", [...wrapper.slice(1), "true"])
    if (status === 0) return { how: `a control group (version ${version2 ? 2 : 1})`, options: { wrapper }, release }
  } catch {
    // Not ours to make, or no memory controller: another way is left.
  }
  release()
  return undefined
}
