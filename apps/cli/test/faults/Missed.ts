/** The fault of a case could not be put where it should: nothing was tried, and the case counts as skipped. */
export class Missed extends Error {}
