/** The spelling in which keys of a document are compared with type keys. */

/** Snake case and lower case: `labResults`, `LabResults` and `LAB_RESULTS` all give `lab_results`. */
export const normaliseTypeKey = (key: string): string => {
  const lower = key.toLowerCase()
  // Most keys are so already, and a document may have millions.
  if (lower === key) return key
  return key
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replace(/([A-Z])([A-Z][a-z])/g, "$1_$2")
    .toLowerCase()
}
