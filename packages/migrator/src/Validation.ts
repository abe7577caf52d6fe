/**
 * Rules for content, as data: which checks there are, and whether what they find is a remark or a reason to reject. Without
 * a file of rules, duplicate ids are remarked and nothing else is checked.
 */
import type { ContentCheck } from "@mallard/duckdb-store"
import { pointerToken } from "@mallard/entity-serializers"
import { printablePath } from "@mallard/legacy-json"
import { kinds, parseJson } from "@mallard/schema"
import { Effect, Schema, SchemaIssue } from "effect"
import { brokenAt, repeatedKeyIn } from "./internal/writtenJson.ts"

/** What becomes of a source in which a check finds something. */
export const Level = Schema.Literals(["off", "warn", "reject"])
export type Level = typeof Level.Type

const OwnRule = Schema.Struct({
  kind: Schema.String.annotate({ description: "Kind of entity, as in `patient`" }),
  column: Schema.optionalKey(Schema.String.annotate({ description: "Column of the kind that is checked" })),
  required: Schema.optionalKey(Schema.Literal(true)),
  min: Schema.optionalKey(Schema.Finite),
  max: Schema.optionalKey(Schema.Finite),
  pattern: Schema.optionalKey(
    Schema.String.annotate({ description: "Regular expression of RE2 that the whole text matches" })
  ),
  references: Schema.optionalKey(
    Schema.Array(Schema.String).annotate({ description: "Kinds whose ids the column holds" })
  ),
  not_before: Schema.optionalKey(Schema.String.annotate({ description: "Column of a time that is not later" })),
  level: Level
})

export const Rules = Schema.Struct({
  $schema: Schema.optionalKey(Schema.String),
  duplicate_ids: Schema.optionalKey(Level),
  missing_ids: Schema.optionalKey(Level),
  references: Schema.optionalKey(Level),
  date_order: Schema.optionalKey(Level),
  code_formats: Schema.optionalKey(Level),
  ranges: Schema.optionalKey(Level),
  rules: Schema.optionalKey(Schema.Array(OwnRule))
})
export type Rules = typeof Rules.Type

/** A check, and what becomes of what it finds. */
export type LevelledCheck = ContentCheck & { readonly level: "warn" | "reject" }

/** The file of rules is not what it should be. */
export class RulesInvalid extends Schema.TaggedError<RulesInvalid>()("RulesInvalid", {
  path: Schema.String,
  /** What is wrong, in words. */
  problem: Schema.String
}) {
  override get message(): string {
    return `${this.path} holds no rules that can be used: ${this.problem}`
  }
}

export const RULES_SCHEMA_ID = "urn:mallard:rules:1"

/** The JSON Schema, draft 2020-12, of a file of rules. */
export const rulesJsonSchema = (): object => {
  const { definitions, schema } = Schema.toJsonSchemaDocument(Rules)
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: RULES_SCHEMA_ID,
    title: "Rules for the content of sources",
    ...closed(schema),
    ...(Object.keys(definitions).length === 0 ? {} : { $defs: closed(definitions) })
  }
}

/** A name that is not known is a mistake: `readRules` refuses it. */
const closed = (schema: object): object => JSON.parse(JSON.stringify(schema), shut)

const shut = (key: string, value: unknown): unknown => (key === "additionalProperties" ? false : value)

const decode = Schema.decodeUnknownEffect(Rules, { onExcessProperty: "error" })

/**
 * The rules in a text, read from `path`. What is refused is told with its line, or with the JSON pointer to it. A key that
 * stands there twice is refused too: one of the two would say nothing.
 */
export const readRules = (text: string, path: string): Effect.Effect<Rules, RulesInvalid> =>
  Effect.gen(function* () {
    const value = yield* Effect.try({
      try: () => parseJson(text),
      catch: () => new RulesInvalid({ path, problem: `it is no JSON: ${brokenAt(text)}` })
    })
    const repeated = repeatedKeyIn(text)
    if (repeated !== undefined) return yield* new RulesInvalid({ path, problem: repeated })
    const rules = yield* Effect.mapError(
      decode(value),
      ({ issue }) => new RulesInvalid({ path, problem: `${misfitOf(issue)} (rules.schema.json describes all)` })
    )
    const problem = problemOf(rules)
    return problem === undefined ? rules : yield* new RulesInvalid({ path, problem })
  })

/** Words for what a schema calls a type. */
const types: Readonly<Record<string, string>> = {
  object: "an object",
  array: "a list",
  string: "a text",
  number: "a number",
  "finite number": "a number"
}

const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (issue) => {
    if (issue._tag === "UnexpectedKey") return UNKNOWN_KEY
    return issue._tag === "MissingKey" ? "is missing" : SchemaIssue.defaultLeafHook(issue)
  }
})

const UNKNOWN_KEY = "is no key that rules know"

