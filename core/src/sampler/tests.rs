//! The whole chain: against a naive one by `==`, against probability theory, and its edges.

use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

use super::*;
use crate::kernels::math::exp;

/// The chain as its description reads: every token in a list, every list sorted whole, every sum over all of it.
fn naive(params: &Params, history: &[u32], logits: &[f32], position: u64) -> Option<u32> {
    let window = &history[history.len().saturating_sub(params.penalty_last_n)..];
    let mut list: Vec<(usize, f32)> = logits.iter().copied().enumerate().collect();
    for (token, logit) in &mut list {
        if let Some((_, bias)) = params.logit_bias.iter().find(|(biased, _)| *biased as usize == *token) {
            *logit += bias;
        }
        let count = window.iter().filter(|t| **t as usize == *token).count();
        if count > 0 {
            *logit = if *logit > 0.0 { *logit / params.repetition_penalty } else { *logit * params.repetition_penalty };
            *logit -= count as f32 * params.frequency_penalty + params.presence_penalty;
        }
    }
    list.retain(|(_, logit)| *logit > f32::NEG_INFINITY);
    list.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
    let best = list.first()?.1;
    if params.temperature == 0.0 {
        return Some(list[0].0 as u32);
    }
    if params.top_k > 0 {
        list.truncate(params.top_k as usize);
    }
    let weight = |logit: f32, temperature: f32| (exp((logit - best) / temperature) * 1_099_511_627_776.0) as u128;
    if params.top_p < 1.0 {
        let total: u128 = list.iter().map(|(_, logit)| weight(*logit, 1.0)).sum();
        let goal = (f64::from(params.top_p) * total as f64) as u128;
        let mut sum = 0;
        let reaches = |(_, logit): &(usize, f32)| {
            sum += weight(*logit, 1.0);
            sum >= goal
        };
        let kept = list.iter().position(reaches).unwrap() + 1;
        list.truncate(kept);
    }
    if params.min_p > 0.0 {
        let kept = list.iter().position(|(_, logit)| exp(logit - best) < params.min_p).unwrap_or(list.len());
        list.truncate(kept);
    }
    let total: u128 = list.iter().map(|(_, logit)| weight(*logit, params.temperature)).sum();
    let goal = (total * u128::from(random(params.seed, position))) >> 64;
    let mut sum = 0;
    let drawn = list.iter().find(|(_, logit)| {
        sum += weight(*logit, params.temperature);
        sum > goal
    });
    drawn.map(|(token, _)| *token as u32)
}

fn sampler(params: Params, n_vocab: usize) -> Sampler {
    Sampler::new(params, n_vocab).unwrap()
}

/// Every link off: the distribution of the logits themselves.
fn plain() -> Params {
    Params { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..Params::default() }
}

/// Logits with bans, as a constraint mask leaves them, and with few ties or with many.
fn any_logits() -> impl Strategy<Value = Vec<f32>> {
    let few = prop_oneof![8 => -12f32..12.0, 1 => Just(f32::NEG_INFINITY)];
    let many = prop_oneof![8 => (-3i8..4).prop_map(f32::from), 1 => Just(f32::NEG_INFINITY), 1 => Just(-0.0)];
    prop_oneof![prop::collection::vec(few, 1..300), prop::collection::vec(many, 1..300)]
}

