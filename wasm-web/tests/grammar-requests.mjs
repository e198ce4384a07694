// Requests whose answers have a form, for the tests in Node and in browsers.

/** A schema as people write it. */
export const PERSON = {
  type: 'object',
  properties: {
    kind: { const: 'person' },
    name: { type: 'string', maxLength: 6 },
    ages: { type: 'array', items: { type: 'integer', minimum: 0, maximum: 130 }, maxItems: 3 },
    alive: { type: 'boolean' },
  },
  required: ['kind', 'name', 'ages', 'alive'],
  additionalProperties: false,
};

export const REGEX = '(The answer is|It is) [1-9][0-9]{0,2}(\\.|!)';

export const GBNF = 'root ::= greeting " " name ("!" | "?")\ngreeting ::= "hello" | "good " ("morning" | "night")\nname ::= [A-Z] [a-z]{1,5}';

export const LARK = '%llguidance {}\nstart: GREETING " " NAME\nGREETING: "hello" | "good morning" | "good night"\nNAME: /[A-Z][a-z]{1,5}/';

/** Whether a text is a person. */
export function isPerson(text) {
  const { kind, name, ages, alive, ...more } = JSON.parse(text);
  const areAges = ages.length <= 3 && ages.every((age) => Number.isInteger(age) && age >= 0 && age <= 130);
  return kind === 'person' && [...name].length <= 6 && areAges && typeof alive === 'boolean' && Object.keys(more).length === 0;
}

const isGreeting = (text) => /^(hello|good morning|good night) [A-Z][a-z]{1,5}$/.test(text);

/** The forms: how they are asked for, and whether an answer has them. */
export const FORMS = [
  [{ response_format: { type: 'json_schema', json_schema: { name: 'person', strict: true, schema: PERSON } } }, isPerson],
  [{ json_schema: PERSON }, isPerson],
  [{ response_format: { type: 'json_object', schema: PERSON } }, isPerson],
  [{ response_format: { type: 'regex', pattern: REGEX } }, (text) => new RegExp(`^(?:${REGEX})$`).test(text)],
  [{ regex: REGEX }, (text) => new RegExp(`^(?:${REGEX})$`).test(text)],
  [{ response_format: { type: 'grammar', grammar: GBNF } }, (text) => isGreeting(text.slice(0, -1)) && /[!?]$/.test(text)],
  [{ grammar: LARK }, isGreeting],
];

/** What cannot be kept to: the field at fault, and what the message says. */
export const REFUSED = [
  [{ json_schema: { properties: { a: { unevaluatedItems: 1 } } } }, 'json_schema', '/properties/a'],
  [{ json_schema: { type: 'integer', minimum: 3, maximum: 2 } }, 'json_schema', 'nothing fits'],
  [{ json_schema: { $ref: 'https://example.org/a' } }, 'json_schema', '/$ref'],
  [{ json_schema: 7 }, 'json_schema', 'has to be a JSON schema'],
  [{ response_format: { type: 'regex', pattern: 'a(?=b)' } }, 'regex', 'look-around'],
  [{ regex: '(' }, 'regex', 'regex'],
  [{ grammar: 'root ::= root "a"' }, 'grammar', 'no end'],
  [{ grammar: 'root ::= nothing' }, 'grammar', 'nothing'],
  [{ regex: 'a', grammar: 'root ::= "a"' }, 'regex', 'cannot be beside grammar'],
];

const nested = (depth) => `${'{"items":'.repeat(depth)}true${'}'.repeat(depth)}`;

/** Schemas and grammars about as large as they may be. */
export const LARGE = [
  { json_schema: JSON.parse(nested(90)) },
  { json_schema: { type: 'object', properties: Object.fromEntries(Array.from({ length: 900 }, (_, i) => [`p${i}`, { type: 'integer' }])), required: ['p1'] } },
  { grammar: `root ::= r0\n${Array.from({ length: 120 }, (_, i) => `r${i} ::= "a" r${i + 1} | "b" root`).join('\n')}\nr120 ::= "c"` },
  { regex: `(${Array.from({ length: 500 }, (_, i) => `word${i}`).join('|')}){1,40}` },
];
