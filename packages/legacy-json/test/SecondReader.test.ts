import { createHash } from "node:crypto"
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { parseJson } from "@mallard/schema"
import { Effect } from "effect"
import * as fc from "fast-check"
import { inject } from "vitest"
import { CompactDigest, digestOfFile } from "../src/index.ts"
import { temporaryFolder, tree } from "./support/tree.ts"

const sha256 = (text: string | Uint8Array) => createHash("sha256").update(text).digest("hex")

const digestOf = (...chunks: ReadonlyArray<Uint8Array | string>) => {
  const digest = new CompactDigest()
  for (const chunk of chunks) {
    digest.update(Buffer.from(chunk))
  }
  return digest.digest()
}

const cutEverywhere = (text: string) => {
  const bytes = Buffer.from(text)
  return Array.from({ length: bytes.length + 1 }, (_, at) => digestOf(bytes.subarray(0, at), bytes.subarray(at)))
}

/** Writes a value with white space and escapes chosen by `choose`, which gives a number below its argument. */
const decorate = (value: unknown, choose: (below: number) => number): string => {
  const space = () => [...Array(choose(3))].map(() => [" ", "\t", "\n", "\r", "\r\n    "][choose(5)]).join("")
  const hex = (unit: number) => {
    const digits = unit.toString(16).padStart(4, "0")
    return `\\u${choose(2) === 0 ? digits : digits.toUpperCase()}`
  }
  const character = (unit: string) => {
    const code = unit.charCodeAt(0)
    const short = { "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\" }[unit]
    const mustEscape = short !== undefined || code < 0x20 || !unit.isWellFormed()
    const way = choose(4)
    return way === 0
      ? [...Array(unit.length)].map((_, at) => hex(unit.charCodeAt(at))).join("")
      : unit === "/" && way === 1
        ? "\\/"
        : mustEscape
          ? (short ?? hex(code))
          : unit
  }
  const text = (content: string) => `"${Array.from(content, character).join("")}"`
  const write = (value: unknown): string => {
    const body = Array.isArray(value)
      ? `[${value.map(write).join(",") || space()}]`
      : typeof value === "object" && value !== null
        ? `{${
            Object.entries(value)
              .map(([key, member]) => `${space()}${text(key)}${space()}:${write(member)}`)
              .join(",") || space()
          }}`
        : typeof value === "string"
          ? text(value)
          : JSON.stringify(value)
    return `${space()}${body}${space()}`
  }
  return write(value)
}

const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  // Half surrogate pairs, in good and bad order, among what must be escaped.
  fc.string({
    unit: fc.constantFrom(
      "\ud83d",
      "\ude00",
      "\ud800",
      "\udfff",
      "\\",
      '"',
      "/",
      "\0",
      "\u001f",
      "\u007f",
      "\u2028",
      "u",
      "é"
    )
  })
)
const anyValue = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.oneof(
      anyText,
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.integer(),
      fc.boolean(),
      fc.constant(null)
    ),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(anyText, tie("value"), { maxKeys: 4 })
  )
})).value

