/** Names of cohorts: which are allowed, how one is made up from what a cohort is about, and which come near one that is not there. Pure. */

/** Longest name of a cohort, in UTF-16 units. */
export const MAX_NAME = 1000

/** Whether a text can be a cohort's name. */
export const isName = (name: string): boolean =>
  // Programs without types ask too. Nobody sees a leading byte order mark or a control character: two names could look alike.
  typeof name === "string" &&
  name.length <= MAX_NAME &&
  name.trim() !== "" &&
  name.isWellFormed() &&
  !/^\uFEFF|\p{Cc}/u.test(name)

/** A name for the file of a cohort that was made by a program. */
export const fileNameOf = (name: string): string =>
  `${name
    .replace(/[/\\:*?"<>|\p{Cc}]/gu, "_")
    .slice(0, 100)
    .toWellFormed()}.json`

/** Words that say nothing about what a cohort is. */
const STOP_WORDS = new Set(
  (
    "the and for with from that this these those are was were has have had been being will would could should can may " +
    "might must shall about into onto over under above below between through during before after again once all any " +
    "both each few more most other some such only own same than too very just also not nor but yet who whom whose which " +
    "what when where why how you your our their its his her him them they she one two three four five six seven eight " +
    "nine ten create generate make give want need please show add build new sample test data some year years old aged " +
    "age least cohort cohorts set group list"
  ).split(" ")
)

/** Words of health care, which say most. */
const TELLING_WORDS = new Set(
  (
    "diabetes diabetic hypertension hypertensive cardiac heart stroke cancer oncology colorectal breast lung asthma copd " +
    "pneumonia sepsis renal kidney liver obesity depression anxiety dementia arthritis pregnancy maternal pediatric " +
    "paediatric geriatric elderly infant newborn surgery surgical emergency inpatient outpatient ambulatory chronic acute " +
    "medicare medicaid commercial enrollment claims pharmacy prescription vaccination trial oncologic screening icu"
  ).split(" ")
)

/** Words of a text that could name a cohort, the telling ones first, at most three. */
export const keywordsOf = (text: string): ReadonlyArray<string> => {
  const words = [...new Set(text.toLowerCase().match(/\p{L}+/gu) ?? [])].filter(
    (word) => word.length >= 3 && !STOP_WORDS.has(word)
  )
  return [
    ...words.filter((word) => TELLING_WORDS.has(word)),
    ...words.filter((word) => !TELLING_WORDS.has(word))
  ].slice(0, MAX_KEYWORDS)
}

const MAX_KEYWORDS = 3
const MAX_PART = 50

/** Lower case, hyphens for blanks, letters and digits of any script only, at most 50 characters. */
export const plainName = (text: string): string =>
  [
    ...text
      .normalize("NFC")
      .toLowerCase()
      .replace(/[\s_]+/g, "-")
      .replace(/[^\p{L}\p{M}\p{N}-]/gu, "")
      .replace(/-+/g, "-")
  ]
    .slice(0, MAX_PART)
    .join("")
    .replace(/^-|-$/g, "")

/** What a name is made from. */
export interface NameHints {
  /** Used as they are, at most three. */
  readonly keywords?: ReadonlyArray<string> | undefined
  /** A sentence that the cohort comes from. */
  readonly context?: string | undefined
  /** The types of entities in it; the first is used where there is room. */
  readonly types?: ReadonlyArray<string> | undefined
}

/** `keywords-YYYYMMDD` for a day in UTC; without any keyword `cohort-YYYYMMDD`. */
export const madeUpName = (hints: NameHints, day: Date): string => {
  const given = (hints.keywords ?? []).map(plainName).filter((word) => word !== "")
  const words = given.length > 0 ? given.slice(0, MAX_KEYWORDS) : [...keywordsOf(hints.context ?? "")]
  const [type] = hints.types ?? []
  if (type !== undefined && words.length < MAX_KEYWORDS && !words.includes(plainName(type))) words.push(plainName(type))
  const date = day.toISOString().slice(0, 10).replaceAll("-", "")
  return `${plainName(words.join("-")) || "cohort"}-${date}`
}

/** The name, or the first of `name-2`, `name-3`, … that is not taken. */
export const uniqueName = (name: string, isTaken: (name: string) => boolean): string => {
  let unique = name
  for (let number = 2; isTaken(unique); number++) unique = `${name}-${number}`
  return unique
}

const mostSuggestions = 5

/** The names nearest to `wanted`: those that differ in case or punctuation, hold it, or are a few letters away. */
export const nearestNames = (wanted: string, names: ReadonlyArray<string>): ReadonlyArray<string> => {
  const plain = (text: string) => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "")
  const target = plain(wanted)
  const limit = Math.max(1, Math.floor(target.length / 3))
  return names
    .flatMap((name) => {
      const candidate = plain(name)
      const isPart =
        target.length > 2 && (candidate.includes(target) || (candidate.length > 2 && target.includes(candidate)))
      const distance = candidate === target ? -1 : isPart ? 0 : editDistance(target, candidate, limit)
      return distance > limit ? [] : [{ name, distance }]
    })
    .sort((left, right) => left.distance - right.distance || (left.name < right.name ? -1 : 1))
    .slice(0, mostSuggestions)
    .map(({ name }) => name)
}

/** The number of letters to add, drop or change; above `limit` any larger number. */
const editDistance = (left: string, right: string, limit: number): number => {
  if (Math.abs(left.length - right.length) > limit) return limit + 1
  let previous = Array.from({ length: right.length + 1 }, (_, column) => column)
  for (let row = 1; row <= left.length; row++) {
    const current = [row]
    for (let column = 1; column <= right.length; column++) {
      const change = left[row - 1] === right[column - 1] ? 0 : 1
      current.push(
        Math.min((previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1, (previous[column - 1] ?? 0) + change)
      )
    }
    previous = current
  }
  return previous[right.length] ?? 0
}
