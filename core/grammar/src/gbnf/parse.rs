//! GBNF's text, as rules of nodes.

use crate::{Error, Limits, Result};
use core::iter::Peekable;
use core::str::Chars;
use std::collections::HashMap;

/// The place of a node in [`Rules::nodes`].
pub(super) type Id = usize;

/// A piece of a rule.
#[derive(Debug)]
pub(super) enum Node {
    /// One character of some ranges, both ends included.
    Class(Vec<(u32, u32)>),
    /// Another rule, by its number.
    Rule(usize),
    /// A token, as Lark writes it.
    Token(String),
    /// One after the other; none is the empty text.
    Sequence(Vec<Id>),
    /// One of several.
    Choice(Vec<Id>),
    /// So many times, to so many.
    Repeat(Id, u32, Option<u32>),
}

/// A grammar. The first rule is `root`.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) nodes: Vec<Node>,
    /// the node of each rule
    pub(super) bodies: Vec<Id>,
    /// whether a node, by itself or by rules, contains neither tokens nor itself: whether it is an expression
    pub(super) is_regular: Vec<bool>,
    /// whether a node may be the empty text
    pub(super) is_empty: Vec<bool>,
}

const LAST: u32 = char::MAX as u32;

/// Reads a grammar.
///
/// # Errors
/// What is wrong, and in which line; rules that are named but not there.
pub(super) fn parse(text: &str, limits: &Limits, token: &dyn Fn(&str) -> Option<u32>) -> Result<Rules> {
    let mut parser = Parser {
        text: text.chars().peekable(),
        line: 1,
        limits,
        token,
        nodes: Vec::new(),
        names: HashMap::from([("root".to_string(), 0)]),
        bodies: vec![None],
    };
    parser.space(true);
    while parser.text.peek().is_some() {
        parser.rule()?;
    }
    let names = parser.names.iter().map(|(name, number)| (*number, name));
    let missing = names.filter(|(number, _)| parser.bodies[*number].is_none()).min();
    if let Some((_, name)) = missing {
        return Err(Error::Grammar(format!("there is no rule {name}")));
    }
    let (nodes, bodies) = (parser.nodes, parser.bodies.into_iter().flatten().collect::<Vec<_>>());
    // A rule is an expression when all it refers to is, so what refers to itself never becomes one.
    let is_regular = grown(&nodes, &bodies, |node, of| match node {
        Node::Class(_) => true,
        Node::Token(_) => false,
        Node::Rule(rule) => of(bodies[*rule]),
        Node::Sequence(items) | Node::Choice(items) => items.iter().all(|&item| of(item)),
        Node::Repeat(item, ..) => of(*item),
    });
    let is_empty = grown(&nodes, &bodies, |node, of| match node {
        Node::Class(_) | Node::Token(_) => false,
        Node::Rule(rule) => of(bodies[*rule]),
        Node::Sequence(items) => items.iter().all(|&item| of(item)),
        Node::Choice(items) => items.iter().any(|&item| of(item)),
        Node::Repeat(item, least, most) => *least == 0 || *most == Some(0) || of(*item),
    });
    Ok(Rules { nodes, bodies, is_regular, is_empty })
}

struct Parser<'a> {
    text: Peekable<Chars<'a>>,
    line: usize,
    limits: &'a Limits,
    token: &'a dyn Fn(&str) -> Option<u32>,
    nodes: Vec<Node>,
    names: HashMap<String, usize>,
    bodies: Vec<Option<Id>>,
}