describe("CompactDigest", () => {
  it("agrees with JSON.stringify about whatever a value keeps, wherever the chunks are cut", () => {
    fc.assert(
      fc.property(
        anyValue,
        fc.infiniteStream(fc.nat()),
        fc.array(fc.nat(), { maxLength: 5 }),
        (value, choices, cuts) => {
          const text = decorate(value, (below) => (choices.next().value ?? 0) % below)
          const compact = JSON.stringify(value)
          // Not JSON.parse, which can read keys with escapes wrongly.
          assert.strictEqual(JSON.stringify(parseJson(text)), compact)
          const bytes = Buffer.from(text)
          const at = [...cuts.map((cut) => cut % (bytes.length + 1)), 0, bytes.length].sort((a, b) => a - b)
          const chunks = at.slice(1).map((end, index) => bytes.subarray(at[index], end))
          assert.strictEqual(digestOf(...chunks), sha256(compact), text)
        }
      ),
      { numRuns: 2000 }
    )
  })

  it.for([
    ["Python's three tokens", " [ NaN , Infinity,\n-Infinity ] ", "[NaN,Infinity,-Infinity]"],
    [
      "numbers as they are spelt",
      '{"a": 1E5, "b": -0.0, "c": 425.00, "d": 1e400}',
      '{"a":1E5,"b":-0.0,"c":425.00,"d":1e400}'
    ],
    ["duplicate keys and their order", '{"b": 1, "a": 2, "b": 3}', '{"b":1,"a":2,"b":3}'],
    ["white space inside strings", '{ " a \\n" : " b  c " }', '{" a \\n":" b  c "}'],
    ["brackets and quotes inside strings", '["]\\"[ {", 1]', '["]\\"[ {",1]'],
    ["escaped backslashes before a quote", '["\\\\" , "\\\\\\"" ]', '["\\\\","\\\\\\""]'],
    ["escaped solidus", '["\\/ /"]', '["/ /"]'],
    ["controls with a letter of their own", '["\\u0008\\u0009\\u000A\\u000c\\u000D"]', '["\\b\\t\\n\\f\\r"]'],
    ["other controls in lower case", '["\\u0000\\u001F\\u001b"]', '["\\u0000\\u001f\\u001b"]'],
    ["what needs no escape", '["\\u0041\\u007F\\u00e9\\u2028\\uFEFF\\uffff"]', '["A\u007fé\u2028\ufeff\uffff"]'],
    ["escaped quote and backslash", '["\\u0022\\u005C"]', '["\\"\\\\"]'],
    ["surrogate pairs", '["\\uD83D\\uDE00\\ud83d\\ude00"]', '["😀😀"]'],
    [
      "a lone first half",
      '["\\uD83D", "\\uD83Dx", "\\uD83D\\n", "\\uD83D\\u0041"]',
      '["\\ud83d","\\ud83dx","\\ud83d\\n","\\ud83dA"]'
    ],
    ["a lone second half", '["\\uDE00", "\\uDE00\\uD83D"]', '["\\ude00","\\ude00\\ud83d"]'],
    ["a first half before a pair", '["\\uD83D\\uD83D\\uDE00"]', '["\\ud83d😀"]'],
    ["a first half before a raw character of four bytes", '["\\uD83D😀"]', '["\\ud83d😀"]'],
    ["empty containers and strings", ' { "" : [ ] , "o" : { } , "s" : "" } ', '{"":[],"o":{},"s":""}']
  ])("keeps the compact text: %s", ([, text, compact]) => {
    for (const digest of cutEverywhere(text ?? "")) {
      assert.strictEqual(digest, sha256(compact ?? ""))
    }
  })

  it("reads chunks larger than it works on at once, with escapes across the edges", () => {
    for (const shift of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]) {
      const text = `["${"a".repeat(65_536 - shift)}\\uD83D\\uDE00\\u0001${"b".repeat(200_000)}"]`
      assert.strictEqual(digestOf(text), sha256(JSON.stringify(JSON.parse(text))))
    }
  })

  it("gives the same digest as text and as bytes, however often", () => {
    const digest = new CompactDigest()
    digest.update(Buffer.from("[ ]"))
    assert.strictEqual(digest.digest(), sha256("[]"))
    assert.strictEqual(Buffer.from(digest.digestBytes()).toString("hex"), sha256("[]"))
    assert.strictEqual(digest.digest(), sha256("[]"))
  })
})

