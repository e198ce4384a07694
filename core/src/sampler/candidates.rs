//! The tokens that are still in the running, best first, and no better sorted than somebody has looked.
//!
//! A candidate is one integer: the logit, made to compare like an unsigned number and inverted, above the token. The
//! smallest integer is the best candidate, (logit descending, token ascending) is plain integer order, and no two
//! candidates are equal, so every selection and sort has exactly one result.

use alloc::vec::Vec;

use super::adjust::Logits;
use crate::kernels::math::exp;

/// The best `most` of some tokens.
#[derive(Debug, Clone)]
pub(super) struct Candidates {
    /// Candidates; the first `sorted` are the best of all, in order.
    keys: Vec<u64>,
    sorted: usize,
    /// How many [`Candidates::fill`] keeps.
    most: usize,
}

impl Candidates {
    /// Keeps the best `most` of `n_vocab` tokens. Allocates 16 bytes for each, but never more than 8 for each token.
    pub(super) fn new(most: usize, n_vocab: usize) -> Self {
        let most = most.min(n_vocab);
        Self { keys: Vec::with_capacity((2 * most).min(n_vocab)), sorted: 0, most }
    }

    /// Takes the best of `logits`; banned tokens (-infinity) are never among them.
    ///
    /// ```text
    /// for each token:  if logit > bar:  append it
    ///                  if 2 * most are there:  drop the worse half, bar = the worst logit that is left
    /// ```
    /// A token that equals the bar comes after those that set it and loses the tie, so `>` is exact. Each cut costs
    /// O(most) and needs `most` tokens, which makes O(n_vocab) in all.
    pub(super) fn fill(&mut self, logits: Logits) {
        self.keys.clear();
        self.sorted = 0;
        let mut bar = f32::NEG_INFINITY;
        for (first, run) in logits.runs() {
            for (tokens, chunk) in (first..).step_by(CHUNK).zip(run.chunks(CHUNK)) {
                // Nearly every chunk is below the bar, and this test compiles to a few vector instructions.
                if !chunk.iter().fold(false, |any, logit| any | (*logit > bar)) {
                    continue;
                }
                for (token, logit) in (tokens..).zip(chunk) {
                    if *logit > bar {
                        self.keys.push(key(token, *logit));
                        if self.keys.len() == 2 * self.most {
                            bar = self.cut();
                        }
                    }
                }
            }
        }
        if self.keys.len() > self.most {
            self.cut();
        }
    }

    /// Drops all but the best `most`, and returns the logit of the last that stays.
    fn cut(&mut self) -> f32 {
        let (_, last, _) = self.keys.select_nth_unstable(self.most - 1);
        let bar = logit_of(*last);
        self.keys.truncate(self.most);
        bar
    }

    /// Keeps the best tokens whose weights at temperature 1 reach the share `p < 1` of the weight of all.
    pub(super) fn keep_top_p(&mut self, p: f32) {
        let total = self.total(1.0);
        // Below `total`, since p is at most 1 - 2^-24: the walk ends inside the list.
        let goal = (f64::from(p) * total as f64) as u64;
        let mut sum = 0;
        self.keep_while(|best, logit| {
            let short = sum < goal;
            sum += weight(logit, best, 1.0);
            short
        });
    }

    /// Keeps the best tokens down to the first that is less than `p` times as probable as the best.
    pub(super) fn keep_min_p(&mut self, p: f32) {
        self.keep_while(|best, logit| exp(logit - best) >= p);
    }

    /// Draws a token with a probability in proportion to its weight; `random` is uniform over its 64 bits.
    /// None if there are no candidates.
    pub(super) fn draw(&mut self, temperature: f32, random: u64) -> Option<u32> {
        let best = logit_of(self.at(0)?);
        // total * random / 2^64, rounded down: uniform over 0..total, up to a bias below total / 2^64.
        let goal = ((u128::from(self.total(temperature)) * u128::from(random)) >> 64) as u64;
        let mut sum = 0;
        let mut i = 0;
        while let Some(key) = self.at(i) {
            sum += weight(logit_of(key), best, temperature);
            if sum > goal {
                return Some(token_of(key));
            }
            i += 1;
        }
        None
    }

    /// Keeps the best candidate and those after it for as long as `keep(best logit, logit)`, which is asked about every
    /// one from the best on.
    fn keep_while(&mut self, mut keep: impl FnMut(f32, f32) -> bool) {
        let Some(best) = self.at(0).map(logit_of) else { return };
        let mut i = 0;
        while let Some(key) = self.at(i)
            && (keep(best, logit_of(key)) || i == 0)
        {
            i += 1;
        }
        self.keys.truncate(i);
        self.sorted = self.sorted.min(i);
    }

