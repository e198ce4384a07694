//! Which expressions a greedy lexer reads as the grammar means them.
//!
//! A lexer that has read `w` goes on with a character `c` while any expression that it looks for begins with `wc`. That is wrong if `w` is a whole
//! expression A, some B begins with `wc`, and `c` may stand behind A. So all expressions are walked together, two by two, by the places of their
//! characters (Glushkov's automaton):
//!
//! ```text
//!   (p, q): places that one text leads to;   p ends A;   behind q may come c;   what follows A may begin with c    ──►    divide B
//! ```
//!
//! This asks for less than the lexer, which looks for the expressions that the parser allows; so some are divided that need not be, and texts
//! are the same in any case.

use super::parse::{Id, Node, Rules};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Most places of all expressions, and most pairs of them: beyond, all are divided into characters.
const PLACES: usize = 4_000;
const PAIRS: usize = 2_000_000;

/// Nodes that are expressions, but are not read as one.
pub(super) type Divided = HashSet<Id>;

/// What has to be divided: nodes that are expressions, and sequences whose neighbours are not read together.
pub(super) fn divide(rules: &Rules) -> Divided {
    let mut divided = Divided::new();
    if rules.is_regular[rules.bodies[0]] {
        return divided;
    }
    while let Some(wrong) = misread(rules, &divided) {
        let before = divided.len();
        divided.extend(wrong);
        if divided.len() == before {
            break;
        }
    }
    divided
}

/// A part of a rule, as the parser sees it.
pub(super) enum Part {
    /// Neighbours that are read as one expression.
    Lexeme(Vec<Id>),
    /// A node that the parser reads.
    Node(Id),
}

/// A node's parts in their order, where it is a sequence, or itself.
pub(super) fn parts(rules: &Rules, divided: &Divided, id: Id) -> Vec<Part> {
    let is_one = |id: Id| rules.is_regular[id] && !divided.contains(&id);
    let (Node::Sequence(items), false) = (&rules.nodes[id], is_one(id)) else {
        return vec![if is_one(id) { Part::Lexeme(vec![id]) } else { Part::Node(id) }];
    };
    let mut out = Vec::new();
    for &item in items {
        match out.last_mut() {
            Some(Part::Lexeme(last)) if is_one(item) && !divided.contains(&id) => last.push(item),
            _ if is_one(item) => out.push(Part::Lexeme(vec![item])),
            _ => out.push(Part::Node(item)),
        }
    }
    out
}

/// Nodes to be divided, or none if all is well.
fn misread(rules: &Rules, divided: &Divided) -> Option<Vec<Id>> {
    let mut walk = Walk::new(rules, divided);
    walk.rules();
    let found = if walk.is_too_large() {
        None
    } else {
        walk.follows();
        walk.conflicts()
    };
    let found = found.unwrap_or_else(|| (0..walk.lexemes.len()).collect());
    if found.is_empty() { None } else { Some(found.into_iter().map(|lexeme| walk.lexemes[lexeme].owner).collect()) }
}

/// Characters, as ranges that are sorted.
type Set = BTreeSet<(u32, u32)>;

fn meet(one: &[(u32, u32)], other: &Set) -> bool {
    one.iter().any(|(low, high)| other.iter().any(|(from, to)| low <= to && from <= high))
}

struct Lexeme {
    /// what is divided if it is misread: its node, or the sequence around several
    owner: Id,
    first: Vec<usize>,
    last: HashSet<usize>,
    is_empty: bool,
    /// what may follow it
    follow: Set,
}

/// A place in an expression: its characters, and the places behind it.
struct Place<'a> {
    class: &'a [(u32, u32)],
    next: Vec<usize>,
    lexeme: usize,
}

/// What is known of an expression: whether it may be empty, and the places of its first and last characters.
struct Ends {
    is_empty: bool,
    first: Vec<usize>,
    last: Vec<usize>,
}

/// What is known of what the parser reads: whether it may be empty, what it begins with, and its last lexemes.
#[derive(Default, Clone, PartialEq)]
struct Sides {
    is_empty: bool,
    first: Set,
    last: BTreeSet<usize>,
}

struct Walk<'a> {
    rules: &'a Rules,
    divided: &'a Divided,
    places: Vec<Place<'a>>,
    lexemes: Vec<Lexeme>,
    /// nodes that have been walked, those of rules as often as they are named
    nodes: usize,
    /// lexemes by their first node
    numbers: HashMap<Id, usize>,
    /// rules that the parser reads
    sides: Vec<Option<Sides>>,
}

