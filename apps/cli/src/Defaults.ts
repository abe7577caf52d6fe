/** What a run does where nothing else is said. Loaded with the help, so nothing heavy may be imported here. */

/** Largest entity or string, and deepest nesting. */
export const defaultLimits = { maxEntitySize: "64MiB", maxDepth: 10_000 } as const

/** A run that only reads, or that repeats another: none of the options that say how to keep and prove. */
export const plainRun = {
  overwrite: false,
  noVerify: false,
  memory: undefined,
  report: undefined,
  backupDir: undefined,
  backupPassphraseFile: undefined,
  backupPassphrase: false,
  backupRecipients: []
} as const
