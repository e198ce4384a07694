//! A template's source as tokens, with the white space around tags removed as `trim_blocks` and `lstrip_blocks` say, which
//! Hugging Face sets.

use super::python::is_space;
use super::{ChatError, decimal};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Errors are boxed: results stay small.
pub(super) type Result<T> = core::result::Result<T, Box<ChatError>>;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'s> {
    /// literal text
    Text(&'s str),
    /// `{{`, `}}`
    PrintStart,
    PrintEnd,
    /// `{%`, `%}`
    TagStart,
    TagEnd,
    Name(&'s str),
    Str(String),
    Int(i64),
    Float(f64),
    Operator(&'static str),
    /// of the source
    End,
}

/// Longer ones first.
const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".",
    ":", "|", ",", ";",
];

/// The tokens and the lines they are in. The source has `\n` for every end of line.
pub(super) fn tokens(source: &str) -> Result<Vec<(Token<'_>, u32)>> {
    // The last end of line is the file's, not the text's.
    let source = source.strip_suffix('\n').unwrap_or(source);
    let mut lexer = Lexer { source, at: 0, line: 1, tokens: Vec::new() };
    while lexer.at < source.len() {
        lexer.text_and_tag()?;
    }
    lexer.push(Token::End);
    Ok(lexer.tokens)
}

/// An error in a line.
#[cold]
#[inline(never)]
pub(super) fn failure(line: u32, message: String) -> Box<ChatError> {
    Box::new(ChatError::Syntax { line: line as usize, message })
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: u32,
    tokens: Vec<(Token<'s>, u32)>,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, token: Token<'s>) {
        self.tokens.push((token, self.line));
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(failure(self.line, message.into()))
    }

    /// Goes on by `bytes`.
    fn advance(&mut self, bytes: usize) {
        self.line += self.rest().bytes().take(bytes).filter(|&b| b == b'\n').count() as u32;
        self.at += bytes;
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.advance(rest.len() - rest.trim_start_matches(is_space).len());
    }

    /// Passes over `text` if it comes next.
    fn skip(&mut self, text: &str) -> bool {
        let next = self.rest().starts_with(text);
        if next {
            self.advance(text.len());
        }
        next
    }

    fn text_and_tag(&mut self) -> Result<()> {
        let rest = self.rest();
        let opens = |at: &usize| matches!(rest.as_bytes().get(at + 1), Some(b'{' | b'%' | b'#'));
        let Some(open) = rest.match_indices('{').map(|(at, _)| at).find(opens) else {
            self.push(Token::Text(rest));
            self.at = self.source.len();
            return Ok(());
        };
        let kind = rest.as_bytes()[open + 1];
        self.push_text(&rest[..open], rest[open + 2..].chars().next(), kind != b'{');
        self.advance(open + 2);
        if !self.skip("-") {
            self.skip("+");
        }
        match kind {
            b'#' => self.comment(),
            b'%' if self.raw_starts() => self.raw(),
            b'%' => {
                self.push(Token::TagStart);
                self.tag("%}", Token::TagEnd)
            }
            _ => {
                self.push(Token::PrintStart);
                self.tag("}}", Token::PrintEnd)
            }
        }
    }

    /// Text before a tag that starts with `sign`; `block` is a tag or comment, whose indentation `lstrip_blocks` removes.
    fn push_text(&mut self, text: &'s str, sign: Option<char>, block: bool) {
        let line_start = text.rfind('\n').map_or(0, |end| end + 1);
        let whole_line = line_start > 0 || self.source[..self.at].chars().next_back().is_none_or(|c| c == '\n');
        let text = match sign {
            Some('-') => text.trim_end_matches(is_space),
            Some('+') => text,
            _ if block && whole_line && text[line_start..].chars().all(is_space) => &text[..line_start],
            _ => text,
        };
        if !text.is_empty() {
            self.push(Token::Text(text));
        }
    }

    /// What follows the end of a tag that ended with `sign`.
    fn after_end(&mut self, sign: Option<char>) {
        match sign {
            Some('-') => self.skip_space(),
            Some('+') => {}
            _ => {
                self.skip("\n");
            }
        }
    }

    fn comment(&mut self) -> Result<()> {
        let Some(end) = self.rest().find("#}") else { return self.fail("a comment without end") };
        let sign = self.rest()[..end].chars().next_back();
        self.advance(end + 2);
        self.after_end(sign);
        Ok(())
    }

    /// Passes over `raw %}`, if that is what comes.
    fn raw_starts(&mut self) -> bool {
        let Some(end) = after_word(self.rest(), "raw") else { return false };
        let length = self.rest().len() - end.len();
        let trims = end.starts_with("-%}");
        if !trims && !end.starts_with("%}") {
            return false;
        }
        self.advance(length + if trims { 3 } else { 2 });
        if trims {
            self.skip_space();
        }
        true
    }

    fn raw(&mut self) -> Result<()> {
        let rest = self.rest();
        for (open, _) in rest.match_indices("{%") {
            let inside = &rest[open + 2..];
            let sign = inside.chars().next();
            let Some(end) = after_word(inside.strip_prefix(['-', '+']).unwrap_or(inside), "endraw") else { continue };
            let end_sign = end.chars().next();
            let Some(after) = end.strip_prefix(['-', '+']).unwrap_or(end).strip_prefix("%}") else { continue };
            self.push_text(&rest[..open], sign, true);
            self.advance(rest.len() - after.len());
            self.after_end(end_sign);
            return Ok(());
        }
        self.fail("{% raw %} without end")
    }

    /// The tokens up to `close`, with `end` for it.
    fn tag(&mut self, close: &str, end: Token<'s>) -> Result<()> {
        let mut open_brackets = Vec::new();
        loop {
            self.skip_space();
            let sign = self.rest().chars().next();
            let closes = self.rest().strip_prefix('-').unwrap_or(self.rest()).starts_with(close);
            let keeps = close == "%}" && self.rest().starts_with("+%}");
            if open_brackets.is_empty() && (closes || keeps) {
                self.push(end);
                self.advance(close.len() + usize::from(matches!(sign, Some('-' | '+'))));
                if close == "%}" || sign == Some('-') {
                    self.after_end(sign);
                }
                return Ok(());
            }
            let token = self.token()?;
            if let Token::Operator(operator) = token {
                let closing = match operator {
                    "(" => ")",
                    "[" => "]",
                    "{" => "}",
                    _ => "",
                };
                if !closing.is_empty() {
                    open_brackets.push(closing);
                } else if matches!(operator, ")" | "]" | "}") && open_brackets.pop() != Some(operator) {
                    return self.fail(format!("unexpected '{operator}'"));
                }
            }
            self.push(token);
        }
    }

    fn token(&mut self) -> Result<Token<'s>> {
        let rest = self.rest();
        match rest.chars().next() {
            None => self.fail("a tag without end"),
            Some(quote @ ('\'' | '"')) => self.string(quote),
            Some('0'..='9') => self.number(),
            Some(c) if c == '_' || c.is_alphabetic() => {
                let length = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
                self.at += length;
                Ok(Token::Name(&rest[..length]))
            }
            Some(c) => match OPERATORS.iter().find(|operator| rest.starts_with(**operator)) {
                Some(operator) => {
                    self.at += operator.len();
                    Ok(Token::Operator(operator))
                }
                None => self.fail(format!("unexpected character {c:?}")),
            },
        }
    }

    fn number(&mut self) -> Result<Token<'s>> {
        let rest = self.rest();
        let digits = |from: usize, radix: u32| {
            let tail = rest.get(from..).unwrap_or_default();
            from + tail.find(|c: char| c != '_' && !c.is_digit(radix)).unwrap_or(tail.len())
        };
        let radix = match rest.get(..2).unwrap_or_default() {
            "0x" | "0X" => 16,
            "0o" | "0O" => 8,
            "0b" | "0B" => 2,
            _ => 10,
        };
        let mut end = digits(if radix == 10 { 0 } else { 2 }, radix);
        let whole = end;
        let digit_at = |at: usize| rest.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
        if radix == 10 && !self.source[..self.at].ends_with('.') {
            if rest[end..].starts_with('.') && digit_at(end + 1) {
                end = digits(end + 1, 10);
            }
            let exponent = end + 1 + usize::from(rest[end..].get(1..2).is_some_and(|sign| sign == "+" || sign == "-"));
            if rest[end..].starts_with(['e', 'E']) && digit_at(exponent) {
                end = digits(exponent, 10);
            }
        }
        let text = rest[if radix == 10 { 0 } else { 2 }..end].replace('_', "");
        self.at += end;
        let token = if end > whole {
            decimal::parse(&text).map(Token::Float)
        } else {
            i64::from_str_radix(&text, radix).ok().map(Token::Int)
        };
        token.map_or_else(|| self.fail(format!("the number {:.40} is malformed or too large", &rest[..end])), Ok)
    }

    fn string(&mut self, quote: char) -> Result<Token<'s>> {
        let mut chars = self.rest().char_indices().skip(1);
        let mut out = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.advance(at + 1);
                    return Ok(Token::Str(out));
                }
                '\\' => match unescape(&self.rest()[at + 1..], &mut out) {
                    Some(0) => return self.fail("a string without end"),
                    Some(length) => {
                        chars.nth(length - 1);
                    }
                    None => return self.fail("an escape in a string that is not supported"),
                },
                c => out.push(c),
            }
        }
        self.fail("a string without end")
    }
}

