/** The digest of an entity: the first 128 bits of the SHA-256 of its compact text. */
import { hash } from "node:crypto"
import type { DigestWords } from "../EntityIndex.ts"

/** Puts the digest of a text into `words` from `at` on. */
export const putDigest = (words: DigestWords, at: number, text: Uint8Array): void => {
  const digest = hash("sha256", text, "binary" as "hex")
  words[at + 3] = be32(digest, 0) ^ 0x80000000
  words[at + 2] = be32(digest, 4)
  words[at + 1] = be32(digest, 8)
  words[at] = be32(digest, 12)
}

const be32 = (text: string, at: number): number =>
  (text.charCodeAt(at) << 24) |
  (text.charCodeAt(at + 1) << 16) |
  (text.charCodeAt(at + 2) << 8) |
  text.charCodeAt(at + 3)
