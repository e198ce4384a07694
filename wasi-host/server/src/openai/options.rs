//! The fields that chat and completions share.

use super::random;
use crate::error::{ApiError, Result};
use crate::models::now;
use picolm_engine::{Ambient, Fields, Prompt, Request, Task};

/// Most answers to one prompt.
const MAX_CHOICES: i64 = 16;

/// What both kinds of request choose.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) model: Option<String>,
    pub(super) choices: usize,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    /// but for its prompt
    pub(super) request: Request,
}

/// What this server knows of a request that does not say it.
pub(crate) fn ambient() -> Ambient {
    Ambient { seed: random(), now: Some(now() as i64) }
}

impl Common {
    pub(super) fn take(fields: &mut Fields) -> Result<Self> {
        let model = fields.text("model")?;
        let stream = fields.boolean("stream")?.unwrap_or(false);
        let mut include_usage = false;
        if let Some(mut options) = fields.object("stream_options")? {
            include_usage = options.boolean("include_usage")?.unwrap_or(false);
            options.ignore(&["include_obfuscation"]);
            options.finish()?;
        }
        let choices = fields.integer(&["n"], 1..=MAX_CHOICES)?.unwrap_or(1) as usize;
        let request = Request::options(fields, &ambient())?;
        Ok(Common { model, choices, stream, include_usage, request })
    }

    /// The requests for all choices of a prompt: each has its own sequence of random numbers.
    pub(super) fn requests(&self, prompt: &Prompt) -> impl Iterator<Item = Request> {
        (0..self.choices as u64).map(|i| {
            let mut request = Request { prompt: prompt.clone(), ..self.request.clone() };
            request.sampling.seed = request.sampling.seed.wrapping_add(i);
            request
        })
    }
}

/// The prompts in a field, and nothing that stands for another kind of them.
pub(super) fn prompts(fields: &mut Fields, name: &str, most: usize) -> Result<(Task, Vec<Prompt>)> {
    if !fields.has(name) {
        return Err(ApiError::field(name, "is missing"));
    }
    let (task, prompts) = Prompt::take(fields, &ambient())?;
    match prompts.len() {
        n if n > most => Err(ApiError::field(name, format!("has {n} texts, and at most {most} are taken"))),
        _ => Ok((task, prompts)),
    }
}
