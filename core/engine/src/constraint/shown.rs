//! Calls of tools in JSON, for a prompt that shows how: `{"tool_calls":[{"function":{"name":…,"arguments":"{…}"}}]}`, as PicoClaw's is.
//!
//! ```text
//!   trial ──{"tool_calls"──► kept to the rules     arguments are a text with an object of JSON in it: models like to write the object
//!     │                        │ no room for the rest
//!     └──another answer──────► over                any object
//! ```
//!
//! The answer is JSON all the time, and ends in time: where both cannot be, the rules give way. Whoever looks for a call looks for its first
//! bytes, so an answer has no white space there.

use super::Constraint;
use crate::Result;
use crate::request::shows_calls;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use picolm_core::text::Tokenizer;

/// What an answer with calls begins with.
const MARK: &[u8] = b"{\"tool_calls\"";

/// Calls, in Lark. `object` is JSON within a text, so that its quotation marks are escaped, and its escapes are escaped twice.
const CALLS: &str = r#"%llguidance {}
start: "{\"tool_calls\":" ws "[" ws call (ws "," ws call)* ws "]" ws "}"
call: "{" ws ("\"id\"" ws ":" ws ID ws "," ws)? ("\"type\"" ws ":" ws "\"function\"" ws "," ws)? "\"function\"" ws ":" ws function ws "}"
function: "{" ws "\"name\"" ws ":" ws ID ws "," ws "\"arguments\"" ws ":" ws "\"" object "\"" ws "}"
object: "{" gap (pair (gap "," gap pair)*)? gap "}"
pair: TEXT gap ":" gap value
value: TEXT | NUMBER | "true" | "false" | "null" | object | "[" gap (value (gap "," gap value)*)? gap "]"
ID: /"[A-Za-z0-9_\-]{1,64}"/
TEXT: /\\"([^"\\\x00-\x1f]|\\\\[nrtbf]|\\\\\\"|\\\\\\\\)*\\"/
NUMBER: /-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,15})?/
gap: " "?
ws: WS?
WS: /[ \n]{1,8}/
"#;

/// The grammar of calls, if a prompt shows them.
pub(crate) fn calls(prompt: &str) -> Option<String> {
    shows_calls(prompt).then(|| CALLS.into())
}

/// Keeps an answer to JSON, and calls in it to the rules.
pub(crate) struct ShownCalls {
    json: Box<dyn Constraint>,
    rules: Box<dyn Constraint>,
    state: State,
    /// the answer's bytes, as long as it is on trial
    text: Vec<u8>,
    /// tokens of the answer that are read
    read: usize,
    /// (vocabulary)
    kept: Vec<f32>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Trial,
    Kept,
    Over,
}

impl ShownCalls {
    /// `json` keeps to an object, `rules` to [`calls`].
    pub(crate) fn new(json: Box<dyn Constraint>, rules: Box<dyn Constraint>) -> Self {
        ShownCalls { json, rules, state: State::Trial, text: Vec::new(), read: 0, kept: Vec::new() }
    }

    fn see(&mut self, answer: &[u32], tokenizer: &Tokenizer) {
        while self.read < answer.len() && self.state == State::Trial {
            self.text.extend_from_slice(tokenizer.token_bytes(answer[self.read]));
            self.read += 1;
            if self.text.starts_with(MARK) {
                self.state = State::Kept;
            } else if !MARK.starts_with(&self.text) {
                self.state = State::Over;
            }
        }
    }

    /// Whether a token may follow what is on trial; `fits`: by the rules.
    fn may_follow(&self, token: &[u8], fits: bool) -> bool {
        let Some(rest) = MARK.get(self.text.len()..) else { return true };
        let is_loose = token.first().is_some_and(u8::is_ascii_whitespace) && self.text.len() < 2
            || self.text.is_empty() && token.get(1).is_some_and(u8::is_ascii_whitespace);
        !is_loose && (fits || !token.starts_with(rest))
    }
}

impl Constraint for ShownCalls {
    fn mask(&mut self, answer: &[u32], room: usize, tokenizer: &Tokenizer, logits: &mut [f32]) -> Result<()> {
        self.see(answer, tokenizer);
        self.json.mask(answer, room, tokenizer, logits)?;
        if self.state == State::Over {
            return Ok(());
        }
        self.kept.clear();
        self.kept.extend_from_slice(logits);
        let mut kept = core::mem::take(&mut self.kept);
        let can_be = self.rules.mask(answer, room, tokenizer, &mut kept).is_ok();
        if self.state == State::Trial {
            for ((token, kept), logit) in (0..).zip(&mut kept).zip(&*logits) {
                let fits = can_be && *kept != f32::NEG_INFINITY;
                *kept = if self.may_follow(tokenizer.token_bytes(token), fits) { *logit } else { f32::NEG_INFINITY };
            }
        }
        match kept.iter().any(|&logit| logit != f32::NEG_INFINITY) && (can_be || self.state == State::Trial) {
            true => logits.copy_from_slice(&kept),
            false => self.state = State::Over,
        }
        self.kept = kept;
        Ok(())
    }

    fn is_complete(&mut self, answer: &[u32], tokenizer: &Tokenizer) -> bool {
        self.json.is_complete(answer, tokenizer)
    }
}
