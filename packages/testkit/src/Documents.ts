/**
 * Legacy documents of every variant, messy on purpose: all that is known of real files, and what a programmer would
 * rather not think of. A document is one file, or a directory whose files belong together.
 */

import { kindByName, kindOfTypeKey, kinds, parsePath, type EntityKind, type KindName } from "@mallard/schema"
import * as fc from "fast-check"
import { elementOf, entityOf, listOf, put, rowOf, wrapperListOf } from "./internal/Entities.ts"
import { seldom } from "./internal/Seldom.ts"
import { arbitraryId, arbitrarySubtree, objectOf, rareSpelling, timeTexts } from "./internal/Values.ts"
import { arbitraryKey, arbitraryLayoutChange, arbitraryString } from "./JsonText.ts"
import {
  jsonArray,
  jsonMember,
  jsonNull,
  jsonNumber,
  jsonObject,
  jsonString,
  jsonToken,
  stringValue,
  toText,
  type JsonMember,
  type JsonObject,
  type JsonTree
} from "./JsonTree.ts"

/** The variants of legacy documents; `V9`, `V11a`, `V11b-directory` and `V16b` are directories. */
export const variants = [
  "V1",
  "V2",
  "V3",
  "V4",
  "V5",
  "V6",
  "V7",
  "V8",
  "V9",
  "V10",
  "V11a",
  "V11b",
  "V11b-directory",
  "V11c",
  "V11d",
  "V11e",
  "V12",
  "V13",
  "V14",
  "V15",
  "V16a",
  "V16b",
  "V16c",
  "V16d",
  "V17"
] as const

export type Variant = (typeof variants)[number]

export type Encoding = "utf-8" | "utf-8-bom" | "utf-16le" | "utf-16be"

export interface GeneratedFile {
  /** Name of the file in its folder. */
  readonly name: string
  readonly tree: JsonTree
  readonly encoding: Encoding
  /** How much of the text the file holds where it is damaged, always less than all of it. */
  readonly cutTo: number | undefined
}

/** A list of entities that a reader must find. */
export interface ExpectedCollection {
  readonly file: string
  /** JSON pointer of the list. */
  readonly pointer: string
  /** The kind that the list's key stands for; elements that are no object are of the internal kind `json`. */
  readonly kind: string
  readonly elements: number
}

export interface GeneratedDocument {
  readonly variant: Variant
  /** The directory's name where the files belong together; undefined for a single file. */
  readonly directory: string | undefined
  readonly files: ReadonlyArray<GeneratedFile>
  /** What must be found at least; undefined where the variant leaves room for judgement. */
  readonly expected: { readonly collections: ReadonlyArray<ExpectedCollection> } | undefined
}

export interface DocumentOptions {
  /** The variants to choose from; all if absent. */
  readonly variants?: ReadonlyArray<Variant>
  /** Whether some files are cut off or empty; false if absent, so that every document is valid JSON. */
  readonly damaged?: boolean
}

/** Documents of all variants, each about as often as the others. */
export const arbitraryDocument = (options: DocumentOptions = {}): fc.Arbitrary<GeneratedDocument> =>
  fc
    .tuple(
      fc.oneof(...(options.variants ?? variants).map(draftOf)),
      fc.array(styleOf(options.damaged ?? false), { minLength: maxFiles, maxLength: maxFiles })
    )
    .map(([draft, styles]) => {
      const files = draft.files.map(({ name, tree }, at): GeneratedFile => {
        const style = styles[at]
        if (style === undefined) throw new Error(`More than ${maxFiles} files`)
        const laid = style.lay(tree)
        const cutTo = style.cut === undefined ? undefined : style.cut % toText(laid).trimEnd().length
        return { name, tree: laid, encoding: style.encoding, cutTo }
      })
      return printable({ ...draft, files, expected: expectedOf(draft.variant, files) })
    })

/** The text of a file before any damage, without a byte order mark. */
export const textOfFile = (file: GeneratedFile): string => toText(file.tree)

/** The bytes of a file. */
export const bytesOfFile = (file: GeneratedFile): Uint8Array => {
  const whole = textOfFile(file)
  const text = file.cutTo === undefined ? whole : whole.slice(0, file.cutTo)
  switch (file.encoding) {
    case "utf-8":
      return Buffer.from(text)
    case "utf-8-bom":
      return Buffer.from(`\ufeff${text}`)
    case "utf-16le":
      return Buffer.from(`\ufeff${text}`, "utf16le")
    case "utf-16be":
      return Buffer.from(`\ufeff${text}`, "utf16le").swap16()
  }
}

