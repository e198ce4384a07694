//! The first links of the chain: logit biases and penalties. They change few logits, so the changed ones are kept in a
//! short list beside the caller's slice, and [`Logits::runs`] reads both as one.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::iter::once;
use core::slice::from_ref;

use super::{Error, Params};

/// The biases, and the counts of the tokens in the window.
#[derive(Debug, Clone)]
pub(super) struct Adjust {
    /// The tokens that have a bias or are in the window, in ascending order.
    entries: Vec<Entry>,
    /// The tokens of the window, oldest first.
    window: VecDeque<u32>,
    /// How many tokens the window takes; 0 if the penalties are off.
    last_n: usize,
    repetition: f32,
    frequency: f32,
    presence: f32,
    /// The result of [`Adjust::apply`]: one changed logit per entry.
    changed: Vec<(u32, f32)>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    token: u32,
    bias: f32,
    /// How often the token is in the window.
    count: u32,
}

/// The logits of a vocabulary, some of them replaced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Logits<'a> {
    /// (n_vocab), none of them NaN or +infinity.
    original: &'a [f32],
    /// Tokens in ascending order, with the logits they have instead.
    changed: &'a [(u32, f32)],
}

impl Adjust {
    /// `params` have passed [`Params::check`]. A token with two biases and a vocabulary banned whole are errors.
    pub(super) fn new(params: &Params, n_vocab: usize) -> Result<Self, Error> {
        let mut entries: Vec<Entry> =
            params.logit_bias.iter().map(|&(token, bias)| Entry { token, bias, count: 0 }).collect();
        entries.sort_by_key(|e| e.token);
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].token == pair[1].token) {
            return Err(Error::BiasTwice(pair[0].token));
        }
        if entries.iter().filter(|e| e.bias == f32::NEG_INFINITY).count() == n_vocab {
            return Err(Error::AllBanned);
        }
        let last_n = if params.penalises() { params.penalty_last_n } else { 0 };
        // With room for one token more than the window holds: it is added before the oldest leaves.
        let most = entries.len() + if last_n > 0 { (last_n + 1).min(n_vocab) } else { 0 };
        entries.reserve_exact(most - entries.len());
        Ok(Self {
            window: VecDeque::with_capacity(last_n),
            last_n,
            repetition: params.repetition_penalty,
            frequency: params.frequency_penalty,
            presence: params.presence_penalty,
            changed: Vec::with_capacity(most),
            entries,
        })
    }

    /// Adds a token at the end of the window; the oldest one leaves a full window.
    pub(super) fn accept(&mut self, token: u32) {
        if self.last_n == 0 {
            return;
        }
        match self.place_of(token) {
            Ok(at) => self.entries[at].count += 1,
            Err(at) => self.entries.insert(at, Entry { token, bias: 0.0, count: 1 }),
        }
        if self.window.len() == self.last_n
            && let Some(oldest) = self.window.pop_front()
        {
            self.forget(oldest);
        }
        self.window.push_back(token);
    }

    /// Empties the window.
    pub(super) fn reset(&mut self) {
        while let Some(token) = self.window.pop_front() {
            self.forget(token);
        }
    }

    /// `logits` (n_vocab) as the biases and penalties make them: llama.cpp's formulas in llama.cpp's order. A token that
    /// is not banned keeps a finite logit.
    pub(super) fn apply<'a>(&'a mut self, logits: &'a [f32]) -> Logits<'a> {
        self.changed.clear();
        for entry in &self.entries {
            // The entries are in order: all after a token outside the vocabulary are outside too.
            let Some(&original) = logits.get(entry.token as usize) else { break };
            let banned = original == f32::NEG_INFINITY || entry.bias == f32::NEG_INFINITY;
            let logit = if banned { f32::NEG_INFINITY } else { self.penalised(original + entry.bias, entry.count) };
            self.changed.push((entry.token, logit));
        }
        Logits { original: logits, changed: &self.changed }
    }

    /// The logit of a token that is `count` times in the window.
    fn penalised(&self, logit: f32, count: u32) -> f32 {
        if count == 0 {
            return logit;
        }
        // Dividing a negative logit would make the token more probable.
        let logit = if logit > 0.0 { logit / self.repetition } else { logit * self.repetition };
        (logit - (count as f32 * self.frequency + self.presence)).clamp(f32::MIN, f32::MAX)
    }

    /// Takes one occurrence of a token out of the counts.
    fn forget(&mut self, token: u32) {
        if let Ok(at) = self.place_of(token) {
            let entry = &mut self.entries[at];
            entry.count -= 1;
            if entry.count == 0 && entry.bias == 0.0 {
                self.entries.remove(at);
            }
        }
    }

    /// Where the token is among the entries, or would be.
    fn place_of(&self, token: u32) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&token, |e| e.token)
    }
}

