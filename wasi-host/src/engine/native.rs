//! No sandbox: the same code as in it, compiled for this machine.

use super::{Engine, Options};
use crate::options::file_error;
use crate::{Error, ErrorKind, Event, ModelInfo, Prompt, Request, Result, SessionId, Want};
use picolm_core::model::Model;
use picolm_core::session::{self, Session};
use picolm_core::text::{ChatTemplate, Tokenizer};
use picolm_engine::{Batch, Local, Settings, append, take};
use picolm_machine::{ModelFile, Pool, cpu};
use std::path::Path;
use std::sync::Arc;

/// A model in this process.
pub struct Native {
    batch: Batch<Local>,
    info: ModelInfo,
    file: ModelFile,
    /// why it came to its end
    stopped: Option<Error>,
}

impl Native {
    /// Loads a model.
    ///
    /// # Errors
    /// See [`open`](super::open).
    pub fn open(path: &Path, options: &Options) -> Result<Self> {
        let file = ModelFile::open(path).map_err(file_error)?;
        let loaded = Self::load(&file, options);
        file.check().map_err(file_error)?;
        let (batch, info) = loaded?;
        Ok(Native { batch, info, file, stopped: None })
    }

    fn load(file: &ModelFile, options: &Options) -> Result<(Batch<Local>, ModelInfo)> {
        let gguf = file.gguf().map_err(file_error)?;
        let tokenizer = Tokenizer::from_gguf(&gguf)?;
        let template = ChatTemplate::from_gguf(&gguf, &tokenizer)?;
        let model = Arc::new(Model::load(&gguf, file.source())?);
        let backend = cpu::backends()[0];
        let info = info(&model, gguf.str("general.name")?, template.is_some(), backend.name(), options);
        let team = Pool::new(options.threads()).map_err(|error| Error::new(ErrorKind::Memory, error))?;
        let columns = options.batch();
        Session::new(&model, info.context, options.kv)?;
        let executor = session::Executor::new(model, backend, Arc::new(team), columns)?;
        let settings = Settings {
            context: info.context,
            vocabulary: info.vocabulary,
            sessions: options.sessions,
            session_bytes: options.session_bytes,
            prompt_step: columns,
            prompt_step_beside: columns.min(64),
        };
        Ok((Batch::new(Local::new(executor, info.context, options.kv), tokenizer, template, settings), info))
    }

    /// Works with the model, and believes it only if the file is what it was when it was loaded.
    fn with<T>(&mut self, work: impl FnOnce(&mut Batch<Local>) -> Result<T>) -> Result<T> {
        if let Some(stopped) = &self.stopped {
            return Err(stopped.clone());
        }
        let result = work(&mut self.batch);
        if let Err(error) = self.file.check().map_err(file_error) {
            self.stopped = Some(error.clone());
            return Err(error);
        }
        result
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
        self.with(|batch| batch.open(request))
    }

    fn step(&mut self) -> Result<Vec<Event>> {
        self.with(|batch| Ok(batch.step()))
    }

    fn is_idle(&self) -> bool {
        self.stopped.is_some() || self.batch.is_idle()
    }

    fn close(&mut self, session: SessionId) -> Result<()> {
        self.with(|batch| batch.close(session).map(|_| ()))
    }

    fn save(&mut self, session: SessionId) -> Result<Vec<u8>> {
        self.with(|batch| {
            let mut state = Vec::new();
            batch.save(session, &mut |bytes| append(&mut state, bytes))?;
            Ok(state)
        })
    }

    fn restore(&mut self, state: &[u8]) -> Result<usize> {
        self.with(|batch| {
            let mut rest = state;
            let session = batch.restore(&mut |into| Ok(take(&mut rest, into)))?;
            Ok(batch.held(session)?.len())
        })
    }

    fn tokenize(&mut self, prompt: &Prompt) -> Result<Vec<u32>> {
        self.with(|batch| batch.prompt(prompt))
    }

    fn detokenize(&mut self, tokens: &[u32]) -> Result<String> {
        self.with(|batch| Ok(batch.detokenize(tokens, false)))
    }

    fn feed(&mut self, tokens: &[u32], want: Want, rows: &mut dyn FnMut(&[f32])) -> Result<()> {
        self.with(|batch| batch.feed(tokens, want, rows))
    }

    fn rewind(&mut self) -> Result<()> {
        self.with(Batch::rewind)
    }
}
