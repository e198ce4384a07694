//! What a grammar may take: of memory, and of steps.

use llguidance::api::ParserLimits;

/// Bounds on what strangers' grammars may cost. They count steps and sizes, never time, so what they refuse is the same on every machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a schema, an expression or a grammar. (1 MiB)
    pub source_bytes: usize,
    /// How deep a schema may nest, with what it refers to where that is first met, or the groups of a GBNF rule: a level takes some 4 KB of the
    /// stack, and what is put together some 300 KB more. (100)
    pub depth: usize,
    /// How many rules may lead from one to the next: one takes some 4 KB of the stack. (128)
    pub rule_depth: usize,
    /// Most properties of an object: one takes some 300 bytes of the stack. (1,000)
    pub properties: usize,
    /// Most subschemas of a schema, or nodes of a GBNF grammar. (20,000)
    pub nodes: usize,
    /// Most repetitions that may be asked for by number: `{m,n}`, `minLength`, `maxItems`. (100,000)
    pub repetitions: u64,
    /// Most white space between two tokens of JSON, in characters: without a bound an answer could be nothing else. (80)
    pub white_space: usize,
    /// Whether objects may have properties that their schema neither lists nor speaks of. It is no bound, but a model may write them without
    /// an end: without them, where no objects are put together, all answers still fit. (true)
    pub unlisted: bool,
    /// Most symbols of all rules. (500,000)
    pub symbols: usize,
    /// Most nodes of regular expressions when a grammar is made. (1,000,000: some 20 ms)
    pub lexer_nodes: u64,
    /// Most nodes of regular expressions for one mask. (400,000: some 30 ms)
    pub mask_nodes: u64,
    /// Most items of the Earley parser for one mask. (200,000: some 10 ms)
    pub mask_items: usize,
    /// Most items in one of its rows: how many ways there may be to read a text. A property that may be left out takes four. (5,000)
    pub row_items: usize,
    /// Most states of the lexer, of 1 to 2 KB each. (30,000)
    pub lexer_states: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            source_bytes: 1 << 20,
            depth: 100,
            rule_depth: 128,
            properties: 1_000,
            nodes: 20_000,
            repetitions: 100_000,
            white_space: 80,
            unlisted: true,
            symbols: 500_000,
            lexer_nodes: 1_000_000,
            mask_nodes: 400_000,
            mask_items: 200_000,
            row_items: 5_000,
            lexer_states: 30_000,
        }
    }
}

impl Limits {
    /// Those of answers: of the white space between two tokens of JSON as much as lists in lists are indented, so that a model that writes
    /// nothing else comes to an end.
    pub fn of_answers() -> Self {
        Limits { white_space: 20, unlisted: false, ..Limits::default() }
    }

    pub(crate) fn parser(&self) -> ParserLimits {
        ParserLimits {
            max_items_in_row: self.row_items,
            initial_lexer_fuel: self.lexer_nodes,
            step_lexer_fuel: self.mask_nodes,
            step_max_items: self.mask_items,
            max_lexer_states: self.lexer_states,
            max_grammar_size: self.symbols,
            precompute_large_lexemes: true,
            verbose_errors: false,
        }
    }
}
