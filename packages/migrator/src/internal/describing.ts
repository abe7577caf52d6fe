/** What the documents of a source say about its cohort. */
import { hash } from "node:crypto"
import { contentDigest, type NewPart, type NewRevision } from "@mallard/duckdb-store"
import { documentTime, type MemberRows } from "@mallard/entity-serializers"
import type { PartRead, Source } from "@mallard/legacy-json"
import { JSON_KIND, kindByCode } from "@mallard/schema"
import type { PartReport, Remark } from "../Report.ts"
import { encodingRemark, plainRemark, valueMessage } from "./items.ts"

/** What a revision says of its cohort beside the name. */
export type RevisionDescription = Pick<
  NewRevision,
  "description" | "tags" | "product" | "legacyId" | "createdAt" | "updatedAt"
>

/** A source in words and numbers. */
export interface Description extends RevisionDescription {
  readonly name: string
  readonly format: string
  readonly digest: string
  readonly sourceSha256: string
  readonly entities: Readonly<Record<string, number>>
  readonly remarks: ReadonlyArray<Remark>
  readonly remarkCount: number
  readonly parts: ReadonlyArray<PartReport>
}

/** Variants whose documents may hold nothing that is known. */
const entityless: ReadonlySet<string> = new Set(["unknown", "V14", "V15", "V16", "lines"])

const METADATA_FILES = /^(?:scenario|cohort|metadata)\.json$/i

export const describe = (source: Source, parts: ReadonlyArray<PartRead>): Description => {
  const directory = source.kind === "directory"
  const speaker = directory ? parts.find((part) => METADATA_FILES.test(part.file.name)) : parts[0]
  const meta = speaker?.meta
  const entities: Record<string, number> = {}
  const remarks: Array<Remark> = []
  let remarkCount = 0
  for (const part of parts) {
    part.counts.forEach((count, code) => {
      const kind = code === 0 ? JSON_KIND.kind : kindByCode(code)!.kind
      entities[kind] = (entities[kind] ?? 0) + count
    })
    const own = directory ? { part: part.file.name } : {}
    for (const { code, column, line, pointer } of part.remarks) {
      remarks.push({ code, pointer, line: line ?? null, column: column ?? null, message: valueMessage(code), ...own })
    }
    remarkCount += part.remarkCount
    const encoding = encodingRemark(part.encoding)
    if (encoding !== undefined) {
      remarks.push({ ...encoding, ...own })
      remarkCount++
    }
  }
  const total = Object.values(entities).reduce((sum, count) => sum + count, 0)
  const unknown = parts.every((part) => entityless.has(part.variant))
  if (total === 0 && unknown) {
    remarks.push(plainRemark("no-entity-recognised", "nothing in it is known as an entity; the document is kept whole"))
    remarkCount++
  }
  if (meta?.unusableName === true) {
    remarks.push(
      plainRemark(
        "name-unusable",
        "its name is empty or no text; the file's name is used, the document is kept as it is"
      )
    )
    remarkCount++
  }
  for (const [key, text] of [
    ["created_at", meta?.createdAt],
    ["updated_at", meta?.updatedAt]
  ] as const) {
    if (text === undefined || documentTime(text) !== undefined) continue
    remarks.push({ ...plainRemark("not-a-time", valueMessage("not-a-time")), pointer: `/${key}` })
    remarkCount++
  }
  const partReports = parts.map((part) => ({
    path: part.file.name,
    format: part.variant,
    bytes: part.file.bytes,
    digest: part.digest,
    source_sha256: part.sourceSha256
  }))
  return {
    name: meta?.name ?? source.name,
    description: meta?.description,
    tags: meta?.tags ?? [],
    product: meta?.product,
    legacyId: meta?.legacyId,
    createdAt: documentTime(meta?.createdAt),
    updatedAt: documentTime(meta?.updatedAt),
    format: directory ? directoryFormat(parts) : parts[0]!.variant,
    digest: contentDigest(partReports),
    sourceSha256:
      parts.length === 1 && !directory
        ? parts[0]!.sourceSha256
        : hash("sha256", partReports.map((part) => `${part.path}\t${part.source_sha256}\n`).join(""), "hex"),
    entities,
    remarks,
    remarkCount,
    parts: partReports
  }
}

const directoryFormat = (parts: ReadonlyArray<PartRead>): string => {
  const metadata = parts.find((part) => METADATA_FILES.test(part.file.name))
  if (metadata?.rootKeys?.includes("files") === true) return "V9"
  if (metadata?.rootKeys?.includes("cohort") === true) return "V16"
  const [first] = parts
  const isExport = first?.variant === "V14" || first?.variant === "V15"
  return isExport && parts.every(({ variant }) => variant === first.variant) ? first.variant : "V11"
}

export const newPart = (part: PartRead): NewPart => ({
  path: part.file.name,
  format: part.variant,
  bytes: part.file.bytes,
  sourceSha256: part.sourceSha256,
  digest: part.digest,
  encoding: part.encoding,
  pieces: part.pieces,
  collections: part.collections,
  members: part.members satisfies MemberRows
})
