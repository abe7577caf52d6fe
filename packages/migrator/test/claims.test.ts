import { assert, describe, it } from "@effect/vitest"
import type { ConflictRule } from "@mallard/migrator"
import * as fc from "fast-check"
import { decide, type StoredHead } from "../src/Decision.ts"
import { type Claimant, Claims } from "../src/internal/Claims.ts"
import { verdictOf } from "../src/internal/verdict.ts"

interface Document {
  readonly name: string
  readonly digest: string
}

interface World {
  readonly documents: ReadonlyArray<Document>
  /** Digests of what is stored, by name. */
  readonly stored: Readonly<Record<string, string>>
  readonly onConflict: ConflictRule
}

const headOf = ({ stored }: World, name: string): StoredHead | undefined => {
  const digest = stored[name]
  return digest === undefined
    ? undefined
    : { cohortId: name, revisionId: 1, seq: 1, digest, contentId: 1, deleted: false }
}

/** Reads a document and notes what it claims, as a run does. */
const read = (world: World, claims: Claims, number: number): string => {
  const { digest, name } = world.documents[number]!
  const path = `/${number}.json`
  const decision = decide({
    name,
    digest,
    rule: world.onConflict,
    head: (other) => headOf(world, other),
    claimed: (other) => claims.claimed(other, digest)
  })
  const { claimed, report } = verdictOf({
    source: { kind: "file", path, name, files: [] },
    parts: [],
    described: {
      name,
      digest,
      format: "V1",
      sourceSha256: digest,
      entities: {},
      remarks: [],
      remarkCount: 0,
      parts: [],
      description: undefined,
      tags: [],
      product: undefined,
      legacyId: undefined,
      createdAt: undefined,
      updatedAt: undefined
    },
    decision,
    planned: undefined,
    isStrict: false
  })
  if (claimed !== undefined) {
    claims.add(claimed, { number, path, digest, outcome: report.outcome, revisionId: undefined })
  }
  return `${report.outcome} ${report.cohort ?? ""}`
}

/**
 * What becomes of each document. Commits of batches with a number in `failing` fail once, after the next document has been
 * read already; then the batch is done again one by one.
 */
const outcomesOf = (world: World, batchSizes: ReadonlyArray<number>, failing: ReadonlySet<number>) => {
  const claims = new Claims()
  let outcomes: Array<string> = []
  const takeBack = (): void => {
    for (const disowned of claims.disowned) {
      outcomes[disowned.claimant.number] = `rejected ${disowned.name}`
      claims.takeBack(disowned)
    }
  }
  const batch = (first: number, end: number): number => {
    for (let times = 0; times <= world.documents.length; times++) {
      const mark = claims.begin()
      const own = world.documents.slice(first, end).map((_, at) => read(world, claims, first + at))
      if (!claims.mustRepeat) {
        takeBack()
        own.forEach((outcome, at) => (outcomes[first + at] = outcome))
        return mark
      }
      claims.rollback(mark)
    }
    return assert.fail("the batch is read again without end")
  }
  for (let first = 0, number = 0; first < world.documents.length; number++) {
    const end = Math.min(first + (batchSizes[number] ?? 1), world.documents.length)
    const before = [...outcomes]
    const mark = batch(first, end)
    if (failing.has(number)) {
      claims.begin()
      if (end < world.documents.length) read(world, claims, end)
      claims.rollback(mark)
      outcomes = before
      for (let at = first; at < end; at++) batch(at, at + 1)
    }
    first = end
  }
  takeBack()
  return outcomes
}

const nameOf = fc.constantFrom("n", "n-2", "n-3", "m")
const digestOf = fc.constantFrom("a", "b", "c")
const worlds: fc.Arbitrary<World> = fc.record({
  documents: fc.array(fc.record({ name: nameOf, digest: digestOf }), { minLength: 1, maxLength: 8 }),
  stored: fc.dictionary(nameOf, digestOf, { maxKeys: 3 }),
  onConflict: fc.constantFrom("fail", "skip", "replace", "rename")
})

