//! A model with one conversation, answering one request at a time.

use crate::error::{Result, of_load, of_tokenizer};
use crate::grammars::{Lent, Module};
use crate::header::{int, object};
use crate::team::Team;
use crate::weights::Weights;
use js_sys::Function;
use picolm_core::kernels::Backend;
use picolm_core::model::Model;
use picolm_core::session::{self, DIGEST_TOKENS, KvType, Session, Want, digest_tokens};
use picolm_core::text::{ChatTemplate, Encode, Tokenizer};
use picolm_engine::{Ambient, Arithmetic, Batch, Event, Local, Request, SessionId, Settings, Task, append, take};
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
    batch: Batch<Local>,
    /// of the last request, until the next one
    open: Option<SessionId>,
    /// of the last answer, or the last state that was loaded
    conversation: Option<SessionId>,
    has_grammars: bool,
}

#[wasm_bindgen]
impl Engine {
    /// Loads the model in `weights`. `context` tokens, or as many as the model was trained for and at most 4096 if that is 0; `q8` stores
    /// keys and values in 8 bits; streamed weights keep `budget` bytes in memory, and tell `progress` of them: `(loaded, total) => void`.
    ///
    /// # Errors
    /// `invalid_model`, `unsupported_…`, `invalid_request` for a context the model has not, `out_of_memory`.
    pub fn load(
        weights: Weights,
        context: usize,
        q8: bool,
        budget: f64,
        team: &Team,
        progress: &Function,
    ) -> std::result::Result<Engine, JsValue> {
        Ok(Self::try_load(&weights, context, q8, budget, team.0.clone(), progress)?)
    }

    fn try_load(
        weights: &Weights,
        context: usize,
        q8: bool,
        budget: f64,
        team: Arc<ForkJoin>,
        progress: &Function,
    ) -> Result<Engine> {
        let gguf = weights.gguf()?;
        let tokenizer = Tokenizer::from_gguf(&gguf).map_err(of_tokenizer)?;
        let template = ChatTemplate::from_gguf(&gguf, &tokenizer)?;
        let model = Arc::new(Model::load(&gguf, weights.source(&gguf, budget as u64, progress)?).map_err(of_load)?);
        let (trained, vocabulary) = (model.config.context, model.config.vocab);
        let context = if context == 0 { trained.min(4096) } else { context };
        let kv = if q8 { KvType::Q8_0 } else { KvType::F16 };
        // Whether the model has such a context.
        Session::new(&model, context, kv)?;
        let batch = if weights.is_streamed() { STREAMED_BATCH } else { BATCH };
        let settings = Settings {
            context,
            vocabulary,
            sessions: 1,
            session_bytes: None,
            prompt_step: batch,
            prompt_step_beside: batch,
        };
        // A digest has its length whatever the context.
        let longest = context.max(DIGEST_TOKENS.min(trained));
        let local = Local::new(session::Executor::new(model, backend(), team, batch)?, longest, kv);
        let batch = Batch::new(local, tokenizer, template, settings);
        Ok(Engine { batch, open: None, conversation: None, has_grammars: false })
    }

    /// JSON: what `EngineInfo` in `types.ts` says of the model.
    pub fn info(&mut self) -> String {
        let context = self.batch.settings().context;
        let used = self.conversation.and_then(|id| self.batch.held(id).ok()).map_or(0, <[u32]>::len);
        let chat_template = self.batch.has_template();
        let local = self.batch.arithmetic();
        let (executor, kv_bytes) = (local.executor(), local.kv_bytes());
        let config = &executor.model().config;
        object([
            ("architecture", config.arch.name.into()),
            ("backend", executor.backend().name().into()),
            ("context", int(context as u64)),
            ("contextUsed", int(used as u64)),
            ("trainedContext", int(config.context as u64)),
            ("vocabulary", int(config.vocab as u64)),
            ("layers", int(config.layers as u64)),
            ("kvBytes", int(kv_bytes as u64)),
            ("bufferBytes", int(executor.memory_bytes() as u64)),
            ("chatTemplate", chat_template.into()),
        ])
    }

    /// The tokens of a text; `special` recognises control tokens written out in it, `bos` begins as the model's file asks for.
    pub fn tokenize(&self, text: &str, special: bool, bos: bool) -> Vec<u32> {
        self.batch.tokenize(text, Encode { bos, eos: false, special })
    }

    /// The text of tokens; control tokens are written out if `special`.
    pub fn detokenize(&self, ids: &[u32], special: bool) -> String {
        self.batch.detokenize(ids, special)
    }

    /// The prompt that the model's chat template makes of a request with `messages`.
    ///
    /// # Errors
    /// `invalid_request`, `invalid_template`.
    pub fn render(&self, request: &str) -> std::result::Result<String, JsValue> {
        Ok(self.try_render(request)?)
    }

    fn try_render(&self, request: &str) -> Result<String> {
        Ok(self.batch.render(&Request::from_json(request, &ambient())?.prompt)?)
    }

