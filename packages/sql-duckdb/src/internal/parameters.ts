/** Parameters on their way into DuckDB: every JavaScript value gets exactly one DuckDB type, or is refused. */
import {
  BIGINT,
  BLOB,
  blobValue,
  BOOLEAN,
  DOUBLE,
  DuckDBArrayValue,
  DuckDBBitValue,
  DuckDBBlobValue,
  DuckDBDateValue,
  DuckDBDecimalType,
  DuckDBDecimalValue,
  DuckDBGeometryValue,
  DuckDBIntervalValue,
  DuckDBListType,
  DuckDBListValue,
  DuckDBMapValue,
  type DuckDBPreparedStatement,
  DuckDBStructType,
  DuckDBStructValue,
  DuckDBTimestampMillisecondsValue,
  DuckDBTimestampNanosecondsValue,
  DuckDBTimestampSecondsValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  DuckDBTimeNSValue,
  DuckDBTimeTZValue,
  DuckDBTimeValue,
  type DuckDBType,
  DuckDBTypeId,
  DuckDBUnionValue,
  DuckDBUUIDValue,
  type DuckDBValue,
  DuckDBVariantValue,
  HUGEINT,
  INTEGER,
  type JS,
  LIST,
  listValue,
  JSToDuckDBValueConverter,
  SQLNULL,
  STRUCT,
  structValue,
  TIMESTAMPTZ,
  UHUGEINT,
  VARCHAR
} from "@duckdb/node-api"
import { DuckDbRefusal, type RefusalReason } from "../DuckDbError.ts"

/** A parameter whose DuckDB type is stated instead of inferred. */
export class TypedValue {
  readonly value: unknown
  readonly type: DuckDBType
  constructor(value: unknown, type: DuckDBType) {
    this.value = value
    this.type = type
  }
}

/** Binds `values` to the parameters of `statement`, in order. Throws `DuckDbRefusal`. */
export const bind = (statement: DuckDBPreparedStatement, values: ReadonlyArray<unknown>): void => {
  for (let index = 0; index < values.length; index++) {
    const given = values[index]
    const [value, type] = boundOf(given, index + 1)
    try {
      statement.bindValue(index + 1, value, type)
    } catch (cause) {
      // One too many is a fault of the statement.
      if (!(given instanceof TypedValue) || index >= statement.parameterCount) throw cause
      throw new DuckDbRefusal({ reason: "unbindable-value", parameter: index + 1, cause })
    }
  }
}

/** Refuses text that would not come back as it is. */
export const checkSql = (sql: string): void => {
  if (sql.includes("\0")) throw new DuckDbRefusal({ reason: "nul-in-sql" })
  if (!sql.isWellFormed()) throw new DuckDbRefusal({ reason: "lone-surrogate" })
}

type Bound = readonly [value: DuckDBValue, type: DuckDBType | undefined]

const INT64_MAX = 2n ** 63n - 1n
const INT128_MAX = 2n ** 127n - 1n
const UINT128_MAX = 2n ** 128n - 1n

/** What contains itself, or nests deeper than calls can follow, has no counterpart either. */
const boundOf = (value: unknown, parameter: number): Bound => {
  try {
    return toDuckDb(value, parameter)
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause
    throw new DuckDbRefusal({ reason: "unbindable-value", parameter, cause })
  }
}

const toDuckDb = (value: unknown, parameter: number): Bound => {
  if (value instanceof TypedValue) return [fromTyped(value, parameter), value.type]
  switch (typeof value) {
    case "undefined":
      return [null, undefined]
    case "boolean":
      return [value, BOOLEAN]
    case "number":
      return [value, numberType(value)]
    case "bigint":
      return [value, bigintType(value, parameter)]
    case "string":
      if (!value.isWellFormed()) throw refuse("lone-surrogate", parameter)
      return [value, VARCHAR]
    case "object":
      return value === null ? [null, undefined] : fromObject(value, parameter)
    default:
      throw refuse("unbindable-value", parameter)
  }
}

