/**
 * A real pseudo terminal for the program, and a terminal emulator that reads what it writes: what a person would see, as text
 * and as a picture. Both stay in `node_modules/.cache/mallard/screens`.
 */
import { spawn } from "@lydell/node-pty"
import headless from "@xterm/headless"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { onTestFinished } from "vitest"
import { program } from "./support.ts"

/** Where screens are kept. */
const screensFolder = fileURLToPath(new URL("../../../node_modules/.cache/mallard/screens", import.meta.url))

export const makeScreen = (columns: number, rows: number) => {
  const terminal = new headless.Terminal({ cols: columns, rows, allowProposedApi: true, scrollback: 10_000 })
  const all = () => {
    const { active } = terminal.buffer
    return Array.from({ length: active.length }, (_, at) => active.getLine(at)!)
  }
  return {
    terminal,
    /** Interprets what a program wrote. */
    write: (data: string): Promise<void> => new Promise((resolve) => terminal.write(data, resolve)),
    /** All lines to the last that is not empty, those scrolled away too, without spaces at their ends. */
    lines: (): ReadonlyArray<string> => {
      const lines = all().map((line) => line.translateToString(true))
      return lines.slice(0, lines.findLastIndex((line) => line !== "") + 1)
    },
    /** How many lines from the cursor on, or from another line, go on from the one above. */
    wrapped: (from = terminal.buffer.active.baseY + terminal.buffer.active.cursorY): number =>
      all()
        .slice(from)
        .filter(({ isWrapped }) => isWrapped).length
  }
}

type Screen = ReturnType<typeof makeScreen>

/** What stands on the terminal after a frame of the dashboard. */
interface Frame {
  readonly lines: ReadonlyArray<string>
  readonly wrapped: number
  readonly columns: number
  /** The picture of it: what was written until then is read once more. */
  readonly svg: (theme: Theme) => Promise<string>
}

export interface TerminalRun {
  readonly frames: ReadonlyArray<Frame>
  readonly screen: Screen
  /** Everything that was written. */
  readonly raw: () => string
  readonly type: (text: string) => void
  readonly kill: (signal: string) => void
  readonly resize: (columns: number, rows: number) => void
  /** The first frame, also one that is there already, of which something is true. */
  readonly frame: (isMeant: (frame: Frame) => boolean) => Promise<Frame>
  readonly code: Promise<number>
}

const FRAME_END = "\u001b[?2026l"

/** Runs the program on a terminal of its own. */
export const runOnTerminal = (
  folder: string,
  args: ReadonlyArray<string>,
  {
    columns = 80,
    env = {},
    rows = 30
  }: { columns?: number; rows?: number; env?: Readonly<Record<string, string>> } = {}
): TerminalRun => {
  const screen = makeScreen(columns, rows)
  const frames: Array<Frame> = []
  const done: Array<(screen: Screen) => Promise<void> | void> = []
  const act = (action: (screen: Screen) => Promise<void> | void) => {
    done.push(action)
    return action(screen)
  }
  const waiting = new Set<() => void>()
  let raw = ""
  let rest = ""
  let shown = Promise.resolve()
  const child = spawn(process.execPath, [program, ...args], {
    name: env["TERM"] ?? "xterm-256color",
    cols: columns,
    rows,
    cwd: folder,
    env: { PATH: process.env["PATH"], HOME: folder, USERPROFILE: folder, ...env }
  })
  const take = (text: string) => {
    shown = shown.then(async () => {
      await act((to) => to.write(text))
      if (!text.endsWith(FRAME_END)) return
      const until = done.length
      frames.push({
        lines: screen.lines(),
        wrapped: screen.wrapped(),
        columns: screen.terminal.cols,
        svg: async (theme) => {
          const again = makeScreen(columns, rows)
          for (const action of done.slice(0, until)) await action(again)
          return svgOf(again, theme)
        }
      })
      for (const look of waiting) look()
    })
  }
  child.onData((data) => {
    raw += data
    const pieces = (rest + data).split(FRAME_END)
    const last = pieces.pop() ?? ""
    for (const piece of pieces) take(piece + FRAME_END)
    // The end of a frame may come in two parts.
    const part = [...FRAME_END].findLastIndex((_, at) => last.endsWith(FRAME_END.slice(0, at)))
    rest = last.slice(last.length - part)
    take(last.slice(0, last.length - part))
  })
  const code = new Promise<number>((resolve) => {
    child.onExit(({ exitCode }) => {
      take(rest)
      void shown.then(() => resolve(exitCode))
    })
  })
  let hasEnded = false
  void code.then(() => {
    hasEnded = true
    for (const look of waiting) look()
  })
  onTestFinished(() => {
    if (!hasEnded) child.kill("SIGKILL")
  })
  return {
    frames,
    screen,
    raw: () => raw,
    type: (text) => child.write(text),
    kill: (signal) => child.kill(signal),
    resize: (wide, high) => {
      child.resize(wide, high)
      shown = shown.then(() => act((to) => to.terminal.resize(wide, high)))
    },
    frame: (isMeant) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = frames.find(isMeant)
          if (found !== undefined) resolve(found)
          else if (hasEnded)
            reject(new Error(`no such frame among ${frames.length}; at the end:\n${screen.lines().join("\n")}`))
          else return
          waiting.delete(look)
        }
        waiting.add(look)
        look()
      }),
    code
  }
}

