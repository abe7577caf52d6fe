/**
 * What HealthSim, its agent and Mallard itself write beside cohorts: specifications, sessions, settings, plans, reports. Such
 * a document holds no cohort, so it is left alone. Only documents without any entity are looked at; one that has some is a cohort, whatever else it is.
 */

/** Why a document is no cohort. */
export type NotCohort = "profile" | "journey" | "workspace" | "chat" | "summary" | "settings" | "plan" | "report"

/** One line each, for reports. */
export const notCohortNames: Readonly<Record<NotCohort, string>> = {
  profile: "a profile for generating cohorts",
  journey: "a journey for generating cohorts",
  workspace: "the agent's list of a workspace, whose cohorts lie elsewhere",
  chat: "a session of a conversation",
  summary: "a summary of a cohort with samples of it, not the cohort",
  settings: "settings of a program",
  plan: "a plan that Mallard made",
  report: "a report of a run of Mallard"
}

interface Shape {
  readonly is: NotCohort
  /** At least one of each of these must be there. */
  readonly has: ReadonlyArray<ReadonlyArray<string>>
}

const shapes: ReadonlyArray<Shape> = [
  { is: "workspace", has: [["cohort_ids"], ["profile_ids", "journey_ids", "config"]] },
  { is: "chat", has: [["messages"], ["session_id", "metadata", "model", "context", "saved_at"]] },
  { is: "profile", has: [["profile_spec"]] },
  { is: "profile", has: [["generation"], ["demographics"]] },
  { is: "journey", has: [["journey_spec"]] },
  {
    is: "journey",
    has: [
      ["journey_id", "journey_type", "start_trigger", "duration_days"],
      ["events", "phases"]
    ]
  },
  { is: "journey", has: [["phases"], ["branching_rules", "quality_measures", "cross_product"]] },
  { is: "summary", has: [["samples"], ["entity_counts", "statistics"]] },
  { is: "plan", has: [["format"], ["planned_at"], ["options"], ["items"], ["totals"], ["estimate"]] },
  { is: "report", has: [["run"], ["outcome"], ["dry_run"], ["items"], ["totals"], ["verification"], ["timings"]] }
]

/** Objects that wrap a specification, alone or beside their template's description. */
const wrappers: Readonly<Record<string, NotCohort>> = { profile: "profile", journey: "journey" }
const besideWrappers = new Set(["template", "version", "schema_version", "metadata", "$schema"])

const settingsStem = /^(?:config|settings|\.?mcp|claude_desktop_config)$/i

/** What a document without entities is, if it is plainly no cohort, from the keys of its root and its file's stem. */
export const notCohortOf = (rootKeys: ReadonlyArray<string>, stem: string): NotCohort | undefined => {
  const has = (key: string): boolean => rootKeys.includes(key)
  if (has("entities") || has("resourceType") || rootKeys.length === 0) return undefined
  const shape = shapes.find((one) => one.has.every((keys) => keys.some(has)))
  if (shape !== undefined) return shape.is
  const wrapper = rootKeys.find((key) => Object.hasOwn(wrappers, key))
  if (wrapper !== undefined && rootKeys.every((key) => key === wrapper || besideWrappers.has(key)))
    return wrappers[wrapper]
  return settingsStem.test(stem) ? "settings" : undefined
}
