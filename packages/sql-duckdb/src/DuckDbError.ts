/**
 * The errors of this package: why a database could not be opened, why the client refused a statement before DuckDB saw
 * it, and how DuckDB's own errors become the reasons of Effect's `SqlError`.
 *
 * No message here repeats DuckDB's text, because that text quotes values; the original error is always the `cause`.
 */
import { Schema } from "effect"
import { SqlError } from "effect/sql"

/** Why a database could not be opened. */
export const OpenReason = Schema.Literals([
  "missing",
  "locked",
  "not-a-database",
  "newer-version",
  "damaged",
  "no-space",
  "permission",
  "io",
  "bad-path",
  "bad-option",
  "already-open"
])
export type OpenReason = typeof OpenReason.Type

const openMessages: Record<OpenReason, string> = {
  missing: "there is no such database, or its folder does not exist",
  locked: "another process has the database open",
  "not-a-database": "the file is not a DuckDB database",
  "newer-version": "the database was written in a storage version that this release of DuckDB cannot read",
  damaged: "the database file or its write-ahead log is damaged",
  "no-space": "there is no space left to write the database",
  permission: "the operating system does not permit opening the database",
  io: "reading or writing the database file failed",
  "bad-path": "the path is not an absolute path of a plain file",
  "bad-option": "DuckDB does not accept one of the options",
  "already-open": "this process has the file open already, with other options or outside of this client"
}

/** A database could not be opened; `reason` says why and `holder` is the process that has it locked, if DuckDB told. */
export class DuckDbOpenError extends Schema.TaggedError<DuckDbOpenError>()("DuckDbOpenError", {
  reason: OpenReason,
  path: Schema.String,
  holder: Schema.optionalKey(Schema.Int),
  option: Schema.optionalKey(Schema.String),
  cause: Schema.optionalKey(Schema.Defect())
}) {
  override get message(): string {
    const who = this.holder === undefined ? "" : ` (process ${this.holder})`
    const which = this.option === undefined ? "" : ` (${this.option})`
    return `Cannot open ${this.path}: ${openMessages[this.reason]}${who}${which}`
  }
}

/** Why the client refused to run something, so that nothing is lost or altered silently. */
export const RefusalReason = Schema.Literals([
  "nul-in-sql",
  "lone-surrogate",
  "unbindable-value",
  "several-types",
  "unnamed-fields",
  "stream-open",
  "transaction-doomed",
  "appender-failed",
  "transaction-ended",
  "transaction-statement",
  "no-transaction",
  "no-statement"
])
export type RefusalReason = typeof RefusalReason.Type

const refusalMessages: Record<RefusalReason, string> = {
  "nul-in-sql": "the SQL text contains a NUL character, at which DuckDB would cut it",
  "lone-surrogate": "a text contains a lone surrogate, which DuckDB cannot store",
  "unbindable-value":
    "a parameter has no DuckDB counterpart, or none in the type that typed(value, type) states; convert it, or state its type",
  "several-types": "a list parameter mixes types; give its type with typed(value, type)",
  "unnamed-fields":
    "a STRUCT of the result has fields without a name, or one named __proto__, which would be lost; name them all, as struct_pack does",
  "stream-open":
    "a stream is open on this connection, and another statement would cut it short; finish the stream first",
  "transaction-doomed": "a nested transaction failed, so nothing of the outer transaction can be committed",
  "appender-failed": "an appender ended with a failure, so its rows are incomplete and nothing can be committed",
  "transaction-ended": "the transaction or lease that owned this connection has ended",
  "transaction-statement": "a transaction is begun and ended by withTransaction alone, not by statements of their own",
  "no-transaction": "an appender needs a transaction; use it inside withTransaction",
  "no-statement": "the SQL text contains no statement"
}

/** The client refused a statement, a parameter or a commit. It is the `cause` of the `SqlError` that reports it. */
export class DuckDbRefusal extends Schema.TaggedError<DuckDbRefusal>()("DuckDbRefusal", {
  reason: RefusalReason,
  /** Number of the parameter, counted from 1. */
  parameter: Schema.optionalKey(Schema.Int),
  cause: Schema.optionalKey(Schema.Defect())
}) {
  override get message(): string {
    const where = this.parameter === undefined ? "" : ` (parameter ${this.parameter})`
    return `Refused: ${refusalMessages[this.reason]}${where}`
  }
}

/** The refusal as the `SqlError` that reports it. */
export const refusalError = (refusal: DuckDbRefusal, operation: string): SqlError.SqlError =>
  new SqlError.SqlError({
    reason: new SqlError.UnknownError({ cause: refusal, message: refusal.message, operation })
  })

/** The `DuckDbRefusal` inside a `SqlError`, if that is what it reports. */
export const refusalOf = (error: SqlError.SqlError): DuckDbRefusal | undefined =>
  error.reason.cause instanceof DuckDbRefusal ? error.reason.cause : undefined

type ReasonTag = "UniqueViolation" | keyof typeof reasons

