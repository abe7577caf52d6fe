/**
 * Column codecs: how a JSON scalar becomes a column value and the same text again. A codec takes a value *exactly* when
 * its text can be rendered back from the stored value and a *style* (a small label of how it was spelt); otherwise it
 * stores the best value under a stated rule, or NULL, and says why. SQL casts decide nothing here: they are lenient.
 */
import { type Column, kinds, type SqlType } from "@mallard/schema"
import type { Cells, Layout } from "./Cells.ts"

/** Why a mapped leaf is not held exactly by its column. Also the codes of remarks in reports. */
export type InexactReason =
  | "date-with-time"
  | "date-basic-form"
  | "not-a-date"
  | "time-with-offset"
  | "time-too-fine"
  | "not-a-time"
  | "number-rounded"
  | "number-respelt"
  | "number-out-of-range"
  | "not-a-number"
  | "not-a-boolean"
  | "code-translated"
  | "code-unknown"
  | "text-unstorable"
  | "json-unstorable"

/** One sentence per reason: what the column holds instead. */
export const inexactRules: Readonly<Record<InexactReason, string>> = {
  "date-with-time": "a date column holds the calendar date as written of a date with a time",
  "date-basic-form": "a date column holds the date of the basic form YYYYMMDD",
  "not-a-date": "a date column is NULL for text that is no calendar date",
  "time-with-offset": "a time column holds the UTC instant of a time with an offset",
  "time-too-fine": "a time column holds microseconds; further digits are cut",
  "not-a-time": "a time column is NULL for text that is no date and time",
  "number-rounded": "a number column holds the number rounded to its decimals, half away from zero",
  "number-respelt": "a number column holds the value of a number spelt in a way that it cannot give back",
  "number-out-of-range": "a number column is NULL for a number that it cannot hold",
  "not-a-number": "a number column is NULL for what is no number",
  "not-a-boolean": "a boolean column holds what plainly means true or false, else NULL",
  "code-translated": "a code column holds the code that the word stands for",
  "code-unknown": "a code column is NULL for a word that stands for no known code",
  "text-unstorable": "a text column is NULL for text with lone surrogates or a leading byte order mark",
  "json-unstorable": "a JSON column is NULL for JSON that DuckDB does not take"
}

/** Result of reading a value: a style number (>= 0) when exact, else minus (reason index + 1). */
export type Verdict = number

const REASONS: ReadonlyArray<InexactReason> = [
  "date-with-time",
  "date-basic-form",
  "not-a-date",
  "time-with-offset",
  "time-too-fine",
  "not-a-time",
  "number-rounded",
  "number-respelt",
  "number-out-of-range",
  "not-a-number",
  "not-a-boolean",
  "code-translated",
  "code-unknown",
  "text-unstorable",
  "json-unstorable"
]
const inexact = (reason: InexactReason): Verdict => -1 - REASONS.indexOf(reason)
const DATE_WITH_TIME = inexact("date-with-time")
const DATE_BASIC = inexact("date-basic-form")
const NOT_A_DATE = inexact("not-a-date")
const TIME_WITH_OFFSET = inexact("time-with-offset")
const TIME_TOO_FINE = inexact("time-too-fine")
const NOT_A_TIME = inexact("not-a-time")
const NUMBER_ROUNDED = inexact("number-rounded")
const NUMBER_RESPELT = inexact("number-respelt")
const NUMBER_OUT_OF_RANGE = inexact("number-out-of-range")
const NOT_A_NUMBER = inexact("not-a-number")
const NOT_A_BOOLEAN = inexact("not-a-boolean")
export const CODE_TRANSLATED = inexact("code-translated")
export const CODE_UNKNOWN = inexact("code-unknown")
export const TEXT_UNSTORABLE = inexact("text-unstorable")
export const JSON_UNSTORABLE = inexact("json-unstorable")

export const reasonOf = (verdict: Verdict): InexactReason => REASONS[-1 - verdict]!

/** Type classes that the reader switches on. */
export type ColumnClass = "text" | "date" | "timestamp" | "number" | "double" | "boolean" | "json"

