/**
 * A real browser. It comes with a package and is unpacked on first use into `node_modules/.cache`, with the libraries that it
 * needs; where it cannot start, tests are skipped with the reason.
 */
import { existsSync, mkdirSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { type Browser, chromium, type Page } from "playwright-core"

const cache = fileURLToPath(new URL("../../../node_modules/.cache/mallard/", import.meta.url))

/** Where pictures are kept. */
const pictures = join(cache, "screens")

const picture = (name: string): string => {
  mkdirSync(pictures, { recursive: true })
  return join(pictures, `${name}.png`)
}

const ATTEMPTS = 3

/** Keeps a picture of a page. On a machine that is busy a browser may not be able to make one at the first attempt. */
export const photograph = async (
  page: Page,
  name: string,
  options: { readonly fullPage?: true } = {}
): Promise<void> => {
  for (let attempt = 1; ; attempt++) {
    try {
      await page.screenshot({ path: picture(name), ...options })
      return
    } catch (cause) {
      if (attempt === ATTEMPTS) throw cause
    }
  }
}

/** The browser, or why there is none. */
export const openBrowser = async (): Promise<Browser | string> => {
  const folder = join(cache, "browser")
  mkdirSync(folder, { recursive: true })
  // The package unpacks into the folder for temporary files, and its libraries only if it is told that it is in a cloud.
  const asked: Readonly<Record<string, string>> = {
    TMPDIR: folder,
    AWS_LAMBDA_JS_RUNTIME: "nodejs24.x",
    // Its own fonts have few characters; those of the machine are better, where there are some.
    ...(existsSync("/etc/fonts/fonts.conf") ? { FONTCONFIG_PATH: "/etc/fonts" } : {})
  }
  const before = { ...process.env }
  Object.assign(process.env, asked)
  try {
    const executablePath = await (await import("@sparticuz/chromium")).default.executablePath()
    return await chromium.launch({ executablePath, args: ["--no-sandbox", "--font-render-hinting=none"] })
  } catch (cause) {
    return `the browser does not start: ${cause instanceof Error ? cause.message.split("\n").slice(0, 3).join(" ") : "unknown"}`
  } finally {
    for (const name of [...Object.keys(asked), "LD_LIBRARY_PATH", "FONTCONFIG_PATH"]) {
      const value = before[name]
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
}

/** Texts on the page that are hard to read: less than 4.5 to 1 against what is behind them, or 3 to 1 for large ones. */
export const faintTexts = (page: Page): Promise<ReadonlyArray<string>> =>
  page.evaluate<ReadonlyArray<string>>(`(() => {
  const channels = (colour) => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true })
    canvas.fillStyle = colour
    canvas.fillRect(0, 0, 1, 1)
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data
    return { r, g, b, a: a / 255 }
  }
  const over = (top, under) => ({
    r: top.r * top.a + under.r * (1 - top.a),
    g: top.g * top.a + under.g * (1 - top.a),
    b: top.b * top.a + under.b * (1 - top.a),
    a: 1
  })
  const light = ({ r, g, b }) => {
    const [x, y, z] = [r, g, b].map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    return 0.2126 * x + 0.7152 * y + 0.0722 * z
  }
  const ground = (element) => {
    const own = channels(getComputedStyle(element).backgroundColor)
    if (own.a === 1) return own
    const under = element.parentElement === null
      ? channels(matchMedia("(prefers-color-scheme: dark)").matches ? "#121212" : "#ffffff")
      : ground(element.parentElement)
    return over(own, under)
  }
  const faint = []
  for (const element of document.body.querySelectorAll("*")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join(" ").trim()
    if (text === "" || element.getClientRects().length === 0) continue
    const style = getComputedStyle(element)
    const back = ground(element)
    const front = over(channels(element instanceof SVGElement ? style.fill : style.color), back)
    const [high, low] = [light(front), light(back)].sort((a, b) => b - a)
    const ratio = (high + 0.05) / (low + 0.05)
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.6 && Number(style.fontWeight) >= 700)
    if (ratio < (large ? 3 : 4.5)) faint.push(ratio.toFixed(2) + " " + element.tagName + " " + text.slice(0, 40))
  }
  return faint
})()`)