// -0 and integers beyond 2^53 are doubles, because an integer column type would alter them.
const numberType = (value: number): DuckDBType => {
  if (!Number.isSafeInteger(value) || Object.is(value, -0)) return DOUBLE
  return value >= -2_147_483_648 && value <= 2_147_483_647 ? INTEGER : BIGINT
}

const bigintType = (value: bigint, parameter: number): DuckDBType => {
  if (value <= INT64_MAX && value >= -INT64_MAX - 1n) return BIGINT
  if (value <= INT128_MAX && value >= -INT128_MAX - 1n) return HUGEINT
  if (value > 0n && value <= UINT128_MAX) return UHUGEINT
  throw refuse("unbindable-value", parameter)
}

const fromObject = (value: object, parameter: number): Bound => {
  if (isDuckDbValue(value)) return [checked(value, parameter), undefined]
  if (value instanceof Date) {
    const millis = value.getTime()
    if (Number.isNaN(millis)) throw refuse("unbindable-value", parameter)
    return [new DuckDBTimestampTZValue(BigInt(millis) * 1000n), TIMESTAMPTZ]
  }
  const bytes = bytesOf(value)
  if (bytes !== undefined) return [blobValue(bytes), BLOB]
  if (Array.isArray(value)) return fromArray(value, parameter)
  if (isPlainObject(value)) return fromPlainObject(value, parameter)
  throw refuse("unbindable-value", parameter)
}

const bytesOf = (value: object): Uint8Array | undefined => {
  if (value instanceof Uint8Array) return value
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  return value instanceof ArrayBuffer ? new Uint8Array(value) : undefined
}

const fromArray = (values: ReadonlyArray<unknown>, parameter: number): Bound => {
  // Array.from, because map would leave the holes of a sparse array unvisited.
  const items = Array.from(values, (item) => toDuckDb(item, parameter))
  const type = items.reduce<DuckDBType>(
    (left, [value, right]) => common(left, typeOf(value, right, parameter), parameter),
    SQLNULL
  )
  return [listValue(items.map(([value]) => fit(value, type))), LIST(type)]
}

const fromPlainObject = (value: Record<string, unknown>, parameter: number): Bound => {
  const entries: Record<string, DuckDBValue> = {}
  const types: Record<string, DuckDBType> = {}
  for (const key of Object.keys(value)) {
    if (!key.isWellFormed()) throw refuse("lone-surrogate", parameter)
    if (isLostName(key)) throw refuse("unbindable-value", parameter)
    const [entry, type] = toDuckDb(value[key], parameter)
    entries[key] = entry
    types[key] = typeOf(entry, type, parameter)
  }
  if (Object.keys(entries).length === 0) throw refuse("unbindable-value", parameter)
  return [structValue(entries), STRUCT(types)]
}

/** The Node client would keep a part of such a field's name, or not the field. */
const isLostName = (name: string): boolean => name === "__proto__" || name.includes("\0")

// A DuckDB value made by the caller inside a list or object carries no type we could merge, except for the commonest.
const typeOf = (value: DuckDBValue, type: DuckDBType | undefined, parameter: number): DuckDBType => {
  if (type !== undefined) return type
  if (value === null) return SQLNULL
  throw refuse("several-types", parameter)
}

const widths: ReadonlyArray<DuckDBTypeId> = [DuckDBTypeId.INTEGER, DuckDBTypeId.BIGINT, DuckDBTypeId.HUGEINT]

const rank = (type: DuckDBType): number => widths.indexOf(type.typeId)

