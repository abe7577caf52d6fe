/**
 * Column values in the form that people and programs read, and back.
 */
import { civilFromDays, type ColumnCodec, type ColumnValue, daysFromCivil } from "../Codec.ts"

/**
 * A column's value in a form for people and programs: DATE as `YYYY-MM-DD`, TIMESTAMP as `YYYY-MM-DDTHH:MM:SS[.ffffff]`,
 * DECIMAL as text with all its decimals, BIGINT as a number where that is exact. This is what `toCanonical` takes.
 */
export const toRowValue = (codec: ColumnCodec, value: ColumnValue): ColumnValue => {
  if (value === null) return null
  switch (codec.class) {
    case "date":
      return civilFromDays(Number(value))
    case "timestamp":
      return timestampText(BigInt(value))
    case "number": {
      if (codec.type.startsWith("DECIMAL")) return decimalText(BigInt(value), codec.scale)
      const exact = Number(value)
      return Number.isSafeInteger(exact) ? exact : value
    }
    default:
      return value
  }
}

/** The value that `toRowValue` showed; undefined for what it never gives. */
export const fromRowValue = (codec: ColumnCodec, shown: unknown): ColumnValue | undefined => {
  if (shown === null) return null
  const text = typeof shown === "string" ? shown : undefined
  let value: number | bigint | undefined
  switch (codec.class) {
    case "text":
    case "json":
      return text
    case "boolean":
      return typeof shown === "boolean" ? shown : undefined
    case "double":
      return typeof shown === "number" && Number.isFinite(shown) ? shown : undefined
    case "date": {
      const [, year, month, day] = /^(\d{4})-(\d\d)-(\d\d)$/.exec(text ?? "") ?? []
      value = daysFromCivil(Number(year), Number(month), Number(day))
      break
    }
    case "timestamp": {
      const [, year, month, day, hour, minute, second, fraction = ""] =
        /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{6}))?$/.exec(text ?? "") ?? []
      const seconds = (Number(hour) * 60 + Number(minute)) * 60 + Number(second)
      const days = daysFromCivil(Number(year), Number(month), Number(day))
      if (Number.isNaN(days + seconds)) return undefined
      value = BigInt(days) * 86_400_000_000n + BigInt(seconds) * 1_000_000n + BigInt(fraction || 0)
      break
    }
    case "number":
      if (text !== undefined && /^-?\d+\.\d+$/.test(text)) value = BigInt(text.replace(".", ""))
      else if (typeof shown === "bigint") value = shown
      else if (Number.isSafeInteger(shown)) value = BigInt(Number(shown))
      if (value === undefined || value < codec.range.low || value > codec.range.high) return undefined
      if (typeof shown === "bigint" && codec.type === "BIGINT") return value
  }
  // Out of range, or a spelling that is not the one we give.
  return toRowValue(codec, value) === shown ? value : undefined
}

const timestampText = (micros: bigint): string => {
  const day = 86_400_000_000n
  const rest = ((micros % day) + day) % day
  const seconds = Number(rest / 1_000_000n)
  const fraction = Number(rest % 1_000_000n)
  const two = (n: number): string => String(n).padStart(2, "0")
  return (
    `${civilFromDays(Number((micros - rest) / day))}T${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:` +
    two(seconds % 60) +
    (fraction === 0 ? "" : `.${String(fraction).padStart(6, "0")}`)
  )
}

const decimalText = (scaled: bigint, scale: number): string => {
  const digits = String(scaled < 0n ? -scaled : scaled).padStart(scale + 1, "0")
  const whole = digits.slice(0, digits.length - scale)
  return `${scaled < 0n ? "-" : ""}${whole}${scale === 0 ? "" : `.${digits.slice(digits.length - scale)}`}`
}
