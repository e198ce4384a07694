//! What is made of a model file.

use anyhow::{Context, Result, bail};
use picolm_core::kernels::Backend;
use picolm_core::model::Model;
use picolm_core::session::Engine;
use picolm_core::text::Tokenizer;
use picolm_machine::{ModelFile, Pool, cpu};
use std::sync::Arc;

/// The model in a file.
///
/// # Errors
/// No GGUF file, a damaged one, or a model that picolm cannot run.
pub(crate) fn model(file: &ModelFile) -> Result<Arc<Model>> {
    let model = Model::load(&file.gguf()?, file.source());
    checked(file, model).map(Arc::new).with_context(|| file.path().display().to_string())
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
pub(crate) fn engine(model: &Arc<Model>, backend_name: Option<&str>, threads: usize, batch: usize) -> Result<Engine> {
    let backend = backend(backend_name)?;
    let team = Pool::new(threads).with_context(|| format!("cannot start {threads} threads (fewer: -j)"))?;
    Engine::new(model.clone(), backend, Arc::new(team), batch).context("a smaller --batch takes less")
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