    /// The sum of all weights: of integers, so in any order.
    fn total(&mut self, temperature: f32) -> u64 {
        let Some(best) = self.at(0).map(logit_of) else { return 0 };
        self.keys.iter().map(|key| weight(logit_of(*key), best, temperature)).sum()
    }

    /// The candidate of rank `i`. Sorts a first part, and twice as much whenever that is not enough.
    fn at(&mut self, i: usize) -> Option<u64> {
        if i >= self.sorted && i < self.keys.len() {
            let end = (2 * i).max(64).min(self.keys.len());
            let rest = &mut self.keys[self.sorted..];
            let wanted = end - self.sorted;
            if wanted < rest.len() {
                rest.select_nth_unstable(wanted);
            }
            rest[..wanted].sort_unstable();
            self.sorted = end;
        }
        self.keys.get(i).copied()
    }
}

/// Logits that are looked at together; a whole number of vectors everywhere.
const CHUNK: usize = 64;

/// `exp((logit - best) / temperature)` in units of 2^-40, rounded down: 2^40 for the best, 0 for a 10^-12 of it. The
/// product with a power of two is exact; an i64 is quicker to convert to than a u64.
fn weight(logit: f32, best: f32, temperature: f32) -> u64 {
    (exp((logit - best) / temperature) * (1u64 << 40) as f32) as i64 as u64
}

fn key(token: u32, logit: f32) -> u64 {
    // Adding +0.0 makes -0.0 the +0.0 it equals. The bits of a negative float grow with its magnitude.
    let bits = (logit + 0.0).to_bits();
    let ascending = if bits >> 31 == 1 { !bits } else { bits | SIGN };
    u64::from(!ascending) << 32 | u64::from(token)
}

fn token_of(key: u64) -> u32 {
    key as u32
}

fn logit_of(key: u64) -> f32 {
    let ascending = !((key >> 32) as u32);
    f32::from_bits(if ascending & SIGN != 0 { ascending & !SIGN } else { !ascending })
}