impl<'a> Logits<'a> {
    /// All logits in the order of the tokens, in runs of (first token, logits).
    pub(super) fn runs(self) -> impl Iterator<Item = (u32, &'a [f32])> {
        let ends = self.changed.iter().map(|&(token, _)| token).chain(once(self.original.len() as u32));
        let starts = once(0).chain(self.changed.iter().map(|&(token, _)| token + 1));
        let replaced = self.changed.iter().map(|(token, logit)| (*token, from_ref(logit)));
        let kept = starts.zip(ends).map(move |(a, b)| (a, &self.original[a as usize..b as usize]));
        // kept, replaced, kept, ..., replaced, kept
        kept.zip(replaced.map(Some).chain(once(None))).flat_map(|(kept, replaced)| once(kept).chain(replaced))
    }

    /// The highest logit; -infinity if every token is banned.
    pub(super) fn max(self) -> f32 {
        from_key(self.runs().map(|(_, run)| max_key(run)).fold(key(f32::NEG_INFINITY), i32::max))
    }

    /// The lowest token with this logit.
    pub(super) fn find(self, logit: f32) -> Option<u32> {
        self.runs().find_map(|(first, run)| Some(first + position(run, logit)? as u32))
    }
}

/// Where `logit` is first.
pub(super) fn position(logits: &[f32], logit: f32) -> Option<usize> {
    // A chunk is asked as a whole, without an early exit, which compiles to vectors.
    let is_in = |chunk: &[f32]| chunk.iter().fold(false, |any, l| any | (*l == logit));
    let skipped = logits.chunks(64).position(is_in)? * 64;
    Some(skipped + logits[skipped..].iter().position(|l| *l == logit)?)
}

/// The highest of some logits; -infinity if there is none. A NaN is passed over.
pub(super) fn max(logits: &[f32]) -> f32 {
    from_key(max_key(logits))
}

/// The highest key. Sixteen lanes, so that the compiler may use vectors: a maximum does not depend on the order.
fn max_key(logits: &[f32]) -> i32 {
    let (chunks, rest) = logits.as_chunks::<16>();
    let mut lanes = [key(f32::NEG_INFINITY); 16];
    for chunk in chunks {
        for (lane, logit) in lanes.iter_mut().zip(chunk) {
            *lane = key(*logit).max(*lane);
        }
    }
    rest.iter().map(|logit| key(*logit)).chain(lanes).fold(i32::MIN, i32::max)
}

/// An integer that orders as the float does, with every NaN below all. For a maximum of floats LLVM may take WebAssembly's relaxed one,
/// which is not the same everywhere.
fn key(logit: f32) -> i32 {
    let bits = logit.to_bits() as i32;
    if logit.is_nan() { i32::MIN } else { bits ^ ((bits >> 31) & i32::MAX) }
}