/// What follows a word and the spaces around it.
fn after_word<'s>(text: &'s str, word: &str) -> Option<&'s str> {
    Some(text.trim_start_matches(is_space).strip_prefix(word)?.trim_start_matches(is_space))
}

/// Appends what Python makes of a backslash and `text`. Gives how many characters of `text` that takes.
fn unescape(text: &str, out: &mut String) -> Option<usize> {
    let Some(c) = text.chars().next() else { return Some(0) };
    let (first, longest, radix) = match c {
        'x' => (1, 2, 16),
        'u' => (1, 4, 16),
        'U' => (1, 8, 16),
        '0'..='7' => (0, 3, 8),
        'N' => return None,
        '\n' => return Some(1),
        c => {
            let known =
                [('n', '\n'), ('t', '\t'), ('r', '\r'), ('a', '\x07'), ('b', '\x08'), ('f', '\x0c'), ('v', '\x0b')];
            match known.iter().find(|(name, _)| *name == c) {
                Some((_, meaning)) => out.push(*meaning),
                None if matches!(c, '\\' | '\'' | '"') => out.push(c),
                None => out.extend(['\\', c]),
            }
            return Some(1);
        }
    };
    let digits = text[first..].chars().take(longest).take_while(|c| c.is_digit(radix)).count();
    if radix == 16 && digits < longest {
        return None;
    }
    out.push(char::from_u32(u32::from_str_radix(&text[first..first + digits], radix).ok()?)?);
    Some(first + digits)
}