/** What the reader, the writer and the renderer need to know of a column. */
export interface ColumnCodec {
  readonly name: string
  readonly type: SqlType
  readonly class: ColumnClass
  readonly layout: Layout
  /** Digits after the point; 0 for integers. */
  readonly scale: number
  /** Largest and smallest scaled integer, exact, and as numbers for values below 10^15. */
  readonly range: { readonly low: bigint; readonly high: bigint }
  readonly low: number
  readonly high: number
  /** Words in lower case that stand for a code. */
  readonly decode: ReadonlyMap<string, string> | undefined
}

const rangeOf = (low: bigint, high: bigint): Pick<ColumnCodec, "range" | "low" | "high"> => ({
  range: { low, high },
  low: Number(low),
  high: Number(high)
})

export const makeCodec = (column: Column): ColumnCodec => {
  const decode = column.decode === undefined ? undefined : new Map(Object.entries(column.decode))
  const base = { name: column.name, type: column.type, decode, scale: 0, ...rangeOf(0n, 0n) }
  switch (column.type) {
    case "VARCHAR":
      return { ...base, class: "text", layout: "TEXT" }
    case "JSON":
      return { ...base, class: "json", layout: "TEXT" }
    case "DATE":
      return { ...base, class: "date", layout: "I32" }
    case "TIMESTAMP":
      return { ...base, class: "timestamp", layout: "I64" }
    case "INTEGER":
      return { ...base, class: "number", layout: "I32", ...rangeOf(-2147483648n, 2147483647n) }
    case "BIGINT":
      return { ...base, class: "number", layout: "I64", ...rangeOf(-9223372036854775808n, 9223372036854775807n) }
    case "DOUBLE":
      return { ...base, class: "double", layout: "F64" }
    case "BOOLEAN":
      return { ...base, class: "boolean", layout: "BOOL" }
    default: {
      const [precision = 18, scale = 0] = (column.type.match(/\d+/g) ?? []).map(Number)
      // DuckDB stores up to 4 digits in 16 bits; such columns are declared wider by nobody, so they are widened here.
      const limit = 10n ** BigInt(precision) - 1n
      return { ...base, class: "number", layout: precision <= 9 ? "I32" : "I64", scale, ...rangeOf(-limit, limit) }
    }
  }
}

const codecsByCode = kinds.reduce<Array<ReadonlyArray<ColumnCodec>>>((byCode, { code, columns }) => {
  byCode[code] = columns.map(makeCodec)
  return byCode
}, [])

/** The codecs of a kind's columns, in their order; none for a code that no declared kind has. */
export const codecsOf = (code: number): ReadonlyArray<ColumnCodec> => codecsByCode[code] ?? []

// ---------------------------------------------------------------- styles

/** Style numbers of texts: 0 a string, 1 a number or boolean token as text. */
export const TEXT_RAW = 1

const QUOTED = 64
const NUMBER_SHORTEST = 0
const NUMBER_FLOAT = 1
/** Style `2 + n`: exactly n digits after the point. */
const NUMBER_FIXED = 2

const TIME_SPACE = 1
const TIME_DATE_ONLY = 2
const TIME_MINUTES = 4
const TIME_FRACTION_SHIFT = 3
const TIME_Z = 64
const TIME_PLUS_ZERO = 128

/** The label of a style, as templates write it after the column's name; the empty text is the default. */
export const styleName = (codec: ColumnCodec, style: number): string => {
  switch (codec.class) {
    case "text":
      return style === TEXT_RAW ? "r" : ""
    case "number":
    case "double": {
      const spelling = style & (QUOTED - 1)
      const name = spelling === NUMBER_SHORTEST ? "" : spelling === NUMBER_FLOAT ? "f" : `d${spelling - NUMBER_FIXED}`
      return (style & QUOTED) === 0 ? name : `q${name}`
    }
    case "boolean":
      return style === QUOTED ? "q" : ""
    case "timestamp": {
      const fraction = (style >> TIME_FRACTION_SHIFT) & 7
      return (
        ((style & TIME_DATE_ONLY) === 0 ? "" : "d") +
        ((style & TIME_SPACE) === 0 ? "" : "s") +
        ((style & TIME_MINUTES) === 0 ? "" : "m") +
        (fraction === 0 ? "" : `f${fraction}`) +
        ((style & TIME_Z) === 0 ? "" : "z") +
        ((style & TIME_PLUS_ZERO) === 0 ? "" : "u")
      )
    }
    default:
      return ""
  }
}