const SIGN: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::adjust::tests::logits_of;
    use proptest::prelude::*;

    /// 2^64.
    const ALL: f64 = (1u128 << 64) as f64;

    fn filled(logits: &[f32], most: usize) -> Candidates {
        let mut candidates = Candidates::new(most, logits.len());
        let capacity = candidates.keys.capacity();
        candidates.fill(logits_of(logits));
        assert_eq!(candidates.keys.capacity(), capacity);
        candidates
    }

    fn tokens(candidates: &mut Candidates) -> Vec<u32> {
        (0..).map_while(|i| candidates.at(i).map(token_of)).collect()
    }

    /// Sort everything, then take.
    fn naive(logits: &[f32], most: usize) -> Vec<u32> {
        let mut order: Vec<usize> = (0..logits.len()).filter(|i| logits[*i] != f32::NEG_INFINITY).collect();
        order.sort_by(|a, b| logits[*b].partial_cmp(&logits[*a]).unwrap().then(a.cmp(b)));
        order.truncate(most);
        order.into_iter().map(|i| i as u32).collect()
    }

    #[test]
    fn keys_order_and_give_back_logits() {
        let descending = [f32::MAX, 1.0, f32::MIN_POSITIVE, 1e-45, 0.0, -1e-45, -1.0, f32::MIN, f32::NEG_INFINITY];
        for pair in descending.windows(2) {
            assert!(key(9, pair[0]) < key(3, pair[1]), "{pair:?}");
        }
        for logit in descending {
            assert!(key(3, logit) < key(4, logit));
            assert_eq!((token_of(key(7, logit)), logit_of(key(7, logit))), (7, logit));
        }
        assert_eq!(key(5, -0.0), key(5, 0.0));
        assert_eq!(token_of(key(u32::MAX, 0.5)), u32::MAX);
    }

    #[test]
    fn ties_go_to_the_lower_token() {
        assert_eq!(tokens(&mut filled(&[1.0, 2.0, -0.0, 2.0, 0.0, 2.0], 2)), [1, 3]);
        assert_eq!(tokens(&mut filled(&[-0.0, 0.0, -0.0, 0.0], 3)), [0, 1, 2]);
        assert_eq!(tokens(&mut filled(&[7.0; 1000], 3)), [0, 1, 2]);
    }

    #[test]
    fn orders_that_are_worst_for_the_bar() {
        let rising: Vec<f32> = (0..5000).map(|i| i as f32).collect();
        let falling: Vec<f32> = rising.iter().rev().copied().collect();
        for most in [1, 2, 40, 2499, 2500, 2501, 5000, usize::MAX / 2] {
            assert_eq!(tokens(&mut filled(&rising, most)), naive(&rising, most));
            assert_eq!(tokens(&mut filled(&falling, most)), naive(&falling, most));
        }
    }

    #[test]
    fn no_candidates() {
        let mut none = filled(&[f32::NEG_INFINITY; 3], 2);
        none.keep_top_p(0.5);
        none.keep_min_p(0.5);
        assert_eq!(none.draw(1.0, 0), None);
    }

    #[test]
    fn weights_of_extremes() {
        assert_eq!(weight(3.5, 3.5, 0.7), 1 << 40);
        assert_eq!(weight(f32::MIN, f32::MAX, 1.0), 0);
        assert_eq!(weight(0.0, 1e-30, 1e-45), 0);
        assert_eq!(weight(f32::MIN, f32::MIN, 1e-45), 1 << 40);
        // e^-1 of 2^40
        assert!((weight(1.0, 2.0, 1.0) as f64 / (1u64 << 40) as f64 - libm::exp(-1.0)).abs() < 1e-7);
    }

    /// Probabilities 1/2, 1/4, 1/8, 1/8: the sums are 0.5, 0.75, 0.875, 1 up to rounding.
    #[test]
    fn shares_by_hand() {
        let ln2 = core::f32::consts::LN_2;
        let logits = [-3.0 * ln2, -ln2, -2.0 * ln2, -3.0 * ln2];
        for (p, kept) in [(0.0, 1), (0.49, 1), (0.51, 2), (0.74, 2), (0.76, 3), (0.87, 3), (0.88, 4), (0.999, 4)] {
            let mut candidates = filled(&logits, 4);
            candidates.keep_top_p(p);
            assert_eq!(tokens(&mut candidates), [1, 2, 0, 3][..kept], "top_p {p}");
        }
        for (p, kept) in [(1.0, 1), (0.51, 1), (0.49, 2), (0.26, 2), (0.24, 4)] {
            let mut candidates = filled(&logits, 4);
            candidates.keep_min_p(p);
            assert_eq!(tokens(&mut candidates), [1, 2, 0, 3][..kept], "min_p {p}");
        }
    }

    /// Four equal weights: every sum and every bound is exact, so the comparisons at equality show.
    #[test]
    fn shares_at_equality() {
        let mut four = filled(&[-2.0; 4], 4);
        for token in 0..4 {
            assert_eq!(four.draw(0.3, u64::from(token) << 62), Some(token));
            assert_eq!(four.draw(0.3, (u64::from(token) << 62) + (u64::MAX >> 2)), Some(token));
        }
        four.keep_min_p(1.0);
        assert_eq!(tokens(&mut four), [0, 1, 2, 3]);
        four.keep_top_p(0.5);
        assert_eq!(tokens(&mut four), [0, 1]);
    }

    #[test]
    fn the_draw_covers_the_unit_interval() {
        let ln2 = core::f32::consts::LN_2;
        let logits = [-3.0 * ln2, -ln2, -2.0 * ln2, -3.0 * ln2];
        let mut candidates = filled(&logits, 4);
        // Shares of 2^64, kept off the edges by more than the error of exp.
        for (share, token) in [(0.0, 1), (0.499, 1), (0.501, 2), (0.749, 2), (0.751, 0), (0.874, 0), (0.876, 3)] {
            assert_eq!(candidates.draw(1.0, (share * ALL) as u64), Some(token), "{share}");
        }
        assert_eq!(candidates.draw(1.0, u64::MAX), Some(3));
        // At temperature 1/2 the weights are squared: 16, 4, 1, 1 of 22.
        assert_eq!(candidates.draw(0.5, (15.9 / 22.0 * ALL) as u64), Some(1));
        assert_eq!(candidates.draw(0.5, (16.1 / 22.0 * ALL) as u64), Some(2));
    }

    proptest! {
        #[test]
        fn keeps_exactly_the_best(
            logits in prop::collection::vec(prop_oneof![
                (-4i8..4).prop_map(f32::from),
                -10f32..10.0,
                Just(f32::NEG_INFINITY),
                Just(-0.0),
            ], 1..400),
            most in 1usize..450,
        ) {
            prop_assert_eq!(tokens(&mut filled(&logits, most)), naive(&logits, most));
        }
    }
}
