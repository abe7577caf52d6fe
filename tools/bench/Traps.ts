/** Small valid files with one trap each: what real JSON holds and conversions damage. */

export interface Trap {
  readonly name: string
  readonly text: string
}

const SLASH = "\\"

const entities: Readonly<Record<string, string>> = {
  "trailing-zero": '{"id":"1","amount":425.00}',
  exponent: '{"id":"1","n":1E5,"m":1e-7}',
  "huge-exponent": '{"id":"1","n":1e400}',
  "python-nan": '{"id":"1","n":NaN,"m":-Infinity}',
  "integer-as-float": '{"id":"1","n":1.0},{"id":"2","n":2}',
  "integer-of-54-bits": '{"id":"1","n":9007199254740993}',
  "integer-of-65-bits": '{"id":"1","n":18446744073709551617}',
  "many-digits": '{"id":"1","n":3.14159265358979323846264338327950288}',
  "float-of-17-digits": '{"id":"1","n":0.30000000000000004}',
  "negative-integer-zero": '{"id":"1","n":-0}',
  "boolean-and-text": '{"id":"1","v":true},{"id":"2","v":"true"},{"id":"3","v":1}',
  "text-null": '{"id":"1","v":"null"},{"id":"2","v":null},{"id":"3"}',
  "all-null": '{"id":"1","v":null},{"id":"2","v":null}',
  "null-or-missing": '{"id":"1","v":null},{"id":"2"}',
  "empty-list": '{"id":"1","v":[]},{"id":"2","v":[1]},{"id":"3"}',
  "empty-entity": '{},{"id":"1"}',
  "empty-key": '{"id":"1","":"x"}',
  "key-with-dots": '{"id":"1","a.b":"x","a":{"b":"y"}}',
  "key-with-quotes": `{"id":"1","a${SLASH}"b'c":"x"}`,
  "key-with-underscores": '{"id":"1","a__b":"x","a":{"b":"y"}}',
  "key-of-prototype": '{"id":"1","__proto__":{"x":1}}',
  "keys-like-numbers": '{"id":"1","10":"ten","9":"nine","1":"one"}',
  "key-with-accent": `{"id":"1","caf${SLASH}u00e9":"one","cafe${SLASH}u0301":"two"}`,
  "long-key": `{"id":"1","${"k".repeat(300)}":"x"}`,
  "lone-surrogate": `{"id":"1","s":"a${SLASH}ud83dz"}`,
  "surrogate-pair": `{"id":"1","s":"${SLASH}ud83e${SLASH}udd86"}`,
  "control-characters": `{"id":"1","s":"${SLASH}u0001${SLASH}u001f${SLASH}u007f"}`,
  "leading-mark": '{"id":"1","s":"\uFEFFtext"}',
  "long-text": `{"id":"1","s":"${"long ".repeat(20_000)}"}`,
  "text-of-json": `{"id":"1","s":"{${SLASH}"a${SLASH}": 1}"},{"id":"2","s":"[1, 2]"}`,
  "text-of-spaces": '{"id":"1","s":" x "},{"id":"2","s":" "}',
  "time-with-offset": '{"id":"1","t":"2024-01-15T10:00:00+05:30"}',
  "time-with-zeros": '{"id":"1","t":"2024-01-15T10:00:00.000"},{"id":"2","t":"2024-01-15T10:00:00"}',
  "time-impossible": '{"id":"1","t":"2024-02-30T25:61:00"},{"id":"2","t":"2024-01-15T10:00:00"}',
  "date-long-ago": '{"id":"1","d":"0001-01-01"},{"id":"2","d":"9999-12-31"}',
  "date-of-three-kinds": '{"id":"1","d":"2024-01-15"},{"id":"2","d":"01/15/2024"},{"id":"3","d":"unknown"}',
  "object-or-text": '{"id":"1","v":{"a":1}},{"id":"2","v":"a"}',
  "list-or-object": '{"id":"1","v":[{"a":1}]},{"id":"2","v":{"a":1}}',
  "list-of-everything": '{"id":"1","v":[1,"1",true,null,{"a":[]},[]]}',
  "same-twice": '{"id":"1","v":1},{"id":"1","v":1}',
  "same-id-other-value": '{"id":"1","v":1},{"id":"1","v":2}',
  "duplicate-nested-key": '{"id":"1","a":{"b":1,"b":2}}',
  "nested-lines": '{"id":"1","lines":[{"n":1,"charge":10.50},{"n":2,"charge":7}]},{"id":"2","lines":[]}'
}

const documents: Readonly<Record<string, string>> = {
  "other-keys": '{"name":"c","version":1.10,"extra":{"b":1,"a":[]},"entities":{"patient":[{"id":"1"}]},"after":null}',
  "no-entities": '{"name":"c","description":null,"entities":{}}',
  "empty-kind": '{"name":"c","entities":{"patient":[],"claim":[{"id":"1"}]}}',
  "unknown-kind": '{"name":"c","entities":{"spaceship":[{"id":"1","crew":3}]}}',
  "name-with-quote": `{"name":"O'Brien ${SLASH}"c${SLASH}"","entities":{"patient":[{"id":"1"}]}}`,
  "white-space": '{ "name" : "c" ,\r\n\t"entities" : { "patient" : [ { "id" : "1" , "v" : [ ] } ] } }\n'
}

/** In the order in which they are written above; every one is valid JSON, but for the number words that Python writes. */
export const traps: ReadonlyArray<Trap> = [
  ...Object.entries(entities).map(([name, text]) => ({
    name,
    text: `{"name":"c","description":"d","tags":["a","b"],"entities":{"patient":[${text}]}}`
  })),
  ...Object.entries(documents).map(([name, text]) => ({ name, text }))
]
