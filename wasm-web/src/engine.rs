//! A model with one session, answering one request at a time.

use crate::error::{Fault, Result};
use crate::header::Object;
use crate::request::{self, Request};
use crate::team::Team;
use crate::weights::{self, Weights};
use picolm_core::generation::{End, Generation};
use picolm_core::kernels::Backend;
use picolm_core::model::Model;
use picolm_core::session::{self, Feed, KvType, Session, StateError, Want, digest_tokens};
use picolm_core::text::{ChatTemplate, DateTime, Encode, Tokenizer};
use picolm_machine::ForkJoin;
use sha2::Digest;
use std::sync::Arc;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

/// Tokens taken through the layers at once; streamed weights are read for each batch, so that there it is worth more.
const BATCH: usize = 64;
const STREAMED_BATCH: usize = 256;

/// A loaded model. `begin` prepares an answer, each `step` computes a part of it.
#[wasm_bindgen]
pub struct Engine {
    engine: session::Engine,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    session: Session,
    kv_type: KvType,
    answer: Option<Generation>,
}

#[wasm_bindgen]
impl Engine {
    /// Loads the model in `weights`. `context` tokens, or as many as the model was trained for and at most 4096 if that is 0; `q8` stores
    /// keys and values in 8 bits; streamed weights keep `budget` bytes in memory.
    ///
    /// # Errors
    /// `invalid_model`, `unsupported_…`, `invalid_request` for a context the model has not, `out_of_memory`.
    pub fn load(
        weights: Weights,
        context: usize,
        q8: bool,
        budget: f64,
        team: &Team,
    ) -> std::result::Result<Engine, JsValue> {
        Ok(Self::try_load(&weights, context, q8, budget, team.0.clone())?)
    }

    fn try_load(weights: &Weights, context: usize, q8: bool, budget: f64, team: Arc<ForkJoin>) -> Result<Engine> {
        let gguf = weights.gguf()?;
        let tokenizer = Tokenizer::from_gguf(&gguf)?;
        let template = ChatTemplate::from_gguf(&gguf, &tokenizer)?;
        let model = Arc::new(Model::load(&gguf, weights.source(&gguf, budget as u64)?)?);
        let context = if context == 0 { model.config.context.min(4096) } else { context };
        let kv_type = if q8 { KvType::Q8_0 } else { KvType::F16 };
        let session = Session::new(&model, context, kv_type)?;
        let batch = if weights.is_streamed() { STREAMED_BATCH } else { BATCH };
        let engine = session::Engine::new(model, backend(), team, batch)?;
        Ok(Engine { engine, tokenizer, template, session, kv_type, answer: None })
    }

    /// JSON: what `EngineInfo` in `types.ts` says of the model.
    pub fn info(&self) -> String {
        let config = &self.engine.model().config;
        let mut json = Object::new();
        json.text("architecture", Some(config.arch.name)).text("backend", Some(self.engine.backend().name()));
        json.number("context", self.session.context() as f64).number("trainedContext", config.context as f64);
        json.number("vocabulary", config.vocab as f64).number("layers", config.layers as f64);
        json.number("kvBytes", self.session.memory_bytes() as f64);
        json.number("bufferBytes", self.engine.memory_bytes() as f64);
        json.number("contextUsed", self.session.tokens().len() as f64);
        json.number("chatTemplate", f64::from(u8::from(self.template.is_some())));
        json.end()
    }

    /// The tokens of a text; `special` recognises control tokens written out in it, `bos` begins as the model's file asks for.
    pub fn tokenize(&self, text: &str, special: bool, bos: bool) -> Vec<u32> {
        self.tokenizer.encode(text, Encode { bos, eos: false, special })
    }

    /// The text of tokens; control tokens are written out if `special`.
    pub fn detokenize(&self, ids: &[u32], special: bool) -> String {
        self.tokenizer.decode(ids, special)
    }

    /// The prompt that the model's chat template makes of a request with `messages`.
    ///
    /// # Errors
    /// `invalid_request`, `invalid_template`.
    pub fn render(&self, request: &str) -> std::result::Result<String, JsValue> {
        Ok(self.rendered(&request::parse(request)?)?)
    }

    /// Prepares an answer: to `messages` by the model's chat template, or to a `prompt` as it is. Options are OpenAI's.
    ///
    /// # Errors
    /// `invalid_request`, `invalid_template`, `context_full`. The session is then as it was, or empty if nothing of it was to be used.
    pub fn begin(&mut self, request: &str) -> std::result::Result<(), JsValue> {
        Ok(self.try_begin(request::parse(request)?)?)
    }

    fn try_begin(&mut self, request: Request) -> Result<()> {
        let prompt = match &request.prompt {
            Some(prompt) => prompt.clone(),
            None => self.rendered(&request)?,
        };
        let tokens = self.tokenizer.encode(&prompt, Encode::PROMPT);
        let vocab = self.engine.model().config.vocab;
        if request.anew {
            self.session.truncate(0);
        }
        self.answer = None;
        self.answer = Some(Generation::begin(tokens, &mut self.session, vocab, request.options)?);
        Ok(())
    }

