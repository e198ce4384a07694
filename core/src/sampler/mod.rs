//! Logits to a token.
//!
//! ```text
//!   logits ─► bias ─► penalties ─► top-k ─► top-p ─► min-p ─► temperature ─► draw ─► token
//!             └──── adjust.rs ───┘ └──────────── candidates.rs ───────────────┘
//!                       ▲                                                      ▲
//!            accept(token): the window                       random.rs: f(seed, position)
//! ```
//!
//! This is the order of llama.cpp's default chain: top-p and min-p see the model's own probabilities, the draw those at
//! the temperature. Temperature 0 takes the best token behind the penalties and skips the rest.
//!
//! **One answer everywhere.** The token is a pure function of (parameters, window, logits, position). The logits are the
//! same bits everywhere, and so is [`exp`](crate::kernels::math::exp); its results are turned into integers (units of
//! 2^-40 of the best token's weight) before anything is summed, so no sum depends on an order. Candidates are ordered
//! by (logit descending, token ascending), which is total.
//!
//! **Speed.** A token costs one pass over the logits to check them and one to pick the few that matter: the rest of the
//! chain works on `top_k` candidates, or, without top-k, sorts only as far down as top-p, min-p or the draw look. Nothing
//! is allocated after [`Sampler::new`].
//!
//! [`StopMatcher`] is the other end of generation: stop strings in the text that the tokens become.

mod adjust;
mod candidates;
mod error;
mod params;
mod random;
mod stop;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use params::Params;
pub use random::random;
pub use stop::{Released, StopMatcher};

use adjust::Adjust;
use candidates::Candidates;

/// The longest window of the penalties, in tokens.
pub const MAX_WINDOW: usize = 1 << 20;

/// The largest vocabulary. It keeps the sums of the weights (at most 2^40 each) inside 64 bits.
pub const MAX_VOCABULARY: usize = 1 << 23;

/// The most stop strings of one request: each costs a step per byte of text.
pub const MAX_STOPS: usize = 256;

/// Chooses tokens for one sequence. It remembers the tokens the penalties look at, and nothing else.
///
/// ```
/// use picolm_core::sampler::{Params, Sampler};
///
/// let mut sampler = Sampler::new(Params { temperature: 0.0, ..Params::default() }, 3)?;
/// assert_eq!(sampler.sample(&[0.5, 2.0, -1.0], 0)?, 1);
/// # Ok::<_, picolm_core::sampler::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Sampler {
    adjust: Adjust,
    /// None if the temperature is 0: the best token needs no list.
    candidates: Option<Candidates>,
    n_vocab: usize,
    temperature: f32,
    top_p: f32,
    min_p: f32,
    seed: u64,
}

impl Sampler {
    /// A sampler for a vocabulary of `n_vocab` tokens. Its memory: 16 bytes for each of `top_k` candidates (8 for each
    /// token if `top_k` is off, nothing at temperature 0), and 24 for each token in the window of the penalties.
    ///
    /// # Errors
    /// The first parameter that is NaN, out of its range or about a token that does not exist.
    pub fn new(params: Params, n_vocab: usize) -> Result<Self, Error> {
        params.check(n_vocab)?;
        let most = if params.top_k == 0 { n_vocab } else { params.top_k as usize };
        Ok(Self {
            adjust: Adjust::new(&params, n_vocab)?,
            candidates: (params.temperature > 0.0).then(|| Candidates::new(most, n_vocab)),
            n_vocab,
            temperature: params.temperature,
            top_p: params.top_p,
            min_p: params.min_p,
            seed: params.seed,
        })
    }

    /// Tells the sampler a token of the prompt or of the answer, in their order, for the penalties. (A token outside the
    /// vocabulary takes its place in the window and changes no logit.)
    pub fn accept(&mut self, token: u32) {
        self.adjust.accept(token);
    }

    /// Forgets the accepted tokens: the next ones belong to another sequence.
    pub fn reset(&mut self) {
        self.adjust.reset();
    }

    /// The token for `position`, the place in the sequence where it will stand (the number of tokens before it).
    ///
    /// `logits` (n_vocab) are left as they are. -infinity bans a token, for constraints that mask; other logits are
    /// finite. The choice is not accepted by itself: a draft can be tried and dropped.
    ///
    /// # Errors
    /// Another number of logits, a logit that is NaN or +infinity, and a vocabulary whose tokens are all banned.
    pub fn sample(&mut self, logits: &[f32], position: u64) -> Result<u32, Error> {
        check(logits, self.n_vocab)?;
        let logits = self.adjust.apply(logits);
        let Some(candidates) = &mut self.candidates else {
            let best = logits.max();
            return logits.find(best).filter(|_| best > f32::NEG_INFINITY).ok_or(Error::AllBanned);
        };
        candidates.fill(logits);
        if self.top_p < 1.0 {
            candidates.keep_top_p(self.top_p);
        }
        if self.min_p > 0.0 {
            candidates.keep_min_p(self.min_p);
        }
        candidates.draw(self.temperature, random(self.seed, position)).ok_or(Error::AllBanned)
    }
}

/// The token with the highest logit, the lowest such token in a tie; 0 if there is none. A NaN is passed over.
pub fn argmax(logits: &[f32]) -> u32 {
    adjust::position(logits, adjust::max(logits)).unwrap_or(0) as u32
}

/// Logits are one for each token, and finite or -infinity.
fn check(logits: &[f32], n_vocab: usize) -> Result<(), Error> {
    if logits.len() != n_vocab {
        return Err(Error::Logits { found: logits.len(), n_vocab });
    }
    // Without an early exit the compiler may use vectors; the culprit is looked for only if there is one.
    if logits.iter().fold(true, |fine, logit| fine & (*logit < f32::INFINITY)) {
        return Ok(());
    }
    let culprit = logits.iter().enumerate().find(|(_, logit)| logit.is_nan() || **logit == f32::INFINITY);
    culprit.map_or(Ok(()), |(token, value)| Err(Error::Logit { token, value: *value }))
}