fn any_params() -> impl Strategy<Value = Params> {
    let filters = (
        prop_oneof![Just(0.0), Just(1.0), 0.01f32..3.0],
        prop_oneof![Just(0), Just(1), 1u32..320],
        prop_oneof![Just(1.0), Just(0.0), 0f32..=1.0],
        prop_oneof![Just(0.0), Just(1.0), 0f32..=1.0],
    );
    let penalties = (prop_oneof![Just(1.0), 0.5f32..2.0], -2f32..2.0, -2f32..2.0, 0usize..12);
    let bias = prop_oneof![-100f32..100.0, Just(f32::NEG_INFINITY)];
    let biases = prop::collection::btree_map(0u32..300, bias, 0..4);
    (filters, penalties, biases, any::<u64>()).prop_map(|(filters, penalties, biases, seed)| {
        let (temperature, top_k, top_p, min_p) = filters;
        let (repetition_penalty, frequency_penalty, presence_penalty, penalty_last_n) = penalties;
        Params {
            temperature,
            top_k,
            top_p,
            min_p,
            repetition_penalty,
            frequency_penalty,
            presence_penalty,
            penalty_last_n,
            logit_bias: biases.into_iter().collect(),
            seed,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn chain_is_the_naive_chain(
        logits in any_logits(),
        mut params in any_params(),
        history in prop::collection::vec(0u32..300, 0..20),
        position in any::<u64>(),
    ) {
        params.logit_bias.retain(|(token, _)| (*token as usize) < logits.len());
        let Ok(mut sampler) = Sampler::new(params.clone(), logits.len()) else {
            prop_assert!(params.logit_bias.len() == logits.len());
            return Ok(());
        };
        history.iter().for_each(|token| sampler.accept(*token));
        for position in [position, position.wrapping_add(1), 0] {
            let expected = naive(&params, &history, &logits, position).ok_or(Error::AllBanned);
            prop_assert_eq!(sampler.sample(&logits, position), expected);
        }
    }

    /// Renaming the tokens renames the choice, as long as no two logits are equal.
    #[test]
    fn choice_follows_the_logits_and_not_the_ids(
        order in Just((0..200usize).collect::<Vec<_>>()).prop_shuffle(),
        mut params in any_params(),
        position in any::<u64>(),
    ) {
        params.logit_bias.clear();
        let logits: Vec<f32> = (0..200).map(|i| i as f32 * 0.05 - 5.0).collect();
        let renamed: Vec<f32> = order.iter().map(|i| logits[*i]).collect();
        let mut sampler = sampler(params, 200);
        let choice = sampler.sample(&logits, position).unwrap();
        let other = sampler.sample(&renamed, position).unwrap();
        prop_assert_eq!(order[other as usize], choice as usize);
    }

    #[test]
    fn argmax_is_the_first_of_the_best(logits in any_logits()) {
        let best = (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best });
        prop_assert_eq!(argmax(&logits), best as u32);
    }
}

/// Pearson's chi-square over 8 tokens has 7 degrees of freedom: a fair sampler exceeds 36 with a probability of 7e-6. The
/// seeds are fixed, so a test that passed once does not fail by chance later.
#[test]
fn frequencies_are_the_probabilities() {
    const DRAWS: u64 = 20_000;
    let logits = [1.0f32, 0.5, 0.0, -0.5, 2.0, -1.0, 1.5, 0.25];
    for (temperature, seed) in [(1.0, 1), (0.7, 2), (2.5, 3)] {
        let mut sampler = sampler(Params { temperature, seed, ..plain() }, 8);
        let mut counts = [0u32; 8];
        for position in 0..DRAWS {
            counts[sampler.sample(&logits, position).unwrap() as usize] += 1;
        }
        let weights = logits.map(|l| libm::exp(f64::from(l) / f64::from(temperature)));
        let total: f64 = weights.iter().sum();
        let chi_square: f64 = (counts.iter().zip(weights))
            .map(|(count, weight)| {
                let expected = DRAWS as f64 * weight / total;
                let off = f64::from(*count) - expected;
                off * off / expected
            })
            .sum();
        assert!(chi_square < 36.0, "temperature {temperature}: {counts:?}, {chi_square}");
    }
}

#[test]
fn top_k_draws_exactly_the_best_k() {
    let logits: Vec<f32> = (0..50).map(|i| (i * 7 % 50) as f32 * 0.01).collect();
    for top_k in [1, 2, 13, 50] {
        let mut sampler = sampler(Params { top_k, ..plain() }, 50);
        let mut drawn: Vec<u32> = (0..4000).map(|position| sampler.sample(&logits, position).unwrap()).collect();
        drawn.sort_unstable();
        drawn.dedup();
        // Nearly even chances: of 4000 draws the probability to miss one of 50 tokens is below 1e-20.
        assert_eq!(drawn.len(), top_k as usize);
        assert!(drawn.iter().all(|token| token * 7 % 50 >= 50 - top_k));
    }
}

/// A vocabulary of a real size, for the paths that small ones do not reach: many cuts, growing sorts, many chunks.
#[test]
fn large_vocabulary() {
    let n_vocab = 50_000;
    // A tail as long as a real one, from the random numbers of the sampler itself, in 2^12 steps so that there are ties.
    let logits: Vec<f32> = (0..n_vocab).map(|i| (random(9, i) % 4096) as f32 / 4096.0 * 20.0 - 10.0).collect();
    let history: Vec<u32> = (0..100).map(|i| argmax(&logits) + i % 3).collect();
    for (top_k, top_p, min_p, temperature) in
        [(0, 1.0, 0.0, 1.0), (0, 1.0, 0.0, 50.0), (0, 0.9, 0.0, 1.0), (0, 1.0, 0.1, 1.0), (40, 0.95, 0.05, 0.8)]
    {
        let params = Params { top_k, top_p, min_p, temperature, presence_penalty: 0.5, ..Params::default() };
        let mut sampler = sampler(params.clone(), logits.len());
        history.iter().for_each(|token| sampler.accept(*token));
        for position in [0, 77] {
            let expected = naive(&params, &history, &logits, position);
            assert_eq!(sampler.sample(&logits, position).ok(), expected, "{params:?}");
        }
    }
}

#[test]
fn a_position_is_not_shifted_by_what_was_drawn_before() {
    let logits = [0.0; 100];
    let mut all = sampler(Params { seed: 5, ..plain() }, 100);
    let in_order: Vec<u32> = (0..50).map(|position| all.sample(&logits, position).unwrap()).collect();
    let mut one = sampler(Params { seed: 5, ..plain() }, 100);
    assert_eq!(one.sample(&logits, 49), Ok(in_order[49]));
    assert_eq!(one.sample(&logits, 3), Ok(in_order[3]));
    let mut other = sampler(Params { seed: 6, ..plain() }, 100);
    assert_ne!((0..50).map(|position| other.sample(&logits, position).unwrap()).collect::<Vec<_>>(), in_order);
}

#[test]
fn greedy_takes_the_lower_of_a_tie_behind_the_penalties() {
    let params = Params { presence_penalty: 1.0, logit_bias: vec![(0, -1.0)], ..Params::greedy() };
    let mut sampler = sampler(params, 4);
    let logits = [4.0, 3.0, 2.0, 3.0];
    assert_eq!(sampler.sample(&logits, 0), Ok(0));
    sampler.accept(0);
    assert_eq!(sampler.sample(&logits, 1), Ok(1));
    sampler.accept(1);
    assert_eq!(sampler.sample(&logits, 2), Ok(3));
    sampler.reset();
    assert_eq!(sampler.sample(&logits, 3), Ok(0));
    assert_eq!(argmax(&[-0.0, 0.0]), 0);
    assert_eq!(argmax(&[]), 0);
    assert_eq!(argmax(&[f32::NAN, f32::MIN, f32::NAN]), 1);
}

#[test]
fn logits_that_cannot_be() {
    for params in [Params::greedy(), Params::default(), plain()] {
        let mut sampler = sampler(params, 3);
        assert_eq!(sampler.sample(&[0.0; 2], 0), Err(Error::Logits { found: 2, n_vocab: 3 }));
        assert_eq!(sampler.sample(&[0.0, f32::INFINITY, 1.0], 0), Err(Error::Logit { token: 1, value: f32::INFINITY }));
        assert!(matches!(sampler.sample(&[0.0, 1.0, f32::NAN], 0), Err(Error::Logit { token: 2, .. })));
        assert_eq!(sampler.sample(&[f32::NEG_INFINITY; 3], 0), Err(Error::AllBanned));
        assert_eq!(sampler.sample(&[f32::NEG_INFINITY, f32::MIN, f32::NEG_INFINITY], 0), Ok(1));
        assert_eq!(sampler.sample(&[f32::MIN, f32::MAX, f32::MIN], 0), Ok(1));
    }
    // A mask and a bias that ban everything together.
    let params = Params { logit_bias: vec![(0, f32::NEG_INFINITY)], ..Params::default() };
    assert_eq!(sampler(params, 2).sample(&[1.0, f32::NEG_INFINITY], 0), Err(Error::AllBanned));
}

#[test]
fn parameters_that_cannot_be() {
    let nan = Params { temperature: f32::NAN, ..Params::default() };
    assert!(matches!(Sampler::new(nan, 3), Err(Error::Range { field: "temperature", .. })));
    let bias = Params { logit_bias: vec![(3, 1.0)], ..Params::default() };
    assert_eq!(Sampler::new(bias, 3).unwrap_err(), Error::BiasToken { token: 3, n_vocab: 3 });
    let huge = Params { top_k: u32::MAX, penalty_last_n: MAX_WINDOW, ..Params::default() };
    assert_eq!(sampler(huge, 2).sample(&[-1.0, 50.0], 0), Ok(1));
}
