export * from "./Decision.ts"
export * from "./Migrate.ts"
export * from "./Report.ts"
export * from "./VerifySources.ts"
