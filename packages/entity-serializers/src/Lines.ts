/** Files of several documents, each on lines of its own: NDJSON, also called JSON Lines. */

/** Whether a file of this name may hold several documents. */
export const mayHoldLines = (name: string): boolean => /\.(?:ndjson|jsonl)$/i.test(name)
