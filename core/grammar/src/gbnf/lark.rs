//! Rules and expressions, written as Lark.

use super::lexemes::{Divided, Part, parts};
use super::parse::{Id, Node, Rules};
use core::fmt::Write;
use std::collections::BTreeSet;

/// Writes a grammar: `start`, rules `r1`, `r2`, … that the parser reads, and terminals `R1`, `R2`, … of those that are expressions.
pub(super) fn write(rules: &Rules, divided: &Divided) -> String {
    let mut writer = Writer { rules, divided, unread: vec![(0, false)], seen: BTreeSet::new(), lexemes: Vec::new() };
    let mut out = String::from("start: r0\n");
    while let Some((rule, is_terminal)) = writer.unread.pop() {
        if writer.seen.insert((rule, is_terminal)) {
            let body = rules.bodies[rule];
            let (name, text) = if is_terminal { ('R', writer.expression(body)) } else { ('r', writer.part(body)) };
            _ = writeln!(out, "{name}{rule}: {text}");
        }
    }
    for (number, lexeme) in writer.lexemes.iter().enumerate() {
        _ = writeln!(out, "L{number}: {lexeme}");
    }
    out
}

struct Writer<'a> {
    rules: &'a Rules,
    divided: &'a Divided,
    /// rules that are named and not written yet, as what they are named
    unread: Vec<(usize, bool)>,
    seen: BTreeSet<(usize, bool)>,
    lexemes: Vec<String>,
}

impl Writer<'_> {
    /// What the parser reads.
    fn part(&mut self, id: Id) -> String {
        let parts: Vec<String> = parts(self.rules, self.divided, id)
            .into_iter()
            .map(|part| match part {
                Part::Lexeme(items) => self.lexeme(&items),
                Part::Node(inner) if inner != id => self.part(inner),
                Part::Node(_) => self.node(id),
            })
            .collect();
        sequence(&parts)
    }

    fn node(&mut self, id: Id) -> String {
        match &self.rules.nodes[id] {
            Node::Rule(rule) => {
                self.unread.push((*rule, false));
                format!("r{rule}")
            }
            Node::Token(text) => text.clone(),
            Node::Choice(items) => choice(items.iter().map(|&item| self.part(item))),
            Node::Repeat(item, least, most) => repeat(&self.part(*item), *least, *most),
            Node::Sequence(_) => "\"\"".into(),
            Node::Class(ranges) => class(ranges),
        }
    }

    /// A terminal of its own. The parser takes care that it may be missing: a lexeme is never empty.
    fn lexeme(&mut self, items: &[Id]) -> String {
        let parts: Vec<String> = items.iter().map(|&item| self.expression(item)).collect();
        let text = sequence(&parts);
        let is_empty = items.iter().all(|&item| self.rules.is_empty[item]);
        let text = if is_empty { format!("/(?s:.+)/ & ({text})") } else { text };
        let number = self.lexemes.iter().position(|known| *known == text).unwrap_or_else(|| {
            self.lexemes.push(text);
            self.lexemes.len() - 1
        });
        if is_empty { format!("(L{number})?") } else { format!("L{number}") }
    }

    fn expression(&mut self, id: Id) -> String {
        match &self.rules.nodes[id] {
            Node::Class(ranges) => class(ranges),
            Node::Rule(rule) => {
                self.unread.push((*rule, true));
                format!("R{rule}")
            }
            Node::Sequence(items) => {
                let parts: Vec<String> = items.iter().map(|&item| self.expression(item)).collect();
                sequence(&parts)
            }
            Node::Choice(items) => choice(items.iter().map(|&item| self.expression(item))),
            Node::Repeat(item, least, most) => repeat(&self.expression(*item), *least, *most),
            Node::Token(text) => text.clone(),
        }
    }
}

fn sequence(parts: &[String]) -> String {
    if parts.is_empty() { "\"\"".into() } else { parts.join(" ") }
}

fn choice(parts: impl Iterator<Item = String>) -> String {
    format!("({})", parts.collect::<Vec<_>>().join(" | "))
}

fn repeat(part: &str, least: u32, most: Option<u32>) -> String {
    match (least, most) {
        (_, Some(0)) => "\"\"".into(),
        (0, None) => format!("({part})*"),
        (1, None) => format!("({part})+"),
        (0, Some(1)) => format!("({part})?"),
        (least, None) => format!("({part}){{{least},}}"),
        (least, Some(most)) => format!("({part}){{{least},{most}}}"),
    }
}

fn class(ranges: &[(u32, u32)]) -> String {
    let mut out = String::from("/[");
    for &(low, high) in ranges {
        // Surrogates are no characters.
        let parts = [(low, high.min(0xd7ff)), (low.max(0xe000), high)];
        for (low, high) in parts.into_iter().filter(|(low, high)| low <= high) {
            _ = write!(out, "\\u{{{low:x}}}-\\u{{{high:x}}}");
        }
    }
    out + "]/"
}
