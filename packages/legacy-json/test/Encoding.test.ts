import { gzipSync, zstdCompressSync } from "node:zlib"
import { isUtf8 } from "node:buffer"
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as fc from "fast-check"
import { type EncodingProblem, toUtf8, unreadFormOf, Utf8Checker, Utf8Stream } from "../src/index.ts"

/** The end of the longest prefix that is valid UTF-8: an oracle that is right by definition, and slow. */
const longestValidPrefix = (bytes: Uint8Array) => {
  let end = bytes.length
  while (!isUtf8(bytes.subarray(0, end))) {
    end--
  }
  return end
}

const utf16be = (text: string) => Buffer.from(text, "utf16le").swap16()

const pieces = fc.array(
  fc.oneof(
    fc.string({ unit: "grapheme", maxLength: 4 }).map((text) => Buffer.from(text)),
    fc.uint8Array({ maxLength: 3 }).map((bytes) => Buffer.from(bytes)),
    fc
      .constantFrom(
        "c080",
        "e080af",
        "eda080",
        "edbfbf",
        "f08080af",
        "f4908080",
        "f5",
        "fe",
        "e282",
        "f09f98",
        "80",
        "c3"
      )
      .map((hex) => Buffer.from(hex, "hex"))
  ),
  { maxLength: 8 }
)

const cut = (bytes: Uint8Array, cuts: ReadonlyArray<number>) => {
  const at = [...cuts.map((each) => each % (bytes.length + 1)), 0, bytes.length].sort((a, b) => a - b)
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end))
}

describe("toUtf8", () => {
  it("gives plain UTF-8 back without copying it", () => {
    const bytes = Buffer.from('{"name":"Zoë 😀"}')
    const { bytes: text, encoding } = Result.getOrThrow(toUtf8(bytes))
    assert.strictEqual(encoding, "utf-8")
    assert.strictEqual(text.buffer, bytes.buffer)
    assert.deepStrictEqual(Buffer.from(text), bytes)
  })

  it("skips one byte order mark and keeps a second one", () => {
    const { bytes, encoding } = Result.getOrThrow(toUtf8(Buffer.from("\ufeff\ufeff[]")))
    assert.strictEqual(encoding, "utf-8-bom")
    assert.strictEqual(Buffer.from(bytes).toString(), "\ufeff[]")
  })

  it.for([
    ["utf-16le", Buffer.from('\ufeff["Zoë 😀"]', "utf16le")],
    ["utf-16be", utf16be('\ufeff["Zoë 😀"]')]
  ] as const)("transcodes %s", ([encoding, bytes]) => {
    assert.deepStrictEqual(Result.getOrThrow(toUtf8(bytes)), { bytes: Buffer.from('["Zoë 😀"]'), encoding })
  })

  it("transcodes UTF-16 of several megabytes with pairs across its pieces", () => {
    const text = `x${"😀".repeat(1_100_000)}`
    const { bytes } = Result.getOrThrow(toUtf8(Buffer.from(`\ufeff${text}`, "utf16le")))
    assert.isTrue(Buffer.from(text).equals(bytes))
  })

  it.for([
    ["Latin-1", Buffer.from('{"name":"Zoë"}', "latin1"), { code: "invalid-utf8", offset: 11 }],
    ["a bad byte after a byte order mark", Buffer.from("efbbbf5bff5d", "hex"), { code: "invalid-utf8", offset: 4 }],
    ["an encoded surrogate", Buffer.from("22eda08022", "hex"), { code: "invalid-utf8", offset: 1 }],
    ["an overlong solidus", Buffer.from("22c0af22", "hex"), { code: "invalid-utf8", offset: 1 }],
    ["a character cut off at the end", Buffer.from("2222f09f98", "hex"), { code: "invalid-utf8", offset: 2 }],
    ["a lone surrogate in UTF-16", Buffer.from("\ufeff[\ud83d]", "utf16le"), { code: "invalid-utf16", offset: 4 }],
    ["a second half first in UTF-16", utf16be("\ufeff\ude00\ud83d"), { code: "invalid-utf16", offset: 2 }],
    ["half a pair at the end of UTF-16", utf16be("\ufeff[]\ud83d"), { code: "invalid-utf16", offset: 6 }],
    ["an odd byte at the end of UTF-16", Buffer.from("fffe5b005d", "hex"), { code: "invalid-utf16", offset: 4 }]
  ] as const)("refuses %s and says where", ([, bytes, problem]) => {
    assert.deepStrictEqual(Result.getOrThrow(Result.flip(toUtf8(bytes))), problem)
  })

  it("takes exactly what is valid UTF-8, and names the first byte of what is not", () => {
    fc.assert(
      fc.property(pieces, (parts) => {
        const bytes = Buffer.concat(parts)
        fc.pre(!/^(fffe|feff|efbbbf)/.test(bytes.toString("hex")))
        const end = longestValidPrefix(bytes)
        const result = toUtf8(bytes)
        assert.strictEqual(Result.isSuccess(result), end === bytes.length)
        if (Result.isFailure(result)) {
          assert.deepStrictEqual(result.failure, { code: "invalid-utf8", offset: end })
        }
      }),
      { numRuns: 3000 }
    )
  })
})