type Theme = "dark" | "light"

interface Colours {
  readonly ground: string
  readonly text: string
  /** The eight colours of ECMA-48, as a common terminal shows them. */
  readonly palette: ReadonlyArray<string>
}

const themes: Readonly<Record<Theme, Colours>> = {
  dark: {
    ground: "#1e1e1e",
    text: "#d4d4d4",
    palette: ["#000000", "#f14c4c", "#23d18b", "#e5e510", "#3b8eea", "#d670d6", "#29b8db", "#e5e5e5"]
  },
  light: {
    ground: "#ffffff",
    text: "#333333",
    palette: ["#000000", "#cd3131", "#107c10", "#949800", "#0451a5", "#bc05bc", "#0598bc", "#555555"]
  }
}

const CELL = { width: 8.4, height: 18 }

const escaped = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")

/** The picture of a screen. */
export const svgOf = ({ terminal }: Screen, theme: Theme): string => {
  const { ground, palette, text } = themes[theme]
  const { baseY } = terminal.buffer.active
  const words: Array<string> = []
  for (let row = 0; row < terminal.rows; row++) {
    const line = terminal.buffer.active.getLine(baseY + row)
    for (let column = 0; column < terminal.cols; column++) {
      const cell = line?.getCell(column)
      const characters = cell?.getChars() ?? ""
      if (cell === undefined || characters.trim() === "") continue
      const fill = cell.isFgPalette() ? (palette[cell.getFgColor()] ?? text) : text
      const style = `${cell.isBold() ? ' font-weight="bold"' : ""}${cell.isDim() ? ' opacity="0.6"' : ""}`
      const x = (column * CELL.width).toFixed(1)
      words.push(
        `<text x="${x}" y="${(row + 1) * CELL.height - 4}" fill="${fill}"${style}>${escaped(characters)}</text>`
      )
    }
  }
  const [width, height] = [Math.ceil(terminal.cols * CELL.width), terminal.rows * CELL.height]
  const font = 'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14"'
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ${font}><rect width="100%" height="100%" fill="${ground}"/>${words.join("")}</svg>\n`
}

/** Keeps a screen as text and as a picture. */
export const keepScreen = async (name: string, frame: Frame, theme: Theme = "dark"): Promise<void> => {
  mkdirSync(screensFolder, { recursive: true })
  writeFileSync(join(screensFolder, `${name}.txt`), `${frame.lines.join("\n")}\n`)
  writeFileSync(join(screensFolder, `${name}.svg`), await frame.svg(theme))
}