interface Draft {
  readonly variant: Variant
  readonly directory: string | undefined
  readonly files: ReadonlyArray<{ readonly name: string; readonly tree: JsonTree }>
}

type Members = fc.Arbitrary<ReadonlyArray<JsonMember>>

const maxFiles = 5

/** How the tree of a file becomes bytes. */
const styleOf = (damaged: boolean) =>
  fc.record({
    lay: arbitraryLayoutChange,
    encoding: fc.oneof(
      { weight: 22, arbitrary: fc.constant<Encoding>("utf-8") },
      { weight: 2, arbitrary: fc.constant<Encoding>("utf-8-bom") },
      { weight: 2, arbitrary: fc.constantFrom<Encoding>("utf-16le", "utf-16be") }
    ),
    cut: damaged ? seldom(fc.oneof(fc.constant(0), fc.nat()), 16, undefined) : fc.constant(undefined)
  })

// A counterexample is read as the text of its files.
const printable = (document: GeneratedDocument): GeneratedDocument =>
  Object.defineProperty({ ...document }, fc.toStringMethod, {
    enumerable: false,
    value: () =>
      [
        `${document.variant} ${document.directory ?? ""}`,
        ...document.files.map(
          (file) =>
            `${file.name} (${file.encoding}, cut to ${file.cutTo ?? "all"}):\n${JSON.stringify(toText(file.tree))}`
        )
      ].join("\n")
  })

/** Members in order; each argument gives none, one or some. */
const membersOf = (...parts: ReadonlyArray<Members>): Members => fc.tuple(...parts).map((lists) => lists.flat())

const always = (key: string, value: fc.Arbitrary<JsonTree>): Members =>
  fc.tuple(value, rareSpelling).map(([value, spelling]) => [jsonMember(jsonString(key, spelling), value)])

const maybe = (key: string, value: fc.Arbitrary<JsonTree>): Members =>
  fc.oneof({ weight: 5, arbitrary: always(key, value) }, { weight: 1, arbitrary: fc.constant([]) })

/** An object of these members with an unknown member put in somewhere, or one repeated, now and then. */
const blockOf = (...parts: ReadonlyArray<Members>): fc.Arbitrary<JsonObject> =>
  fc
    .tuple(
      membersOf(...parts),
      seldom(fc.tuple(fc.nat(8), arbitraryKey, arbitrarySubtree), 5, undefined),
      seldom(fc.nat(8), 40, undefined)
    )
    .map(([members, unknown, repeat]) => {
      const repeated = repeat === undefined ? undefined : members[repeat % Math.max(1, members.length)]
      const all = repeated === undefined ? members : [...members, repeated]
      if (unknown === undefined) return jsonObject(all)
      const [at, key, value] = unknown
      return jsonObject(all.toSpliced(at % (all.length + 1), 0, jsonMember(key, value)))
    })

const single = (variant: Variant, name: fc.Arbitrary<string>, tree: fc.Arbitrary<JsonTree>): fc.Arbitrary<Draft> =>
  fc.tuple(name, tree).map(([name, tree]) => ({ variant, directory: undefined, files: [{ name, tree }] }))

/** A directory of the files whose trees are not undefined; the first is always there. */
const directory = (
  variant: Variant,
  first: readonly [string, fc.Arbitrary<JsonTree>],
  ...others: ReadonlyArray<readonly [string, fc.Arbitrary<JsonTree>]>
): fc.Arbitrary<Draft> =>
  fc
    .tuple(
      fc.constantFrom("heart-failure", "ad hoc patients", "bob's visit", "Ünïcode"),
      first[1],
      ...others.map(([, tree]) => fc.option(tree, { nil: undefined, freq: 4 }))
    )
    .map(([name, tree, ...trees]) => ({
      variant,
      directory: name,
      files: [
        { name: first[0], tree },
        ...others.flatMap(([name], at) => {
          const tree = trees[at]
          return tree === undefined ? [] : [{ name, tree }]
        })
      ]
    }))

const text = (...texts: ReadonlyArray<string>): fc.Arbitrary<JsonTree> =>
  fc.constantFrom(...texts).map((one) => jsonString(one))

