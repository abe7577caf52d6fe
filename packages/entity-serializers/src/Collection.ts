/** A place where entities stand, in a document or nested in an entity: a list of them, or one alone. */
export interface Collection {
  /** JSON pointer from the root of what it is in. */
  readonly pointer: string
  readonly list: boolean
}

/** The JSON pointer of a member of a collection. */
export const memberPointer = ({ list, pointer }: Collection, ordinal: number): string =>
  list ? `${pointer}/${ordinal}` : pointer
