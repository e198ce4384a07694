//! Drafts: tokens that may come next, tried in one batch. Since each gets the logits it gets alone, bit for bit, a draft can change how long
//! an answer takes, and nothing else.
//!
//! Prompt lookup needs no second model: its drafts are copied from what followed the last tokens where they stood before.
//!
//! ```text
//!   … the quick brown fox jumps … the quick brown        past; its last 3 tokens were there before
//!                     └───┴─── draft                     so perhaps what followed them comes again
//! ```
//!
//! Good for answers that repeat their prompt: summaries, corrections, code. Source: A. Saxena, "Prompt Lookup Decoding" (2023).

use alloc::vec::Vec;

/// Tokens that must have been there before, the longer match first.
const MATCHES: [usize; 2] = [3, 2];

/// The shortest draft, and the first one: with the token itself it fills the 4 columns a kernel takes at a time.
const SHORT: usize = 3;

/// The longest draft anybody gets.
pub const MAX_DRAFT: usize = 63;

/// Most tokens between two drafts that are tried on text which does not repeat itself.
const LONGEST_REST: usize = 32;

/// Proposes what may come next.
pub trait Drafter: Send {
    /// Up to `room` tokens that may follow `past`, the prompt and the answer so far.
    fn propose(&mut self, past: &[u32], room: usize) -> &[u32];

    /// How many tokens of the last proposal were right.
    fn learn(&mut self, right: usize);
}

/// Copies drafts from the past, and learns how long they should be.
///
/// A wrong token of a draft costs a part of a step: little where the weights come from memory, more where arithmetic is the limit. So a
/// draft that was right is followed by one twice as long, any other by a short one, and those that were mostly wrong by rests: of 1
/// token, then 2, 4, 8, 16, 32, until one is mostly right.
#[derive(Debug, Clone)]
pub struct Lookup {
    longest: usize,
    /// of the next draft
    length: usize,
    /// tokens until then
    rest: usize,
    /// after the next draft that is mostly wrong
    next_rest: usize,
    /// (longest): the draft
    tokens: Vec<u32>,
}

impl Lookup {
    /// Drafts of up to `longest` tokens, and up to [`MAX_DRAFT`]; 0 proposes none.
    pub fn new(longest: usize) -> Self {
        let longest = longest.min(MAX_DRAFT);
        Lookup { longest, length: SHORT, rest: 0, next_rest: 1, tokens: Vec::with_capacity(longest) }
    }
}

impl Drafter for Lookup {
    fn propose(&mut self, past: &[u32], room: usize) -> &[u32] {
        self.tokens.clear();
        let length = self.length.min(self.longest).min(room);
        if self.rest > 0 {
            self.rest -= 1;
        } else if length > 0
            && let Some(start) = MATCHES.iter().find_map(|&n| after_last_match(past, n))
        {
            // The copy may run into itself: what repeats with a period goes on with it.
            self.tokens.extend(past[start..].iter().cycle().take(length));
        }
        &self.tokens
    }

    fn learn(&mut self, right: usize) {
        let proposed = self.tokens.len();
        if proposed == 0 {
            return;
        }
        self.length = if right < proposed { SHORT } else { (2 * self.length + 1).min(self.longest) };
        if 2 * right < proposed {
            self.rest = self.next_rest;
            self.next_rest = (2 * self.next_rest).min(LONGEST_REST);
        } else {
            self.next_rest = 1;
        }
    }
}

/// Where the last `n` tokens stood the last time before, and ended.
fn after_last_match(past: &[u32], n: usize) -> Option<usize> {
    let (before, last) = (past.get(..past.len().checked_sub(1)?)?, past.get(past.len().checked_sub(n)?..)?);
    Some(before.windows(n).rposition(|window| window == last)? + n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(past: &[u32], room: usize) -> Vec<u32> {
        Lookup { length: 7, ..Lookup::new(7) }.propose(past, room).to_vec()
    }

    #[test]
    fn what_followed_the_last_tokens_is_proposed() {
        assert_eq!(draft(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3], 7), [4, 5, 6, 7, 8, 9, 1]);
        assert_eq!(draft(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3], 2), [4, 5]);
        // Two tokens, where there are not three.
        assert_eq!(draft(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 2, 3], 4), [4, 5, 6, 7]);
        assert!(draft(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 3], 7).is_empty());
    }

    #[test]
    fn the_latest_of_the_longest_matches_is_taken() {
        assert_eq!(draft(&[1, 2, 3, 40, 1, 2, 3, 50, 60, 1, 2, 3], 2), [50, 60]);
        assert_eq!(draft(&[1, 2, 3, 40, 0, 2, 3, 50, 60, 1, 2, 3], 2), [40, 0]);
    }

    #[test]
    fn a_period_goes_on() {
        assert_eq!(draft(&[9, 9, 9, 9], 7), [9; 7]);
        assert_eq!(draft(&[5, 6, 5, 6, 5], 7), [6, 5, 6, 5, 6, 5, 6]);
        assert_eq!(draft(&[1, 2, 3, 1, 2, 3, 1, 2], 7), [3, 1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn a_short_past_proposes_nothing() {
        for past in [&[][..], &[7], &[7, 7], &[7, 8, 7]] {
            assert!(draft(past, 7).is_empty(), "{past:?}");
        }
        assert_eq!(draft(&[7, 7, 7], 1), [7]);
        assert!(draft(&[7, 7, 7, 7], 0).is_empty());
        assert!(Lookup::new(0).propose(&[7; 9], 7).is_empty());
    }

    #[test]
    fn drafts_grow_while_they_are_right() {
        let mut lookup = Lookup::new(7);
        let mut proposed = |right: fn(usize) -> usize| {
            let n = lookup.propose(&[1; 100], 100).len();
            lookup.learn(right(n));
            n
        };
        assert_eq!([(); 3].map(|()| proposed(|n| n)), [3, 7, 7]);
        assert_eq!(proposed(|n| n - 1), 7);
        assert_eq!([(); 3].map(|()| proposed(|n| n)), [3, 7, 7]);
    }

    #[test]
    fn drafts_that_are_mostly_wrong_become_rare_until_one_is_mostly_right() {
        let mut lookup = Lookup::new(7);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let steps = (0..100).find(|_| !lookup.propose(&[1; 100], 100).is_empty()).expect("there is a next time");
            pauses.push(steps);
            lookup.learn(1);
        }
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 32, 32]);
        for _ in 0..32 {
            assert_eq!(lookup.propose(&[1; 100], 100).len(), 0);
            lookup.learn(0);
        }
        assert_eq!(lookup.propose(&[1; 100], 100).len(), 3);
        lookup.learn(2);
        assert_eq!(lookup.propose(&[1; 100], 100).len(), 3);
        lookup.learn(0);
        assert_eq!(lookup.propose(&[1; 100], 100).len(), 0);
        assert_eq!(lookup.propose(&[1; 100], 100).len(), 3);
    }
}