/// The float of a key.
fn from_key(key: i32) -> f32 {
    f32::from_bits((key ^ ((key >> 31) & i32::MAX)) as u32)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    /// Logits that nothing has changed.
    pub(in crate::sampler) fn logits_of(original: &[f32]) -> Logits<'_> {
        Logits { original, changed: &[] }
    }

    fn adjust(params: Params, n_vocab: usize) -> Adjust {
        params.check(n_vocab).unwrap();
        Adjust::new(&params, n_vocab).unwrap()
    }

    fn read(logits: Logits) -> Vec<f32> {
        let mut all = Vec::new();
        for (first, run) in logits.runs() {
            assert_eq!(first as usize, all.len());
            all.extend_from_slice(run);
        }
        all
    }

    #[test]
    fn penalties_by_hand() {
        let params = Params {
            repetition_penalty: 2.0,
            frequency_penalty: 0.5,
            presence_penalty: 0.25,
            penalty_last_n: 4,
            logit_bias: vec![(3, 1.0), (1, f32::NEG_INFINITY)],
            ..Params::default()
        };
        let mut adjust = adjust(params, 5);
        let logits = [4.0, 3.0, -1.0, 2.0, 0.0];
        assert_eq!(read(adjust.apply(&logits)), [4.0, f32::NEG_INFINITY, -1.0, 3.0, 0.0]);
        [0, 2, 2, 3].into_iter().for_each(|token| adjust.accept(token));
        // 4/2 - 0.5 - 0.25;  -1*2 - 2*0.5 - 0.25;  (2+1)/2 - 0.5 - 0.25
        assert_eq!(read(adjust.apply(&logits)), [1.25, f32::NEG_INFINITY, -3.25, 0.75, 0.0]);
        adjust.accept(1); // 0 leaves the window, and 1 stays banned
        assert_eq!(read(adjust.apply(&logits)), [4.0, f32::NEG_INFINITY, -3.25, 0.75, 0.0]);
        adjust.reset();
        assert_eq!(read(adjust.apply(&logits)), [4.0, f32::NEG_INFINITY, -1.0, 3.0, 0.0]);
    }

    #[test]
    fn extremes_stay_finite_and_bans_stay_bans() {
        let params = Params { repetition_penalty: 100.0, frequency_penalty: -100.0, ..Params::default() };
        let mut adjust = adjust(params, 3);
        [0, 1, 2, 7].into_iter().for_each(|token| adjust.accept(token)); // 7 is no token of this vocabulary
        assert_eq!(read(adjust.apply(&[f32::MIN, f32::NEG_INFINITY, 0.0])), [f32::MIN, f32::NEG_INFINITY, 100.0]);
        let params = Params { repetition_penalty: 0.01, logit_bias: vec![(0, 100.0)], ..Params::default() };
        let mut adjust = self::adjust(params, 1);
        adjust.accept(0);
        assert_eq!(read(adjust.apply(&[f32::MAX])), [f32::MAX]);
    }

    #[test]
    fn biases_that_contradict() {
        let params = Params { logit_bias: vec![(4, 1.0), (2, 0.0), (4, 1.0)], ..Params::default() };
        assert_eq!(Adjust::new(&params, 5).unwrap_err(), Error::BiasTwice(4));
        let ban = |n: u32| (0..n).map(|token| (token, f32::NEG_INFINITY)).collect();
        let params = Params { logit_bias: ban(3), ..Params::default() };
        assert_eq!(Adjust::new(&params, 3).unwrap_err(), Error::AllBanned);
        assert!(Adjust::new(&params, 4).is_ok());
    }

    #[test]
    fn the_token_loop_allocates_nothing() {
        let params =
            Params { presence_penalty: 1.0, penalty_last_n: 5, logit_bias: vec![(50, 1.0)], ..Params::default() };
        let mut adjust = adjust(params, 100);
        let capacities = |a: &Adjust| (a.entries.capacity(), a.window.capacity(), a.changed.capacity());
        let before = capacities(&adjust);
        for i in 0..1000 {
            adjust.accept(i * 37 % 100);
            adjust.apply(&[0.0; 100]);
        }
        assert_eq!(capacities(&adjust), before);
    }

    proptest! {
        /// Against counts taken from the tail of the whole history.
        #[test]
        fn window_is_the_tail_of_the_history(
            tokens in prop::collection::vec(0u32..12, 0..60),
            last_n in 0usize..20,
            bias in prop::option::of(0u32..12),
        ) {
            let params = Params {
                frequency_penalty: 1.0,
                presence_penalty: 10.0,
                penalty_last_n: last_n,
                logit_bias: bias.map(|token| (token, 100.0)).into_iter().collect(),
                ..Params::default()
            };
            let mut adjust = adjust(params, 12);
            tokens.iter().for_each(|t| adjust.accept(*t));
            let tail = &tokens[tokens.len().saturating_sub(last_n)..];
            let expected: Vec<f32> = (0..12)
                .map(|token| {
                    let count = tail.iter().filter(|t| **t == token).count() as f32;
                    let penalty = if count > 0.0 { count + 10.0 } else { 0.0 };
                    if bias == Some(token) { 100.0 - penalty } else { -penalty }
                })
                .collect();
            prop_assert_eq!(read(adjust.apply(&[0.0; 12])), expected);
        }

        #[test]
        fn max_and_find_see_the_replaced_logits(
            original in prop::collection::vec(-3i8..4, 1..70),
            changed in prop::collection::btree_map(0u32..70, -3i8..4, 0..8),
        ) {
            let original: Vec<f32> = original.into_iter().map(f32::from).collect();
            let changed: Vec<(u32, f32)> = changed
                .into_iter()
                .filter(|(token, _)| (*token as usize) < original.len())
                .map(|(token, logit)| (token, f32::from(logit)))
                .collect();
            let mut whole = original.clone();
            changed.iter().for_each(|(token, logit)| whole[*token as usize] = *logit);
            let logits = Logits { original: &original, changed: &changed };
            prop_assert_eq!(&read(logits), &whole);
            let best = whole.iter().copied().fold(f32::MIN, f32::max);
            prop_assert_eq!(logits.max(), best);
            prop_assert_eq!(logits.find(best), whole.iter().position(|l| *l == best).map(|i| i as u32));
        }
    }
}