/** The first place that is not as rules are written, and what may stand there; keys are named, values are not. */
const misfitOf = (issue: SchemaIssue.Issue): string => {
  const [first] = formatIssue(issue).issues
  const keys = (first?.path ?? []).map((key) => String(typeof key === "object" ? key.key : key))
  const pointer = keys.map(pointerToken).join("")
  const known = Object.keys(keys[0] === "rules" && keys.length > 1 ? OwnRule.fields : Rules.fields)
  const { message } = first ?? { message: "is not as it must be" }
  const expected = /^Expected (.*)$/.exec(message)?.[1]
  const words = expected === undefined ? message : `must be ${types[expected] ?? expected.replaceAll(" | ", " or ")}`
  const allowed = message === UNKNOWN_KEY ? `: there may be ${known.join(", ")}` : ""
  return `${pointer === "" ? "the whole of it" : printablePath(pointer)} ${words}${allowed}`
}

const columnsOf = (name: string) => kinds.find(({ kind }) => kind === name)?.columns ?? []
const isTemporal = (type: string): boolean => type === "DATE" || type === "TIMESTAMP"
const isNumeric = (type: string): boolean => /^(?:INTEGER|BIGINT|DOUBLE|DECIMAL)/.test(type)

/** What is wrong with rules that have the right form. */
const problemOf = ({ rules = [] }: Rules): string | undefined => {
  for (const [at, rule] of rules.entries()) {
    const place = `/rules/${at}`
    const known = kinds.find(({ kind }) => kind === rule.kind)
    if (known === undefined) return `${place} names no kind of entity`
    const column = rule.column ?? known.idColumn
    const type = known.columns.find(({ name }) => name === column)?.type
    if (type === undefined) return `${place} names no column of ${rule.kind}`
    if ((rule.min !== undefined || rule.max !== undefined) && !isNumeric(type))
      return `${place}: ${column} holds no numbers`
    if (rule.min !== undefined && rule.max !== undefined && rule.min > rule.max)
      return `${place}: min is greater than max, so no number is between them`
    const other = rule.not_before
    if (other !== undefined) {
      const otherType = known.columns.find(({ name }) => name === other)?.type
      if (otherType === undefined || !isTemporal(otherType) || !isTemporal(type)) {
        return `${place}: ${column} and ${other} are not two times of ${rule.kind}`
      }
    }
    const unknown = rule.references?.find((name) => columnsOf(name).length === 0)
    if (unknown !== undefined) return `${place} refers to no kind of entity`
    const asked = [rule.required, rule.min ?? rule.max, rule.pattern, rule.references, other]
    if (asked.every((part) => part === undefined)) return `${place} checks nothing`
  }
  return undefined
}

/** The level of duplicate ids, which are looked for in any case. */
export const duplicateLevel = (rules: Rules | undefined): Level => rules?.duplicate_ids ?? "warn"

/** All checks that rules ask for: those that come with the kinds, then the user's own. */
export const checksOf = (rules: Rules | undefined): ReadonlyArray<LevelledCheck> => {
  if (rules === undefined) return []
  const checks: Array<LevelledCheck> = []
  const add = (level: Level | undefined, all: ReadonlyArray<ContentCheck>): void => {
    if (level === undefined || level === "off") return
    for (const check of all) checks.push({ ...check, level })
  }
  add(
    rules.missing_ids,
    kinds.map(({ idColumn, kind }) => ({ check: "required", kind, column: idColumn }))
  )
  add(rules.references, references)
  add(rules.date_order, orders)
  add(rules.code_formats, formats)
  add(rules.ranges, ranges)
  for (const { column: named, kind, level, max, min, not_before, pattern, references: to, required } of rules.rules ??
    []) {
    const column = named ?? kinds.find((known) => known.kind === kind)?.idColumn ?? ""
    add(level, [
      ...(required === undefined ? [] : [{ check: "required", kind, column } as const]),
      ...(min === undefined && max === undefined ? [] : [{ check: "range", kind, column, min, max } as const]),
      ...(pattern === undefined ? [] : [{ check: "format", kind, column, pattern } as const]),
      ...(not_before === undefined ? [] : [{ check: "order", kind, earlier: not_before, later: column } as const]),
      ...(to === undefined ? [] : [{ check: "reference", kind, column, to: to.flatMap(idsOf) } as const])
    ])
  }
  return checks
}

/** Columns by which entities of a kind are referred to. */
const idsOf = (name: string): ReadonlyArray<{ readonly kind: string; readonly column: string }> => {
  const kind = kinds.find((known) => known.kind === name)
  if (kind === undefined) return []
  const also = ["mrn", "member_id", "usubjid", "subject_id", "npi"].filter(
    (column) => column !== kind.idColumn && kind.columns.some((own) => own.name === column)
  )
  // A patient's `member_id` names another entity; a member's is its own.
  const own = name === "patient" ? also.filter((column) => column !== "member_id") : also
  return [kind.idColumn, ...own].map((column) => ({ kind: name, column }))
}

/** What the columns of these names refer to, in whatever kind they stand. */
const targets: Readonly<Record<string, ReadonlyArray<string>>> = {
  patient_mrn: ["patient"],
  patient_id: ["patient"],
  member_id: ["member", "rx_member"],
  encounter_id: ["encounter"],
  claim_id: ["claim"],
  usubjid: ["subject"],
  person_id: ["person"]
}