const common = (left: DuckDBType, right: DuckDBType, parameter: number): DuckDBType => {
  if (left.typeId === DuckDBTypeId.SQLNULL) return right
  if (right.typeId === DuckDBTypeId.SQLNULL) return left
  if (rank(left) >= 0 && rank(right) >= 0) return rank(left) > rank(right) ? left : right
  // Every INTEGER fits a double; a BIGINT may not.
  if (left.typeId === DuckDBTypeId.DOUBLE && right.typeId === DuckDBTypeId.INTEGER) return left
  if (right.typeId === DuckDBTypeId.DOUBLE && left.typeId === DuckDBTypeId.INTEGER) return right
  if (left instanceof DuckDBListType && right instanceof DuckDBListType) {
    return LIST(common(left.valueType, right.valueType, parameter))
  }
  if (left instanceof DuckDBStructType && right instanceof DuckDBStructType) {
    if (left.entryNames.length !== right.entryNames.length) throw refuse("several-types", parameter)
    const types: Record<string, DuckDBType> = {}
    for (const [index, name] of left.entryNames.entries()) {
      if (right.entryNames[index] !== name) throw refuse("several-types", parameter)
      types[name] = common(left.typeForEntry(name), right.typeForEntry(name), parameter)
    }
    return STRUCT(types)
  }
  if (left.typeId === right.typeId) return left
  throw refuse("several-types", parameter)
}

// Numbers bound as wide integers have to be bigints; lists and structs take the merged type of their elements.
const fit = (value: DuckDBValue, type: DuckDBType): DuckDBValue => {
  if (typeof value === "number" && (type.typeId === DuckDBTypeId.BIGINT || type.typeId === DuckDBTypeId.HUGEINT)) {
    return BigInt(value)
  }
  if (value instanceof DuckDBListValue && type instanceof DuckDBListType) {
    return listValue(value.items.map((item) => fit(item, type.valueType)))
  }
  if (value instanceof DuckDBStructValue && type instanceof DuckDBStructType) {
    const entries: Record<string, DuckDBValue> = {}
    for (const name of type.entryNames) entries[name] = fit(value.entries[name] ?? null, type.typeForEntry(name))
    return structValue(entries)
  }
  return value
}

const fromTyped = (typed: TypedValue, parameter: number): DuckDBValue => {
  const { value } = typed
  if (value === null || value === undefined) return null
  if (typeof value === "object" && isDuckDbValue(value)) return checked(value, parameter)
  if (!isWellFormedDeep(value)) throw refuse("lone-surrogate", parameter)
  try {
    return strictly(plainInput(value), typed.type, strictly)
  } catch (cause) {
    throw new DuckDbRefusal({ reason: "unbindable-value", parameter, cause })
  }
}

// What the Node client alters without a word: fields that a STRUCT lacks, texts as `true`, a HUGEINT or FLOAT out of range.
const strictly: typeof JSToDuckDBValueConverter = (value, type, converter) => {
  if (value === null) return null
  if (type instanceof DuckDBDecimalType) return decimalOf(value, type)
  const converted = JSToDuckDBValueConverter(value, type, converter)
  if (isAltered(value, converted, type)) throw new TypeError("the type cannot hold the value")
  return converted
}

const isAltered = (value: NonNullable<JS>, converted: DuckDBValue, type: DuckDBType): boolean => {
  switch (type.typeId) {
    case DuckDBTypeId.BOOLEAN:
      return typeof value !== "boolean"
    case DuckDBTypeId.FLOAT:
      return typeof value === "number" && Number.isFinite(value) !== Number.isFinite(Math.fround(value))
    case DuckDBTypeId.HUGEINT:
      return typeof converted === "bigint" && converted !== BigInt.asIntN(128, converted)
    default:
      return (
        type instanceof DuckDBStructType &&
        typeof value === "object" &&
        Object.keys(value).some((key) => isLostName(key) || !type.entryNames.includes(key))
      )
  }
}

/** A number rounded to the type's decimals, a text as it is, or a bigint of all digits. One out of range would end the process. */
const decimalOf = (value: JS, { scale, width }: DuckDBDecimalType): DuckDBDecimalValue => {
  const digits = typeof value === "bigint" ? value : digitsOf(decimalText(value, scale), scale)
  const decimal = new DuckDBDecimalValue(digits, width, scale)
  if (!isInWidth(decimal)) throw new RangeError("no DECIMAL of this width")
  return decimal
}

const isInWidth = ({ value, width }: DuckDBDecimalValue): boolean => {
  const limit = 10n ** BigInt(width)
  return value < limit && value > -limit
}

