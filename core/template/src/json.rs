//! JSON, as hosts hand it to templates: tools, tool calls, further variables.

use super::decimal;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Display, Write};

/// A JSON value. Objects keep the order of their keys, since prompts show it; of two entries of one name the later counts.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Json {
    Null,
    Bool(bool),
    Int(i64),
    /// an integer of more than 64 bits, as it is written
    Digits(String),
    Float(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Why a text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not JSON at byte {at}: {what}")]
pub struct JsonError {
    /// Bytes from the start of the text.
    pub at: usize,
    /// What was expected, or is not supported.
    pub what: &'static str,
}

/// Deepest nesting of lists and objects.
const MAX_DEPTH: usize = 100;

impl Json {
    /// Reads a text (RFC 8259).
    ///
    /// # Errors
    /// Anything but one value; nesting over 100 deep; escaped halves of a surrogate pair.
    pub fn parse(text: &str) -> Result<Json, JsonError> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        if reader.peek() == 0 && reader.at == text.len() { Ok(value) } else { reader.fail("the end was expected") }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Json {
        Json::Text(text.into())
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Json {
        Json::Bool(value)
    }
}

/// As JSON, without spaces.
impl Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Int(number) => write!(f, "{number}"),
            Json::Digits(digits) => f.write_str(digits),
            // `1.0`, so that it is read as a float again.
            Json::Float(number) => write!(f, "{number:?}"),
            Json::Text(text) => write_text(f, text),
            Json::List(items) => {
                f.write_char('[')?;
                separated(f, items, |f, item| write!(f, "{item}"))?;
                f.write_char(']')
            }
            Json::Object(pairs) => {
                f.write_char('{')?;
                separated(f, pairs, |f, (key, value)| {
                    write_text(f, key)?;
                    write!(f, ":{value}")
                })?;
                f.write_char('}')
            }
        }
    }
}

