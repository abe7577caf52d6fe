/** The arithmetic of the benchmarks: plain functions from numbers to numbers, none of which hides an outlier. */

/** The middle of the numbers, or the mean of the two in the middle; NaN of none. */
export const median = (numbers: ReadonlyArray<number>): number => {
  const sorted = [...numbers].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/** The median of each round's own ratio: what slowed one round down slowed both of its sides. */
export const ratioOfRounds = (ours: ReadonlyArray<number>, base: ReadonlyArray<number>): number =>
  median(ours.flatMap((value, round) => (base[round] === undefined ? [] : [value / base[round]])))

export interface Point {
  readonly x: number
  readonly y: number
}

export interface Fit {
  /** The power of x that y grows with: 0 is flat, 1 linear, 2 quadratic. */
  readonly slope: number
  /** What y is at x = 1. */
  readonly factor: number
  /** The largest factor, up or down, between a point and the line; 1 if all lie on it. */
  readonly deviation: number
  /** How many points the line goes through. */
  readonly points: number
}

/** The straight line through the logarithms of the points, by least squares; undefined of fewer than two places. */
export const powerFit = (points: ReadonlyArray<Point>): Fit | undefined => {
  const logs = points.filter(({ x, y }) => x > 0 && y > 0).map(({ x, y }) => ({ x: Math.log(x), y: Math.log(y) }))
  const mean = (of: (point: Point) => number): number => logs.reduce((sum, point) => sum + of(point), 0) / logs.length
  const centre = { x: mean(({ x }) => x), y: mean(({ y }) => y) }
  const width = logs.reduce((sum, { x }) => sum + (x - centre.x) ** 2, 0)
  if (logs.length < 2 || width === 0) return undefined
  const slope = logs.reduce((sum, { x, y }) => sum + (x - centre.x) * (y - centre.y), 0) / width
  const start = centre.y - slope * centre.x
  const deviation = Math.exp(Math.max(...logs.map(({ x, y }) => Math.abs(y - (start + slope * x)))))
  return { slope, factor: Math.exp(start), deviation, points: logs.length }
}

/** The points without a cost that each of them has, leaving out those that are hardly more than it. */
export const withoutBase = (points: ReadonlyArray<Point>, base: number): ReadonlyArray<Point> =>
  points.filter(({ y }) => y >= 1.5 * base).map(({ x, y }) => ({ x, y: y - base }))