// First match wins. What precedes DuckDB's class ("Failed to append: ", "Failed to execute …: ") is allowed for.
const classes: ReadonlyArray<readonly [pattern: RegExp, reason: ReasonTag, message: string]> = [
  [
    /\bDuplicate key\b|violates (?:primary key|unique) constraint|PRIMARY KEY or UNIQUE constraint/i,
    "UniqueViolation",
    "a unique or primary key constraint was violated"
  ],
  [
    /\bConstraint Error\b|\bconstraint (?:failed|violated|violation)\b/i,
    "ConstraintError",
    "a constraint was violated"
  ],
  [
    /\bTransactionContext Error: .*conflict|\bTransaction conflict\b|write-write conflict|Conflict on (?:update|delete|tuple)/is,
    "SerializationError",
    "another transaction changed the same data; retry the whole transaction"
  ],
  [
    /Current transaction is aborted/i,
    "UnknownError",
    "an earlier error aborted the transaction, so nothing of it can be committed"
  ],
  [/\bTransactionContext Error\b/, "UnknownError", "the statement does not fit the state of the transaction"],
  [
    /read-only mode|\bPermission Error\b/i,
    "AuthorizationError",
    "the database or its settings do not permit the statement"
  ],
  [/\bINTERRUPT Error\b/, "StatementTimeoutError", "the statement was interrupted"],
  [
    /\bOut of Memory Error\b/i,
    "UnknownError",
    "the statement needs more memory or temporary space than the limit allows"
  ],
  [/Could not set lock on file|Conflicting lock/i, "LockTimeoutError", "another process has the database locked"],
  [/\bIO Error\b|\bHTTP Error\b/, "UnknownError", "reading or writing a file failed"],
  [
    /\bFATAL Error\b|\bConnection Error\b|connection disconnected|connection closed|bad_weak_ptr|has been invalidated/i,
    "ConnectionError",
    "the connection to the database is no longer usable"
  ],
  [
    /\bincomplete append\b|\bEndRow before all columns\b|\bToo many appends\b/,
    "UnknownError",
    "a row has more or fewer values than the table has columns"
  ],
  [
    /\b(?:Parser|Syntax|Binder|Catalog|Dependency|Not implemented|Parameter Not Resolved|Expression) Error\b|^Table ".*" could not be found|^Failed to extract statements|Invalid Input Error: .*(?:prepared statement|parameter)/i,
    "SqlSyntaxError",
    "the statement is not understood, or a name in it does not exist"
  ],
  [
    /\b(?:Conversion|Out of Range|Mismatch Type|Invalid type|Invalid Input) Error\b|\bCould not convert\b|out of range for JS Date/i,
    "UnknownError",
    "a value cannot be converted to the type it is needed in"
  ]
]

const reasons = {
  ConstraintError: SqlError.ConstraintError,
  SerializationError: SqlError.SerializationError,
  SqlSyntaxError: SqlError.SqlSyntaxError,
  AuthorizationError: SqlError.AuthorizationError,
  LockTimeoutError: SqlError.LockTimeoutError,
  StatementTimeoutError: SqlError.StatementTimeoutError,
  ConnectionError: SqlError.ConnectionError,
  UnknownError: SqlError.UnknownError
}

const textOf = (cause: unknown): string =>
  cause instanceof Error ? cause.message : typeof cause === "string" ? cause : ""

/** Turns any failure of DuckDB into an `SqlError` whose message is ours and whose cause is the original. */
export const toSqlError = (cause: unknown, operation: string): SqlError.SqlError => {
  if (SqlError.isSqlError(cause)) return cause
  if (cause instanceof DuckDbRefusal) return refusalError(cause, operation)
  const text = textOf(cause)
  const found = classes.find(([pattern]) => pattern.test(text))
  const tag = found?.[1] ?? "UnknownError"
  const props = { cause, message: `DuckDB: ${found?.[2] ?? "the operation failed"}`, operation }
  return new SqlError.SqlError({
    reason:
      tag === "UniqueViolation"
        ? new SqlError.UniqueViolation({
            ...props,
            constraint: /primary key constraint/i.test(text) ? "primary key" : "unique"
          })
        : new reasons[tag](props)
  })
}

const openClasses: ReadonlyArray<readonly [pattern: RegExp, reason: OpenReason]> = [
  [/Could not set lock on file|Conflicting lock/i, "locked"],
  [/database does not exist|No such file or directory|Not a directory/i, "missing"],
  [/not a valid DuckDB database/i, "not-a-database"],
  [/with version number|newer version of DuckDB|storage version/i, "newer-version"],
  [/No space left|File too large|disk quota/i, "no-space"],
  [/Permission denied|Operation not permitted|Read-only file system/i, "permission"],
  [/Is a directory|File name too long|Too many levels of symbolic links/i, "bad-path"],
  // What the operating system says about the disk tells nothing of the file.
  [/Input\/output error|Too many open files|Interrupted system call|fsync failed/i, "io"],
  [
    /Corrupt|checksum|Could not read enough bytes|WAL|Serialization Error|INTERNAL Error|FATAL Error|Failed to deserialize/i,
    "damaged"
  ],
  [
    // A limit of memory with which not even the file can be opened.
    /Out of Memory Error|not recognized|Failed to set config|Invalid Input Error|Parser Error|Catalog Error|Invalid Configuration/i,
    "bad-option"
  ]
]

/** Turns a failure of opening the database at `path` into its typed error. */
export const toOpenError = (cause: unknown, path: string): DuckDbOpenError => {
  if (cause instanceof DuckDbOpenError) return cause
  const text = textOf(cause)
  const reason = openClasses.find(([pattern]) => pattern.test(text))?.[1] ?? "io"
  const holder = reason === "locked" ? /\(PID (\d+)\)/.exec(text)?.[1] : undefined
  return new DuckDbOpenError({
    reason,
    path,
    cause,
    ...(holder === undefined ? {} : { holder: Number(holder) })
  })
}