/** A value of DuckDB's own classes, unless DuckDB would store another: it takes a DECIMAL with too many digits for 0. */
const checked = <A extends DuckDBValue>(value: A, parameter: number): A => {
  const reason = alterationOf(value)
  if (reason !== undefined) throw refuse(reason, parameter)
  return value
}

/** Why a value would come back as another one. */
const alterationOf = (value: DuckDBValue): RefusalReason | undefined => {
  if (typeof value === "string") return value.isWellFormed() ? undefined : "lone-surrogate"
  if (value instanceof DuckDBDecimalValue) return isInWidth(value) ? undefined : "unbindable-value"
  if (value instanceof DuckDBListValue || value instanceof DuckDBArrayValue) return anyAlterationOf(value.items)
  if (value instanceof DuckDBUnionValue) return alterationOf(value.value)
  if (value instanceof DuckDBMapValue)
    return anyAlterationOf(value.entries.flatMap((entry) => [entry.key, entry.value]))
  if (!(value instanceof DuckDBStructValue)) return undefined
  const names = Object.keys(value.entries)
  if (names.some(isLostName)) return "unbindable-value"
  return anyAlterationOf([...names, ...Object.values(value.entries)])
}

const anyAlterationOf = (values: ReadonlyArray<DuckDBValue>): RefusalReason | undefined => {
  for (const value of values) {
    const reason = alterationOf(value)
    if (reason !== undefined) return reason
  }
  return undefined
}

const digitsOf = (text: string, scale: number): bigint => {
  const [, whole, fraction = ""] = /^(-?\d+)(?:\.(\d+))?$/.exec(text) ?? []
  if (whole === undefined || fraction.length > scale) throw new TypeError("no DECIMAL of this scale")
  return BigInt(whole + fraction.padEnd(scale, "0"))
}

/** From 1e21 on `toFixed` writes an exponent. */
const decimalText = (value: JS, scale: number): string => {
  if (typeof value !== "number") return String(value)
  return Math.abs(value) < 1e21 ? value.toFixed(scale) : String(Number.isFinite(value) ? BigInt(value) : value)
}

const plainInput = (value: unknown): JS => {
  if (value === null || value === undefined) return null
  switch (typeof value) {
    case "boolean":
    case "number":
    case "bigint":
    case "string":
      return value
  }
  if (value instanceof Date || value instanceof Uint8Array) return value
  if (Array.isArray(value)) return Array.from(value, plainInput)
  if (typeof value === "object" && isPlainObject(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, plainInput(entry)]))
  }
  throw new TypeError("no DuckDB counterpart")
}

const isWellFormedDeep = (value: unknown): boolean =>
  typeof value === "string"
    ? value.isWellFormed()
    : Array.isArray(value)
      ? value.every(isWellFormedDeep)
      : typeof value === "object" && value !== null && isPlainObject(value)
        ? Object.entries(value).every(([key, entry]) => key.isWellFormed() && isWellFormedDeep(entry))
        : true

const isPlainObject = (value: object): value is Record<string, unknown> => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

const valueClasses = [
  DuckDBArrayValue,
  DuckDBBitValue,
  DuckDBBlobValue,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBGeometryValue,
  DuckDBIntervalValue,
  DuckDBListValue,
  DuckDBMapValue,
  DuckDBStructValue,
  DuckDBTimestampMillisecondsValue,
  DuckDBTimestampNanosecondsValue,
  DuckDBTimestampSecondsValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  DuckDBTimeNSValue,
  DuckDBTimeTZValue,
  DuckDBTimeValue,
  DuckDBUnionValue,
  DuckDBUUIDValue,
  DuckDBVariantValue
]

const isDuckDbValue = (value: object): value is Exclude<DuckDBValue, null | boolean | number | bigint | string> =>
  valueClasses.some((valueClass) => value instanceof valueClass)

const refuse = (reason: RefusalReason, parameter: number): DuckDbRefusal => new DuckDbRefusal({ reason, parameter })
