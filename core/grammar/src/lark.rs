//! Lark, as far as it has to be known before llguidance reads it: which schemas stand in it, and which rules lead to which.

use crate::{Error, Limits, Result};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// Takes the schemas out of a grammar, `%json {…}`: it names the grammars of their places instead, `@json_0`, `@json_1` and so on.
///
/// # Errors
/// `%json` in front of what is no JSON.
pub(crate) fn take_schemas(text: &str) -> Result<(String, Vec<String>)> {
    let (mut plain, mut schemas) = (String::with_capacity(text.len()), Vec::new());
    let (bytes, mut at) = (text.as_bytes(), 0);
    while at < bytes.len() {
        let from = at;
        at = behind_word(bytes, at);
        if &text[from..at] != "%json" {
            plain.push_str(&text[from..at]);
            continue;
        }
        let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
        match values.next() {
            Some(Ok(Value::Object(_) | Value::Bool(_))) => {}
            _ => return Err(Error::Grammar(format!("%json {} is followed by no schema", schemas.len()))),
        }
        let end = at + values.byte_offset();
        plain.push_str(&format!("@{}", place(schemas.len())));
        schemas.push(text[at..end].to_string());
        at = end;
    }
    Ok((plain, schemas))
}

/// The name of the grammar of a schema.
pub(crate) fn place(schema: usize) -> String {
    format!("json_{schema}")
}

/// Looks at a grammar by its words.
///
/// # Errors
/// Grammars within it, which would not be read as those by themselves are; rules that lead from one to the next for too long:
/// llguidance follows them on the stack, each where it is first met.
pub(crate) fn check(text: &str, limits: &Limits) -> Result<()> {
    let (rules, order) = rules(text)?;
    let mut met = HashSet::new();
    for root in ["start"].into_iter().chain(order) {
        let mut path = vec![(root, 0)];
        while let Some((rule, at)) = path.last_mut() {
            let next = rules.get(rule).and_then(|names| names.get(*at));
            *at += 1;
            match next {
                None => _ = path.pop(),
                Some(name) if rules.contains_key(name) && met.insert(*name) => path.push((name, 0)),
                Some(_) => {}
            }
            if path.len() > limits.rule_depth {
                let most = limits.rule_depth;
                return Err(Error::Limit(format!("rules that lead from one to the next more than {most} times")));
            }
        }
    }
    Ok(())
}

/// The names in each rule and terminal, and those of all of these, in their order.
type Names<'a> = (HashMap<&'a str, Vec<&'a str>>, Vec<&'a str>);

/// The first word of a line begins a rule, but within parentheses. Texts, expressions and comments have no words.
fn rules(text: &str) -> Result<Names<'_>> {
    let (mut rules, mut order): Names<'_> = (HashMap::new(), Vec::new());
    let (bytes, mut at, mut depth, mut begins) = (text.as_bytes(), 0, 0_usize, true);
    while at < bytes.len() {
        let from = at;
        at = behind_word(bytes, at);
        let word = &text[from..at];
        match bytes[from] {
            b'\n' => begins = true,
            b' ' | b'\t' | b'\r' | b'!' | b'?' | b'#' => {}
            b'/' if word.starts_with("//") => {}
            b'%' => {
                begins = false;
                if word == "%lark" {
                    return Err(Error::Grammar(format!("{word} within a grammar cannot be enforced")));
                }
            }
            c if is_word(c) => {
                if begins && depth == 0 {
                    order.push(word);
                    rules.entry(word).or_default();
                } else if let Some(rule) = order.last() {
                    rules.entry(*rule).or_default().push(word);
                }
                begins = false;
            }
            c => {
                begins = false;
                match c {
                    b'(' => depth += 1,
                    b')' => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
        }
    }
    Ok((rules, order))
}

/// Behind the text, expression, comment, directive or word that begins there, or else behind its first character.
fn behind_word(bytes: &[u8], at: usize) -> usize {
    match bytes[at] {
        b'/' if bytes.get(at + 1) == Some(&b'/') => end_of_line(bytes, at + 1),
        b'#' => end_of_line(bytes, at + 1),
        quote @ (b'"' | b'/') => behind(bytes, at + 1, quote),
        b'%' => end_of_word(bytes, at + 1),
        c if is_word(c) => end_of_word(bytes, at),
        _ => at + 1 + bytes[at + 1..].iter().take_while(|&&c| c & 0xc0 == 0x80).count(),
    }
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_' || c == b'-'
}

fn end_of_word(bytes: &[u8], at: usize) -> usize {
    at + bytes[at..].iter().take_while(|&&c| is_word(c)).count()
}

fn end_of_line(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|&c| c == b'\n').map_or(bytes.len(), |length| at + length)
}

/// Behind the next `end` that no backslash stands before.
fn behind(bytes: &[u8], mut at: usize, end: u8) -> usize {
    while at < bytes.len() && bytes[at] != end {
        at += 1 + usize::from(bytes[at] == b'\\');
    }
    (at + 1).min(bytes.len())
}
