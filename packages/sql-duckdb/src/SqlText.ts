/** Whether a text holds no statement, but comments and semicolons at most. */
export const isBlankSql = (sql: string): boolean => /^[\s;]*$/.test(sql.replaceAll(/--.*|\/\*[^]*?\*\//g, ""))