const cohortFile = fc.constantFrom(
  "cohort.json",
  "my-cohort.json",
  "Demo Cohort.JSON",
  "ünï.json",
  ".hidden.json",
  "2.json"
)

const nameText: fc.Arbitrary<JsonTree> = fc.oneof(
  { weight: 12, arbitrary: text("c", "Heart failure", "Ünï / cohort", "2", " padded ") },
  { weight: 1, arbitrary: text("") },
  { weight: 1, arbitrary: fc.constantFrom(jsonNull, jsonNumber("123"), objectOf({ x: jsonNumber("1") })) },
  { weight: 1, arbitrary: arbitraryString }
)

const description: fc.Arbitrary<JsonTree> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(jsonNull, jsonString("d"), jsonString("")) },
  { weight: 1, arbitrary: arbitraryString },
  { weight: 1, arbitrary: fc.constant(objectOf({ text: jsonString("d") })) }
)

const tags: fc.Arbitrary<JsonTree> = fc.oneof(
  { weight: 4, arbitrary: fc.subarray(["a", "b", "é"]).map((list) => jsonArray(list.map((tag) => jsonString(tag)))) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      jsonNull,
      jsonString("abc"),
      jsonArray([jsonString("a"), jsonString("a"), jsonNumber("1"), jsonNull, objectOf({ tag: jsonString("x") })])
    )
  }
)

const time: fc.Arbitrary<JsonTree> = fc.oneof(
  { weight: 8, arbitrary: text(...timeTexts) },
  { weight: 1, arbitrary: fc.constantFrom(jsonNull, jsonNumber("1705312800"), jsonNumber("1705312800.50")) }
)

const id: fc.Arbitrary<JsonTree> = text("3f2c1e00-0000-4000-8000-000000000001", "C-1", "")

type KeyForm = "plural" | "singular"

const typeKeyOf = (kind: EntityKind, form: KeyForm): fc.Arbitrary<string> => {
  const main = form === "plural" ? kind.table : kind.kind
  const camel = main.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())
  return fc.oneof(
    { weight: 8, arbitrary: fc.constant(main) },
    { weight: 1, arbitrary: fc.constantFrom(...kind.typeKeys) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(camel, camel.charAt(0).toUpperCase() + camel.slice(1), main.toUpperCase())
    },
    { weight: 1, arbitrary: fc.constant(form === "plural" ? `${kind.kind}s` : kind.table) }
  )
}

type ListOf = (kind: EntityKind) => fc.Arbitrary<JsonTree>

const rowListOf: ListOf = (kind) => fc.array(rowOf(kind), { maxLength: 2 }).map(jsonArray)

/** What stands under a type key: a list most often, else one entity, null or a scalar. */
const underTypeKey = (kind: EntityKind, list: ListOf): fc.Arbitrary<JsonTree> =>
  fc.oneof(
    { weight: 14, arbitrary: list(kind) },
    { weight: 2, arbitrary: elementOf(kind) },
    { weight: 1, arbitrary: fc.constant(jsonNull) },
    { weight: 1, arbitrary: fc.constantFrom(jsonString("none"), jsonNumber("0"), jsonToken("false"), jsonArray([])) }
  )

const unknownSection: fc.Arbitrary<readonly [string, JsonTree]> = fc.tuple(
  fc.constantFrom(
    "care_gaps",
    "dur_alerts",
    "widgets",
    "studys",
    "pharmacys",
    "diagnosiss",
    "geographic_entitys",
    "Study"
  ),
  fc.oneof(fc.array(arbitrarySubtree, { maxLength: 3 }).map(jsonArray), arbitrarySubtree)
)

/**
 * Members under type keys. At times one and the same entity stands in two lists, which may be of different kinds.
 */
