import { Effect, Predicate } from "effect"
import { assert, describe, it } from "vitest"
import { makeProgram } from "../src/Program.ts"
import type { Session } from "../src/Session.ts"
import { Terminal } from "../src/Terminal.ts"

const session: Session = {
  terminal: new Terminal({}, true),
  env: {},
  cwd: "/",
  home: "/",
  program: "mallard",
  invocation: "mallard",
  stop: { signal: undefined, onSignal: undefined },
  now: () => 0,
  named: { db: undefined, backupDir: undefined, takesMemory: false },
  lock: { wait: undefined },
  reading: { database: undefined, onCrash: undefined },
  telemetry: { url: undefined, onProgress: undefined }
}

const at = (value: unknown, ...keys: ReadonlyArray<string>): unknown =>
  keys.reduce<unknown>((inner, key) => (Predicate.isObjectKeyword(inner) ? Reflect.get(inner, key) : undefined), value)

const listAt = (value: unknown, ...keys: ReadonlyArray<string>): ReadonlyArray<unknown> => {
  const list = at(value, ...keys)
  return Array.isArray(list) ? list : []
}

/** A command and those below it, with their names. */
const commandsOf = (command: unknown, above = ""): ReadonlyArray<readonly [name: string, command: unknown]> => {
  const name = `${above} ${String(at(command, "name"))}`.trim()
  const below = listAt(command, "subcommands").flatMap((group) => listAt(group, "commands"))
  return [[name, command], ...below.flatMap((one) => commandsOf(one, name))]
}

/** Where nothing stands, no file has to be read for it, nor anything asked. */
const isParsing = (value: unknown): value is Effect.Effect<unknown, unknown> => Effect.isEffect(value)

/** What a flag is where the command line has nothing of it. */
const valueWithout = async (flag: unknown): Promise<unknown> => {
  const parse = at(flag, "parse")
  if (!Predicate.isFunction(parse)) throw new Error("It is no flag.")
  const parsed = parse.call(flag, { flags: {}, arguments: [] })
  if (!isParsing(parsed)) throw new Error("It parses otherwise.")
  const result = await Effect.runPromiseExit(parsed)
  return at(result, "_tag") === "Success" ? listAt(result, "value")[1] : undefined
}

/** The flag itself, below what was made of it. */
const singleOf = (flag: unknown): unknown => (at(flag, "_tag") === "Single" ? flag : singleOf(at(flag, "param")))

describe("the help of every flag", () => {
  it("says what it is, and what it is where it is left out and is something then", async () => {
    let withDefault = 0
    for (const [name, command] of commandsOf(makeProgram(session))) {
      for (const flag of listAt(command, "config", "flags")) {
        const single = singleOf(flag)
        const place = `${name} --${String(at(single, "name"))}`
        const description = String(at(single, "description", "value"))
        assert.notStrictEqual(description, "undefined", place)
        const value = await valueWithout(flag)
        const isNothing = value === undefined || value === false || (Array.isArray(value) && value.length === 0)
        if (!isNothing) assert.include(description, `(default: ${String(value)})`, place)
        if (!isNothing) withDefault++
        // One that stands for a choice of the program's own says which.
        if (at(single, "primitiveType", "_tag") === "Choice") assert.match(description, /\(default: .+\)$/, place)
      }
    }
    assert.isAbove(withDefault, 8)
  })
})
