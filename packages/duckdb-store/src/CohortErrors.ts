/** Why a request to the store of cohorts was refused. Messages hold no values: names and ids are in fields only. */

import { Schema } from "effect"

/** No cohort has this name or id. The names are in fields only: they may come from documents. */
export class CohortNotFound extends Schema.TaggedError<CohortNotFound>()("CohortNotFound", {
  wanted: Schema.String,
  /** Names of cohorts that are spelt much alike, nearest first, at most five. */
  suggestions: Schema.Array(Schema.String),
  /** There was one, and restoring brings it back. */
  isDeleted: Schema.optionalKey(Schema.Boolean)
}) {
  override get message(): string {
    if (this.isDeleted === true) return "The cohort of that name or id is deleted. Restore it first."
    const hint = this.suggestions.length === 0 ? "List the cohorts to see their names." : "Some names are much alike."
    return `There is no cohort of that name or id. ${hint}`
  }
}

/** A cohort that is not deleted has the name already. */
export class NameTaken extends Schema.TaggedError<NameTaken>()("NameTaken", {
  wanted: Schema.String,
  /** The cohort that has it. */
  cohortId: Schema.String
}) {
  override get message(): string {
    return "A cohort of this name already exists. Ask for overwrite to make this its next revision, or choose another name."
  }
}

/** Why a request makes no sense. */
export const RequestReason = Schema.Literals([
  "bad-name",
  "bad-tag",
  "bad-json",
  "unsupported-value",
  "not-an-object",
  "nothing-given",
  "both-given",
  "bad-limit",
  "bad-cursor",
  "no-such-revision",
  "not-deleted",
  "no-entities",
  "too-few-sources",
  "unknown-kind",
  "unknown-format",
  "several-files",
  "bad-file-name",
  "own-tables",
  "no-file",
  "folder",
  "too-large",
  "not-read",
  "not-written",
  "database-in-the-way"
])
export type RequestReason = typeof RequestReason.Type

const texts: Readonly<Record<RequestReason, string>> = {
  "bad-name":
    "A cohort's name is a text of 1 to 1000 characters that is not blank, without control characters and halves of surrogate pairs.",
  "bad-tag": "A tag is a text that is not blank, without halves of surrogate pairs.",
  "bad-json": "The text is no JSON document.",
  "unsupported-value": "A value cannot be said in JSON.",
  "not-an-object": "Entities are given as an object: a list of entities for each type.",
  "nothing-given": "Give what to save: `entities`, or a `document`.",
  "both-given": "Give `entities` or a `document`, not both.",
  "bad-limit": "A limit is a whole number from 0 to 10,000.",
  "bad-cursor": "This cursor does not come from the page before, or is of another list.",
  "no-such-revision": "The cohort has no revision of this number. Its history lists them.",
  "not-deleted": "The cohort is not deleted. To bring back a former state of it, say which revision.",
  "no-entities": "There is nothing to append: give a list of entities for at least one type.",
  "too-few-sources": "Merging needs at least two different cohorts.",
  "unknown-kind":
    "There is no kind of this name. Names of kinds are singular, as in patient or claim_line; docs/reference.md lists them.",
  "unknown-format": "There is no format of this name. `exportFormats` lists them.",
  "several-files": "The cohort consists of several files, so it needs a folder to go to.",
  "bad-file-name": "A file of the cohort has a name that leads out of the folder. Nothing was written.",
  "own-tables":
    "The database holds tables or views that are not Mallard's, which a purge would lose. Move them to a database of their own first.",
  "no-file": "There is nothing at the path. Check how it is spelt.",
  folder: "It is a folder, and a file is needed. `mallard migrate` takes whole folders.",
  "too-large":
    "The file is larger than 256 MiB, which is too much to be taken as a whole. `mallard migrate` reads files of any size.",
  "not-read": "The file cannot be read, or is not UTF-8. Check the path and the permissions, or save it as UTF-8.",
  "not-written": "Writing the files failed. Check the path, the permissions and the space on the disk.",
  "database-in-the-way": "A DuckDB database has that name, and is not replaced. Name another file."
}

/** A request that cannot be meant, or not be carried out as it is. Nothing was changed. */
export class InvalidRequest extends Schema.TaggedError<InvalidRequest>()("InvalidRequest", {
  reason: RequestReason,
  /** Where in the value that was given, as a JSON pointer whose unknown keys are `*`. */
  pointer: Schema.optionalKey(Schema.String),
  /** The file that it is about. */
  path: Schema.optionalKey(Schema.String),
  /** What exactly, in words of our own. */
  detail: Schema.optionalKey(Schema.String),
  cause: Schema.optionalKey(Schema.Defect())
}) {
  override get message(): string {
    const detail = this.detail === undefined ? "" : ` (${this.detail})`
    const where = this.pointer === undefined ? "" : ` At ${this.pointer === "" ? "the root" : this.pointer}.`
    const what = this.path === undefined ? "" : `${this.path}: `
    return `${what}${texts[this.reason]}${where}${detail}`
  }
}