const sections = (form: KeyForm, list: ListOf = listOf, among: ReadonlyArray<EntityKind> = kinds): Members =>
  fc
    .tuple(
      fc.uniqueArray(
        fc.oneof(
          {
            weight: 9,
            arbitrary: fc.oneof(...among.map((kind) => fc.tuple(typeKeyOf(kind, form), underTypeKey(kind, list))))
          },
          { weight: 1, arbitrary: unknownSection }
        ),
        { minLength: 1, maxLength: 4, selector: ([key]) => key }
      ),
      seldom(
        fc.oneof(
          fc.constant(jsonObject([])),
          fc.constant(objectOf({ id: jsonString("1"), name: jsonString("x") })),
          ...among.map((kind) => entityOf(kind))
        ),
        6,
        undefined
      ),
      rareSpelling
    )
    .map(([found, shared, spelling]) => {
      let left = shared === undefined ? 0 : 2
      return found.map(([key, value], at) => {
        const name = jsonString(key, at === 0 ? spelling : "raw")
        if (shared === undefined || left === 0 || value._tag !== "Array") return jsonMember(name, value)
        left--
        return jsonMember(name, jsonArray([...value.elements, shared]))
      })
    })

const entitiesBlock = (...parts: ReadonlyArray<Members>): fc.Arbitrary<JsonTree> =>
  fc.oneof(
    { weight: 10, arbitrary: blockOf(...parts) },
    { weight: 1, arbitrary: fc.constantFrom(jsonNull, jsonObject([])) }
  )

const kindNamed = (name: KindName): EntityKind => kindByName(name)

const one = (key: string, name: KindName): Members =>
  maybe(
    key,
    fc.oneof(
      { weight: 8, arbitrary: entityOf(kindNamed(name)) },
      { weight: 1, arbitrary: underTypeKey(kindNamed(name), listOf) }
    )
  )

const many = (key: string, name: KindName): Members => maybe(key, underTypeKey(kindNamed(name), listOf))

const free = (key: string): Members => maybe(key, arbitrarySubtree)

const counts: Members = maybe(
  "entity_counts",
  fc.constant(objectOf({ patients: jsonNumber("1"), encounters: jsonNumber("0") }))
)

const v1Meta = membersOf(
  maybe("name", nameText),
  maybe("description", description),
  maybe("tags", tags),
  maybe("created_at", time)
)

const conversationForms: ReadonlyArray<Members> = [
  membersOf(
    one("patient", "patient"),
    one("encounter", "encounter"),
    many("diagnoses", "diagnosis"),
    many("medications", "medication"),
    many("labs", "lab_result"),
    one("vitals", "vital_sign"),
    free("clinical_timeline")
  ),
  membersOf(
    one("member", "member"),
    one("claim", "claim"),
    free("adjudication"),
    free("accumulator_before"),
    one("accumulator", "accumulator")
  ),
  membersOf(
    one("member", "member"),
    one("prescription", "prescription"),
    one("claim", "pharmacy_claim"),
    free("response"),
    free("dur_alert")
  ),
  membersOf(
    free("study"),
    free("sites"),
    many("subjects", "subject"),
    many("visits", "trial_visit"),
    many("adverse_events", "adverse_event")
  )
]

const wrappedFiles: ReadonlyArray<readonly [string, fc.Arbitrary<JsonTree>]> = [
  ["person.json", blockOf(always("person", entityOf(kindNamed("person"))))],
  ["patient.json", blockOf(always("patient", entityOf(kindNamed("patient"))))],
  ["member.json", blockOf(always("member", entityOf(kindNamed("member"))))],
  [
    "encounter.json",
    blockOf(
      one("facility", "facility"),
      one("provider", "provider"),
      one("encounter", "encounter"),
      many("diagnoses", "diagnosis"),
      many("procedures", "procedure")
    )
  ],
  ["claim.json", blockOf(one("claim", "claim"), many("claim_lines", "claim_line"))]
]

/** Lists at the places that kinds declare as their containers. */
const containers: fc.Arbitrary<JsonObject> = fc
  .array(
    fc.oneof(
      ...kinds.flatMap((kind) =>
        kind.containers.map((path) => fc.tuple(fc.constant(parsePath(path)), underTypeKey(kind, listOf)))
      )
    ),
    { maxLength: 4 }
  )
  .map((places) =>
    places.reduce(
      (root: JsonObject, [steps, value]) => {
        const next = put(root, steps, value, "raw")
        return next?._tag === "Object" ? next : root
      },
      objectOf({ labs: objectOf({ collection_datetime: jsonString("2024-01-15T02:30:00") }) })
    )
  )

const clinicalDocument: fc.Arbitrary<JsonTree> = fc
  .tuple(
    blockOf(
      one("patient", "patient"),
      one("ed_encounter", "encounter"),
      one("initial_vitals", "vital_sign"),
      many("claims", "claim"),
      free("ed_treatment_notes")
    ),
    containers
  )
  .map(([block, places]) => jsonObject([...block.members, ...places.members]))

