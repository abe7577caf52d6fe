import { Effect, Result } from "effect"
import { linkSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { makeRoots } from "../src/index.ts"

let folder = ""
let root = ""

beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "mallard-roots-")))
  root = join(folder, "root")
  mkdirSync(join(root, "inner"), { recursive: true })
  mkdirSync(join(folder, "root2"))
  mkdirSync(join(folder, "outside"))
  for (const name of ["root/a.json", "root/inner/b.json", "root2/c.json", "outside/secret.json", "root/.hidden.json"]) {
    writeFileSync(join(folder, name), "{}")
  }
  symlinkSync(join(folder, "outside"), join(root, "link"))
  symlinkSync(join(folder, "outside", "secret.json"), join(root, "link.json"))
  symlinkSync(join(folder, "nowhere.json"), join(root, "dangling.json"))
  mkdirSync(join(root, "folder.json"))
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

const read = (path: string) =>
  Result.map(Effect.runSync(Effect.result(makeRoots([root]).read(path))), (file) => file.path)
const target = (path: string, isFolder: boolean) =>
  Effect.runSync(Effect.result(makeRoots([root]).target(path, isFolder)))

const outside = (): ReadonlyArray<string> => [
  "",
  ".",
  "..",
  "../root2/c.json",
  "inner/../../outside/secret.json",
  join(folder, "outside", "secret.json"),
  join(folder, "root2", "c.json"),
  `${root}2/c.json`,
  "/etc/passwd",
  "/etc/passwd.json",
  "/proc/self/environ",
  "link/secret.json",
  "link.json",
  "dangling.json",
  "dangling.json/x.json",
  ".hidden.json",
  "inner/.x/y.json",
  "a.json\u0000.json",
  "a\u001b.json",
  "\ud800.json",
  "x".repeat(5000)
]

describe("the roots", () => {
  it("let files below them be read, by relative and by absolute path", () => {
    assert.deepStrictEqual(read("a.json"), Result.succeed(join(root, "a.json")))
    assert.deepStrictEqual(read("./inner/../inner/b.json"), Result.succeed(join(root, "inner", "b.json")))
    assert.deepStrictEqual(read(join(root, "a.json")), Result.succeed(join(root, "a.json")))
    const two = makeRoots([root, join(folder, "root2")])
    assert.strictEqual(Effect.runSync(two.read(join(folder, "root2", "c.json"))).bytes.toString(), "{}")
  })

  it("refuse every path that leads out of them or through a link, for reading and for writing", () => {
    for (const path of outside()) {
      assert.isTrue(Result.isFailure(read(path)), path)
      assert.isTrue(Result.isFailure(target(path, false)), path)
      assert.isTrue(Result.isFailure(target(path, true)), path)
    }
  })

  it("refuse what is no JSON file, a folder, and a file of another name", () => {
    for (const path of ["folder.json", "inner", "missing.json", "inner/b.json/x.json", "a.txt"]) {
      assert.isTrue(Result.isFailure(read(path)), path)
    }
    for (const path of ["folder.json", "a.sh", "new"]) assert.isTrue(Result.isFailure(target(path, false)), path)
    for (const path of ["a.json", "inner"]) assert.isTrue(Result.isFailure(target(path, true)), path)
  })

  it("say whether a file would be replaced", () => {
    assert.deepStrictEqual(target("a.json", false), Result.succeed({ path: join(root, "a.json"), exists: true }))
    assert.deepStrictEqual(
      target("new/deep/x.json", false),
      Result.succeed({ path: join(root, "new", "deep", "x.json"), exists: false })
    )
    assert.deepStrictEqual(target("new", true), Result.succeed({ path: join(root, "new"), exists: false }))
  })

  it("are folders that exist", () => {
    assert.throws(() => makeRoots([join(folder, "none")]))
    assert.throws(() => makeRoots([join(root, "a.json")]))
  })

  it("take a link to a root for the folder that it leads to", () => {
    symlinkSync(root, join(folder, "alias"))
    const roots = makeRoots([join(folder, "alias")])
    assert.deepStrictEqual(roots.folders, [root])
    linkSync(join(root, "a.json"), join(root, "hard.json"))
    assert.strictEqual(Effect.runSync(roots.read("hard.json")).path, join(root, "hard.json"))
  })
})