/** The style of a label; undefined for a label that this codec never writes. */
export const styleFromName = (codec: ColumnCodec, name: string): number | undefined => {
  if (name === "") return 0
  switch (codec.class) {
    case "text":
      return name === "r" ? TEXT_RAW : undefined
    case "boolean":
      return name === "q" ? QUOTED : undefined
    case "number":
    case "double": {
      const match = /^(q?)(f|d(\d+))?$/.exec(name)
      if (match === null) return undefined
      const spelling =
        match[2] === undefined ? NUMBER_SHORTEST : match[2] === "f" ? NUMBER_FLOAT : NUMBER_FIXED + Number(match[3])
      return spelling < QUOTED ? spelling | (match[1] === "q" ? QUOTED : 0) : undefined
    }
    case "timestamp": {
      const match = /^(d?)(s?)(m?)(?:f([1-6]))?(z?)(u?)$/.exec(name)
      if (match === null) return undefined
      return (
        (match[1] === "" ? 0 : TIME_DATE_ONLY) |
        (match[2] === "" ? 0 : TIME_SPACE) |
        (match[3] === "" ? 0 : TIME_MINUTES) |
        (Number(match[4] ?? 0) << TIME_FRACTION_SHIFT) |
        (match[5] === "" ? 0 : TIME_Z) |
        (match[6] === "" ? 0 : TIME_PLUS_ZERO)
      )
    }
    default:
      return undefined
  }
}

// ---------------------------------------------------------------- dates and times

/** Days from 1970-01-01 of a date of the proleptic Gregorian calendar. */
export const daysFromCivil = (year: number, month: number, day: number): number => {
  const y = month <= 2 ? year - 1 : year
  const era = Math.floor(y / 400)
  const yearOfEra = y - era * 400
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear
  return era * 146097 + dayOfEra - 719468
}

/** `YYYY-MM-DD` of a number of days from 1970-01-01. */
export const civilFromDays = (days: number): string => {
  const z = days + 719468
  const era = Math.floor(z / 146097)
  const dayOfEra = z - era * 146097
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36524) - Math.floor(dayOfEra / 146096)) / 365
  )
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const mp = Math.floor((5 * dayOfYear + 2) / 153)
  const day = dayOfYear - Math.floor((153 * mp + 2) / 5) + 1
  const month = mp < 10 ? mp + 3 : mp - 9
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  return `${String(year).padStart(4, "0")}-${String(month).padStart(2, "0")}-${String(day).padStart(2, "0")}`
}

const NO_DATE = -2147483648
const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

/** The value of `count` decimal digits at `at`, or -1. */
const digits = (bytes: Uint8Array, at: number, count: number): number => {
  let value = 0
  for (let i = 0; i < count; i++) {
    const c = bytes[at + i]!
    if (c < 48 || c > 57) return -1
    value = value * 10 + c - 48
  }
  return value
}

const civil = (year: number, month: number, day: number): number => {
  if (year < 1 || month < 1 || month > 12 || day < 1) return NO_DATE
  const leap = month === 2 && year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
  return day > DAYS[month - 1]! + (leap ? 1 : 0) ? NO_DATE : daysFromCivil(year, month, day)
}

/** Days of the ten bytes `YYYY-MM-DD` at `at`, or `NO_DATE`. */
const dateAt = (bytes: Uint8Array, at: number): number => {
  if (bytes[at + 4] !== 45 || bytes[at + 7] !== 45) return NO_DATE
  const year = digits(bytes, at, 4)
  const month = digits(bytes, at + 5, 2)
  const day = digits(bytes, at + 8, 2)
  return year < 0 ? NO_DATE : civil(year, month, day)
}