const flags: fc.Arbitrary<JsonTree> = fc.constant(
  objectOf({ medical: jsonToken("true"), dental: jsonToken("false"), vision: jsonNull })
)

const camelDocuments: fc.Arbitrary<JsonTree> = fc.oneof(
  blockOf(
    maybe("scenarioId", id),
    maybe("planYear", fc.constantFrom(jsonNumber("2025"), jsonString("2025"))),
    maybe("generatedDate", time),
    many("encounters", "encounter"),
    many("claims", "claim"),
    free("accumulatorSummary")
  ),
  blockOf(
    free("enrollmentTransaction"),
    maybe("healthPlan", fc.constant(objectOf({ planId: jsonString("PPO"), groupNumber: jsonString("G1") }))),
    free("benefits"),
    one("subscriber", "member"),
    many("dependents", "member"),
    maybe("coverage", flags),
    // False friends: neither holds members.
    maybe("idCards", blockOf(always("dependents", fc.array(id, { maxLength: 2 }).map(jsonArray)))),
    maybe("accumulators", blockOf(always("members", arbitrarySubtree)))
  )
)

const digitsText = text("0000012500", "20250115", "00000{", "12", "D0", "1.50")

const segment: fc.Arbitrary<JsonTree> = blockOf(
  maybe("bin", digitsText),
  maybe("ndc", digitsText),
  maybe("date_of_service", digitsText),
  maybe("ingredient_cost", digitsText),
  free("fields")
)

const clinicalSummary: fc.Arbitrary<JsonTree> = blockOf(
  maybe("id", arbitraryId),
  maybe("mrn", arbitraryId),
  maybe("name", text("John Smith", "Madonna", "")),
  maybe("age", fc.constantFrom(jsonNumber("45"), jsonNumber("45.0"), jsonNull)),
  maybe("gender", text("M", "female", "U")),
  many("encounters", "encounter"),
  one("encounter", "encounter"),
  many("diagnoses", "diagnosis"),
  many("medications", "medication"),
  maybe("lab_count", fc.constant(jsonNumber("0"))),
  one("vitals", "vital_sign"),
  free("provenance")
)

const kindFile = <A>(make: (kind: EntityKind) => fc.Arbitrary<A>): fc.Arbitrary<readonly [string, A]> =>
  fc.oneof(
    ...kinds.map((kind) =>
      fc.tuple(
        fc.constantFrom(kind.table, kind.kind, `${kind.kind}s`).map((stem) => `${stem}.json`),
        make(kind)
      )
    )
  )

const named = (variant: Variant, files: fc.Arbitrary<readonly [string, JsonTree]>): fc.Arbitrary<Draft> =>
  files.map(([name, tree]) => ({ variant, directory: undefined, files: [{ name, tree }] }))

const cohortBlock = maybe(
  "cohort",
  blockOf(maybe("id", id), maybe("name", nameText), maybe("description", description), maybe("created_at", time))
)

const upperCaseRow: fc.Arbitrary<JsonTree> = fc.oneof(
  ...(["subject", "adverse_event", "exposure", "trial_visit"] as const).map((name) => entityOf(kindNamed(name))),
  fc.constant(objectOf({ STUDYID: jsonString("S1"), USUBJID: jsonString("S1-001"), AESEQ: jsonNumber("1.0") }))
)

