//! [`Grammars`]: all that the engine's module asks.

use picolm_grammar::{Error, Grammar, Limits, Matcher, Source, Token, Vocabulary};
use std::collections::BTreeMap;
use std::sync::Arc;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

#[wasm_bindgen]
extern "C" {
    /// The model's tokenizer, in the engine's module.
    pub type Encoder;

    /// The tokens of a text, without any before or after it.
    #[wasm_bindgen(method)]
    fn encode(this: &Encoder, text: &str) -> Vec<u32>;
}

/// The grammars of one model, and the answers that keep to them.
#[wasm_bindgen]
#[derive(Default)]
pub struct Grammars {
    vocabulary: Option<Arc<Vocabulary>>,
    /// the last, since clients ask for the same again and again
    last: Option<(String, String, Grammar)>,
    answers: BTreeMap<u32, Answer>,
    last_id: u32,
}

/// An answer so far.
struct Answer {
    matcher: Matcher,
    tokens: Vec<u32>,
}

/// A failure as a text.
type Result<T> = std::result::Result<T, JsValue>;

#[wasm_bindgen]
impl Grammars {
    /// Knows no vocabulary yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the vocabulary: the bytes of all tokens, where each of them ends, and what it is (0 text, 1 special, 2 an end of answers).
    ///
    /// # Errors
    /// More than a trie holds.
    pub fn set_vocabulary(&mut self, bytes: &[u8], ends: &[u32], kinds: &[u8], encoder: Encoder) -> Result<()> {
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let tokens = starts.zip(ends).zip(kinds).map(|((start, end), kind)| {
            let bytes = &bytes[start as usize..*end as usize];
            match kind {
                0 => Token::Text(bytes),
                1 => Token::Special(bytes),
                _ => Token::End(bytes),
            }
        });
        let tokenize = Box::new(move |text: &str| encoder.encode(text));
        self.vocabulary = Some(Vocabulary::new(tokens, Some(tokenize)).map_err(thrown)?);
        Ok(())
    }

    /// An answer that has not begun, to what a field of a request says: `json_schema`, `regex` or `grammar`.
    ///
    /// # Errors
    /// A text that is no such thing, or that asks for what cannot be enforced, in words that follow "cannot be kept to: ".
    pub fn begin(&mut self, field: &str, text: &str) -> Result<u32> {
        let vocabulary = self.vocabulary.as_ref().ok_or("the vocabulary is not known")?;
        let matcher = match &self.last {
            Some((of, known, grammar)) if of == field && known == text => grammar.matcher(),
            _ => {
                let source = match field {
                    "json_schema" => Source::JsonSchema(text),
                    "regex" => Source::Regex(text),
                    _ => Source::grammar(text),
                };
                let grammar = Grammar::new(source, vocabulary, &Limits::of_answers()).map_err(thrown)?;
                self.last.insert((field.into(), text.into(), grammar)).2.matcher()
            }
        };
        self.last_id += 1;
        self.answers.insert(self.last_id, Answer { matcher, tokens: Vec::new() });
        Ok(self.last_id)
    }

    /// Asks about an answer that has grown by `new`:
    ///
    /// | question | what is returned |
    /// |---|---|
    /// | 0 | the tokens that may follow: token `t` is bit `t % 32` of word `t / 32` |
    /// | 1 | the tokens that have to follow, where there is no choice |
    /// | 2 | something, if the answer is whole and nothing may follow |
    ///
    /// # Errors
    /// An answer that its grammar does not allow, or cannot follow within its limits.
    pub fn ask(&mut self, id: u32, question: u32, new: &[u32]) -> Result<Vec<u32>> {
        let Answer { matcher, tokens } = self.answers.get_mut(&id).ok_or("there is no such answer")?;
        tokens.extend_from_slice(new);
        match question {
            0 => matcher.mask(tokens).map(<[u32]>::to_vec),
            1 => matcher.forced(tokens),
            _ => matcher.is_over(tokens).map(|is_over| if is_over { vec![1] } else { Vec::new() }),
        }
        .map_err(thrown)
    }

    /// Forgets an answer.
    pub fn end(&mut self, id: u32) {
        self.answers.remove(&id);
    }
}

fn thrown(error: Error) -> JsValue {
    error.to_string().into()
}
