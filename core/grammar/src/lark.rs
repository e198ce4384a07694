//! Lark, as far as it has to be known before llguidance reads it: which rules lead to which.

use crate::{Error, Limits, Result};
use std::collections::{HashMap, HashSet};

/// Looks at a grammar by its words.
///
/// # Errors
/// Schemas and grammars within it, which would not be read as those by themselves are; rules that lead from one to the next for too long:
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
        let c = bytes[at];
        let from = at;
        at += 1;
        match c {
            b'\n' => begins = true,
            b' ' | b'\t' | b'\r' | b'!' | b'?' => {}
            b'#' => at = end_of_line(bytes, at),
            b'/' if bytes.get(at) == Some(&b'/') => at = end_of_line(bytes, at),
            b'%' => {
                at = end_of_word(bytes, at);
                begins = false;
                if ["%json", "%lark"].contains(&&text[from..at]) {
                    return Err(Error::Grammar(format!("{} within a grammar cannot be enforced", &text[from..at])));
                }
            }
            c if is_word(c) => {
                at = end_of_word(bytes, at);
                let word = &text[from..at];
                if begins && depth == 0 {
                    order.push(word);
                    rules.entry(word).or_default();
                } else if let Some(rule) = order.last() {
                    rules.entry(*rule).or_default().push(word);
                }
                begins = false;
            }
            _ => {
                begins = false;
                match c {
                    b'"' | b'/' => at = behind(bytes, at, c),
                    b'(' => depth += 1,
                    b')' => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
        }
    }
    Ok((rules, order))
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
