// Preloaded into measured processes: writes what the process itself used, once it ends.
import { writeFileSync } from "node:fs"

const file = process.env.MALLARD_BENCH_USAGE
if (file !== undefined) {
  process.on("exit", () => {
    const { maxRSS, systemCPUTime, userCPUTime } = process.resourceUsage()
    writeFileSync(file, JSON.stringify({ cpuSeconds: (userCPUTime + systemCPUTime) / 1e6, peakBytes: maxRSS * 1024 }))
  })
}
