//! Finds the end of a value in text that comes in pieces, each byte once.

use super::literal::Notation;

/// Where in a value a text is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// brackets that are open
    depth: usize,
    /// the quotation mark that ends the text, within one
    quote: Option<&'static str>,
}

impl Scan {
    /// Goes on at `at`, which becomes the place up to which the text is scanned: the end of the value once its last bracket is closed
    /// (true). What a text ends with may be kept back, for the rest of an escape or of a quotation mark.
    pub(super) fn go_on(&mut self, text: &str, at: &mut usize, notation: Notation) -> bool {
        while let Some(c) = text[*at..].chars().next() {
            let rest = &text[*at..];
            let mut step = c.len_utf8();
            if let Some(quote) = self.quote {
                if rest.starts_with(quote) {
                    (self.quote, step) = (None, quote.len());
                } else if quote.starts_with(rest) {
                    return false;
                } else if c == '\\' && notation.has_escapes() {
                    let Some(escaped) = rest[1..].chars().next() else { return false };
                    step += escaped.len_utf8();
                }
            } else if let Some(quote) = notation.quotes().iter().copied().find(|quote| rest.starts_with(quote)) {
                (self.quote, step) = (Some(quote), quote.len());
            } else if notation.quotes().iter().any(|quote| quote.starts_with(rest)) {
                return false;
            } else {
                match c {
                    '{' | '[' | '(' => self.depth += 1,
                    '}' | ']' | ')' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
            }
            *at += step;
            if self.depth == 0 && self.quote.is_none() {
                return true;
            }
        }
        false
    }
}
