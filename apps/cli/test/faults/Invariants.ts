/**
 * What must hold after every fault, whatever it was. In the order of the checks:
 *
 * - I8: the command ends by itself with the code it should, and its message says what is wrong and what to do.
 * - P8: nothing that it prints holds a value of a document.
 * - I7: nothing is left open.
 * - I4: the sources are as they were: bytes, modes, times, names.
 * - I1, I2: the database opens and verifies (every cohort of the ledger whole, no row beside it), or it did not come to be,
 *   or it was refused and not one byte of it is another.
 * - I3: what was acknowledged is there; and what is there is what an undisturbed run stores.
 * - I5: the same command without the fault leads to what an undisturbed run leads to.
 * - I6: after that, nothing is left beside the database.
 */
import assert from "node:assert/strict"
import { existsSync, readdirSync } from "node:fs"
import { dirname } from "node:path"
import { shellQuoted, withHints } from "../../src/Hints.ts"
import type { Ended } from "./Program.ts"
import type { Inspection } from "./Protocol.ts"
import { SECRET, treeOf, type World } from "./World.ts"

export interface Expected {
  /** The exit code, or those it may be. */
  readonly code: number | ReadonlyArray<number>
  /** What is said on stdout or stderr; commands in it lead to the database. */
  readonly says?: string | RegExp | undefined
  /**
   * What becomes of the database: it opens and verifies or is not there (`sound`, the default), or it is refused and none of
   * its bytes changes (`refused`).
   */
  readonly database?: "sound" | "refused" | undefined
  /** What becomes of sources, by name. */
  readonly outcomes?: Readonly<Record<string, string>> | undefined
  /** Takes away what stays of the fault, and gives the database to go on with if it is another one. */
  readonly heal?: ((world: World) => string | undefined | Promise<string | undefined>) | undefined
  /** How the plain run afterwards ends; 0 if not given. */
  readonly again?: number | undefined
  /** Whether the fault stays: then the first run is the undisturbed one, and the plain run must change nothing. */
  readonly lasts?: boolean | undefined
  /** What the plain run afterwards leads to, if that is not what an undisturbed run leads to. */
  readonly reference?: Inspection | undefined
  /** What may lie beside the database in the end. */
  readonly leaves?: RegExp | undefined
  /** Whether `verify --source` finds every source in the end. */
  readonly isComplete?: boolean | undefined
}

/** Checks the invariants after a command; `database` is the tree of the database's folder before the fault. */
export const checkInvariants = async (
  world: World,
  ended: Ended,
  expected: Expected,
  before: ReturnType<typeof treeOf>
): Promise<void> => {
  const printed = `${ended.stdout}${ended.stderr}`
  checkEnding(world, ended, expected, printed)
  assert.ok(!printed.includes(SECRET), "P8: a value of a document is printed")
  assert.deepEqual(ended.open, [], "I7: files are left open")
  assert.deepEqual(treeOf(world.source), world.frozen, "I4: the sources have changed")
  const undisturbed = expected.lasts === true ? await world.inspected(world.database) : await world.expected()
  if (expected.database === "refused") {
    const after = databaseOf(treeOf(dirname(world.database)))
    assert.deepEqual(after, databaseOf(before), "a refused database changed")
  } else if (existsSync(world.database)) {
    const found = await world.inspected(world.database)
    assertSound(found, "I1, I2: after the fault")
    if (undisturbed._tag === "Opened" && found._tag === "Opened") {
      const known = new Map(undisturbed.cohorts)
      for (const [name, state] of found.cohorts) assert.equal(state, known.get(name), "I3: a cohort is another")
      for (const name of acknowledged(ended)) {
        assert.ok(
          found.cohorts.some(([stored]) => stored === name),
          `I3: ${name} was acknowledged and is not there`
        )
      }
    }
  } else assert.deepEqual(acknowledged(ended), [], "I3: acknowledged, and there is no database")
  const database = (await expected.heal?.(world)) ?? world.database
  const tree = treeOf(world.source)
  const { again, found } = await world.goOn(database, expected.isComplete !== false)
  assert.equal(again.code, expected.again ?? 0, `I5: the plain run afterwards says ${again.stderr}`)
  if (undisturbed._tag !== "Opened" || found._tag !== "Opened") {
    assert.deepEqual(found, undisturbed, "I5: the database does not open")
    return
  }
  const reference = expected.reference ?? undisturbed
  const cohorts = reference._tag === "Opened" ? reference.cohorts : []
  assert.deepEqual(found.cohorts, cohorts, "I5: not what an undisturbed run leads to")
  if ((expected.again ?? 0) === 0) assertSound(found, "I5")
  assert.deepEqual(treeOf(world.source), tree, "I4: the sources have changed by the plain run")
  assert.deepEqual(leftovers(world, expected.leaves), [], "I6: left over")
}

