/**
 * Fills DuckDB's vectors straight from the columns of a batch, in the memory layout of its C API, and hands whole chunks
 * to an appender. Calls across the native boundary are per column and chunk, never per value: long texts are not handed
 * over one by one but lie in two heaps that are copied once per flush, and the vectors point into them.
 *
 * Pointers stay valid because the heaps' copies belong to vectors of `TextHeap`, which lives until every chunk that
 * points into it has been appended; appending copies.
 */
import { DuckDBDataChunk, type DuckDBAppender, type DuckDBType, BLOB } from "@duckdb/node-api"
import duckdb from "@duckdb/node-bindings"
import { AUX, type Cells } from "@mallard/entity-serializers"

/** Rows of one data chunk. */
export const CHUNK_ROWS = 2048

const INLINE = 12
const STRING_BYTES = 16

/** The two heaps of a batch, copied into memory that DuckDB owns. */
export class TextHeap {
  private readonly chunk = DuckDBDataChunk.create([BLOB], 2)
  heap: Uint8Array = new Uint8Array(0)
  aux: Uint8Array = new Uint8Array(0)
  /** Address of byte 0 of each heap. */
  heapAddress = 0
  auxAddress = 0

  /** Copies the first bytes of both heaps. Texts of vectors filled after this may point into them until `release`. */
  load(heap: Uint8Array, heapLength: number, aux: Uint8Array, auxLength: number): void {
    this.heap = heap
    this.aux = aux
    const vector = duckdb.data_chunk_get_vector(this.chunk.chunk, 0)
    this.heapAddress = this.assign(vector, 0, heap, heapLength)
    this.auxAddress = this.assign(vector, 1, aux, auxLength)
  }

  private assign(vector: duckdb.Vector, row: number, bytes: Uint8Array, length: number): number {
    // Shorter texts would be kept inside the vector's own cell.
    const enough = Math.max(length, STRING_BYTES + 1)
    const copied =
      bytes.length < enough
        ? Buffer.concat([bytes.subarray(0, length), Buffer.alloc(enough - length)])
        : bytes.subarray(0, enough)
    duckdb.vector_assign_string_element_len(vector, row, copied)
    const cells = duckdb.vector_get_data(vector, 2 * STRING_BYTES)
    const view = new DataView(cells.buffer, cells.byteOffset, cells.byteLength)
    const at = row * STRING_BYTES
    if (view.getUint32(at, true) !== enough) throw new Error("the text heap was not taken over by DuckDB")
    return view.getUint32(at + 8, true) + view.getUint32(at + 12, true) * 4294967296
  }

  release(): void {
    this.chunk.reset()
    this.heap = new Uint8Array(0)
    this.aux = new Uint8Array(0)
    this.chunk.rowCount = 2
  }
}

/** Writes chunks of one table. Set each column of the chunk, then `append`. */
export class ChunkWriter {
  private readonly chunk: DuckDBDataChunk
  private readonly appender: DuckDBAppender
  private readonly words = new Uint32Array(CHUNK_ROWS * 4)
  private readonly bytes = new Uint8Array(this.words.buffer)
  private readonly validity = new Uint8Array(CHUNK_ROWS / 8)

  constructor(appender: DuckDBAppender, types: ReadonlyArray<DuckDBType>) {
    this.appender = appender
    this.chunk = DuckDBDataChunk.create(types, CHUNK_ROWS)
  }

  private vector(column: number): duckdb.Vector {
    return duckdb.data_chunk_get_vector(this.chunk.chunk, column)
  }

  /** A 64-bit column of consecutive numbers. */
  sequence(column: number, first: number, rows: number): void {
    const words = this.words
    for (let i = 0; i < rows; i++) {
      const value = first + i
      words[2 * i] = value
      words[2 * i + 1] = value / 4294967296
    }
    this.copy(this.vector(column), words.buffer, 0, rows * 8)
  }

  /** A 64-bit column of non-negative integers. */
  longs(column: number, values: ArrayLike<number>, from: number, rows: number): void {
    const words = this.words
    for (let i = 0; i < rows; i++) {
      const value = values[from + i]!
      words[2 * i] = value
      words[2 * i + 1] = value / 4294967296
    }
    this.copy(this.vector(column), words.buffer, 0, rows * 8)
  }

  /** A 32-bit column. */
  ints(column: number, values: ArrayLike<number>, from: number, rows: number): void {
    for (let i = 0; i < rows; i++) this.words[i] = values[from + i]!
    this.copy(this.vector(column), this.words.buffer, 0, rows * 4)
  }

  /** An 8-bit column. */
  tiny(column: number, values: ArrayLike<number>, from: number, rows: number): void {
    for (let i = 0; i < rows; i++) this.bytes[i] = values[from + i]!
    this.copy(this.vector(column), this.bytes.buffer, 0, rows)
  }

