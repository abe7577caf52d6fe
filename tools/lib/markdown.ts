/** Reading what documentation promises: fences, console sessions, links, headings. */

export interface Fence {
  /** What stands after the opening marks, such as `ts run`. */
  readonly info: string
  readonly content: string
  /** Line of the opening marks, from 1. */
  readonly line: number
}

/** The fenced blocks of a page in order; a fence that nothing closes reaches to the end. */
export const fencesOf = (page: string): ReadonlyArray<Fence> => {
  const fences: Array<Fence> = []
  const lines = page.split("\n")
  for (let at = 0; at < lines.length; at++) {
    const opening = /^(\s*)(`{3,}|~{3,})\s*([^`]*)$/.exec(lines[at] ?? "")
    if (opening === null) continue
    const [, indent = "", marks = "", info = ""] = opening
    const start = at + 1
    do at++
    while (at < lines.length && !isClosing(lines[at] ?? "", marks))
    const content = lines.slice(start, at).map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line))
    fences.push({ info: info.trim(), content: content.join("\n"), line: start })
  }
  return fences
}

const isClosing = (line: string, marks: string) => {
  const text = line.trim()
  return text.length >= marks.length && text === marks.charAt(0).repeat(text.length)
}

export interface Command {
  readonly command: string
  /** The lines that the page shows below the command. */
  readonly expected: ReadonlyArray<string>
}

/** The commands of a console session: `$ ` starts one, a backslash at the end of a line continues it. */
export const commandsOf = (session: string): ReadonlyArray<Command> => {
  const commands: Array<{ command: string; expected: Array<string> }> = []
  let continues = false
  for (const line of session.split("\n")) {
    const last = commands.at(-1)
    if (continues && last !== undefined) last.command += `\n${line}`
    else if (line.startsWith("$ ")) commands.push({ command: line.slice(2), expected: [] })
    else if (last !== undefined) last.expected.push(line)
    else if (line.trim() !== "") throw new Error(`a console session starts with "$ ", not with: ${line}`)
    continues = (continues || line.startsWith("$ ")) && line.endsWith("\\")
  }
  return commands
}

/**
 * Finds the first difference between the lines shown and the lines printed; undefined means none. In a line shown, `…`
 * and `<words in angle brackets>` stand for anything; a line that is only `…` stands for any number of lines. Blank
 * lines at both ends and white space at the end of lines do not count.
 */
export const differenceOf = (shown: ReadonlyArray<string>, printed: string): string | undefined => {
  const expected = trimmed(shown)
  const actual = trimmed(printed.split("\n"))
  const source = expected.map((line) => (line.trim() === "…" ? "(?:[^\\n]*\\n)*?" : `${pattern(line)}\\n`)).join("")
  const text = actual.map((line) => `${line}\n`).join("")
  if (new RegExp(`^${source}$`, "u").test(text)) return undefined
  const at = expected.findIndex((line, index) => !new RegExp(`^${pattern(line)}$`, "u").test(actual[index] ?? ""))
  const where = at === -1 ? expected.length : at
  return `line ${where + 1}\n  shown:   ${expected[where] ?? "(end)"}\n  printed: ${actual[where] ?? "(end)"}`
}

const trimmed = (lines: ReadonlyArray<string>) => {
  const ends = lines.map((line) => line.trimEnd())
  const first = ends.findIndex((line) => line !== "")
  return first === -1 ? [] : ends.slice(first, ends.findLastIndex((line) => line !== "") + 1)
}

const pattern = (line: string) => {
  const parts = line.split(/…|<[^<>\s](?:[^<>]*[^<>\s])?>/u)
  return parts.map((part) => part.replace(/[\\^$.*+?()[\]{}|/]/gu, "\\$&")).join("[^\\n]*?")
}

export interface Link {
  readonly target: string
  readonly line: number
}

/** The links and images of a page that lead to files or headings, not to other hosts; fences and code do not count. */
export const localLinksOf = (page: string): ReadonlyArray<Link> =>
  proseOf(page).flatMap((line, index) =>
    [...line.replace(/`[^`]*`/g, "").matchAll(/\]\(\s*<?([^)\s>]+)>?[^)]*\)/g)]
      .map((match) => match[1] ?? "")
      .filter((target) => !/^[a-z][a-z0-9+.-]*:/i.test(target))
      .map((target) => ({ target, line: index + 1 }))
  )

/** The anchors of a page's headings, spelt as forges spell them. */
export const anchorsOf = (page: string): ReadonlySet<string> => {
  const anchors = new Set<string>()
  for (const line of proseOf(page)) {
    const heading = /^#{1,6}\s+(.*?)\s*#*$/.exec(line)?.[1]
    if (heading === undefined) continue
    const words = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase()
    const anchor = words.replace(/[^\p{L}\p{N}\s_-]/gu, "").replace(/\s/g, "-")
    let name = anchor
    for (let copy = 1; anchors.has(name); copy++) name = `${anchor}-${copy}`
    anchors.add(name)
  }
  return anchors
}

/** The lines of a page, those of fences blanked. */
const proseOf = (page: string): ReadonlyArray<string> => {
  const lines = page.split("\n")
  for (const fence of fencesOf(page)) lines.fill("", fence.line - 1, fence.line + 1 + fence.content.split("\n").length)
  return lines
}
