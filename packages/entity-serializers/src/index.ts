export * from "./BatchReader.ts"
export * from "./Cells.ts"
export {
  civilFromDays,
  codecsOf,
  type ColumnClass,
  type ColumnCodec,
  type ColumnValue,
  daysFromCivil,
  type InexactReason,
  inexactRules,
  makeCodec,
  renderValue,
  styleFromName,
  styleName
} from "./Codec.ts"
export * from "./CohortDocument.ts"
export * from "./Collection.ts"
export * from "./Document.ts"
export * from "./EntityBatch.ts"
export * from "./EntityIndex.ts"
export { EntityReader, type ReaderMark } from "./internal/EntityReader.ts"
export { jsonProblemOf } from "./JsonCheck.ts"
export { pointerToken } from "./internal/Compact.ts"
export * from "./JsonProblem.ts"
export * from "./Lines.ts"
export { type Look, stringMember } from "./Lookahead.ts"
export { NumberStack } from "./NumberStack.ts"
export * from "./MemberRows.ts"
export * from "./Objects.ts"
export * from "./PackedBatch.ts"
export * from "./Pretty.ts"
export * from "./Remark.ts"
export * from "./ShapeDictionary.ts"
export * from "./Template.ts"
