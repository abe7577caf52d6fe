/** What the process that examines or rebuilds is asked, and what it answers. */
import type { RequestReason } from "../CohortErrors.ts"
import type { StoreConfig } from "../Store.ts"
import type { StoreReason } from "../StoreError.ts"
import type { Diagnosis, ExamineDepth } from "./examining.ts"
import type { RebuildReport } from "./rebuilding.ts"

export type DoctorRequest =
  | { readonly ask: "examine"; readonly config: StoreConfig; readonly depth: ExamineDepth["depth"] }
  | { readonly ask: "rebuild"; readonly config: StoreConfig; readonly out: string }

export type DoctorAnswer =
  | { readonly answer: "progress"; readonly done: number; readonly documents: number }
  | { readonly answer: "diagnosis"; readonly diagnosis: Diagnosis }
  | { readonly answer: "rebuilt"; readonly report: RebuildReport }
  | { readonly answer: "refused"; readonly reason: RequestReason; readonly detail: string | undefined }
  | {
      readonly answer: "failed"
      readonly reason: StoreReason
      readonly path: string
      readonly holder: number | undefined
    }