/** Result of `timeAt`, kept outside so that the hot path allocates nothing. */
const time = { days: 0, micros: 0, style: 0, offset: 0, hasOffset: false, cut: false }

/** Reads `YYYY-MM-DD[T| ]HH:MM[:SS[.f…]][Z|±HH[:MM]]` (or the date alone) between `start` and `end` into `time`. */
const timeAt = (bytes: Uint8Array, start: number, end: number): boolean => {
  const length = end - start
  if (length < 10) return false
  const days = dateAt(bytes, start)
  if (days === NO_DATE) return false
  time.days = days
  time.micros = 0
  time.offset = 0
  time.hasOffset = false
  time.cut = false
  if (length === 10) {
    time.style = TIME_DATE_ONLY
    return true
  }
  const separator = bytes[start + 10]
  let style = separator === 84 ? 0 : separator === 32 ? TIME_SPACE : -1
  if (style < 0 || length < 16 || bytes[start + 13] !== 58) return false
  const hour = digits(bytes, start + 11, 2)
  const minute = digits(bytes, start + 14, 2)
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59) return false
  let p = start + 16
  let second = 0
  let fraction = 0
  if (p < end && bytes[p] === 58) {
    if (p + 3 > end) return false
    second = digits(bytes, p + 1, 2)
    if (second < 0 || second > 59) return false
    p += 3
    if (p < end && bytes[p] === 46) {
      let count = 0
      for (p++; p < end && bytes[p]! >= 48 && bytes[p]! <= 57; p++) {
        if (count < 6) fraction = fraction * 10 + bytes[p]! - 48
        count++
      }
      if (count === 0) return false
      time.cut = count > 6
      for (let i = count; i < 6; i++) fraction *= 10
      style |= Math.min(count, 6) << TIME_FRACTION_SHIFT
    }
  } else style |= TIME_MINUTES
  time.micros = ((hour * 60 + minute) * 60 + second) * 1e6 + fraction
  time.style = style
  if (p === end) return true
  if (bytes[p] === 90 && p + 1 === end) {
    time.style |= TIME_Z
    return true
  }
  const sign = bytes[p] === 43 ? 1 : bytes[p] === 45 ? -1 : 0
  if (sign === 0) return false
  const offsetHour = p + 3 <= end ? digits(bytes, p + 1, 2) : -1
  const colon = bytes[p + 3] === 58
  const minutesAt = colon ? p + 4 : p + 3
  const offsetMinute = p + 3 === end ? 0 : minutesAt + 2 === end ? digits(bytes, minutesAt, 2) : -1
  if (offsetHour < 0 || offsetHour > 23 || offsetMinute < 0 || offsetMinute > 59) return false
  time.offset = sign * (offsetHour * 60 + offsetMinute) * 60_000_000
  if (time.offset === 0 && sign === 1 && colon) time.style |= TIME_PLUS_ZERO
  else time.hasOffset = true
  return true
}

/** Days of 0001-01-01 and of 10000-01-01: outside of them, times have no four-digit year. */
export const FIRST_DAY = daysFromCivil(1, 1, 1)
export const END_DAY = daysFromCivil(10_000, 1, 1)

/** Microseconds may reach into the day before or after. An instant outside the years 1 to 9999 is left NULL. */
const setTime = (cells: Cells, row: number, days: number, micros: number): void => {
  if ((days === FIRST_DAY && micros < 0) || (days === END_DAY - 1 && micros >= 86_400_000_000)) return
  const value = days * 86_400_000_000 + micros
  if (Number.isSafeInteger(value)) cells.setLong(row, value)
  else cells.setBigInt(row, BigInt(days) * 86_400_000_000n + BigInt(micros))
}

/** Eight digits YYYYMMDD and nothing else. */
const basicDate = (bytes: Uint8Array, start: number, end: number): number => {
  if (end - start !== 8) return NO_DATE
  const year = digits(bytes, start, 4)
  const month = digits(bytes, start + 4, 2)
  const day = digits(bytes, start + 6, 2)
  return year < 0 || month < 0 || day < 0 ? NO_DATE : civil(year, month, day)
}