const draftOf = (variant: Variant): fc.Arbitrary<Draft> => {
  switch (variant) {
    case "V1":
      return single(variant, cohortFile, blockOf(v1Meta, always("entities", entitiesBlock(sections("plural")))))
    case "V2":
      return single(
        variant,
        cohortFile,
        blockOf(v1Meta, always("entities", entitiesBlock(sections("singular"), seldom(sections("plural"), 4, []))))
      )
    case "V3":
      return single(variant, cohortFile, blockOf(v1Meta, sections("plural")))
    case "V4":
      return single(variant, cohortFile, blockOf(maybe("name", nameText), sections("singular")))
    case "V5":
      return single(variant, cohortFile, fc.oneof(...conversationForms.map((form) => blockOf(form))))
    case "V6":
      return single(
        variant,
        id.map((tree) => `${tree._tag === "String" ? stringValue(tree) || "workspace" : "workspace"}.json`),
        blockOf(
          always(
            "metadata",
            blockOf(
              always("workspace_id", id),
              v1Meta,
              maybe("updated_at", time),
              maybe("product", text("patientsim", "membersim", "rxmembersim")),
              maybe("schema_version", text("2.0"))
            )
          ),
          free("provenance_summary"),
          always("entities", entitiesBlock(sections("plural", wrapperListOf)))
        )
      )
    case "V7":
      return single(
        variant,
        cohortFile,
        blockOf(
          always("schema_version", text("1.0")),
          fc.oneof(always("scenario_id", id), always("cohort_id", id)),
          v1Meta,
          maybe("created_by", text("user")),
          free("provenance_summary"),
          always("entities", entitiesBlock(sections("plural")))
        )
      )
    case "V8":
      return single(
        variant,
        cohortFile,
        blockOf(
          fc.oneof(
            membersOf(always("cohort_id", id), always("cohort_name", nameText)),
            membersOf(always("scenario_id", id), always("scenario_name", nameText))
          ),
          maybe("description", description),
          maybe("tags", tags),
          maybe("exported_at", time),
          always("entities", blockOf(sections("plural", rowListOf)))
        )
      )
    case "V9":
      return directory(
        variant,
        [
          "cohort.json",
          blockOf(
            fc.oneof(always("cohort_id", id), always("scenario_id", id)),
            v1Meta,
            maybe("exported_at", time),
            maybe("entity_count", fc.constant(jsonNumber("2"))),
            maybe("files", fc.constant(jsonArray([jsonString("core.json")])))
          )
        ],
        ...["core.json", "patientsim.json", "membersim.json", "trialsim.json"].map(
          (name) => [name, blockOf(sections("plural", rowListOf))] as const
        )
      )
    case "V10":
      return single(
        variant,
        cohortFile,
        fc
          .constantFrom("cohort", "scenario")
          .chain((key) =>
            blockOf(
              always(key, blockOf(always(`${key}_id`, id), v1Meta)),
              always("entities", entitiesBlock(sections("singular", rowListOf)))
            )
          )
      )
    case "V11a":
      return directory(
        variant,
        ["scenario.json", blockOf(maybe("id", id), v1Meta, maybe("updated_at", time))],
        ["patients.json", listOf(kindNamed("patient"))],
        ["encounters.json", listOf(kindNamed("encounter"))]
      )
    case "V11b":
      return named(variant, fc.oneof(...wrappedFiles.map(([name, tree]) => tree.map((tree) => [name, tree] as const))))
    case "V11b-directory": {
      const [first, ...others] = wrappedFiles
      if (first === undefined) throw new Error("No files")
      return directory(variant, first, ...others)
    }
    case "V11c":
      return single(variant, fc.constantFrom("patient.json", "claims.json"), clinicalDocument)
    case "V11d":
      return single(variant, fc.constantFrom("claims.json", "encounters.json", "enrollment.json"), camelDocuments)
    case "V11e":
      return single(
        variant,
        fc.constant("pharmacy-claim-ncpdp.json"),
        blockOf(
          ...[
            "transaction_header",
            "patient_segment",
            "insurance_segment",
            "claim_segment",
            "prescriber_segment",
            "pricing_segment",
            "response",
            "claim_summary"
          ].map((key) => maybe(key, segment))
        )
      )
    case "V12":
      return single(
        variant,
        fc.constant("patients_20250115_093000.json"),
        blockOf(
          always("patients", fc.array(clinicalSummary, { maxLength: 2 }).map(jsonArray)),
          always(
            "metadata",
            blockOf(
              maybe("export_time", time),
              maybe("patient_count", fc.constant(jsonNumber("1"))),
              always("format", text("PatientSim JSON")),
              maybe("version", text("1.0"))
            )
          )
        )
      )
    case "V13":
      return named(
        variant,
        kindFile((kind) => fc.oneof(listOf(kind), entityOf(kind)))
      )
    case "V14":
      return named(
        variant,
        fc.tuple(
          fc.constantFrom("dm.json", "ae.json", "ex.json", "sv.json"),
          fc.oneof(
            fc.array(upperCaseRow, { maxLength: 3 }).map(jsonArray),
            blockOf(
              always("domain", text("DM", "AE", "EX", "CM")),
              free("metadata"),
              always("records", fc.array(upperCaseRow, { maxLength: 3 }).map(jsonArray))
            )
          )
        )
      )
    case "V15":
      return single(
        variant,
        fc.constant("bundle.json"),
        blockOf(
          always("resourceType", text("Bundle", "Patient")),
          maybe("type", text("collection")),
          maybe(
            "entry",
            fc.array(blockOf(always("resource", entityOf(kindNamed("patient")))), { maxLength: 2 }).map(jsonArray)
          )
        )
      )
    case "V16a":
      return single(
        variant,
        cohortFile,
        blockOf(
          always("version", text("2.0")),
          maybe("exported_at", time),
          cohortBlock,
          counts,
          always("entities", entitiesBlock(sections("plural")))
        )
      )
    case "V16b":
      return directory(
        variant,
        ["metadata.json", blockOf(cohortBlock, counts, maybe("exported_at", time))],
        ["patients.json", listOf(kindNamed("patient"))],
        ["claims.json", listOf(kindNamed("claim"))],
        ["allergys.json", listOf(kindNamed("allergy"))]
      )
    case "V16c":
      return single(
        variant,
        cohortFile,
        blockOf(
          maybe("id", id),
          v1Meta,
          maybe("updated_at", time),
          free("metadata"),
          always("entities", entitiesBlock(sections("plural")))
        )
      )
    case "V16d":
      return single(
        variant,
        cohortFile,
        blockOf(
          always(
            "metadata",
            blockOf(
              maybe("exported_at", time),
              maybe("format", text("json")),
              always("source", text("healthsim-agent"))
            )
          ),
          always("data", fc.oneof(arbitrarySubtree, blockOf(sections("plural")), text("MSH|^~\\&|HealthSim\rPID|1")))
        )
      )
    case "V17":
      return single(
        variant,
        cohortFile,
        blockOf(
          always("cohort_id", id),
          v1Meta,
          maybe("updated_at", time),
          maybe("metadata", blockOf(maybe("product", text("patientsim")), counts)),
          always("entities", entitiesBlock(sections("plural"))),
          maybe("entity_count", fc.constant(jsonNumber("1")))
        )
      )
  }
}