const references: ReadonlyArray<ContentCheck> = kinds.flatMap(({ columns, idColumn, kind }) =>
  columns.flatMap(({ name: column }): ReadonlyArray<ContentCheck> => {
    const to = targets[column]
    // `patient_mrn` takes what stands in `patient_id` too.
    const isTwice = column === "patient_id" && columns.some(({ name }) => name === "patient_mrn")
    return to === undefined || isTwice || column === idColumn || to.includes(kind)
      ? []
      : [{ check: "reference", kind, column, to: to.flatMap(idsOf) }]
  })
)

const pairs: ReadonlyArray<readonly [earlier: string, later: string]> = [
  ["admission_time", "discharge_time"],
  ["admission_date", "discharge_date"],
  ["start_date", "end_date"],
  ["effective_start", "effective_end"],
  ["effective_date", "termination_date"],
  ["effective_date", "expiration_date"],
  ["coverage_start", "coverage_end"],
  ["diagnosed_date", "resolved_date"],
  ["aestdtc", "aeendtc"],
  ["exstdtc", "exendtc"],
  ["first_dose_date", "last_dose_date"],
  ["collected_time", "resulted_time"],
  ["birth_date", "death_date"]
]

const orders: ReadonlyArray<ContentCheck> = kinds.flatMap(({ columns, kind }) =>
  pairs
    .filter((pair) => pair.every((name) => columns.some((column) => column.name === name && isTemporal(column.type))))
    .map(([earlier, later]) => ({ check: "order", kind, earlier, later }))
)

const NPI = "[0-9]{10}"
const NDC = "[0-9]{4,5}-?[0-9]{3,4}-?[0-9]{1,2}"

/** By kind, or `*` for any that has the column. */
const patterns: ReadonlyArray<readonly [kind: string, column: string, pattern: string]> = [
  ["diagnosis", "code", "[A-TV-Z][0-9][0-9A-Z](\\.?[0-9A-Z]{1,4})?"],
  ["lab_result", "loinc_code", "[0-9]{1,7}-[0-9]"],
  ["vital_sign", "loinc_code", "[0-9]{1,7}-[0-9]"],
  ["*", "npi", NPI],
  ["*", "provider_npi", NPI],
  ["*", "facility_npi", NPI],
  ["*", "prescriber_npi", NPI],
  ["*", "pharmacy_npi", NPI],
  ["*", "pcp_npi", NPI],
  ["*", "ordering_provider_npi", NPI],
  ["*", "ndc", NDC],
  ["*", "ndc_code", NDC]
]

const formats: ReadonlyArray<ContentCheck> = patterns.flatMap(([only, column, pattern]) =>
  kinds
    .filter(({ columns, kind }) => (only === "*" || only === kind) && columns.some(({ name }) => name === column))
    .map(({ kind }): ContentCheck => ({ check: "format", kind, column, pattern }))
)

/** Bounds of what a living body, a prescription or a study can have; wide, for they are to find slips and not rarities. */
const bounds: ReadonlyArray<readonly [column: string, min: number, max: number | undefined]> = [
  ["age", 0, 130],
  ["heart_rate", 0, 400],
  ["systolic_bp", 0, 350],
  ["diastolic_bp", 0, 250],
  ["respiratory_rate", 0, 150],
  ["spo2", 0, 100],
  ["pain_score", 0, 10],
  ["weight_kg", 0, 700],
  ["height_cm", 0, 300],
  ["bmi", 0, 250],
  ["days_supply", 0, 1000],
  ["refills", 0, 99],
  ["quantity", 0, undefined],
  ["compliance_pct", 0, 200]
]

const ranges: ReadonlyArray<ContentCheck> = bounds.flatMap(([column, min, max]) =>
  kinds
    .filter(({ columns }) => columns.some(({ name, type }) => name === column && isNumeric(type)))
    .map(({ kind }): ContentCheck => ({ check: "range", kind, column, min, max }))
)

const withArticle = (kind: string): string => `${/^[aeiou]/.test(kind) ? "an" : "a"} ${kind}`

/** Code and words of what a check found; words name columns and never values. */
export const remarkOfCheck = (check: ContentCheck): { readonly code: string; readonly message: string } => {
  const place = `in ${withArticle(check.kind)}`
  switch (check.check) {
    case "required":
      return { code: "missing-id", message: `${place}, ${check.column} has no value` }
    case "reference": {
      const to = [...new Set(check.to.map(({ kind }) => kind))].join(" or ")
      return { code: "dangling-reference", message: `${place}, ${check.column} names no ${to} of the cohort` }
    }
    case "order":
      return { code: "dates-out-of-order", message: `${place}, ${check.later} is before ${check.earlier}` }
    case "range": {
      const { column, max, min } = check
      const range = [
        ...(min === undefined ? [] : [`at least ${min}`]),
        ...(max === undefined ? [] : [`at most ${max}`])
      ]
      return { code: "out-of-range", message: `${place}, ${column} is not ${range.join(" and ")}` }
    }
    case "format":
      return { code: "code-format", message: `${place}, ${check.column} is not written as its codes are` }
  }
}