/** Reads the text between the quotes at `start` and `end` into a DATE column. */
export const readDate = (bytes: Uint8Array, start: number, end: number, cells: Cells, row: number): Verdict => {
  if (end - start === 10) {
    const days = dateAt(bytes, start)
    if (days === NO_DATE) return NOT_A_DATE
    cells.setInt(row, days)
    return 0
  }
  if (timeAt(bytes, start, end)) {
    cells.setInt(row, time.days)
    return DATE_WITH_TIME
  }
  const days = basicDate(bytes, start, end)
  if (days === NO_DATE) return NOT_A_DATE
  cells.setInt(row, days)
  return DATE_BASIC
}

/** Reads the text between the quotes at `start` and `end` into a TIMESTAMP column. */
export const readTimestamp = (bytes: Uint8Array, start: number, end: number, cells: Cells, row: number): Verdict => {
  if (!timeAt(bytes, start, end)) {
    const days = basicDate(bytes, start, end)
    if (days === NO_DATE) return NOT_A_TIME
    setTime(cells, row, days, 0)
    return DATE_BASIC
  }
  setTime(cells, row, time.days, time.micros - (time.hasOffset ? time.offset : 0))
  if (time.hasOffset) return TIME_WITH_OFFSET
  return time.cut ? TIME_TOO_FINE : time.style
}

// ---------------------------------------------------------------- numbers

const isDigit = (c: number): boolean => c >= 48 && c <= 57

/**
 * Reads a number between `start` and `end` into an INTEGER, BIGINT or DECIMAL column. `quoted` numbers come from
 * strings and must be spelt as JSON numbers are.
 */
export const readNumber = (
  codec: ColumnCodec,
  bytes: Uint8Array,
  start: number,
  end: number,
  quoted: boolean,
  cells: Cells,
  row: number
): Verdict => {
  let p = start
  const negative = bytes[p] === 45
  if (negative) p++
  const first = p
  let value = 0
  while (p < end && isDigit(bytes[p]!)) value = value * 10 + bytes[p++]! - 48
  const whole = p - first
  if (whole === 0 || (whole > 1 && bytes[first] === 48)) return NOT_A_NUMBER
  let fraction = 0
  // Digits of the fraction without its trailing zeros.
  let significant = 0
  if (p < end && bytes[p] === 46) {
    const from = ++p
    while (p < end && isDigit(bytes[p]!)) {
      p++
      if (bytes[p - 1] !== 48) significant = p - from
    }
    fraction = p - from
    if (fraction === 0) return NOT_A_NUMBER
  }
  if (p < end) return readAwkwardNumber(codec, latin1(bytes, start, end), cells, row)
  if (significant > codec.scale || whole + codec.scale > 15)
    return readWideNumber(codec, latin1(bytes, start, end), fraction, significant, quoted, cells, row)
  const at = first + whole + 1
  for (let i = 0; i < codec.scale; i++) value = value * 10 + (i < significant ? bytes[at + i]! - 48 : 0)
  if (negative) value = -value
  if (value > codec.high || value < codec.low) return NUMBER_OUT_OF_RANGE
  if (codec.layout === "I32") cells.setInt(row, value)
  else cells.setLong(row, value)
  // No column keeps the sign of zero.
  if (negative && value === 0) return NUMBER_RESPELT
  return numberStyle(fraction, significant, quoted)
}

const numberStyle = (fraction: number, significant: number, quoted: boolean): number => {
  const spelling = fraction === significant ? NUMBER_SHORTEST : fraction === 1 ? NUMBER_FLOAT : NUMBER_FIXED + fraction
  return spelling >= QUOTED ? NUMBER_RESPELT : spelling | (quoted ? QUOTED : 0)
}

/**
 * Whether a number that reads as style `own` may be labelled `style` and still render the same: a number like 12.45 can
 * be shortest, a Python float, or fixed to two digits.
 */