describe("unreadFormOf", () => {
  it.for([
    ["gzip", gzipSync("[]"), "it is compressed with gzip"],
    ["zstd", zstdCompressSync("[]"), "it is compressed with zstd"],
    ["zip", Buffer.from("504b0304140000000800", "hex"), "it is compressed with zip"],
    ["an empty zip", Buffer.from("504b0506000000000000", "hex"), "it is compressed with zip"],
    ["bzip2", Buffer.from("425a683931415926", "hex"), "it is compressed with bzip2"],
    ["xz", Buffer.from("fd377a585a000004", "hex"), "it is compressed with xz"],
    ["7z", Buffer.from("377abcaf271c0004", "hex"), "it is compressed with 7z"],
    ["little UTF-16", Buffer.from("[]", "utf16le"), "it looks like UTF-16 without a byte order mark"],
    ["big UTF-16", utf16be("[]"), "it looks like UTF-16 without a byte order mark"],
    ["little UTF-32", Buffer.from("5b0000005d000000", "hex"), "it looks like UTF-32"],
    ["big UTF-32", Buffer.from("0000005b0000005d", "hex"), "it looks like UTF-32"],
    ["marked UTF-32", Buffer.from("fffe00005b000000", "hex"), "it looks like UTF-32"]
  ] as const)("knows %s", ([, bytes, form]) => {
    assert.strictEqual(unreadFormOf(bytes)?.split(";")[0], form)
  })

  it("says nothing of what is read, nor of what is none of them", () => {
    const texts = ["[]", '{"a":1}', "\ufeff[]", " [1]", "PK[", "BZ", "", "7z"].map((text) => Buffer.from(text))
    const others = ["\ufeff[]"].flatMap((text) => [Buffer.from(text, "utf16le"), utf16be(text)])
    const broken = ["00", "5b", "0000", "00000000", "ff00", "c3005b"].map((hex) => Buffer.from(hex, "hex"))
    for (const bytes of [...texts, ...others, ...broken]) assert.isUndefined(unreadFormOf(bytes), bytes.toString("hex"))
  })
})

describe("Utf8Checker", () => {
  it("finds in chunks what is found in the whole", () => {
    fc.assert(
      fc.property(pieces, fc.array(fc.nat(), { maxLength: 6 }), (parts, cuts) => {
        const bytes = Buffer.concat(parts)
        const checker = new Utf8Checker(100)
        let problem: EncodingProblem | undefined
        for (const chunk of cut(bytes, cuts)) {
          problem ??= checker.update(chunk)
        }
        problem ??= checker.end()
        const end = longestValidPrefix(bytes)
        assert.deepStrictEqual(problem, end === bytes.length ? undefined : { code: "invalid-utf8", offset: 100 + end })
      }),
      { numRuns: 3000 }
    )
  })
})

describe("Utf8Stream", () => {
  it("gives in chunks what toUtf8 gives at once, for every encoding and every cut", () => {
    const encodings = [
      (text: string) => Buffer.from(text),
      (text: string) => Buffer.from(`\ufeff${text}`),
      (text: string) => Buffer.from(`\ufeff${text}`, "utf16le"),
      (text: string) => utf16be(`\ufeff${text}`)
    ]
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom("a", "é", "€", "😀", "\ud83d", "\ude00"), maxLength: 8 }),
        fc.constantFrom(...encodings),
        fc.array(fc.nat(), { maxLength: 6 }),
        fc.boolean(),
        (text, encode, cuts, isCutOff) => {
          const bytes = encode(text).subarray(0, isCutOff ? -1 : undefined)
          const whole = toUtf8(bytes)
          const stream = new Utf8Stream()
          const results = [...cut(bytes, cuts)].map((chunk) =>
            Result.map(stream.update(chunk), (piece) => Buffer.from(piece))
          )
          const failure = results.find(Result.isFailure) ?? stream.end()
          if (Result.isFailure(failure)) {
            assert.deepStrictEqual(Result.flip(whole), Result.succeed(failure.failure))
          } else {
            const parts = [...results.map(Result.getOrThrow), failure.success]
            const { bytes: text, encoding } = Result.getOrThrow(whole)
            assert.strictEqual(Buffer.concat(parts).toString("hex"), Buffer.from(text).toString("hex"))
            assert.strictEqual(stream.encoding, encoding)
          }
        }
      ),
      { numRuns: 3000 }
    )
  })
})
