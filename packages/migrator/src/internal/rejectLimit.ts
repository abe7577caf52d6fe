/** How many sources of a run may be rejected. */
import type { Totals } from "../Report.ts"

export interface RejectLimit {
  readonly value: number
  readonly unit: "sources" | "percent"
}

/** A limit as in `10` or `5%`; undefined for any other text. */
export const parseRejectLimit = (text: string): RejectLimit | undefined => {
  const match = /^(\d{1,9})$|^(\d{1,3}(?:\.\d{1,6})?)%$/.exec(text.trim())
  if (match === null) return undefined
  if (match[1] !== undefined) return { value: Number(match[1]), unit: "sources" }
  const percent = Number(match[2])
  return percent > 100 ? undefined : { value: percent, unit: "percent" }
}

export const textOfLimit = ({ unit, value }: RejectLimit): string => `${value}${unit === "percent" ? "%" : ""}`

/** Whether more were rejected, or failed, than the limit allows. */
export const isExceeded = (
  { unit, value }: RejectLimit,
  { failed, found, rejected }: Pick<Totals, "failed" | "found" | "rejected">
): boolean => rejected + failed > (unit === "percent" ? (value * found) / 100 : value)
