import { chmodSync, existsSync, mkdtempSync, rmSync, statfsSync } from "node:fs"
import { join } from "node:path"

/** Where Linux keeps files in memory. */
const MEMORY = "/dev/shm"

/** Far more than all tests that run at a time need. */
const ENOUGH_BYTES = 4_000_000_000

const hasRoom = (): boolean => {
  if (!existsSync(MEMORY)) return false
  const { bavail, bsize } = statfsSync(MEMORY)
  return bavail * bsize >= ENOUGH_BYTES
}

/**
 * Temporary folders in memory where there is room, and `TMPDIR` names no other place: thousands of small databases cost
 * a file system on a disk more than all that the tests do with them.
 */
export default (): (() => void) | undefined => {
  if (process.env["TMPDIR"] !== undefined || !hasRoom()) return
  const folder = mkdtempSync(join(MEMORY, "mallard-tests-"))
  // Programs that run as another user come to their files through it.
  chmodSync(folder, 0o755)
  process.env["TMPDIR"] = folder
  return () => {
    delete process.env["TMPDIR"]
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}