const checkEnding = (world: World, ended: Ended, { code, outcomes, says }: Expected, printed: string): void => {
  assert.equal(ended.signal, null, `I8: the program was ended by ${String(ended.signal)}\n${printed}`)
  const codes = typeof code === "number" ? [code] : code
  assert.ok(
    codes.some((one) => one === ended.code),
    `I8: ends with ${String(ended.code)} and not with ${codes.join(" or ")}\n${printed}`
  )
  if (typeof says === "string") {
    const words = withHints(says, (command) => `mallard ${command} --db ${shellQuoted(world.database)}`)
    assert.ok(printed.includes(words), `I8: it does not say ${words}\n${printed}`)
  } else if (says !== undefined) assert.match(printed, says, "I8: it does not say what it should")
  assert.ok(ended.code === 0 || wayOut.test(printed), `I8: it does not say what to do\n${printed}`)
  assert.ok(!printed.includes("Something went wrong that should not"), `I8: an error without a type\n${printed}`)
  if (outcomes !== undefined) assert.deepEqual(outcomesOf(ended), outcomes, "I8: outcomes")
}

/** What every message has that says what to do next. */
const wayOut =
  /run (?:the same|again|it)|check (?:the|who|its)|change its|free some|keep (?:the|both)|name (?:another|a|files)|give |mend|restore|migrate (?:again|into|first|it)|export|rename|copy its|wait until|resume|mallard [a-z]+|--[a-z-]+|not reached|once more stops at once/i

interface PrintedReport {
  readonly items?: ReadonlyArray<{ readonly path: string; readonly outcome: string; readonly cohort: string | null }>
}

/** The report on stdout; undefined where there is none. */
const reportOf = ({ stdout }: Ended): PrintedReport | undefined => {
  const line = stdout.split("\n").findLast((text) => text.startsWith("{"))
  try {
    return line === undefined ? undefined : JSON.parse(line)
  } catch {
    return undefined
  }
}

/** What became of the sources, by the last step of their paths. */
const outcomesOf = (ended: Ended): Readonly<Record<string, string>> =>
  Object.fromEntries(
    (reportOf(ended)?.items ?? []).map(({ outcome, path }) => [path.split("/").at(-1) ?? path, outcome])
  )

/** Names of cohorts that the report says are stored. */
const acknowledged = (ended: Ended): ReadonlyArray<string> =>
  (reportOf(ended)?.items ?? []).flatMap(({ cohort, outcome }) =>
    cohort !== null && (outcome === "migrated" || outcome === "unchanged") ? [cohort] : []
  )

const assertSound = (found: Inspection, when: string): void => {
  if (found._tag === "Refused") assert.fail(`${when}: the database does not open: ${found.reason}`)
  else assert.deepEqual([found.mismatched, found.findings], [0, []], `${when}: the database does not verify`)
}

/** The database and its log, without what lies beside them. */
const databaseOf = (tree: ReturnType<typeof treeOf>) =>
  [...tree].filter(([name]) => /^\/[^/]+\.duckdb(?:\.wal)?(?:\/|$)/.test(name))

/** What runs make aside, and did not take away. */
const leftovers = (world: World, leaves: RegExp | undefined): ReadonlyArray<string> =>
  readdirSync(world.folder, { recursive: true, encoding: "utf8" })
    .filter((path) => !path.startsWith("source"))
    .filter((path) => /\.tmp-|\.mallard-|\.scratch-|\.wal\b|\.duckdb\.tmp/.test(path))
    .filter((path) => leaves?.test(path) !== true)
