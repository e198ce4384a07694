//! JSON schemas: what is enforced, what is refused and where, and what is too much.

use picolm_grammar::{Error, Grammar, Limits, Matcher, Result, Source, Token, Vocabulary};
use std::sync::Arc;

fn vocabulary() -> Arc<Vocabulary> {
    let bytes: Vec<u8> = (0..=255).collect();
    Vocabulary::new(bytes.chunks(1).map(Token::Text).chain([Token::End(b"</s>")]), None).unwrap()
}

fn grammar(schema: &str) -> Result<Grammar> {
    Grammar::new(Source::JsonSchema(schema), &vocabulary(), &Limits::default())
}

fn fits(mut matcher: Matcher, text: &str) -> bool {
    let tokens: Vec<u32> = text.bytes().map(u32::from).collect();
    for at in 0..tokens.len() {
        let mask = matcher.mask(&tokens[..at]).unwrap();
        if mask[tokens[at] as usize / 32] >> (tokens[at] % 32) & 1 == 0 {
            return false;
        }
    }
    matcher.may_end(&tokens).unwrap()
}

fn check(schema: &str, fitting: &[&str], others: &[&str]) {
    let grammar = grammar(schema).unwrap_or_else(|error| panic!("{error}\n{schema}"));
    for text in fitting {
        assert!(fits(grammar.matcher(), text), "{text} fits {schema}");
    }
    for text in others {
        assert!(!fits(grammar.matcher(), text), "{text} does not fit {schema}");
    }
}

/// The pointer of what is refused.
fn refused(schema: &str) -> String {
    match grammar(schema) {
        Err(Error::Schema { pointer, .. }) => pointer,
        other => panic!("{schema}: {:?}", other.err()),
    }
}

