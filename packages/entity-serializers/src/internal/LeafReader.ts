/**
 * Reads one leaf of an entity, whose compact text the tokenizer has just written, into a cell of a column.
 */
import { AUX, type Cells } from "../Cells.ts"
import {
  CODE_TRANSLATED,
  CODE_UNKNOWN,
  type ColumnCodec,
  JSON_UNSTORABLE,
  readBoolean,
  readDate,
  readDouble,
  readNumber,
  readTimestamp,
  TEXT_RAW,
  TEXT_UNSTORABLE,
  type Verdict
} from "../Codec.ts"
import type { Heap } from "../EntityBatch.ts"
import { slice } from "./Compact.ts"
import { LONE_SURROGATE, PYTHON_TOKEN, type Tokenizer } from "./Tokenizer.ts"

/** No word for a code is longer, in bytes. */
const MAX_WORD = 64

export class LeafReader {
  private readonly tokenizer: Tokenizer
  private readonly aux: Heap

  constructor(tokenizer: Tokenizer, aux: Heap) {
    this.tokenizer = tokenizer
    this.aux = aux
  }

  /** Reads the compact text between `start` and `end`, whose first source byte is `c`, into a column. */
  read(codec: ColumnCodec, cells: Cells, row: number, start: number, end: number, c: number): Verdict {
    const output = this.tokenizer.output
    switch (codec.class) {
      case "text":
        return this.readText(codec, cells, row, start, end, c)
      case "date":
        return c === 34 ? readDate(output, start + 1, end - 1, cells, row) : readDate(output, end, end, cells, row)
      case "timestamp":
        return c === 34
          ? readTimestamp(output, start + 1, end - 1, cells, row)
          : readTimestamp(output, end, end, cells, row)
      case "number":
        return c === 34
          ? readNumber(codec, output, start + 1, end - 1, true, cells, row)
          : readNumber(codec, output, start, end, false, cells, row)
      case "double":
        return c === 34
          ? readDouble(output, start + 1, end - 1, true, cells, row)
          : readDouble(output, start, end, false, cells, row)
      case "boolean":
        return c === 34
          ? readBoolean(output, start + 1, end - 1, true, cells, row)
          : readBoolean(output, start, end, false, cells, row)
      case "json":
        if ((this.tokenizer.flags & (LONE_SURROGATE | PYTHON_TOKEN)) !== 0) return JSON_UNSTORABLE
        cells.setText(row, start, end - start)
        return 0
    }
  }

  private readText(codec: ColumnCodec, cells: Cells, row: number, start: number, end: number, c: number): Verdict {
    const t = this.tokenizer
    if (codec.decode !== undefined && c === 34 && end - start > 4) return this.readCode(codec, cells, row, start, end)
    if (c !== 34) {
      cells.setText(row, start, end - start)
      return TEXT_RAW
    }
    const output = t.output
    if (output[start + 1] === 0xef && output[start + 2] === 0xbb && output[start + 3] === 0xbf) return TEXT_UNSTORABLE
    if (!t.escaped) {
      cells.setText(row, start + 1, end - start - 2)
      return 0
    }
    if ((t.flags & LONE_SURROGATE) !== 0) return TEXT_UNSTORABLE
    const { offset, length } = this.aux.text(String(JSON.parse(slice(output, start, end))))
    cells.setText(row, offset + AUX, length)
    return 0
  }

  /** A word for a code: the column gets the code. Texts of up to two characters are codes already. */
  private readCode(codec: ColumnCodec, cells: Cells, row: number, start: number, end: number): Verdict {
    if (end - start > MAX_WORD) return CODE_UNKNOWN
    const word = slice(this.tokenizer.output, start + 1, end - 1)
    const code = codec.decode!.get(
      word
        .trim()
        .toLowerCase()
        .replace(/[\s/-]+/g, "_")
    )
    if (code === undefined) return CODE_UNKNOWN
    const { offset, length } = this.aux.text(code)
    cells.setText(row, offset + AUX, length)
    return CODE_TRANSLATED
  }
}
