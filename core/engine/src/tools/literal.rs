//! Values in other notations than JSON's: Python's literals, and Gemma's objects.

use super::tool::is_of_name;
use alloc::string::String;
use alloc::vec::Vec;
use picolm_core::text::Json;

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notation {
    Json,
    /// `{'a': True}`, and `f(a=True)` where it is a call
    Python,
    /// `{a:<|"|>text<|"|>,b:true}`
    Gemma,
}

/// Deepest nesting, as of JSON.
const MAX_DEPTH: usize = 100;

impl Notation {
    /// What texts stand between.
    pub(super) fn quotes(self) -> &'static [&'static str] {
        match self {
            Notation::Json => &["\""],
            Notation::Python => &["\"", "'"],
            Notation::Gemma => &["<|\"|>"],
        }
    }

    /// Whether a backslash says something about the character after it.
    pub(super) fn has_escapes(self) -> bool {
        self != Notation::Gemma
    }

    /// Reads a whole text as a value.
    pub(super) fn read(self, text: &str) -> Option<Json> {
        if self == Notation::Json {
            return Json::parse(text).ok();
        }
        let mut reader = Reader { rest: text, notation: self };
        let value = reader.value(0)?;
        reader.rest.trim_start().is_empty().then_some(value)
    }
}

/// Reads what stands between the parentheses of a call in Python: `a=1, b="x"`.
pub(super) fn arguments(text: &str) -> Option<Json> {
    let mut reader = Reader { rest: text, notation: Notation::Python };
    let mut pairs = Vec::new();
    while !reader.rest.trim_start().is_empty() {
        if !pairs.is_empty() {
            reader.expect(",")?;
            if reader.rest.trim_start().is_empty() {
                break;
            }
        }
        let name = reader.word()?;
        reader.expect("=")?;
        pairs.push((name.into(), reader.value(0)?));
    }
    Some(Json::Object(pairs))
}

struct Reader<'t> {
    rest: &'t str,
    notation: Notation,
}

impl<'t> Reader<'t> {
    /// Takes a text, if it comes next.
    fn take(&mut self, text: &str) -> bool {
        self.rest = self.rest.trim_start();
        self.rest.strip_prefix(text).map(|rest| self.rest = rest).is_some()
    }

    fn expect(&mut self, text: &str) -> Option<()> {
        self.take(text).then_some(())
    }

    fn word(&mut self) -> Option<&'t str> {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c| !(is_of_name(c) || c == '.' || c == '+')).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > MAX_DEPTH {
            return None;
        }
        if self.take("{") {
            let mut pairs = Vec::new();
            self.items("}", |reader| {
                let key = match reader.text() {
                    Some(key) => key?,
                    None => reader.word()?.into(),
                };
                reader.expect(":")?;
                pairs.push((key, reader.value(depth + 1)?));
                Some(())
            })?;
            return Some(Json::Object(pairs));
        }
        for (open, close) in [("[", "]"), ("(", ")")] {
            if self.take(open) {
                let mut list = Vec::new();
                self.items(close, |reader| {
                    list.push(reader.value(depth + 1)?);
                    Some(())
                })?;
                return Some(Json::List(list));
            }
        }
        if let Some(text) = self.text() {
            return text.map(Json::Text);
        }
        match self.word()? {
            "None" | "null" => Some(Json::Null),
            "True" | "true" => Some(Json::Bool(true)),
            "False" | "false" => Some(Json::Bool(false)),
            number => Json::parse(number).ok(),
        }
    }

    /// What stands between brackets, with commas between, and perhaps one at the end.
    fn items(&mut self, close: &str, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        loop {
            if self.take(close) {
                return Some(());
            }
            item(self)?;
            if !self.take(",") {
                return self.expect(close);
            }
        }
    }

    /// A text in quotation marks; none if another thing comes next, and none within if it is not as it has to be.
    fn text(&mut self) -> Option<Option<String>> {
        let quote = self.notation.quotes().iter().find(|quote| self.take(quote))?;
        let mut out = String::new();
        loop {
            if self.rest.starts_with(quote) {
                self.rest = &self.rest[quote.len()..];
                return Some(Some(out));
            }
            let mut chars = self.rest.chars();
            let Some(c) = chars.next() else { return Some(None) };
            self.rest = chars.as_str();
            if c != '\\' || !self.notation.has_escapes() {
                out.push(c);
            } else if self.escape(&mut out).is_none() {
                return Some(None);
            }
        }
    }

    /// What a backslash stands in front of.
    fn escape(&mut self, out: &mut String) -> Option<()> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        let digits = match c {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            c => {
                match c {
                    'n' => out.push('\n'),
                    't' => out.push('\t'),
                    'r' => out.push('\r'),
                    'b' => out.push('\u{8}'),
                    'f' => out.push('\u{c}'),
                    '\\' | '\'' | '"' | '/' => out.push(c),
                    '\n' => {}
                    // As Python has it: what is no escape is itself.
                    other => out.extend(['\\', other]),
                }
                return Some(());
            }
        };
        let code = self.rest.get(..digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        self.rest = &self.rest[digits..];
        out.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Option<Json> {
        Some(Json::parse(text).expect("JSON"))
    }

    #[test]
    fn python() {
        for (text, wanted) in [
            ("{'a': [1, -2.5, (True, None)], \"b\": 'it\\'s', }", r#"{"a":[1,-2.5,[true,null]],"b":"it's"}"#),
            (r#"'\n\t\\\x41\u00e9\U0001f999\q'"#, r#""\n\t\\Aé🦙\\q""#),
            ("[]", "[]"),
        ] {
            assert_eq!(Notation::Python.read(text), json(wanted), "{text}");
        }
        assert_eq!(arguments(" a = 1,b='x(,)', c={} "), json(r#"{"a":1,"b":"x(,)","c":{}}"#));
        assert_eq!((arguments(""), arguments("a=1,")), (json("{}"), json(r#"{"a":1}"#)));
        for text in ["a", "1", "a=", "a=b", "=1", "a=1 b=2", "'a", "a='x", "a='\\x4'", "a='\\ud800'", ",a=1"] {
            assert_eq!(arguments(text), None, "{text}");
        }
        for text in ["", "[", "[1", "{'a'}", "{'a': 1", "'a", "1 2", &"[".repeat(100_000)] {
            assert_eq!(Notation::Python.read(text), None);
        }
    }

    #[test]
    fn gemma() {
        let text = r#"{a:<|"|>say "hi" \n<|"|>,b:[1,true,{c:null}],d:{}}"#;
        let wanted = Json::Object(Vec::from([
            ("a".into(), Json::from("say \"hi\" \\n")),
            ("b".into(), json(r#"[1,true,{"c":null}]"#).expect("JSON")),
            ("d".into(), Json::Object(Vec::new())),
        ]));
        assert_eq!(Notation::Gemma.read(text), Some(wanted));
        assert_eq!(Notation::Gemma.read(r#"{a:<|"|>x}"#), None);
    }
}