#[test]
fn what_is_not_enforced_is_refused_by_a_pointer() {
    for (schema, pointer) in [
        (r#"{"properties": {"a": {"not": {"type": "null"}}}}"#, "/properties/a/not"),
        (r#"{"if": {"type": "null"}, "then": {"const": null}}"#, "/if"),
        (r#"{"items": {"type": "array", "uniqueItems": true}}"#, "/items/uniqueItems"),
        (r#"{"contains": {"type": "null"}}"#, "/contains"),
        (r#"{"contains": {"type": "null"}, "minContains": 2}"#, "/contains"),
        (r#"{"propertyNames": {"pattern": "^a"}}"#, "/propertyNames"),
        (r#"{"dependentSchemas": {"a": {"required": ["b"]}}}"#, "/dependentSchemas"),
        (r#"{"dependentRequired": {"a": ["b"]}}"#, "/dependentRequired"),
        (r#"{"dependencies": {"a": ["b"]}}"#, "/dependencies"),
        (r#"{"$schema": "http://json-schema.org/draft-04/schema#", "if": {}, "else": false}"#, "/if"),
        (r#"{"unevaluatedItems": false}"#, "/unevaluatedItems"),
        (r#"{"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": false}"#, "/unevaluatedProperties"),
        (r##"{"$dynamicRef": "#a"}"##, "/$dynamicRef"),
        (r#"{"$ref": "https://json-schema.org/draft/2020-12/schema"}"#, "/$ref"),
        (r##"{"items": {"$ref": "#/$defs/a~1b"}}"##, "/items/$ref"),
        (r#"{"items": {"format": "phone"}}"#, "/items/format"),
        (r#"{"prefixItems": [{}, {"oneOf": [{"type": "integer"}, {"minimum": 2}]}]}"#, "/prefixItems/1/oneOf"),
        (r#"{"patternProperties": {"^a": {}, "b$": {}}}"#, "/patternProperties"),
        (r#"{"properties": {"x": {"patternProperties": {"^a": {}, "b$": {}}}}}"#, "/properties/x/patternProperties"),
        (r#"{"minProperties": 2}"#, "/minProperties"),
        (r#"{"properties": {"a": {}, "b": {}}, "maxProperties": 1}"#, "/maxProperties"),
        (r#"{"pattern": "(?=a)b"}"#, "/pattern"),
        (r#"{"pattern": "\\bword"}"#, "/pattern"),
        (r#"{"pattern": "(^a)*b"}"#, "/pattern"),
        (r#"{"pattern": "a\\u0000"}"#, "/pattern"),
        (r#"{"const": "a\u0000"}"#, "/const"),
        (r#"{"const": 9007199254740993000}"#, "/const"),
        (r#"{"minimum": 1e300}"#, "/minimum"),
        (r#"{"multipleOf": 0.123456789}"#, "/multipleOf"),
        (r#"{"multipleOf": 0}"#, "/multipleOf"),
        (r#"{"minLength": 1000000}"#, "/minLength"),
        (r#"{"required": true}"#, "/required"),
        (r#"{"type": "text"}"#, "/type"),
        (r#"{"properties": {"a": 1}}"#, "/properties/a"),
        (r#"{"x-guidance": {"lenient": true}, "not": {}}"#, "/not"),
        ("[]", ""),
        ("{", ""),
    ] {
        assert_eq!(refused(schema), pointer, "{schema}");
    }
}

#[test]
fn what_asks_for_nothing_is_not_refused() {
    for schema in [
        r#"{"uniqueItems": false, "not": false, "if": {"type": "null"}, "minContains": 3, "propertyNames": true, "dependencies": {}}"#,
        r#"{"type": "integer", "format": "int32", "uniqueItems": true, "contains": {}}"#,
        r#"{"title": "a", "default": 1, "examples": [2], "x-own": {"not": {}}, "$comment": ""}"#,
    ] {
        check(schema, &["1"], &["x"]);
    }
}

#[test]
fn nothing_fits() {
    for (schema, pointer) in [
        ("false", ""),
        (r#"{"enum": []}"#, "/enum"),
        (r#"{"type": "string", "const": 1}"#, ""),
        (r#"{"type": "string", "minLength": 2, "maxLength": 1}"#, ""),
        (r#"{"type": "object", "properties": {"a": false}, "required": ["a"]}"#, "/properties/a"),
        (r##"{"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}"##, ""),
        (r##"{"$ref": "#"}"##, ""),
        (
            r##"{"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}"##,
            "/$defs/b",
        ),
        (r##"{"type": "array", "items": {"$ref": "#"}, "minItems": 1}"##, ""),
    ] {
        match grammar(schema) {
            Err(Error::Impossible { pointer: place, .. }) if place == pointer => {}
            other => panic!("{schema}: {:?}", other.err()),
        }
    }
}

/// A property may not be named a second time by another spelling of its name.
#[test]
fn names_have_one_spelling() {
    let schema = r#"{"type": "object", "properties": {"a": {"type": "string"}, "\n": {"type": "null"}}, "additionalProperties": {"type": "integer"}}"#;
    check(
        schema,
        &[r#"{"a":"x","b":1}"#, r#"{"\n":null}"#],
        &[r#"{"\u0061":1}"#, r#"{"a":1}"#, r#"{"\u000a":1}"#, r#"{"a":"x","a":1}"#],
    );
    let schema = r#"{"type": "object", "patternProperties": {"^a": {"type": "string"}}, "additionalProperties": {"type": "integer"}}"#;
    check(schema, &[r#"{"ab":"x","b":1}"#], &[r#"{"\u0061":1}"#, r#"{"ab":1}"#]);
}

#[test]
fn old_forms() {
    let draft = |rest: &str| format!(r#"{{"$schema": "http://json-schema.org/draft-04/schema#", {rest}}}"#);
    check(&draft(r#""type": "integer", "minimum": 1, "exclusiveMinimum": true"#), &["2"], &["1"]);
    check(
        &draft(r#""type": "array", "items": [{"type": "null"}], "allOf": [{}], "additionalItems": false"#),
        &["[null]", "[]"],
        &["[null,1]", "[1]"],
    );
    check(
        r##"{"items": [{"$ref": "#/definitions/a"}], "definitions": {"a": {"type": "null"}}, "type": "array"}"##,
        &["[null,1]"],
        &["[1]"],
    );
}

#[test]
fn references() {
    check(r##"{"$ref": "#/$defs/a~1b%25", "$defs": {"a/b%": {"type": "null"}}}"##, &["null"], &["1"]);
    check(r##"{"$ref": "#x", "$defs": {"a": {"$anchor": "x", "type": "null"}}}"##, &["null"], &["1"]);
    let named = r##"{"$id": "https://a.example/s", "items": {"$ref": "https://a.example/t#/$defs/b"}, "type": "array",
        "$defs": {"t": {"$id": "https://a.example/t", "$defs": {"b": {"$ref": "#/$defs/c"}, "c": {"type": "null"}}}, "c": {"type": "integer"}}}"##;
    check(named, &["[null]"], &["[1]"]);
    let tree = r##"{"type": "object", "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["value", "next"], "additionalProperties": false}"##;
    check(
        tree,
        &[r#"{"value":1,"next":{"value":2,"next":null}}"#],
        &[r#"{"value":1,"next":{"value":2}}"#, r#"{"value":1}"#],
    );
}

#[test]
fn one_of_several_that_are_apart() {
    let by_kind = r##"{"oneOf": [{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}, {"type": ["null", "integer"]}], "$defs": {
        "cat": {"type": "object", "properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}}, "required": ["kind"], "additionalProperties": false},
        "dog": {"type": "object", "properties": {"kind": {"enum": ["dog", "wolf"]}}, "required": ["kind"], "additionalProperties": false}}}"##;
    check(
        by_kind,
        &[r#"{"kind":"cat","lives":9}"#, r#"{"kind":"wolf"}"#, "null", "-1"],
        &[r#"{"kind":"wolf","lives":1}"#, r#"{"kind":"cow"}"#, "1.5"],
    );
    check(
        r#"{"oneOf": [{"type": "number", "maximum": 1}, {"type": "integer", "minimum": 2}]}"#,
        &["0.5", "3"],
        &["1.5", "2.5"],
    );
    let closed = r#"{"type": "object", "oneOf": [{"required": ["a"], "properties": {"a": {}}, "type": "object"}, {"type": "object", "properties": {"b": {}}, "additionalProperties": false}]}"#;
    check(closed, &[r#"{"a":1}"#, r#"{"b":1}"#, "{}"], &["1"]);
    assert_eq!(refused(r#"{"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}"#), "/oneOf");
    assert_eq!(refused(r#"{"oneOf": [{"const": 1}, {"enum": [1.0, 2]}]}"#), "/oneOf");
}

#[test]
fn patterns_mean_what_ecma_262_says() {
    let pattern = |pattern: &str| serde_json::json!({ "type": "string", "pattern": pattern }).to_string();
    check(&pattern("^[a&&b]$"), &["\"&\"", "\"a\""], &["\"c\""]);
    check(&pattern("^[[]$"), &["\"[\""], &["\"]\""]);
    check(
        &pattern(r"^\d\w\s.$"),
        &["\"1_ x\"", "\"1a\u{a0}x\""],
        &["\"٣_ x\"", "\"1é x\"", "\"1_ \\r\"", "\"1_ \u{2028}\""],
    );
    check(&pattern(r"^\D\W\S[^]$"), &["\"aéb\\n\""], &["\"1éb\\n\"", "\"aab\\n\""]);
    check(&pattern(r"^a{2}b{1,}c{,2}\{$"), &["\"aabbc{,2}{\""], &["\"aab{\""]);
    check(&pattern(r"^(?<year>\d+?)-\u00e9\x41\cJ$"), &["\"12-éA\\n\""], &["\"-éA\\n\""]);
    check(&pattern(r"^\ud83d\ude00\u{1F600}$"), &["\"😀😀\""], &["\"😀\""]);
    check(&pattern("b|^a"), &["\"xb\"", "\"ax\""], &["\"xa\""]);
    check(&pattern(r#"^["\\/]+$"#), &["\"\\\"\\\\/\""], &["\"a\""]);
}

#[test]
fn formats() {
    let format = |format: &str| serde_json::json!({ "type": "string", "format": format }).to_string();
    check(
        &format("date"),
        &["\"2024-02-29\"", "\"2000-02-29\"", "\"2023-12-31\""],
        &["\"2023-02-29\"", "\"1900-02-29\"", "\"2023-04-31\""],
    );
    check(
        &format("date-time"),
        &["\"2024-02-29T23:59:59.5Z\"", "\"2024-01-01t00:00:00+01:00\""],
        &["\"2024-01-01 00:00:00Z\"", "\"2023-02-29T00:00:00Z\""],
    );
    check(
        &format("hostname"),
        &["\"a.b-c.example\"", "\"localhost\""],
        &["\"-a\"", "\"a..b\"", "\"xn--a\"", "\"a_b\""],
    );
    check(&format("uuid"), &["\"2eb8aa08-aa98-11ea-b4aa-73b441d16380\""], &["\"2eb8aa08\""]);
    check(&format("json-pointer"), &["\"\"", "\"/a~1b/0\""], &["\"a\"", "\"/~\""]);
}

#[test]
fn white_space_has_an_end() {
    let spaces = |count: usize| format!("[{}]", " ".repeat(count));
    check(r#"{"type": "array"}"#, &[&spaces(80), "[ 1,\n\t2 ]"], &[&spaces(81)]);
}

#[test]
fn what_is_too_much() {
    let nested = |open: &str, close: &str, count: usize| format!("{}{{}}{}", open.repeat(count), close.repeat(count));
    let chain: String =
        (0..3000).map(|n| format!(r##""{n}": {{"items": {{"$ref": "#/$defs/{}"}}}},"##, n + 1)).collect();
    let chain = format!(r##"{{"$ref": "#/$defs/0", "$defs": {{{chain} "3000": {{}}}}}}"##);
    let properties: Vec<String> = (0..5000).map(|n| format!(r#""p{n}": {{}}"#)).collect();
    let properties = format!(r#"{{"properties": {{{}}}}}"#, properties.join(","));
    for schema in [
        &nested("[", "]", 100_000),
        &nested(r#"{"items":"#, "}", 100_000),
        &nested(r#"{"not":"#, "}", 110),
        &chain,
        &properties,
    ] {
        assert!(grammar(schema).is_err(), "{}", &schema[..60]);
    }
    assert!(matches!(grammar(&format!("{}{{}}", " ".repeat(2 << 20))), Err(Error::Limit(_))));
    // Bounded in any case.
    let repeated = r#"{"type": "array", "items": {"type": "array", "items": {"type": "string", "minLength": 90000, "pattern": "(a|b|ab)*c"}, "minItems": 90000}, "minItems": 90000}"#;
    _ = grammar(repeated);
    let doubled: String = (0..40)
        .map(|n| format!(r##""{n}": {{"allOf": [{{"$ref": "#/$defs/{0}"}}, {{"$ref": "#/$defs/{0}"}}]}},"##, n + 1))
        .collect();
    _ = grammar(&format!(r##"{{"$ref": "#/$defs/0", "$defs": {{{doubled} "40": {{"type": "object"}}}}}}"##));
}

/// An answer depends on nothing that another has done.
#[test]
fn matchers_share_nothing() {
    fn may_go_to_another_thread<T: Send>(_: &T) {}
    let grammar =
        grammar(r#"{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}"#).unwrap();
    let text = br#"{"name":"a"}"#.map(u32::from);
    let (mut one, mut other) = (grammar.matcher(), grammar.matcher());
    may_go_to_another_thread(&one);
    may_go_to_another_thread(&grammar);
    let masks: Vec<_> = (0..=text.len()).map(|end| one.mask(&text[..end]).unwrap().to_vec()).collect();
    // In one go, and from the middle.
    assert_eq!(other.mask(&text[..5]).unwrap(), masks[5]);
    let mut clone = other.clone();
    assert_eq!(other.mask(&text).unwrap(), masks[text.len()]);
    assert_eq!(clone.mask(&text[..6]).unwrap(), masks[6]);
    assert!(matches!(clone.mask(&text[..3]), Err(Error::Answer(_))));
    assert!(matches!(grammar.matcher().mask(&[1000]), Err(Error::Answer(_))));
    assert!(matches!(grammar.matcher().mask(&[u32::from(b'x')]), Err(Error::Answer(_))));
}

/// As many properties as there may be, none of which has to be there: each may be the next.
#[test]
fn a_thousand_properties() {
    let properties: Vec<_> = (0..1_000).map(|i| format!(r#""p{i}":{{"type":"null"}}"#)).collect();
    let schema = format!(r#"{{"type":"object","properties":{{{}}}}}"#, properties.join(","));
    let mut matcher = grammar(&schema).unwrap().matcher();
    let answer: Vec<u32> = r#"{"p7":null,"p990":null}"#.bytes().map(u32::from).collect();
    for at in 0..answer.len() {
        let mask = matcher.mask(&answer[..at]).unwrap();
        assert_eq!(mask[answer[at] as usize / 32] >> (answer[at] % 32) & 1, 1, "{at}");
    }
    assert!(matcher.may_end(&answer).unwrap());
}

#[test]
fn what_is_forced() {
    let schema = r#"{"type": "object", "properties": {"name": {"type": "null"}}, "required": ["name"], "additionalProperties": false}"#;
    let bytes: Vec<u8> = (0..=255).collect();
    let words: [&[u8]; 3] = [b"{\"", b"name", b"null"];
    let tokens = || bytes.chunks(1).map(Token::Text).chain([Token::End(b"</s>")]).chain(words.map(Token::Text));
    let written = |text: &str| text.replace("{\"", "\u{1}").replace("name", "\u{2}").replace("null", "\u{3}");
    let tokenize = move |text: &str| {
        written(text).bytes().map(|c| if c < 4 { 256 + u32::from(c) } else { c.into() }).collect::<Vec<u32>>()
    };
    let vocabulary = Vocabulary::new(tokens(), Some(Box::new(tokenize))).unwrap();
    let grammar = Grammar::new(Source::JsonSchema(schema), &vocabulary, &Limits::default()).unwrap();
    let mut matcher = grammar.matcher();
    let answer = [u32::from(b'{'), b'"'.into()];
    let forced = matcher.forced(&answer).unwrap();
    // White space may stand before the colon.
    assert_eq!(forced, [258, b'"'.into()]);
    let answer = [&answer[..], &forced, &[b':'.into(), 259]].concat();
    assert!(!matcher.may_end(&answer).unwrap() && !matcher.is_over(&answer).unwrap());
    let answer = [&answer[..], &[b'}'.into()]].concat();
    assert!(matcher.may_end(&answer).unwrap());
    // Without a tokenizer: where one token is left.
    let vocabulary = Vocabulary::new(tokens(), None).unwrap();
    let grammar = Grammar::new(Source::Regex("ab|ac"), &vocabulary, &Limits::default()).unwrap();
    let mut matcher = grammar.matcher();
    assert_eq!(matcher.forced(&[]).unwrap(), [u32::from(b'a')]);
    assert_eq!(matcher.forced(&[b'a'.into()]).unwrap(), [0; 0]);
    assert!(matcher.is_over(&[b'a'.into(), b'b'.into()]).unwrap());
}

/// Where a schema may be narrowed, objects have what it lists; where it puts schemas together, or speaks of the others, they have what it says.
#[test]
fn properties_that_are_not_listed() {
    let limits = Limits { unlisted: false, ..Limits::default() };
    let one = r#""type": "object", "properties": {"a": {"type": "null"}}"#;
    let is_open = |schema: String, text: &str| {
        fits(Grammar::new(Source::JsonSchema(&schema), &vocabulary(), &limits).expect(&schema).matcher(), text)
    };
    for (schema, listed, more) in [
        (format!("{{{one}}}"), r#"{"a":null}"#, r#"{"a":null,"b":1}"#),
        (format!(r#"{{"title": "t", {one}, "required": ["a"]}}"#), r#"{"a":null}"#, r#"{"a":null,"b":1}"#),
        (
            format!(r#"{{"items": {{"anyOf": [{{{one}}}, {{"type": "null"}}]}}}}"#),
            r#"[{"a":null},null]"#,
            r#"[{"b":1}]"#,
        ),
        (format!(r##"{{"$ref": "#/$defs/x", "$defs": {{"x": {{{one}}}}}}}"##), r#"{}"#, r#"{"b":1}"#),
        (
            format!(r##"{{"allOf": [{{"$ref": "#/$defs/x"}}], "title": "t", "$defs": {{"x": {{{one}}}}}}}"##),
            r#"{}"#,
            r#"{"b":1}"#,
        ),
    ] {
        assert!(is_open(schema.clone(), listed) && !is_open(schema.clone(), more), "{schema}");
        assert!(fits(grammar(&schema).expect("a grammar").matcher(), more), "{schema}");
    }
    for schema in [
        r#"{"type": "object"}"#.into(),
        r#"{"type": "object", "properties": {}}"#.into(),
        format!(r#"{{{one}, "additionalProperties": true}}"#),
        format!(r#"{{{one}, "patternProperties": {{"^b": {{"type": "integer"}}}}}}"#),
        format!(r#"{{{one}, "required": ["b"]}}"#),
        format!(
            r#"{{"allOf": [{{{one}}}, {{"type": "object", "properties": {{"b": {{"type": "integer"}}}}, "required": ["b"]}}]}}"#
        ),
        format!(r##"{{"$ref": "#/$defs/x", "required": ["b"], "$defs": {{"x": {{{one}}}}}}}"##),
        format!(r#"{{{one}, "anyOf": [{{"required": ["b"]}}, {{"required": ["a"]}}]}}"#),
    ] {
        assert!(is_open(schema.clone(), r#"{"b":1}"#), "{schema}");
    }
}