    /// Prepares an answer or an embedding: of a request as `picolm_engine::Request` reads it, OpenAI's with a few names more. The request
    /// before ends, complete or not. False: nothing was done, since the request needs what `lend_grammars` brings.
    ///
    /// # Errors
    /// `invalid_request`, `invalid_template`, `context_full`. What was computed before is still there.
    pub fn begin(&mut self, request: &str) -> std::result::Result<bool, JsValue> {
        Ok(self.try_begin(request)?)
    }

    fn try_begin(&mut self, request: &str) -> Result<bool> {
        let request = Request::from_json(request, &ambient())?;
        if !self.has_grammars && request.needs_grammars() {
            return Ok(false);
        }
        self.end()?;
        // An embedding is made beside the conversation, an answer goes on with it.
        self.batch.set_sessions(if request.task == Task::Embed { 2 } else { 1 });
        self.open = Some(self.batch.open(&request)?);
        if request.task == Task::Answer {
            self.conversation = self.open;
        }
        Ok(true)
    }

    /// Lends the module that knows schemas, regular expressions and grammars.
    pub fn lend_grammars(&mut self, module: Module) {
        self.batch.lend_grammars(Box::new(Lent::new(module)));
        self.has_grammars = true;
    }

    /// Ends the request that was begun last. Its session is kept for the next, and for `save_state`.
    fn end(&mut self) -> Result<()> {
        if let Some(id) = self.open.take() {
            self.batch.close(id)?;
        }
        Ok(())
    }

    /// Feeds up to `most` tokens of the prompt, or computes the next token (or several, with lookup). JSON: a list of what happened, as
    /// `picolm_engine::Event` writes it.
    ///
    /// # Errors
    /// `invalid_model`, `out_of_memory`, `storage_unavailable`: there is no more of the answer.
    pub fn step(&mut self, most: usize) -> std::result::Result<String, JsValue> {
        Ok(self.try_step(most)?)
    }

    fn try_step(&mut self, most: usize) -> Result<String> {
        let events = self.batch.step_with(most);
        let events = events.iter().map(Event::to_json).collect::<picolm_engine::Result<Vec<_>>>()?;
        Ok(format!("[{}]", events.join(",")))
    }

    /// The conversation as bytes, for `load_state`.
    ///
    /// # Errors
    /// `out_of_memory`.
    pub fn save_state(&mut self) -> std::result::Result<Vec<u8>, JsValue> {
        Ok(self.try_save()?)
    }

    fn try_save(&mut self) -> Result<Vec<u8>> {
        let mut state = Vec::new();
        let write = &mut |bytes: &[u8]| append(&mut state, bytes);
        match self.conversation.filter(|&id| self.batch.held(id).is_ok()) {
            Some(id) => self.batch.save(id, write),
            None => self.with_empty(|local, empty| local.save(empty, write)),
        }?;
        Ok(state)
    }

    /// Calls `work` with a session that is there until it returns.
    fn with_empty<T>(
        &mut self,
        work: impl FnOnce(&mut Local, usize) -> picolm_engine::Result<T>,
    ) -> picolm_engine::Result<T> {
        let local = self.batch.arithmetic();
        let session = local.open()?;
        let result = work(local, session);
        local.close(session);
        result
    }

    /// Goes on from a saved conversation with the same model.
    ///
    /// # Errors
    /// `invalid_state`, `out_of_memory`; the conversation is then as it was.
    pub fn load_state(&mut self, bytes: &[u8]) -> std::result::Result<(), JsValue> {
        Ok(self.try_load_state(bytes)?)
    }

    fn try_load_state(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        // A trial: what is refused does not take the conversation's place.
        self.with_empty(|local, session| local.load(session, &mut |into| Ok(take(&mut rest, into))))?;
        self.end()?;
        rest = bytes;
        self.batch.set_sessions(1);
        self.conversation = Some(self.batch.restore(&mut |into| Ok(take(&mut rest, into)))?);
        Ok(())
    }

    /// The digest of `picolm digest`: SHA-256 over the logits of a fixed sequence of tokens.
    ///
    /// # Errors
    /// As `step`.
    pub fn digest(&mut self) -> std::result::Result<String, JsValue> {
        Ok(self.try_digest()?)
    }

    fn try_digest(&mut self) -> Result<String> {
        let config = &self.batch.arithmetic().executor().model().config;
        let tokens: Vec<u32> = digest_tokens(config.vocab, config.context).collect();
        let mut hash = sha2::Sha256::new();
        let logits = &mut |logits: &[f32]| logits.iter().for_each(|x| hash.update(x.to_le_bytes()));
        let fed = self.batch.feed(&tokens, Want::All, logits);
        self.batch.rewind()?;
        fed?;
        Ok(crate::sha256::hex(hash))
    }
}

/// What a request need not say.
fn ambient() -> Ambient {
    // 32 bits, so that JSON and people can hold them.
    let seed = (js_sys::Math::random() * 4_294_967_296.0) as u64;
    Ambient { seed, now: Some((js_sys::Date::now() / 1000.0) as i64) }
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