export const rendersAlike = (own: number, style: number, fraction: number): boolean => {
  if (own === style) return true
  if ((own & QUOTED) !== (style & QUOTED)) return false
  const spelling = style & (QUOTED - 1)
  const ownSpelling = own & (QUOTED - 1)
  if (spelling >= NUMBER_FIXED) return spelling - NUMBER_FIXED === fraction
  if (spelling === NUMBER_FLOAT) return ownSpelling === NUMBER_SHORTEST && fraction > 0
  return false
}

const latin1 = (bytes: Uint8Array, start: number, end: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("latin1")

const setExact = (codec: ColumnCodec, value: bigint, cells: Cells, row: number): boolean => {
  if (value > codec.range.high || value < codec.range.low) return false
  if (codec.layout === "I32") cells.setInt(row, Number(value))
  else cells.setBigInt(row, value)
  return true
}

/** More than 15 digits, or more decimals than the column has. */
const readWideNumber = (
  codec: ColumnCodec,
  text: string,
  fraction: number,
  significant: number,
  quoted: boolean,
  cells: Cells,
  row: number
): Verdict => {
  const rounded = scaled(text, codec.scale)
  if (rounded === undefined || !setExact(codec, rounded.value, cells, row)) return NUMBER_OUT_OF_RANGE
  if (!rounded.exact) return NUMBER_ROUNDED
  return rounded.value === 0n && text.startsWith("-") ? NUMBER_RESPELT : numberStyle(fraction, significant, quoted)
}

/** Exponents, and strings that are no numbers. */
const readAwkwardNumber = (codec: ColumnCodec, text: string, cells: Cells, row: number): Verdict => {
  if (!/^-?(0|[1-9]\d*)(\.\d+)?[eE][+-]?\d+$/.test(text)) return NOT_A_NUMBER
  const rounded = scaled(text, codec.scale)
  if (rounded === undefined || !setExact(codec, rounded.value, cells, row)) return NUMBER_OUT_OF_RANGE
  return rounded.exact ? NUMBER_RESPELT : NUMBER_ROUNDED
}

const WIDEST = 40

/** A decimal text times 10^scale, rounded half away from zero; undefined when it is astronomically large. */
const scaled = (text: string, scale: number): { readonly value: bigint; readonly exact: boolean } | undefined => {
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text)
  if (match === null) return undefined
  const digitsText = match[2]! + (match[3] ?? "")
  if (/^0*$/.test(digitsText)) return { value: 0n, exact: true }
  const shift = Number(match[4] ?? 0) - (match[3]?.length ?? 0) + scale
  const significantDigits = digitsText.replace(/^0+/, "")
  if (significantDigits.length + shift > WIDEST) return undefined
  if (significantDigits.length + shift < 0) return { value: 0n, exact: false }
  const sign = match[1] === "-" ? -1n : 1n
  if (shift >= 0) return { value: sign * BigInt(significantDigits) * 10n ** BigInt(shift), exact: true }
  const kept = significantDigits.slice(0, shift)
  const dropped = significantDigits.slice(shift).padStart(-shift, "0")
  const magnitude = BigInt(kept === "" ? "0" : kept) + (dropped.charCodeAt(0) >= 53 ? 1n : 0n)
  return { value: sign * magnitude, exact: /^0*$/.test(dropped) }
}

/** Reads a number into a DOUBLE column. */
export const readDouble = (
  bytes: Uint8Array,
  start: number,
  end: number,
  quoted: boolean,
  cells: Cells,
  row: number
): Verdict => {
  const text = latin1(bytes, start, end)
  if (!/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text)) return NOT_A_NUMBER
  const value = Number(text)
  if (!Number.isFinite(value)) return NUMBER_OUT_OF_RANGE
  cells.setDouble(row, value === 0 ? 0 : value)
  const shortest = String(value)
  const q = quoted ? QUOTED : 0
  if (Object.is(value, -0)) return NUMBER_RESPELT
  if (text === shortest) return NUMBER_SHORTEST | q
  if (text === `${shortest}.0`) return NUMBER_FLOAT | q
  return NUMBER_RESPELT
}

