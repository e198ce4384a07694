//! What is made of a model file.

use crate::cli::{Machine, Pack};
use anyhow::{Context, Result, bail};
use picolm_core::kernels::Backend;
use picolm_core::model::Model;
use picolm_core::session::{Executor, Session};
use picolm_core::text::{ChatTemplate, Tokenizer};
use picolm_engine::{Batch, Local, Settings};
use picolm_machine::{ModelFile, Packed, Pool, cpu};
use std::sync::Arc;

/// The model in a file.
///
/// # Errors
/// No GGUF file, a damaged one, or a model that picolm cannot run.
pub(crate) fn model(file: &ModelFile) -> Result<Model> {
    let model = Model::load(&file.gguf()?, file.source());
    checked(file, model).with_context(|| file.path().display().to_string())
}

/// The model in a file, with its weights where they are wanted. Packing takes `threads` threads.
///
/// # Errors
/// Those of [`model`]; no memory.
pub(crate) fn ready(file: &ModelFile, pack: Pack, threads: usize) -> Result<Arc<Model>> {
    let model = model(file)?;
    let model = match pack {
        Pack::Off => model,
        Pack::Memory => {
            let packed = checked(file, Packed::new(&model, file, &team(threads)?))?;
            model.with_source(Arc::new(packed))
        }
    };
    Ok(Arc::new(model))
}

fn team(threads: usize) -> Result<Pool> {
    Pool::new(threads).with_context(|| format!("cannot start {threads} threads (fewer: -j)"))
}

/// The tokenizer in a file, which may hold nothing else.
///
/// # Errors
/// No GGUF file, a damaged one, or a vocabulary that picolm cannot use.
pub(crate) fn tokenizer(file: &ModelFile) -> Result<Tokenizer> {
    let tokenizer = Tokenizer::from_gguf(&file.gguf()?);
    checked(file, tokenizer).with_context(|| file.path().display().to_string())
}

/// What has come of work with a file, which is to be believed only if the file is what it was.
///
/// # Errors
/// The file has changed, which is why the work may have failed, too; or the work's error.
pub(crate) fn checked<T, E: Into<anyhow::Error>>(file: &ModelFile, result: Result<T, E>) -> Result<T> {
    file.check()?;
    result.map_err(Into::into)
}

/// An engine on this machine, with the backend of that name (the best if none is named).
///
/// # Errors
/// There is no such backend, or no more threads or memory are to be had.
pub(crate) fn engine(model: &Arc<Model>, backend_name: Option<&str>, threads: usize, batch: usize) -> Result<Executor> {
    let backend = backend(backend_name)?;
    Executor::new(model.clone(), backend, Arc::new(team(threads)?), batch).context("a smaller --batch takes less")
}

fn backend(name: Option<&str>) -> Result<Backend> {
    let all = cpu::backends();
    let Some(name) = name else { return Ok(all[0]) };
    match all.iter().find(|backend| backend.name() == name) {
        Some(backend) => Ok(*backend),
        None => {
            let usable: Vec<&str> = all.iter().map(|backend| backend.name()).collect();
            bail!("there is no backend {name:?} on this machine; usable: {}", usable.join(", "))
        }
    }
}

/// The context if nobody asks for another: enough for most, and no surprise in memory.
const DEFAULT_CONTEXT: usize = 4096;

/// The model of a file with one session, ready to answer.
///
/// # Errors
/// Those of [`model`] and [`tokenizer`], a broken chat template, a context that the model has not; no memory.
pub(crate) fn batch(file: &ModelFile, machine: &Machine, context: Option<usize>) -> Result<Batch<Local>> {
    let (model, tokenizer) = (ready(file, machine.pack, machine.threads())?, tokenizer(file)?);
    let template = ChatTemplate::from_gguf(&file.gguf()?, &tokenizer)?;
    let (trained, vocabulary) = (model.config.context, model.config.vocab);
    let context = context.unwrap_or(trained.min(DEFAULT_CONTEXT));
    let kv = machine.kv.into();
    Session::new(&model, context, kv).context("-c")?;
    let engine = engine(&model, machine.backend.as_deref(), machine.threads(), machine.batch)?;
    let settings = Settings {
        context,
        vocabulary,
        sessions: 1,
        session_bytes: None,
        prompt_step: PROMPT_STEP,
        prompt_step_beside: PROMPT_STEP,
    };
    Ok(Batch::new(Local::new(engine, context, kv), tokenizer, template, settings))
}

/// Tokens of a prompt fed between two looks at Ctrl-C.
const PROMPT_STEP: usize = 256;