    fn rendered(&self, request: &Request) -> Result<String> {
        let messages =
            request.messages.as_deref().ok_or_else(|| Fault::request("a request needs messages, or a prompt"))?;
        let template = self.template.as_ref().ok_or_else(|| {
            Fault::request("this model has no chat template: use completions with a prompt in its own form")
        })?;
        let mut options = request.render.clone();
        options.now = Some(DateTime::from_unix((js_sys::Date::now() / 1000.0) as i64));
        Ok(template.render(messages, &options)?)
    }

    /// Feeds up to `most` tokens of the prompt, or computes the next token (or several, with lookup). Returns new text.
    ///
    /// # Errors
    /// `invalid_request` without an answer that was begun; `invalid_model`, `out_of_memory`, `storage_unavailable`.
    pub fn step(&mut self, most: usize) -> std::result::Result<String, JsValue> {
        Ok(self.try_step(most)?)
    }

    fn try_step(&mut self, most: usize) -> Result<String> {
        let answer = self.answer.as_mut().ok_or_else(|| Fault::request("no answer was begun"))?;
        let text = answer.step(&mut self.engine, &mut self.session, &self.tokenizer, most).map(str::to_string);
        if let Err(fault) = weights::take_failure() {
            self.reset();
            return Err(fault);
        }
        Ok(text?)
    }

    /// Why the answer ended: `stop` (by the model or a stop string), `length`, or nothing yet.
    pub fn finish_reason(&self) -> Option<String> {
        let reason = match self.answer.as_ref()?.end()? {
            End::Token | End::Stop => "stop",
            End::Length | End::Context => "length",
        };
        Some(reason.to_string())
    }

    /// Tokens of the prompt, how many of them were in the session already, how many are there now, and tokens of the answer.
    pub fn counts(&self) -> Vec<u32> {
        let Some(answer) = &self.answer else { return vec![0; 4] };
        let prompt = answer.prompt().len();
        let fed = if answer.tokens().is_empty() { self.session.tokens().len() } else { prompt };
        [prompt, answer.reused(), fed.min(prompt), answer.tokens().len()].map(|count| count as u32).to_vec()
    }

    /// Forgets all tokens. The memory is kept.
    pub fn reset(&mut self) {
        self.answer = None;
        self.session.truncate(0);
    }

    /// The session as bytes, for `load_state`.
    ///
    /// # Errors
    /// `out_of_memory`.
    pub fn save_state(&self) -> std::result::Result<Vec<u8>, JsValue> {
        let mut bytes = Vec::new();
        let saved = self.session.save(self.engine.model(), &mut |part| {
            bytes.try_reserve(part.len()).map_err(|_| Fault::memory("the state", (bytes.len() + part.len()) as f64))?;
            bytes.extend_from_slice(part);
            Ok(())
        });
        weights::take_failure()?;
        saved.map_err(state_fault)?;
        Ok(bytes)
    }

    /// Goes on from a saved session of the same model.
    ///
    /// # Errors
    /// `invalid_state`, `out_of_memory`; the session is then as it was.
    pub fn load_state(&mut self, mut bytes: &[u8]) -> std::result::Result<(), JsValue> {
        self.answer = None;
        let model = self.engine.model().clone();
        let loaded = self.session.load(&model, &mut |into| {
            let (part, rest) = bytes.split_at(into.len().min(bytes.len()));
            into[..part.len()].copy_from_slice(part);
            bytes = rest;
            Ok(part.len())
        });
        weights::take_failure()?;
        Ok(loaded.map_err(state_fault)?)
    }

    /// The digest of `picolm digest`: SHA-256 over the logits of a fixed sequence of tokens.
    ///
    /// # Errors
    /// As `step`.
    pub fn digest(&mut self) -> std::result::Result<String, JsValue> {
        Ok(self.try_digest()?)
    }

    fn try_digest(&mut self) -> Result<String> {
        let model = self.engine.model().clone();
        let tokens: Vec<u32> = digest_tokens(model.config.vocab, model.config.context).collect();
        let mut session = Session::new(&model, model.config.context, self.kv_type)?;
        let mut hash = sha2::Sha256::new();
        let feed = Feed { session: &mut session, tokens: &tokens, want: Want::All };
        let logits = &mut |_: usize, _: usize, logits: &[f32]| logits.iter().for_each(|x| hash.update(x.to_le_bytes()));
        let result = self.engine.forward(&mut [feed], logits);
        weights::take_failure()?;
        result?;
        Ok(crate::sha256::hex(hash))
    }
}

fn state_fault(error: StateError<Fault>) -> Fault {
    match error {
        StateError::Host(fault) => fault,
        StateError::Session(error @ session::Error::OutOfMemory { .. }) => error.into(),
        other => Fault::new("invalid_state", format!("the state is refused: {other}")),
    }
}

/// The kernels of this build.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
fn backend() -> Backend {
    picolm_core::kernels::Simd128::new().backend()
}

/// Only where this crate is checked, and not run.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
fn backend() -> Backend {
    Backend::REFERENCE
}