describe("digestOfFile", () => {
  const document = { name: "Zoë 😀", entities: { patients: [{ id: "p1" }] } }
  const pretty = JSON.stringify(document, null, 2)
  const utf16 = Buffer.from(`\ufeff${pretty}`, "utf16le")

  it.effect.each([
    { encoding: "utf-8", bytes: Buffer.from(pretty) },
    { encoding: "utf-8-bom", bytes: Buffer.from(`\ufeff${pretty}`) },
    { encoding: "utf-16le", bytes: utf16 },
    { encoding: "utf-16be", bytes: Buffer.from(utf16).swap16() }
  ])("digests the text of a file in $encoding, and its bytes as they are", ({ bytes, encoding }) =>
    Effect.gen(function* () {
      const folder = yield* tree({ "a.json": bytes })
      assert.deepStrictEqual(yield* digestOfFile(join(folder, "a.json")), {
        sourceSha256: sha256(bytes),
        digest: sha256(JSON.stringify(document)),
        bytes: bytes.length,
        encoding
      })
    })
  )

  it.effect("reads a file of several megabytes whose characters lie across its reads", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const value = ["😀é".repeat(700_000), " ".repeat(1_000_001), "\t\ud800"]
      const text = JSON.stringify(value, null, 1)
      writeFileSync(join(folder, "a.json"), text)
      const { digest, sourceSha256 } = yield* digestOfFile(join(folder, "a.json"))
      assert.strictEqual(digest, sha256(JSON.stringify(value)))
      assert.strictEqual(sourceSha256, sha256(text))
    })
  )

  it.effect("reads a file whose size is exactly that of its reads, and an empty one", () =>
    Effect.gen(function* () {
      const whole = `"${"x".repeat(2 ** 20 - 2)}"`
      const folder = yield* tree({ "a.json": whole, "b.json": "", "c.json": `${whole} ` })
      assert.strictEqual((yield* digestOfFile(join(folder, "a.json"))).digest, sha256(whole))
      assert.strictEqual((yield* digestOfFile(join(folder, "b.json"))).digest, sha256(""))
      assert.strictEqual((yield* digestOfFile(join(folder, "c.json"))).digest, sha256(whole))
    })
  )

  it.effect("puts line feeds between several documents, and nothing after the last", () =>
    Effect.gen(function* () {
      const text = ' {"a":"}{"}\r\n\n[ [1], {"b":{}} ]\n{} \n'
      const folder = yield* tree({ "a.ndjson": text, "b.ndjson": '{"a" : 1}\n' })
      const expected = sha256('{"a":"}{"}\n[[1],{"b":{}}]\n{}')
      assert.strictEqual((yield* digestOfFile(join(folder, "a.ndjson"))).digest, expected)
      assert.strictEqual((yield* digestOfFile(join(folder, "b.ndjson"))).digest, sha256('{"a":1}'))
      for (let cut = 0; cut <= text.length; cut++) {
        const digest = new CompactDigest()
        digest.update(Buffer.from(text.slice(0, cut)))
        digest.update(Buffer.from(text.slice(cut)))
        assert.strictEqual(digest.digest(), expected)
      }
    })
  )

  it.effect("refuses Latin-1 with the offset, and a file that is not there", () =>
    Effect.gen(function* () {
      const folder = yield* tree({ "a.json": Buffer.from('{"name":"Zoë"}', "latin1") })
      const latin = yield* Effect.flip(digestOfFile(join(folder, "a.json")))
      assert.strictEqual(latin.reason, "invalid-utf8")
      assert.strictEqual(latin.offset, 11)
      assert.include(latin.message, "(at byte 11)")
      assert.strictEqual((yield* Effect.flip(digestOfFile(join(folder, "b.json")))).reason, "missing")
      assert.strictEqual((yield* Effect.flip(digestOfFile(folder))).reason, "not-regular")
    })
  )

  const shared = inject("shared")
  it.effect.skipIf(shared === undefined)("agrees with JSON.stringify about the real saved documents", () =>
    Effect.gen(function* () {
      const root = join(shared ?? "", "cases/saved")
      const files = readdirSync(root, { recursive: true, encoding: "utf8" })
        .map((path) => join(root, path))
        .filter((path) => statSync(path).isFile() && path.endsWith(".json"))
      assert.isAbove(files.length, 5)
      for (const path of files) {
        const text = readFileSync(path, "utf8")
        const { digest } = yield* digestOfFile(path)
        // Numbers are compared as they are spelt, so the ones that JSON.stringify respells are quoted on both sides.
        const quoted = text.replace(/(?<=[:[,]\s*)-?\d[\d.eE+-]*(?=\s*[,\]}\n])/g, '"#$&#"')
        const compact = JSON.stringify(JSON.parse(quoted)).replace(/"#(.*?)#"/g, "$1")
        assert.strictEqual(digest, sha256(compact), path)
      }
    })
  )
})
