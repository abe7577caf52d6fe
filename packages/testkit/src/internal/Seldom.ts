/** Choices that are not taken most of the time, and shrink to not being taken. */

import * as fc from "fast-check"

/** `nil`, but one time in `times` a value. */
export const seldom = <A, const Nil>(arbitrary: fc.Arbitrary<A>, times: number, nil: Nil): fc.Arbitrary<A | Nil> =>
  fc.oneof(
    { withCrossShrink: true },
    { weight: times - 1, arbitrary: fc.constant<A | Nil>(nil) },
    { weight: 1, arbitrary: arbitrary.map((value): A | Nil => value) }
  )
