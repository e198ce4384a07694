//! Whether a grammar has an end: rules that only lead to more of themselves would never let an answer be whole.

use crate::{Error, Result};
use llguidance::earley::{CGrammar, CSymIdx};
use std::collections::{BTreeMap, BTreeSet};

/// Looks for a text that fits.
///
/// ```text
/// a symbol ends, if it is a lexeme, may be empty, or has a rule all of whose symbols end:    grow the set of those from nothing
/// ```
///
/// # Errors
/// None fits.
pub(crate) fn check(grammar: &CGrammar) -> Result<()> {
    let rules = reachable(grammar);
    // Where a symbol stands, so that each rule is looked at again only when one of its symbols has been found to end.
    let mut uses: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut missing: Vec<usize> = Vec::new();
    for (at, (_, body)) in rules.iter().enumerate() {
        missing.push(body.len());
        body.iter().for_each(|symbol| uses.entry(symbol.as_index()).or_default().push(at));
    }
    let mut ending = BTreeSet::new();
    let mut found: Vec<usize> =
        rules.iter().filter(|(_, body)| body.is_empty()).map(|(head, _)| head.as_index()).collect();
    while let Some(symbol) = found.pop() {
        if !ending.insert(symbol) {
            continue;
        }
        for &rule in uses.get(&symbol).into_iter().flatten() {
            missing[rule] -= 1;
            if missing[rule] == 0 {
                found.push(rules[rule].0.as_index());
            }
        }
    }
    if ending.contains(&grammar.start().as_index()) {
        Ok(())
    } else {
        Err(Error::impossible("", "it has no end: each text would have to contain another one"))
    }
}

/// The rules that lead on from the start: a head and its body, which is empty for lexemes and for what may be empty.
fn reachable(grammar: &CGrammar) -> Vec<(CSymIdx, Vec<CSymIdx>)> {
    let (mut rules, mut seen, mut open) = (Vec::new(), BTreeSet::new(), vec![grammar.start()]);
    while let Some(head) = open.pop() {
        if !seen.insert(head.as_index()) {
            continue;
        }
        let symbol = grammar.sym_data(head);
        if symbol.is_terminal || symbol.is_nullable || symbol.lexeme.is_some() || symbol.gen_grammar.is_some() {
            rules.push((head, Vec::new()));
        }
        for &rule in grammar.rules_of(head) {
            let (body, _, _) = grammar.rule_rhs(rule);
            open.extend(body);
            rules.push((head, body.to_vec()));
        }
    }
    rules
}
