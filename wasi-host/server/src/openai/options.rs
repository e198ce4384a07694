//! The fields that chat and completions share.

use super::random;
use crate::error::{ApiError, Result};
use crate::fields::Fields;
use picolm_core::sampler::Params;
use picolm_engine::Request;
use serde_json::{Value, json};

/// Most answers to one prompt.
const MAX_CHOICES: i64 = 16;

/// Most texts that end an answer.
const MAX_STOPS: usize = 16;

/// More tokens than any context has.
pub(super) const MAX_TOKENS: i64 = 1 << 24;

/// Fields that change nothing here: about accounts, billing, other people's caches.
const IGNORED: &[&str] = &[
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
    "verbosity",
];

/// What both kinds of request choose.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) model: Option<String>,
    pub(super) sampling: Params,
    pub(super) stops: Vec<String>,
    pub(super) choices: usize,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
}

impl Common {
    pub(super) fn take(fields: &mut Fields) -> Result<Self> {
        let model = fields.text("model")?;
        let stops = fields.texts("stop")?;
        if stops.len() > MAX_STOPS {
            return Err(ApiError::field(
                "stop",
                format!("has {} texts, and at most {MAX_STOPS} are taken", stops.len()),
            ));
        }
        if stops.iter().any(String::is_empty) {
            return Err(ApiError::field("stop", "has an empty text, which would stop everywhere"));
        }
        let stream = fields.boolean("stream")?.unwrap_or(false);
        let mut include_usage = false;
        if let Some(mut options) = fields.object("stream_options")? {
            include_usage = options.boolean("include_usage")?.unwrap_or(false);
            options.ignore(&["include_obfuscation"]);
            options.finish()?;
        }
        let choices = fields.integer("n", 1..=MAX_CHOICES)?.unwrap_or(1) as usize;
        let sampling = sampling(fields)?;
        fields.ignore(IGNORED);
        Ok(Common { model, sampling, stops, choices, stream, include_usage })
    }

    /// The requests for all choices of a prompt: each has its own sequence of random numbers.
    pub(super) fn requests(&self, request: &Request) -> impl Iterator<Item = Request> {
        (0..self.choices as u64).map(|i| {
            let mut request = request.clone();
            request.sampling.seed = self.sampling.seed.wrapping_add(i);
            request
        })
    }
}

/// OpenAI's ranges, and llama.cpp's names for what OpenAI has not.
fn sampling(fields: &mut Fields) -> Result<Params> {
    let default = Params::default();
    let repetition = fields.number("repetition_penalty", 0.01..=100.0)?;
    let repeat = fields.number("repeat_penalty", 0.01..=100.0)?;
    // Any 64 bits are a seed, also negative ones.
    let seed = fields.integer("seed", i64::MIN..=i64::MAX)?.map_or_else(random, |seed| seed as u64);
    Ok(Params {
        temperature: fields.number("temperature", 0.0..=2.0)?.unwrap_or(default.temperature),
        top_p: fields.number("top_p", 0.0..=1.0)?.unwrap_or(default.top_p),
        top_k: fields.integer("top_k", 0..=i64::from(u32::MAX))?.map_or(default.top_k, |k| k as u32),
        min_p: fields.number("min_p", 0.0..=1.0)?.unwrap_or(default.min_p),
        repetition_penalty: repetition.or(repeat).unwrap_or(default.repetition_penalty),
        frequency_penalty: fields.number("frequency_penalty", -2.0..=2.0)?.unwrap_or(default.frequency_penalty),
        presence_penalty: fields.number("presence_penalty", -2.0..=2.0)?.unwrap_or(default.presence_penalty),
        logit_bias: logit_bias(fields)?,
        seed,
        ..default
    })
}

/// `{"1234": -100}`
fn logit_bias(fields: &mut Fields) -> Result<Vec<(u32, f32)>> {
    let Some(map) = fields.object("logit_bias")? else { return Ok(Vec::new()) };
    let map = map.into_map();
    if map.len() > 1024 {
        return Err(ApiError::field("logit_bias", format!("has {} tokens, and at most 1024 are taken", map.len())));
    }
    let entry = |(token, bias): (String, Value)| {
        let name = format!("logit_bias.{}", token.chars().take(20).collect::<String>());
        let token = token.parse::<u32>().map_err(|_| ApiError::field(name.clone(), "is no number of a token"))?;
        match bias.as_f64().filter(|bias| (-100.0..=100.0).contains(bias)) {
            Some(bias) => Ok((token, bias as f32)),
            None => Err(ApiError::field(name, "is not from -100 to 100")),
        }
    };
    map.into_iter().map(entry).collect()
}

/// What picolm has not, and says so.
pub(super) fn refuse_tools(fields: &mut Fields) -> Result<()> {
    let why = "is not supported yet: this server cannot call tools";
    fields.refuse("tools", &[], why)?;
    fields.refuse("tool_choice", &[json!("none"), json!("auto")], why)?;
    fields.refuse("functions", &[], why)?;
    fields.refuse("function_call", &[json!("none"), json!("auto")], why)
}
