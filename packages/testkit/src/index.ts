export * from "./JsonText.ts"
export * from "./JsonTree.ts"
export * from "./Oracle.ts"
