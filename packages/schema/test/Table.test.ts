import { createTableSql, JSON_KIND, kindByName, kinds } from "@mallard/schema"
import { assert, describe, it } from "vitest"

describe("the table of a kind", () => {
  it("has the entity's id, digest and shape, the columns in order, and what no column holds", () => {
    assert.strictEqual(
      createTableSql(kindByName("accumulator")),
      `CREATE TABLE mallard.accumulators (
  entity_id BIGINT NOT NULL,
  digest UUID NOT NULL,
  shape_id INTEGER NOT NULL,
  "id" VARCHAR,
  "member_id" VARCHAR,
  "plan_code" VARCHAR,
  "plan_year" INTEGER,
  "accumulator_type" VARCHAR,
  "individual_applied" DECIMAL(12,2),
  "individual_limit" DECIMAL(12,2),
  "family_applied" DECIMAL(12,2),
  "family_limit" DECIMAL(12,2),
  "as_of_date" DATE,
  "source_type" VARCHAR,
  "source_system" VARCHAR,
  "skill_used" VARCHAR,
  "generation_seed" BIGINT,
  "created_at" TIMESTAMP,
  extra VARCHAR
)`
    )
  })

  it("of elements of no kind has the text alone", () => {
    assert.strictEqual(
      createTableSql(JSON_KIND),
      `CREATE TABLE mallard.json_values (
  entity_id BIGINT NOT NULL,
  digest UUID NOT NULL,
  extra VARCHAR NOT NULL
)`
    )
  })

  it("has no column twice, none of the names that every table has, and no decimal that outgrows 64 bits", () => {
    for (const { kind, columns } of kinds) {
      const names = ["entity_id", "digest", "shape_id", "extra", ...columns.map(({ name }) => name)]
      assert.strictEqual(new Set(names).size, names.length, kind)
      for (const { name, type } of columns) {
        assert.match(name, /^[a-z][a-z0-9_]*$/, kind)
        const [, precision, scale] = /^DECIMAL\((\d+),(\d+)\)$/.exec(type) ?? []
        if (precision !== undefined) assert.isTrue(Number(precision) <= 18 && Number(scale) <= Number(precision))
      }
    }
  })
})