impl<'a> Walk<'a> {
    fn new(rules: &'a Rules, divided: &'a Divided) -> Self {
        let sides = vec![None; rules.bodies.len()];
        Walk { rules, divided, places: Vec::new(), lexemes: Vec::new(), nodes: 0, numbers: HashMap::new(), sides }
    }

    fn is_too_large(&self) -> bool {
        self.places.len() > PLACES || self.nodes > 10 * PLACES
    }

    /// Finds the lexemes of all rules that the parser reads, and their places.
    fn rules(&mut self) {
        let (mut open, mut seen) = (vec![self.rules.bodies[0]], HashSet::new());
        self.sides[0] = Some(Sides::default());
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            for part in parts(self.rules, self.divided, id) {
                match part {
                    Part::Lexeme(items) => self.lexeme(id, &items),
                    Part::Node(inner) if inner != id => open.push(inner),
                    Part::Node(_) => match &self.rules.nodes[id] {
                        Node::Rule(rule) => {
                            self.sides[*rule] = Some(Sides::default());
                            open.push(self.rules.bodies[*rule]);
                        }
                        Node::Choice(items) | Node::Sequence(items) => open.extend(items),
                        Node::Repeat(item, ..) => open.push(*item),
                        Node::Class(_) | Node::Token(_) => {}
                    },
                }
            }
        }
    }

    fn lexeme(&mut self, around: Id, items: &[Id]) {
        if self.numbers.contains_key(&items[0]) {
            return;
        }
        let number = self.lexemes.len();
        self.numbers.insert(items[0], number);
        let ends = self.sequence(items, number);
        self.lexemes.push(Lexeme {
            owner: if items.len() > 1 { around } else { items[0] },
            first: ends.first,
            last: ends.last.into_iter().collect(),
            is_empty: ends.is_empty,
            follow: Set::new(),
        });
    }

    fn sequence(&mut self, items: &[Id], lexeme: usize) -> Ends {
        let mut all = Ends { is_empty: true, first: Vec::new(), last: Vec::new() };
        for &item in items {
            let ends = self.places(item, lexeme);
            self.join(&all.last, &ends.first);
            if all.is_empty {
                all.first.extend(&ends.first);
            }
            if ends.is_empty {
                all.last.extend(ends.last);
            } else {
                all.last = ends.last;
            }
            all.is_empty &= ends.is_empty;
        }
        all
    }

    fn places(&mut self, id: Id, lexeme: usize) -> Ends {
        let rules = self.rules;
        // Too many to be looked at: what is missing does not matter any more.
        self.nodes += 1;
        if self.is_too_large() {
            return Ends { is_empty: true, first: Vec::new(), last: Vec::new() };
        }
        match &rules.nodes[id] {
            Node::Class(class) => {
                let place = self.places.len();
                self.places.push(Place { class, next: Vec::new(), lexeme });
                Ends { is_empty: false, first: vec![place], last: vec![place] }
            }
            Node::Rule(rule) => self.places(rules.bodies[*rule], lexeme),
            Node::Sequence(items) => self.sequence(items, lexeme),
            Node::Choice(items) => {
                let mut all = Ends { is_empty: false, first: Vec::new(), last: Vec::new() };
                for &item in items {
                    let ends = self.places(item, lexeme);
                    all.is_empty |= ends.is_empty;
                    all.first.extend(ends.first);
                    all.last.extend(ends.last);
                }
                all
            }
            Node::Repeat(item, least, most) => {
                let mut ends = self.places(*item, lexeme);
                // As if there were no bound: some more texts are looked at.
                if most.is_none_or(|most| most > 1) {
                    self.join(&ends.last, &ends.first);
                }
                ends.is_empty |= *least == 0;
                ends
            }
            Node::Token(_) => Ends { is_empty: false, first: Vec::new(), last: Vec::new() },
        }
    }

    fn join(&mut self, last: &[usize], first: &[usize]) {
        for &place in last {
            for next in first {
                if !self.places[place].next.contains(next) {
                    self.places[place].next.push(*next);
                }
            }
        }
    }

    /// What may follow each lexeme: grown until nothing is added.
    fn follows(&mut self) {
        // What follows a rule anywhere follows its last lexemes, so those are passed upward.
        loop {
            let before: (Vec<_>, usize) =
                (self.sides.clone(), self.lexemes.iter().map(|lexeme| lexeme.follow.len()).sum());
            for rule in 0..self.rules.bodies.len() {
                if self.sides[rule].is_some() {
                    self.sides[rule] = Some(self.sides_of(self.rules.bodies[rule]));
                }
            }
            let after: (Vec<_>, usize) =
                (self.sides.clone(), self.lexemes.iter().map(|lexeme| lexeme.follow.len()).sum());
            if before == after {
                return;
            }
        }
    }

    fn sides_of(&mut self, id: Id) -> Sides {
        let mut all = Sides { is_empty: true, ..Sides::default() };
        for part in parts(self.rules, self.divided, id) {
            let sides = match part {
                Part::Lexeme(items) => self.sides_of_lexeme(items[0]),
                Part::Node(inner) if inner != id => self.sides_of(inner),
                Part::Node(_) => self.sides_of_node(id),
            };
            self.follow(&all.last, &sides.first);
            if all.is_empty {
                all.first.extend(sides.first);
            }
            if sides.is_empty {
                all.last.extend(sides.last);
            } else {
                all.last = sides.last;
            }
            all.is_empty &= sides.is_empty;
        }
        all
    }

    fn sides_of_lexeme(&self, first: Id) -> Sides {
        let number = self.numbers[&first];
        let lexeme = &self.lexemes[number];
        let first = lexeme.first.iter().flat_map(|&place| self.places[place].class.iter().copied()).collect();
        Sides { is_empty: lexeme.is_empty, first, last: BTreeSet::from([number]) }
    }

    fn sides_of_node(&mut self, id: Id) -> Sides {
        let rules = self.rules;
        match &rules.nodes[id] {
            Node::Rule(rule) => self.sides[*rule].clone().unwrap_or_default(),
            Node::Choice(items) => items.iter().fold(Sides::default(), |mut all, &item| {
                let sides = self.sides_of(item);
                all.is_empty |= sides.is_empty;
                all.first.extend(sides.first);
                all.last.extend(sides.last);
                all
            }),
            Node::Repeat(item, least, most) => {
                let mut sides = self.sides_of(*item);
                if most.is_none_or(|most| most > 1) {
                    self.follow(&sides.last, &sides.first);
                }
                sides.is_empty |= *least == 0;
                sides
            }
            // An empty sequence is the empty text; a token is no text, and ends what was before it.
            Node::Sequence(_) => Sides { is_empty: true, ..Sides::default() },
            Node::Class(_) | Node::Token(_) => Sides::default(),
        }
    }

    fn follow(&mut self, last: &BTreeSet<usize>, first: &Set) {
        last.iter().for_each(|&lexeme| self.lexemes[lexeme].follow.extend(first));
    }

    /// The lexemes that the lexer would go on with wrongly; `None` if there are too many pairs of places to see.
    fn conflicts(&self) -> Option<BTreeSet<usize>> {
        let starts: Vec<usize> = self.lexemes.iter().flat_map(|lexeme| lexeme.first.iter().copied()).collect();
        let (mut seen, mut open, mut found) = (HashSet::new(), Vec::new(), BTreeSet::new());
        self.pairs(&starts, &starts, &mut seen, &mut open);
        while let Some((p, q)) = open.pop() {
            if seen.len() > PAIRS {
                return None;
            }
            let ended = &self.lexemes[self.places[p].lexeme];
            if ended.last.contains(&p)
                && self.places[q].next.iter().any(|&next| meet(self.places[next].class, &ended.follow))
            {
                found.insert(self.places[q].lexeme);
            }
            self.pairs(&self.places[p].next, &self.places[q].next, &mut seen, &mut open);
        }
        Some(found)
    }

    fn pairs(&self, ps: &[usize], qs: &[usize], seen: &mut HashSet<(usize, usize)>, open: &mut Vec<(usize, usize)>) {
        for &p in ps {
            for &q in qs {
                let (one, other) = (self.places[p].class, self.places[q].class);
                let together = one.iter().any(|(low, high)| other.iter().any(|(from, to)| low <= to && from <= high));
                if together && seen.insert((p, q)) {
                    open.push((p, q));
                }
            }
        }
    }
}
