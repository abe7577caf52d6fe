/** What was asked of a run, as the ledger, reports and later runs know it. */
import type { MigrateOptions } from "../MigrateOptions.ts"
import { textOfLimit } from "./rejectLimit.ts"
import type { RunOptions } from "./RunFacts.ts"

/** Everything that was asked; `resumes` is the run that this one goes on with. */
export const optionsOf = (options: MigrateOptions, resumes: string | undefined): RunOptions => ({
  command: "migrate",
  paths: options.paths,
  cwd: options.cwd ?? process.cwd(),
  on_conflict: options.onConflict,
  verify: options.verify !== false,
  backup: options.backup !== undefined,
  ...(options.backup === undefined ? {} : backupOptionsOf(options.backup)),
  ...(options.moveOriginals === undefined ? {} : { move_originals: options.moveOriginals }),
  max_entity_bytes: options.maxEntityBytes,
  max_depth: options.maxDepth,
  ...(options.memoryLimit === undefined ? {} : { memory_limit: options.memoryLimit }),
  ...(options.jobs === undefined ? {} : { jobs: options.jobs }),
  ...(options.maxFileBytes === undefined ? {} : { max_file_bytes: options.maxFileBytes }),
  ...(options.replays === undefined
    ? {}
    : { replays: [...options.replays].map(([source, replayed]) => ({ source, ...replayed })) }),
  ...(options.strict === true ? { strict: true } : {}),
  ...(options.rules === undefined ? {} : { rules: options.rules }),
  ...(options.maxRejects === undefined ? {} : { max_rejects: textOfLimit(options.maxRejects) }),
  ...(resumes === undefined ? {} : { resumes }),
  ...(options.retries === undefined ? {} : { retries: options.retries }),
  ...(options.only === undefined ? {} : { only: [...options.only] }),
  ...(options.plan === undefined ? {} : { plan: plannedOf(options.plan) })
})

const plannedOf = (plan: NonNullable<MigrateOptions["plan"]>) =>
  [...plan].map(([path, { action, bytes, source_sha256 }]) => ({ path, action, source_sha256, bytes }))

const backupOptionsOf = ({ cipher, store }: NonNullable<MigrateOptions["backup"]>): RunOptions => ({
  backup_dir: store,
  ...(cipher === undefined
    ? {}
    : cipher.passphrase === undefined
      ? { backup_cipher: "recipients", backup_recipients: cipher.recipients ?? [] }
      : { backup_cipher: "passphrase" })
})

/** Which sources: a run over the same ones goes on with one that was cut short. */
export const sourcesAsked = ({ cwd, only, paths, plan, resumes }: MigrateOptions) => ({
  paths,
  cwd: cwd ?? process.cwd(),
  ...(only === undefined ? {} : { only: [...only] }),
  ...(plan === undefined ? {} : { plan: plannedOf(plan) }),
  ...(resumes === undefined ? {} : { resumes })
})
