export * from "./Http.ts"
export * from "./Roots.ts"
export * from "./Server.ts"
