use alloc::vec::Vec;

use super::{Error, MAX_VOCABULARY, MAX_WINDOW};

/// What shapes the choice of a token. Plain data: [`Sampler::new`](super::Sampler::new) checks it.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// Divides the logits before the draw: 0 always takes the best token, 1 is the model's own distribution. 0 to 100.
    pub temperature: f32,
    /// Keeps the `top_k` best tokens; 0 keeps all.
    pub top_k: u32,
    /// Keeps the fewest best tokens whose probabilities reach this sum; 1 keeps all, 0 the best one. 0 to 1.
    pub top_p: f32,
    /// Keeps the tokens that are at least this probable relative to the best one; 0 keeps all. 0 to 1.
    pub min_p: f32,
    /// Divides a positive logit, and multiplies another, of a token in the window; 1 is off. 0.01 to 100.
    pub repetition_penalty: f32,
    /// Taken off a logit for each time its token is in the window; 0 is off. -100 to 100.
    pub frequency_penalty: f32,
    /// Taken off a logit once if its token is in the window; 0 is off. -100 to 100.
    pub presence_penalty: f32,
    /// The window: how many of the last tokens, prompt included, the three penalties look at; 0 turns them off. At most
    /// [`MAX_WINDOW`].
    pub penalty_last_n: usize,
    /// Added to the logits of these tokens: -100 to 100, or negative infinity, which bans the token. Each token once.
    pub logit_bias: Vec<(u32, f32)>,
    /// Picks one of 2^64 sequences of random numbers.
    pub seed: u64,
}

/// llama.cpp's defaults, and seed 0: the core has no clock to take another from, and a run can be repeated.
impl Default for Params {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            penalty_last_n: 64,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

impl Params {
    /// PicoLM's defaults on the command line.
    pub const PICOLM: Params = Params {
        temperature: 0.8,
        top_k: 0,
        top_p: 0.9,
        min_p: 0.0,
        repetition_penalty: 1.0,
        frequency_penalty: 0.0,
        presence_penalty: 0.0,
        penalty_last_n: 64,
        logit_bias: Vec::new(),
        seed: 42,
    };

    /// The most probable token, every time.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// The first field that is out of its range, or names a token the vocabulary has not.
    pub(super) fn check(&self, n_vocab: usize) -> Result<(), Error> {
        if n_vocab == 0 || n_vocab > MAX_VOCABULARY {
            return Err(Error::Vocabulary(n_vocab));
        }
        in_range("temperature", self.temperature, 0.0, 100.0)?;
        in_range("top_p", self.top_p, 0.0, 1.0)?;
        in_range("min_p", self.min_p, 0.0, 1.0)?;
        in_range("repetition_penalty", self.repetition_penalty, 0.01, 100.0)?;
        in_range("frequency_penalty", self.frequency_penalty, -100.0, 100.0)?;
        in_range("presence_penalty", self.presence_penalty, -100.0, 100.0)?;
        if self.penalty_last_n > MAX_WINDOW {
            return Err(Error::Window(self.penalty_last_n));
        }
        for &(token, bias) in &self.logit_bias {
            if token as usize >= n_vocab {
                return Err(Error::BiasToken { token, n_vocab });
            }
            if bias != f32::NEG_INFINITY && !(-100.0..=100.0).contains(&bias) {
                return Err(Error::Bias { token, bias });
            }
        }
        Ok(())
    }

    /// Whether a token in the window has another logit than one outside.
    pub(super) fn penalises(&self) -> bool {
        self.repetition_penalty != 1.0 || self.frequency_penalty != 0.0 || self.presence_penalty != 0.0
    }
}

/// NaN is in no range.
fn in_range(field: &'static str, value: f32, low: f32, high: f32) -> Result<(), Error> {
    if (low..=high).contains(&value) { Ok(()) } else { Err(Error::Range { field, value, low, high }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn error(change: impl FnOnce(&mut Params)) -> Option<Error> {
        let mut params = Params::default();
        change(&mut params);
        params.check(10).err()
    }

    #[test]
    fn defaults_and_bounds_are_valid() {
        assert_eq!(error(|_| ()), None);
        assert_eq!(Params::greedy().check(1), Ok(()));
        assert_eq!(error(|p| (p.temperature, p.top_p, p.min_p) = (100.0, 0.0, 1.0)), None);
        assert_eq!(error(|p| (p.temperature, p.top_p, p.min_p) = (-0.0, 1.0, 0.0)), None);
        assert_eq!(error(|p| (p.top_k, p.penalty_last_n) = (u32::MAX, MAX_WINDOW)), None);
        assert_eq!(error(|p| p.logit_bias = [(9, f32::NEG_INFINITY), (0, -100.0), (1, 100.0)].into()), None);
    }

    #[test]
    fn every_number_has_a_range_that_the_error_tells() {
        type Field = fn(&mut Params) -> &mut f32;
        let fields: [(&str, Field, f32, f32); 6] = [
            ("temperature", |p| &mut p.temperature, -0.1, 100.1),
            ("top_p", |p| &mut p.top_p, -0.1, 1.000_001),
            ("min_p", |p| &mut p.min_p, -0.1, 1.000_001),
            ("repetition_penalty", |p| &mut p.repetition_penalty, 0.0, 100.1),
            ("frequency_penalty", |p| &mut p.frequency_penalty, -100.1, 100.1),
            ("presence_penalty", |p| &mut p.presence_penalty, -100.1, 100.1),
        ];
        for (name, field, below, above) in fields {
            for bad in [below, above, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN] {
                let found = error(|p| *field(p) = bad).expect(name);
                assert!(matches!(found, Error::Range { field, .. } if field == name), "{found:?}");
                let text = found.to_string();
                assert!(text.contains(name) && text.contains(&bad.to_string()), "{text}");
            }
        }
        let text = error(|p| p.temperature = -1.5).unwrap().to_string();
        assert_eq!(text, "temperature is -1.5, which is not from 0 to 100");
    }

    #[test]
    fn windows_vocabularies_and_biases() {
        assert_eq!(error(|p| p.penalty_last_n = MAX_WINDOW + 1), Some(Error::Window(MAX_WINDOW + 1)));
        assert_eq!(error(|p| p.logit_bias.push((10, 1.0))), Some(Error::BiasToken { token: 10, n_vocab: 10 }));
        for bias in [100.5, -100.5, f32::INFINITY, f32::MAX] {
            assert_eq!(error(|p| p.logit_bias.push((3, bias))), Some(Error::Bias { token: 3, bias }));
        }
        assert!(matches!(error(|p| p.logit_bias.push((3, f32::NAN))), Some(Error::Bias { token: 3, .. })));
        assert_eq!(Params::default().check(0), Err(Error::Vocabulary(0)));
        assert_eq!(Params::default().check(usize::MAX), Err(Error::Vocabulary(usize::MAX)));
        let text = error(|p| p.logit_bias.push((10, 1.0))).unwrap().to_string();
        assert_eq!(text, "logit_bias.10 is of no token: the vocabulary ends at 9");
    }
}
