//! No sandbox: the same code as in it, compiled for this machine.

use super::{Engine, Options};
use crate::{Error, ErrorKind, Event, ModelInfo, Request, Result, SessionId, Want};
use picolm::{ModelFile, cpu, pool::Pool};
use picolm_core::model::Model;
use picolm_core::text::{ChatTemplate, Tokenizer};
use picolm_guest::{Batch, Local, Settings};
use std::path::Path;
use std::sync::Arc;

/// A model in this process.
pub struct Native {
    batch: Batch,
    info: ModelInfo,
}

impl Native {
    /// Loads a model.
    ///
    /// # Errors
    /// See [`open`](super::open).
    pub fn open(path: &Path, options: &Options) -> Result<Self> {
        let model_error = |error: anyhow::Error| Error::new(ErrorKind::Model, format!("{error:#}"));
        let file = ModelFile::open(path).map_err(model_error)?;
        let gguf = file.gguf().map_err(model_error)?;
        let tokenizer = Tokenizer::from_gguf(&gguf)?;
        let template = ChatTemplate::from_gguf(&gguf, &tokenizer)?;
        let model = file.model().map_err(model_error)?;
        let backend = cpu::backends()[0];
        let info = info(&model, gguf.str("general.name")?, template.is_some(), backend.name(), options);
        let team = Pool::new(options.threads()).map_err(|error| Error::new(ErrorKind::Memory, error))?;
        let columns = options.batch();
        let local = Local::new(model, backend, Arc::new(team), (info.context, columns, options.kv))?;
        let settings = Settings {
            context: info.context,
            vocabulary: info.vocabulary,
            sessions: options.sessions,
            session_bytes: options.session_bytes,
            prompt_step: columns,
            prompt_step_beside: columns.min(64),
        };
        Ok(Native { batch: Batch::new(Box::new(local), tokenizer, template, settings), info })
    }
}

fn info(model: &Model, name: Option<&str>, chat_template: bool, backend: &str, options: &Options) -> ModelInfo {
    let config = &model.config;
    ModelInfo {
        name: name.map(str::to_string),
        architecture: config.arch.name.to_string(),
        context: options.context_of(config.context),
        trained_context: config.context,
        vocabulary: config.vocab,
        layers: config.layers,
        chat_template,
        backend: backend.to_string(),
        weight_bytes: model.weight_bytes(),
    }
}

impl Engine for Native {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn begin(&mut self, request: &Request) -> Result<SessionId> {
        self.batch.open(request)
    }

    fn step(&mut self) -> Result<Vec<Event>> {
        Ok(self.batch.step())
    }

    fn is_idle(&self) -> bool {
        self.batch.is_idle()
    }

    fn close(&mut self, session: SessionId) -> Result<()> {
        self.batch.close(session)
    }

    fn save(&mut self, session: SessionId) -> Result<Vec<u8>> {
        self.batch.save(session)
    }

    fn restore(&mut self, state: &[u8]) -> Result<usize> {
        self.batch.restore(state)
    }

    fn tokenize(&mut self, request: &Request) -> Result<Vec<u32>> {
        self.batch.prompt(request)
    }

    fn detokenize(&mut self, tokens: &[u32]) -> Result<String> {
        Ok(self.batch.detokenize(tokens, false))
    }

    fn feed(&mut self, tokens: &[u32], want: Want, logits: &mut dyn FnMut(&[f32])) -> Result<()> {
        self.batch.feed(tokens, want, logits)
    }

    fn rewind(&mut self) -> Result<()> {
        self.batch.rewind()
    }
}