impl Parser<'_> {
    fn rule(&mut self) -> Result<()> {
        let name = self.name()?;
        let number = self.number_of(name.clone());
        self.space(false);
        for expected in "::=".chars() {
            self.expect(expected)?;
        }
        self.space(true);
        let body = self.choice(0)?;
        if self.bodies[number].replace(body).is_some() {
            return Err(self.error(format!("a second rule {name}")));
        }
        match self.text.peek() {
            None | Some('\n' | '\r') => {
                self.space(true);
                Ok(())
            }
            Some(&other) => Err(self.error(format!("{other:?} where a rule should end"))),
        }
    }

    fn choice(&mut self, depth: usize) -> Result<Id> {
        if depth > self.limits.depth {
            return Err(Error::Limit(format!(
                "line {}: groups that nest deeper than {}",
                self.line, self.limits.depth
            )));
        }
        let mut options = vec![self.sequence(depth)?];
        while self.goes_on() {
            self.text.next();
            self.space(true);
            options.push(self.sequence(depth)?);
        }
        match options[..] {
            [only] => Ok(only),
            _ => self.add(Node::Choice(options)),
        }
    }

    /// Whether another alternative follows, be it in the next line.
    fn goes_on(&mut self) -> bool {
        let (text, line) = (self.text.clone(), self.line);
        self.space(true);
        let goes_on = self.text.peek() == Some(&'|');
        if !goes_on {
            (self.text, self.line) = (text, line);
        }
        goes_on
    }

    fn sequence(&mut self, depth: usize) -> Result<Id> {
        let mut items = Vec::new();
        while let Some(&c) = self.text.peek() {
            let item = match c {
                '"' => self.literal()?,
                '[' => self.class()?,
                '.' => {
                    self.text.next();
                    self.add(Node::Class(vec![(0, LAST)]))?
                }
                '(' => {
                    self.text.next();
                    self.space(true);
                    let group = self.choice(depth + 1)?;
                    self.space(true);
                    self.expect(')')?;
                    group
                }
                '<' | '!' => self.token()?,
                c if is_word(c) => {
                    let name = self.name()?;
                    let number = self.number_of(name);
                    self.add(Node::Rule(number))?
                }
                _ => break,
            };
            let item = self.repeated(item)?;
            items.push(item);
            self.space(depth > 0);
        }
        match items[..] {
            [only] => Ok(only),
            _ => self.add(Node::Sequence(items)),
        }
    }

    fn repeated(&mut self, mut item: Id) -> Result<Id> {
        loop {
            let (least, most) = match self.text.peek() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => {
                    self.text.next();
                    let bounds = self.bounds()?;
                    if self.text.peek() != Some(&'}') {
                        return Err(self.error("a repetition without its }"));
                    }
                    bounds
                }
                _ => return Ok(item),
            };
            self.text.next();
            item = self.add(Node::Repeat(item, least, most))?;
        }
    }

    fn bounds(&mut self) -> Result<(u32, Option<u32>)> {
        self.space(false);
        let least = self.count()?.ok_or_else(|| self.error("a repetition without a number"))?;
        self.space(false);
        if self.text.next_if_eq(&',').is_none() {
            return Ok((least, Some(least)));
        }
        self.space(false);
        let most = self.count()?;
        self.space(false);
        match most {
            Some(most) if most < least => Err(self.error(format!("{{{least},{most}}} is no range"))),
            _ => Ok((least, most)),
        }
    }

    fn count(&mut self) -> Result<Option<u32>> {
        let mut digits = String::new();
        while let Some(digit) = self.text.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        match digits.parse::<u64>() {
            Ok(count) if count <= self.limits.repetitions => Ok(u32::try_from(count).ok()),
            _ if digits.is_empty() => Ok(None),
            _ => Err(Error::Limit(format!(
                "line {}: {digits} repetitions, and the limit is {}",
                self.line, self.limits.repetitions
            ))),
        }
    }

    fn literal(&mut self) -> Result<Id> {
        self.text.next();
        let mut items = Vec::new();
        loop {
            match self.text.next() {
                None => return Err(self.error("a text without its end")),
                Some('"') => break,
                Some(c) => {
                    let c = self.character(c)?;
                    items.push(self.add(Node::Class(vec![(c, c)]))?);
                }
            }
        }
        match items[..] {
            [only] => Ok(only),
            _ => self.add(Node::Sequence(items)),
        }
    }

    fn class(&mut self) -> Result<Id> {
        self.text.next();
        let is_negated = self.text.next_if_eq(&'^').is_some();
        let mut ranges = Vec::new();
        loop {
            let low = match self.text.next() {
                None => return Err(self.error("a class without its end")),
                Some(']') => break,
                Some(c) => self.character(c)?,
            };
            let mut ahead = self.text.clone();
            let mut high = low;
            if ahead.next() == Some('-') && ahead.peek().is_some_and(|&c| c != ']') {
                self.text = ahead;
                let c = self.text.next().ok_or_else(|| self.error("a class without its end"))?;
                high = self.character(c)?;
            }
            if high < low {
                return Err(self.error("a range that ends before it begins"));
            }
            ranges.push((low, high));
        }
        ranges.sort_unstable();
        if is_negated {
            ranges = complement(&ranges);
        }
        if ranges.is_empty() {
            return Err(self.error("a class of no character"));
        }
        self.add(Node::Class(ranges))
    }

    /// A character, or what an escape stands for.
    fn character(&mut self, c: char) -> Result<u32> {
        if c != '\\' {
            self.line += usize::from(c == '\n');
            return Ok(c.into());
        }
        match self.text.next() {
            Some('x') => self.hex(2),
            Some('u') => self.hex(4),
            Some('U') => self.hex(8),
            Some('t') => Ok(9),
            Some('n') => Ok(10),
            Some('r') => Ok(13),
            Some(c @ ('\\' | '"' | '[' | ']' | '-' | '^')) => Ok(c.into()),
            Some(other) => Err(self.error(format!("\\{other} is no escape"))),
            None => Err(self.error("a backslash at the end")),
        }
    }

    fn hex(&mut self, digits: usize) -> Result<u32> {
        let text: String = self.text.by_ref().take(digits).collect();
        let code =
            u32::from_str_radix(&text, 16).ok().filter(|code| text.len() == digits && char::from_u32(*code).is_some());
        code.ok_or_else(|| self.error(format!("{text:?} is no character by its number")))
    }

    /// `<[17]>`, `<name>`, and `!` before it for any other token.
    fn token(&mut self) -> Result<Id> {
        let negation = if self.text.next_if_eq(&'!').is_some() { "^" } else { "" };
        self.expect('<')?;
        let mut name = String::new();
        loop {
            match self.text.next() {
                Some('>') => break,
                Some(c) if !c.is_whitespace() && c != '<' => name.push(c),
                _ => return Err(self.error("a token without its end")),
            }
        }
        let number = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map(str::parse);
        let id = match number {
            Some(id) => id.ok(),
            None => (self.token)(&format!("<{name}>")),
        };
        let id = id.ok_or_else(|| self.error(format!("there is no token <{name}>")))?;
        self.add(Node::Token(format!("<[{negation}{id}]>")))
    }

    fn name(&mut self) -> Result<String> {
        let mut name = String::new();
        while let Some(c) = self.text.next_if(|&c| is_word(c)) {
            name.push(c);
        }
        if name.is_empty() { Err(self.error("the name of a rule is missing")) } else { Ok(name) }
    }

    fn number_of(&mut self, name: String) -> usize {
        let next = self.bodies.len();
        let number = *self.names.entry(name).or_insert(next);
        if number == next {
            self.bodies.push(None);
        }
        number
    }

    /// Over white space and comments; over the ends of lines where a rule goes on.
    fn space(&mut self, lines: bool) {
        while let Some(&c) = self.text.peek() {
            match c {
                ' ' | '\t' => {}
                '\n' | '\r' if lines => self.line += usize::from(c == '\n'),
                '#' => {
                    while self.text.next_if(|&c| c != '\n').is_some() {}
                    continue;
                }
                _ => break,
            }
            self.text.next();
        }
    }

    fn expect(&mut self, expected: char) -> Result<()> {
        match self.text.next_if_eq(&expected) {
            Some(_) => Ok(()),
            None => Err(self.error(format!("{expected:?} is missing"))),
        }
    }

    fn add(&mut self, node: Node) -> Result<Id> {
        if self.nodes.len() == self.limits.nodes {
            return Err(Error::Limit(format!("a grammar of more than {} pieces", self.limits.nodes)));
        }
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    fn error(&self, what: impl core::fmt::Display) -> Error {
        Error::Grammar(format!("line {}: {what}", self.line))
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// All characters outside of sorted ranges.
fn complement(ranges: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let (mut out, mut next) = (Vec::new(), 0);
    for &(low, high) in ranges {
        if low > next {
            out.push((next, low - 1));
        }
        next = next.max(high + 1);
    }
    if next <= LAST {
        out.push((next, LAST));
    }
    out
}

/// Looks how far rules lead from one to the next, where each is followed once.
///
/// # Errors
/// Farther than the limits allow.
pub(super) fn check_depth(rules: &Rules, limits: &Limits) -> Result<()> {
    // Expressions are walked as often as they are named: by their longest way, which has no circles.
    let mut heights: Vec<Option<usize>> = vec![None; rules.nodes.len()];
    let mut open: Vec<Id> = (0..rules.nodes.len()).filter(|&id| rules.is_regular[id]).collect();
    while let Some(&id) = open.last() {
        let inner = match &rules.nodes[id] {
            Node::Class(_) | Node::Token(_) => Vec::new(),
            Node::Rule(rule) => vec![rules.bodies[*rule]],
            Node::Sequence(items) | Node::Choice(items) => items.clone(),
            Node::Repeat(item, ..) => vec![*item],
        };
        let unknown: Vec<Id> = inner.iter().copied().filter(|&id| heights[id].is_none()).collect();
        if unknown.is_empty() || heights[id].is_some() {
            let below = inner.iter().filter_map(|&id| heights[id]).max().unwrap_or(0);
            heights[id] = Some(below + usize::from(matches!(rules.nodes[id], Node::Rule(_))));
            open.pop();
        } else {
            open.extend(unknown);
        }
    }
    if heights.into_iter().flatten().max().unwrap_or(0) > limits.rule_depth {
        return Err(Error::Limit(format!(
            "rules that lead from one to the next more than {} times",
            limits.rule_depth
        )));
    }
    Ok(())
}

/// What holds of nodes, from nothing until no more is found. Looked at again is only what contains something new.
fn grown(nodes: &[Node], bodies: &[Id], holds: impl Fn(&Node, &dyn Fn(Id) -> bool) -> bool) -> Vec<bool> {
    let mut around = vec![Vec::new(); nodes.len()];
    for (id, node) in nodes.iter().enumerate() {
        match node {
            Node::Class(_) | Node::Token(_) => {}
            Node::Rule(rule) => around[bodies[*rule]].push(id),
            Node::Sequence(items) | Node::Choice(items) => items.iter().for_each(|&item| around[item].push(id)),
            Node::Repeat(item, ..) => around[*item].push(id),
        }
    }
    let (mut all, mut open) = (vec![false; nodes.len()], (0..nodes.len()).collect::<Vec<_>>());
    while let Some(id) = open.pop() {
        if !all[id] && holds(&nodes[id], &|id| all[id]) {
            all[id] = true;
            open.extend(&around[id]);
        }
    }
    all
}