fn separated<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    write: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_char(',')?;
        }
        write(f, item)?;
    }
    Ok(())
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\0'..=' ' if c != ' ' => write!(f, "\\u{:04x}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn fail<T>(&self, what: &'static str) -> Result<T, JsonError> {
        Err(JsonError { at: self.at, what })
    }

    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    /// The next byte that is no space; 0 at the end.
    fn peek(&mut self) -> u8 {
        while matches!(self.byte(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.byte()
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), JsonError> {
        if self.peek() != byte {
            return self.fail(what);
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Json, JsonError> {
        if depth > MAX_DEPTH {
            return self.fail("nested too deep");
        }
        match self.peek() {
            b'"' => self.string().map(Json::Text),
            b'[' => {
                let mut list = Vec::new();
                self.items(b']', |reader| {
                    list.push(reader.value(depth + 1)?);
                    Ok(())
                })?;
                Ok(Json::List(list))
            }
            b'{' => {
                let mut pairs = Vec::new();
                self.items(b'}', |reader| {
                    reader.peek();
                    let key = reader.string()?;
                    reader.expect(b':', "a colon was expected")?;
                    pairs.push((key, reader.value(depth + 1)?));
                    Ok(())
                })?;
                Ok(Json::Object(pairs))
            }
            b'-' | b'0'..=b'9' => self.number(),
            _ => {
                let words = [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))];
                let rest = self.text.get(self.at..).unwrap_or_default();
                let Some((word, value)) = words.into_iter().find(|(word, _)| rest.starts_with(word)) else {
                    return self.fail("a value was expected");
                };
                self.at += word.len();
                Ok(value)
            }
        }
    }

    /// What stands between brackets, with commas between.
    fn items(&mut self, end: u8, mut item: impl FnMut(&mut Self) -> Result<(), JsonError>) -> Result<(), JsonError> {
        self.at += 1;
        if self.peek() == end {
            self.at += 1;
            return Ok(());
        }
        loop {
            item(self)?;
            if self.peek() == end {
                self.at += 1;
                return Ok(());
            }
            self.expect(b',', "a comma or the end of the list was expected")?;
        }
    }

    fn number(&mut self) -> Result<Json, JsonError> {
        let start = self.at;
        while matches!(self.byte(), b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E') {
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        let digits = text.strip_prefix('-').unwrap_or(text);
        let whole = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let rest = &digits[whole..];
        let fraction = rest.strip_prefix('.').is_none_or(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let good = whole > 0 && !(whole > 1 && digits.starts_with('0')) && fraction && !rest.starts_with(['+', '-']);
        let value = if rest.is_empty() {
            Some(text.parse().map_or_else(|_| Json::Digits(text.into()), Json::Int))
        } else {
            decimal::parse(text).filter(|number| number.is_finite()).map(Json::Float)
        };
        match value {
            Some(value) if good => Ok(value),
            _ => Err(JsonError { at: start, what: "a malformed number" }),
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        if self.byte() != b'"' {
            return self.fail("a string was expected");
        }
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let plain = rest.find(|c| c == '"' || c == '\\' || c < ' ').unwrap_or(rest.len());
            out.push_str(&rest[..plain]);
            self.at += plain;
            match self.byte() {
                b'"' => {
                    self.at += 1;
                    return Ok(out);
                }
                b'\\' => out.push(self.escape()?),
                _ => return self.fail("a string without end, or a control character in it"),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        self.at += 2;
        Ok(match self.text.as_bytes().get(self.at - 1) {
            Some(&c @ (b'"' | b'\\' | b'/')) => c.into(),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let mut code = self.hex()?;
                if (0xd800..0xdc00).contains(&code) && self.text.get(self.at..).is_some_and(|t| t.starts_with("\\u")) {
                    self.at += 2;
                    let low = self.hex()?.wrapping_sub(0xdc00);
                    code = if low < 0x400 { 0x10000 + ((code - 0xd800) << 10) + low } else { 0xd800 };
                }
                match char::from_u32(code) {
                    Some(c) => c,
                    None => return self.fail("half of a surrogate pair"),
                }
            }
            _ => return self.fail("an unknown escape"),
        })
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.get(self.at..self.at + 4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += 4;
        code.map_or_else(|| self.fail("four hexadecimal digits were expected"), Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn values_are_read() {
        let list = |items: &[Json]| Json::List(items.to_vec());
        let cases = [
            (" null ", Json::Null),
            ("[true,false]", list(&[Json::Bool(true), Json::Bool(false)])),
            ("[0, -1,9223372036854775807]", list(&[Json::Int(0), Json::Int(-1), Json::Int(i64::MAX)])),
            ("18446744073709551615", Json::Digits("18446744073709551615".into())),
            ("[0.5,-1e3,1E-2]", list(&[Json::Float(0.5), Json::Float(-1000.0), Json::Float(0.01)])),
            (r#""a\"\\\/\b\f\n\r\t\u00e9\ud83e\udd99🦙""#, Json::from("a\"\\/\u{8}\u{c}\n\r\té🦙🦙")),
            ("{}", Json::Object(Vec::new())),
            (r#"{"b":[],"a":{"":1}}"#, {
                let inner = Json::Object(Vec::from([("".into(), Json::Int(1))]));
                Json::Object(Vec::from([("b".into(), list(&[])), ("a".into(), inner)]))
            }),
        ];
        for (text, expected) in cases {
            assert_eq!(Json::parse(text), Ok(expected), "{text}");
        }
        for text in
            ["null", "[true,-1,0.5,1.0,1e300,\"a\\u0001\\\"\\\\é\"]", "{\"b\":[],\"a\":{\"\":18446744073709551615}}"]
        {
            assert_eq!(Json::parse(text).expect("JSON").to_string(), text);
        }
        let deep = "[".repeat(100) + &"]".repeat(100);
        assert!(Json::parse(&deep).is_ok());
    }

    #[test]
    fn other_texts_are_errors_that_name_the_place() {
        let bad = "|nul|[|[1|[1,|[1,]|[1 2]|{|{1:2}|{\"a\"}|{\"a\":}|{\"a\":1,}|\"|\"\\x\"|\"\\u12\"|\"\\ud800\"|\"\n\"|01|-|+1|1.|.5|1e|1.5.2|--1|nan|1e999|1 2|\"\\ud800\\u0041\"|é";
        for text in bad.split('|') {
            assert!(Json::parse(text).is_err(), "{text}");
        }
        assert!(Json::parse(&"[".repeat(100_000)).is_err());
        assert_eq!(Json::parse("[1, x]"), Err(JsonError { at: 4, what: "a value was expected" }));
    }
}
