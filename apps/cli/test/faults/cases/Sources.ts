/** Sources that change, vanish or become something else while a run reads them. */
import type { FaultCase, Tier } from "../Case.ts"
import type { SourceChange } from "../Protocol.ts"
import { cohortText } from "../World.ts"

const changes: ReadonlyArray<readonly [change: SourceChange, what: string]> = [
  ["append", "grows"],
  ["truncate", "is cut"],
  ["remove", "vanishes"],
  ["replace", "is replaced by another file"],
  ["rewrite", "is rewritten with the same size and time"],
  ["touch", "gets another time"],
  ["folder", "becomes a folder"],
  ["link", "becomes a link to an endless device"],
  ["fifo", "becomes a FIFO"]
]

const moments = [
  [1, "before it is copied"],
  [2, "between being copied and being read"]
] as const

const files = { "a.json": cohortText("a"), "changing.json": cohortText("changing"), "z.json": cohortText("z") }

/** In the suite, changes take turns. */
const momentsFor = (tier: Tier, at: number) => (tier === "pr" ? moments.slice(at % 2, (at % 2) + 1) : moments)

export const sourceCases = (tier: Tier): ReadonlyArray<FaultCase> => [
  ...changes.flatMap(([change, what], at) =>
    momentsFor(tier, at).map(([nth, when]): FaultCase => ({
      group: "a source that changes",
      name: `${what} ${when}`,
      needs: change === "fifo" ? ["mkfifo"] : [],
      arrange: (world) => world.begin(files),
      act: async (world) => {
        const path = `${world.source}/changing.json`
        const ended = await world.migrateIn({
          meanwhile: { at: { opens: path, nth }, does: { _tag: "Change", path, change } }
        })
        world.freeze()
        return ended
      },
      expect: {
        code: 3,
        says: /"(?:changed|missing|not-regular)"/,
        outcomes: { "a.json": "migrated", "changing.json": "rejected", "z.json": "migrated" },
        again: change === "truncate" ? 3 : 0
      }
    }))
  ),
  ...momentsFor(tier, 0).map(([nth, when]): FaultCase => ({
    group: "a source that changes",
    name: `vanishes with its folder ${when}`,
    arrange: (world) => world.begin({ "a.json": cohortText("a"), "sub/gone.json": cohortText("gone") }),
    act: async (world) => {
      const path = `${world.source}/sub/gone.json`
      const ended = await world.migrateIn({
        meanwhile: { at: { opens: path, nth }, does: { _tag: "Change", path, change: "remove-folder" } }
      })
      world.freeze()
      return ended
    },
    expect: { code: 3, says: '"missing"', outcomes: { "a.json": "migrated", "gone.json": "rejected" } }
  })),
  {
    group: "a source that changes",
    name: "appears after the sources were found, and is for the next run",
    arrange: (world) => world.begin(files),
    act: async (world) => {
      const path = `${world.source}/a.json`
      const ended = await world.migrateIn({
        meanwhile: { at: { opens: path, nth: 1 }, does: { _tag: "Change", path, change: "add-sibling" } }
      })
      world.freeze()
      return ended
    },
    expect: { code: 0, outcomes: { "a.json": "migrated", "changing.json": "migrated", "z.json": "migrated" } }
  }
]
