/** Whether a text holds no statement, but comments and semicolons at most. */
export const isBlankSql = (sql: string): boolean => BLANK.test(sql)

// Every statement is asked: it ends at the first character that is something, and no comment can be read in two ways.
const BLANK = /^(?:[\s;]|--.*(?!.)|\/\*(?:[^*]|\*(?!\/))*\*\/)*$/
