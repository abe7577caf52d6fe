import { readFileSync } from "node:fs"
import { kinds, normaliseTypeKey, type SqlType } from "@mallard/schema"
import { assert, describe, it } from "vitest"

interface MappedColumn {
  readonly name: string
  readonly type: SqlType
  readonly paths: ReadonlyArray<string>
  readonly context?: ReadonlyArray<string>
  readonly decode?: Readonly<Record<string, string>>
}

interface MappedKind {
  readonly table: string
  readonly id: string
  readonly aliases: ReadonlyArray<string>
  readonly idPaths: ReadonlyArray<string>
  readonly columns: ReadonlyArray<MappedColumn>
  readonly extraColumns?: ReadonlyArray<MappedColumn>
  readonly children?: Readonly<Record<string, string>>
}

const mapping: Readonly<Record<string, MappedKind>> = JSON.parse(
  readFileSync(new URL("../../../../shared/facts/entity-mappings.json", import.meta.url), "utf8")
)

const provenance = new Set(["source_type", "source_system", "skill_used", "generation_seed", "created_at"])

/** What the kinds declare beyond the mapping, and nothing else. */
const added = {
  paths: { "patient.mrn": ["identifier[0].value"] },
  children: {
    patient: {
      encounters: "encounter",
      encounter: "encounter",
      diagnoses: "diagnosis",
      medications: "medication",
      vitals: "vital_sign"
    },
    encounter: { procedure: "procedure" }
  },
  containers: {
    diagnosis: ["discharge.discharge_diagnoses"],
    procedure: ["ed_treatment.procedures", "discharge.procedures_performed"],
    medication: ["ed_treatment.medications_administered", "discharge.discharge_medications"],
    lab_result: ["labs.initial_labs", "labs.troponin_series", "labs.results", "preoperative_workup.labs.results"]
  },
  requires: {
    member: [{ typeKeys: ["coverage", "coverages", "enrollment", "enrollments"], oneOf: ["member_id", "memberId"] }]
  }
}

const of = <A>(record: Readonly<Record<string, A>>, key: string): A | undefined => record[key]

it("declares the mapped kinds in the mapping's order, with codes from 1", () => {
  assert.deepStrictEqual(
    kinds.map(({ code, kind }) => [code, kind]),
    Object.keys(mapping).map((kind, index) => [index + 1, kind])
  )
})

describe.each(Object.entries(mapping))("%s", (name, mapped) => {
  const kind = kinds.find((kind) => kind.kind === name)
  if (kind === undefined) throw new Error(`${name} is not declared`)

  it("has the mapped table and id", () => {
    assert.strictEqual(kind.table, mapped.table)
    assert.strictEqual(kind.idColumn, mapped.id)
    assert.deepStrictEqual(kind.idPaths, mapped.idPaths)
  })

  it("has the mapped type keys", () => {
    assert.deepStrictEqual([...kind.typeKeys].sort(), [...new Set(mapped.aliases.map(normaliseTypeKey))].sort())
  })

  it("has the mapped columns, then those seen in documents, then the provenance, each with its paths in order", () => {
    const columns = [
      ...mapped.columns.filter(({ name }) => !provenance.has(name)),
      ...(mapped.extraColumns ?? []),
      ...mapped.columns.filter(({ name }) => provenance.has(name))
    ]
    assert.deepStrictEqual(
      kind.columns.map(({ name, type, paths, context, decode }) => ({ name, type, paths, context, decode })),
      columns.map(({ name: column, type, paths, context, decode }) => ({
        name: column,
        type,
        paths: [...paths, ...(of(added.paths, `${name}.${column}`) ?? [])],
        context: context ?? [],
        decode
      }))
    )
  })

  it("has the mapped children and the added ones", () => {
    assert.deepStrictEqual(
      kind.children,
      Object.entries({ ...mapped.children, ...of<Readonly<Record<string, string>>>(added.children, name) }).map(
        ([path, child]) => ({ path, kind: child })
      )
    )
  })

  it("has the added containers and requirements", () => {
    assert.deepStrictEqual(kind.containers, of(added.containers, name) ?? [])
    assert.deepStrictEqual(kind.requires, of(added.requires, name) ?? [])
  })
})
