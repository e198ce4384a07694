//! GBNF, the grammars of llama.cpp, as Lark.
//!
//! ```text
//!   text ──► parse: rules ──► lexemes: what may be one expression ──► lark: rules and terminals
//!                                 ▲            │ two that a greedy lexer would misread
//!                                 └── divide ──┘
//! ```
//!
//! GBNF knows characters and rules. A parser that steps by characters could read it as it is, but a mask would take a step for each character of
//! each token. So what does not refer to itself becomes an expression, as large as can be, that llguidance's lexer reads. That lexer is greedy:
//! it reads on while it can. Where that is not what the grammar means (`[a-z]+ "x"`), the expression is divided until it is.

mod lark;
mod lexemes;
mod parse;

use crate::{Limits, Result};

/// A grammar with the same texts, in Lark; `token` knows the tokens that stand for a text as a whole.
pub(crate) fn to_lark(text: &str, limits: &Limits, token: &dyn Fn(&str) -> Option<u32>) -> Result<String> {
    let rules = parse::parse(text, limits, token)?;
    parse::check_depth(&rules, limits)?;
    crate::lark::check(&lark::write(&rules, &lexemes::Divided::new()), limits)?;
    let divided = lexemes::divide(&rules);
    Ok(lark::write(&rules, &divided))
}