  /** Raw words of a column without NULLs, `width` bytes a row. */
  raw(column: number, values: Int32Array, from: number, rows: number, width: number): void {
    this.copy(this.vector(column), values.buffer, values.byteOffset + from * width, rows * width)
  }

  /** Texts without NULLs that all lie in the heaps. */
  texts(
    column: number,
    offsets: ArrayLike<number>,
    lengths: ArrayLike<number>,
    from: number,
    rows: number,
    heap: TextHeap
  ): void {
    const words = this.words
    for (let i = 0; i < rows; i++) this.text(words, i * 4, offsets[from + i]!, lengths[from + i]!, heap)
    this.copy(this.vector(column), words.buffer, 0, rows * STRING_BYTES)
  }

  /** A column of a batch, NULLs included. */
  cells(column: number, cells: Cells, from: number, rows: number, heap: TextHeap): void {
    const vector = this.vector(column)
    if (!cells.used) {
      this.allNull(vector, rows)
      return
    }
    const { valid, low, high, doubles } = cells
    const words = this.words
    let nulls = 0
    switch (cells.layout) {
      case "TEXT":
        for (let i = 0; i < rows; i++) {
          if (valid[from + i] !== 0) this.text(words, i * 4, low[from + i]!, high[from + i]!, heap)
          else {
            nulls++
            // An empty text under a NULL: no stale pointer is ever left for DuckDB to follow.
            words[i * 4] = 0
            words[i * 4 + 1] = 0
            words[i * 4 + 2] = 0
            words[i * 4 + 3] = 0
          }
        }
        this.copy(vector, words.buffer, 0, rows * STRING_BYTES)
        break
      case "I32":
        for (let i = 0; i < rows; i++) if (valid[from + i] === 0) nulls++
        this.copy(vector, low.buffer, low.byteOffset + from * 4, rows * 4)
        break
      case "I64":
        for (let i = 0; i < rows; i++) {
          if (valid[from + i] === 0) nulls++
          words[2 * i] = low[from + i]!
          words[2 * i + 1] = high[from + i]!
        }
        this.copy(vector, words.buffer, 0, rows * 8)
        break
      case "F64":
        for (let i = 0; i < rows; i++) if (valid[from + i] === 0) nulls++
        this.copy(vector, doubles.buffer, doubles.byteOffset + from * 8, rows * 8)
        break
      case "BOOL":
        for (let i = 0; i < rows; i++) {
          if (valid[from + i] === 0) nulls++
          this.bytes[i] = valid[from + i]! & low[from + i]!
        }
        this.copy(vector, this.bytes.buffer, 0, rows)
    }
    if (nulls === rows) this.allNull(vector, rows)
    else if (nulls > 0) this.setValidity(vector, valid, from, rows)
  }

  append(rows: number): void {
    this.chunk.rowCount = rows
    this.appender.appendDataChunk(this.chunk)
    this.chunk.reset()
    this.chunk.rowCount = CHUNK_ROWS
  }

  private text(words: Uint32Array, at: number, offset: number, length: number, heap: TextHeap): void {
    const inAux = offset >= AUX
    const bytes = inAux ? heap.aux : heap.heap
    const start = inAux ? offset - AUX : offset
    words[at] = length
    if (length <= INLINE) {
      words[at + 1] = 0
      words[at + 2] = 0
      words[at + 3] = 0
      const target = this.bytes
      const to = (at + 1) * 4
      for (let i = 0; i < length; i++) target[to + i] = bytes[start + i]!
      return
    }
    words[at + 1] = bytes[start]! | (bytes[start + 1]! << 8) | (bytes[start + 2]! << 16) | (bytes[start + 3]! << 24)
    const address = (inAux ? heap.auxAddress : heap.heapAddress) + start
    words[at + 2] = address
    words[at + 3] = address / 4294967296
  }

  private allNull(vector: duckdb.Vector, rows: number): void {
    this.validity.fill(0)
    duckdb.vector_ensure_validity_writable(vector)
    duckdb.copy_data_to_vector_validity(vector, 0, this.validity.buffer, 0, bitBytes(rows))
  }

  private setValidity(vector: duckdb.Vector, valid: Uint8Array, from: number, rows: number): void {
    const validity = this.validity
    validity.fill(0)
    for (let i = 0; i < rows; i++) if (valid[from + i] !== 0) validity[i >> 3]! |= 1 << (i & 7)
    duckdb.vector_ensure_validity_writable(vector)
    duckdb.copy_data_to_vector_validity(vector, 0, validity.buffer, 0, bitBytes(rows))
  }

  private copy(vector: duckdb.Vector, buffer: ArrayBufferLike, offset: number, length: number): void {
    duckdb.copy_data_to_vector(vector, 0, buffer as ArrayBuffer, offset, length)
  }
}

/** Validity masks are read in words of 64 bits. */
const bitBytes = (rows: number): number => Math.ceil(rows / 64) * 8
