/** Charts as SVG text that needs nothing else: no script, no font, no style sheet. */
import { type Bars, type Curves, short } from "./Report.ts"

export const escapeHtml = (text: string): string =>
  text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;")

/** Horizontal bars from zero, each with its number and a whisker from its lowest to its highest round. */
export const barChart = ({ bars, title, unit }: Bars): string => {
  const top = Math.max(...bars.map(({ high }) => high), Number.MIN_VALUE)
  const scale = (value: number): number => (value / top) * BAR_WIDTH
  const rows = bars.map(({ high, label, low, value }, at) => {
    const y = at * BAR_STEP
    const middle = y + 11
    const ours = label.startsWith("mallard")
    return [
      `<text x="${LABEL_WIDTH - 8}" y="${y + 15}" text-anchor="end">${escapeHtml(label)}</text>`,
      `<rect x="${LABEL_WIDTH}" y="${y}" width="${scale(value).toFixed(1)}" height="22" fill="${ours ? OURS : OTHERS}"/>`,
      `<path d="M${(LABEL_WIDTH + scale(low)).toFixed(1)} ${middle}H${(LABEL_WIDTH + scale(high)).toFixed(1)}" stroke="#222"/>`,
      `<text x="${(LABEL_WIDTH + scale(Math.max(value, high)) + 6).toFixed(1)}" y="${y + 15}">${short(value)}</text>`
    ].join("")
  })
  const height = bars.length * BAR_STEP
  return svg(LABEL_WIDTH + BAR_WIDTH + 90, height, `${title}, ${unit}`, rows.join("\n"))
}

/** Lines over two logarithmic axes, with a thin line of what growing in step with x would look like. */
export const curveChart = ({ lines, title, x, y }: Curves): string => {
  const points = lines.flatMap(({ points }) => points).filter((point) => point.x > 0 && point.y > 0)
  if (points.length === 0) return ""
  const xs = decadesOf(points.map((point) => point.x))
  const ys = decadesOf(points.map((point) => point.y))
  const left = (value: number): number => 64 + ((Math.log10(value) - xs.from) / (xs.to - xs.from)) * PLOT_WIDTH
  const top = (value: number): number => 10 + (1 - (Math.log10(value) - ys.from) / (ys.to - ys.from)) * PLOT_HEIGHT
  const at = (point: { readonly x: number; readonly y: number }): string =>
    `${left(point.x).toFixed(1)} ${top(point.y).toFixed(1)}`
  const grid = [
    ...decades(xs).map(
      (value) =>
        `<path d="M${left(value).toFixed(1)} 10V${10 + PLOT_HEIGHT}" stroke="#ddd"/><text x="${left(value).toFixed(1)}" y="${26 + PLOT_HEIGHT}" text-anchor="middle">${tick(value)}</text>`
    ),
    ...decades(ys).map(
      (value) =>
        `<path d="M64 ${top(value).toFixed(1)}H${64 + PLOT_WIDTH}" stroke="#ddd"/><text x="58" y="${(top(value) + 4).toFixed(1)}" text-anchor="end">${tick(value)}</text>`
    )
  ]
  const drawn = lines.map(({ label, points }, index) => {
    const colour = COLOURS[index % COLOURS.length] ?? OURS
    const kept = points.filter((point) => point.x > 0 && point.y > 0)
    const circles = kept.map(
      (point) =>
        `<circle cx="${left(point.x).toFixed(1)}" cy="${top(point.y).toFixed(1)}" r="3.5" fill="${colour}"><title>${short(point.x)}: ${short(point.y)}</title></circle>`
    )
    return [
      `<path d="M${kept.map(at).join("L")}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      ...circles,
      `<text x="${72 + PLOT_WIDTH}" y="${24 + index * 18}" fill="${colour}">${escapeHtml(label)}</text>`
    ].join("")
  })
  const captions = `<text x="${64 + PLOT_WIDTH / 2}" y="${46 + PLOT_HEIGHT}" text-anchor="middle">${escapeHtml(x)} → ${escapeHtml(y)}</text>`
  return svg(64 + PLOT_WIDTH + 150, 54 + PLOT_HEIGHT, title, [...grid, ...drawn, captions].join("\n"))
}

const LABEL_WIDTH = 330
const BAR_WIDTH = 460
const BAR_STEP = 28
const PLOT_WIDTH = 520
const PLOT_HEIGHT = 260
const OURS = "#1b6b4a"
const OTHERS = "#9aa5ad"
const COLOURS = [OURS, "#b5541c", "#3b5fa8", "#8a3b8f"]

const svg = (width: number, height: number, label: string, content: string): string =>
  `<svg viewBox="0 0 ${width} ${height}" width="${width}" role="img" aria-label="${escapeHtml(label)}">\n${content}\n</svg>`

interface Decades {
  readonly from: number
  readonly to: number
}

const decadesOf = (values: ReadonlyArray<number>): Decades => {
  const from = Math.floor(Math.log10(Math.min(...values)))
  return { from, to: Math.max(from + 1, Math.ceil(Math.log10(Math.max(...values)))) }
}

const decades = ({ from, to }: Decades): ReadonlyArray<number> =>
  Array.from({ length: to - from + 1 }, (_, step) => 10 ** (from + step))

const tick = (value: number): string =>
  value >= 1e4 || value < 0.01 ? value.toExponential(0).replace("+", "") : String(value)