const claimant = (number: number, digest: string, changes: Partial<Claimant> = {}): Claimant => ({
  number,
  digest,
  path: `/${number}.json`,
  outcome: "migrated",
  revisionId: number,
  ...changes
})

describe("claims", () => {
  it("come to the same however sources fall into batches and whichever commits fail", () => {
    fc.assert(
      fc.property(
        worlds,
        fc.array(fc.integer({ min: 1, max: 8 }), { maxLength: 8 }),
        fc.uniqueArray(fc.nat({ max: 7 })),
        (world, batchSizes, failing) => {
          assert.deepStrictEqual(outcomesOf(world, batchSizes, new Set(failing)), outcomesOf(world, [], new Set()))
        }
      ),
      { numRuns: 3000, seed: 20_261_121 }
    )
  })

  it("come to the same in any order of the sources", () => {
    // Of several of the same content one counts: which one, the order may tell.
    const lines = (world: World): ReadonlyArray<string> =>
      outcomesOf(world, [2, 3], new Set())
        .map((outcome, at) => {
          const { digest, name } = world.documents[at]!
          return `${name} ${digest} ${outcome.replace(/^(migrated|skipped)/, "taken")}`
        })
        .sort()
    const shuffled = worlds.chain((world) =>
      fc.record({
        world: fc.constant(world),
        documents: fc.shuffledSubarray([...world.documents], { minLength: world.documents.length })
      })
    )
    fc.assert(
      fc.property(shuffled, ({ documents, world }) => {
        assert.deepStrictEqual(lines({ ...world, documents }), lines(world))
      }),
      { numRuns: 3000, seed: 20_261_122 }
    )
  })

  it("for different content are all turned down, those for the same content count once", () => {
    const emptyWorlds = worlds.map((world) => ({ ...world, stored: {} }))
    fc.assert(
      fc.property(emptyWorlds, fc.array(fc.integer({ min: 1, max: 8 }), { maxLength: 8 }), (world, batchSizes) => {
        const { documents } = world
        const expected = documents.map(({ digest, name }, number) => {
          const others = documents.filter((other) => other.name === name)
          if (others.some((other) => other.digest !== digest)) return `rejected ${name}`
          return `${others[0] === documents[number] ? "migrated" : "skipped"} ${name}`
        })
        assert.deepStrictEqual(outcomesOf(world, batchSizes, new Set()), expected)
      }),
      { numRuns: 1000, seed: 20_261_121 }
    )
  })

  it("of an earlier batch are disowned, those of the current one are read again, and found content keeps what it has", () => {
    const claims = new Claims()
    claims.begin()
    claims.add("n", claimant(0, "a"))
    claims.add("n", claimant(1, "a", { outcome: "unchanged", revisionId: undefined }))
    const mark = claims.begin()
    claims.add("m", claimant(2, "a"))
    claims.add("n", claimant(3, "b", { outcome: "rejected", revisionId: undefined }))
    assert.isFalse(claims.mustRepeat)
    assert.deepStrictEqual(
      claims.disowned.map((one) => [one.name, one.claimant.number]),
      [["n", 0]]
    )
    claims.disowned.forEach((disowned) => claims.takeBack(disowned))
    assert.deepStrictEqual(claims.disowned, [])
    assert.deepStrictEqual(claims.rivals("n", "/0.json"), { first: ["/1.json", "/3.json"], more: 0 })
    // What is forgotten with a batch that was not committed, and what is not.
    claims.rollback(mark)
    assert.strictEqual(claims.claimed("m", "b"), "nobody")
    assert.isTrue(claims.isContested("n"))
    assert.lengthOf(claims.disowned, 1)
    claims.begin()
    claims.add("n", claimant(4, "a"))
    assert.isTrue(claims.mustRepeat)
  })
})