/** Reads `true`, `false` or a string into a BOOLEAN column. */
export const readBoolean = (
  bytes: Uint8Array,
  start: number,
  end: number,
  quoted: boolean,
  cells: Cells,
  row: number
): Verdict => {
  const text = end - start > 5 ? "" : latin1(bytes, start, end)
  if (text === "true" || text === "false") {
    cells.setInt(row, text === "true" ? 1 : 0)
    return quoted ? QUOTED : 0
  }
  const lower = text.toLowerCase()
  if (quoted && (lower === "true" || lower === "false")) cells.setInt(row, lower === "true" ? 1 : 0)
  return NOT_A_BOOLEAN
}

// ---------------------------------------------------------------- rendering

/** A column value as the renderers take it: text, exact integer (scaled for DECIMAL), double or boolean. */
export type ColumnValue = string | number | bigint | boolean | null

const quote = (text: string, style: number): string => ((style & QUOTED) === 0 ? text : `"${text}"`)

const TWO = (n: number): string => (n < 10 ? `0${n}` : String(n))

/**
 * Renders a time in a style of `readTimestamp`. What the style leaves out is zero in every row of ours; where it is not, it
 * is shown all the same, because a value that was changed must not look as before.
 */
const renderTime = (micros: bigint, style: number): string => {
  const days = micros >= 0n ? micros / 86_400_000_000n : -((-micros + 86_399_999_999n) / 86_400_000_000n)
  const rest = Number(micros - days * 86_400_000_000n)
  const date = civilFromDays(Number(days))
  if ((style & TIME_DATE_ONLY) !== 0 && rest === 0) return `"${date}"`
  const seconds = Math.floor(rest / 1e6)
  const fraction = String(rest % 1e6).padStart(6, "0")
  const styled = fraction.slice(0, (style >> TIME_FRACTION_SHIFT) & 7)
  const shown = Number(fraction.slice(styled.length)) === 0 ? styled : fraction
  const hasSeconds = (style & TIME_MINUTES) === 0 || seconds % 60 !== 0 || shown !== ""
  return (
    `"${date}${(style & TIME_SPACE) === 0 ? "T" : " "}${TWO(Math.floor(seconds / 3600))}:${TWO(Math.floor(seconds / 60) % 60)}` +
    (hasSeconds ? `:${TWO(seconds % 60)}` : "") +
    (shown === "" ? "" : `.${shown}`) +
    ((style & TIME_Z) === 0 ? "" : "Z") +
    ((style & TIME_PLUS_ZERO) === 0 ? '"' : '+00:00"')
  )
}

const renderNumber = (codec: ColumnCodec, value: bigint, style: number): string => {
  const negative = value < 0n
  const all = (negative ? -value : value).toString().padStart(codec.scale + 1, "0")
  const whole = all.slice(0, all.length - codec.scale)
  const fraction = all.slice(all.length - codec.scale).replace(/0+$/, "")
  const spelling = style & (QUOTED - 1)
  const shown =
    spelling === NUMBER_SHORTEST
      ? fraction
      : spelling === NUMBER_FLOAT
        ? fraction || "0"
        : fraction.padEnd(spelling - NUMBER_FIXED, "0")
  return quote(`${negative ? "-" : ""}${whole}${shown === "" ? "" : `.${shown}`}`, style)
}

/**
 * The compact JSON text of a column value: DATE as days, TIMESTAMP as microseconds, DECIMAL as the scaled integer, JSON
 * and VARCHAR as text. NULL is `null`.
 */
export const renderValue = (codec: ColumnCodec, value: ColumnValue, style: number): string => {
  if (value === null) return "null"
  switch (codec.class) {
    case "text":
      return style === TEXT_RAW ? String(value) : JSON.stringify(value)
    case "json":
      return String(value)
    case "date":
      return `"${civilFromDays(Number(value))}"`
    case "timestamp":
      return renderTime(BigInt(value), style)
    case "number":
      return renderNumber(codec, BigInt(value), style)
    case "double": {
      const text = String(value)
      return quote((style & (QUOTED - 1)) === NUMBER_FLOAT ? `${text}.0` : text, style)
    }
    case "boolean":
      return quote(String(value === true || value === 1), style)
  }
}