const listsUnderEntities: ReadonlySet<Variant> = new Set(["V1", "V2", "V6", "V7", "V8", "V10", "V16a", "V16c", "V17"])
const listsAtRoot: ReadonlySet<Variant> = new Set(["V3", "V4"])

const expectedOf = (variant: Variant, files: ReadonlyArray<GeneratedFile>): GeneratedDocument["expected"] => {
  const [file] = files
  if (file === undefined || files.length > 1 || file.cutTo !== undefined) return undefined
  const root = uniqueMembers(file.tree)
  if (root === undefined) return undefined
  if (listsAtRoot.has(variant)) {
    return root.has("entities") ? undefined : { collections: collectionsOf(file.name, "", root) }
  }
  const entities = uniqueMembers(root.get("entities"))
  return listsUnderEntities.has(variant) && entities !== undefined
    ? { collections: collectionsOf(file.name, "/entities", entities) }
    : undefined
}

/** The values of an object by key; undefined where the tree is no object or repeats a key. */
const uniqueMembers = (tree: JsonTree | undefined): ReadonlyMap<string, JsonTree> | undefined => {
  if (tree?._tag !== "Object") return undefined
  const members = new Map(tree.members.map(({ key, value }) => [stringValue(key), value]))
  return members.size === tree.members.length ? members : undefined
}

const collectionsOf = (
  file: string,
  prefix: string,
  members: ReadonlyMap<string, JsonTree>
): ReadonlyArray<ExpectedCollection> =>
  [...members].flatMap(([key, value]) => {
    const kind = kindOfTypeKey(key)
    if (kind === undefined || value._tag !== "Array" || isAmbiguous(kind, key)) return []
    return [{ file, pointer: `${prefix}/${escapePointer(key)}`, kind: kind.kind, elements: value.elements.length }]
  })

// Keys that stand for other things too, depending on the document.
const isAmbiguous = (kind: EntityKind, key: string): boolean =>
  /^visits?$/i.test(key) || kind.requires.some(({ typeKeys }) => typeKeys.includes(key.toLowerCase()))

const escapePointer = (key: string): string => key.replaceAll("~", "~0").replaceAll("/", "~1")
