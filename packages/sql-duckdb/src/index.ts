export * from "./DuckDbClient.ts"
export * from "./DuckDbError.ts"
export * as DuckDbMigrator from "./DuckDbMigrator.ts"
export { nativeColumn } from "./internal/results.ts"
