//! OpenAI's API: chat, completions, embeddings, models.

mod chat;
mod completions;
mod embeddings;
mod list;
mod options;
mod stream;

pub(super) use chat::{chat, logprob};
pub(super) use completions::completions;
pub(super) use embeddings::{MAX_INPUTS, embed_all, embeddings};
pub(super) use list::{model, models};
pub(super) use options::ambient;

use super::models::now;
use picolm_engine::{TokenLogprob, Usage};
use serde_json::{Value, json};
use std::hash::{BuildHasher, Hasher, RandomState};

/// What an answer begins with: its name, kind, time and model.
#[derive(Debug, Clone)]
struct Head {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
}

impl Head {
    fn new(prefix: &str, object: &'static str, model: &str) -> Self {
        Head { id: format!("{prefix}-{:016x}", random()), object, created: now(), model: model.to_string() }
    }

    fn with(&self, choices: Value) -> Value {
        json!({
            "id": self.id, "object": self.object, "created": self.created, "model": self.model,
            "system_fingerprint": concat!("picolm-", env!("CARGO_PKG_VERSION")), "choices": choices,
        })
    }
}

/// 64 bits that nobody can foresee: std seeds its hashes so.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.answer,
        "total_tokens": usage.prompt + usage.answer,
        "prompt_tokens_details": { "cached_tokens": usage.reused },
        "completion_tokens_details": {
            "accepted_prediction_tokens": usage.accepted,
            "rejected_prediction_tokens": usage.drafted - usage.accepted,
        },
    })
}

/// A token's bytes as text; what is no whole character shows as �.
fn token_text(token: &TokenLogprob) -> String {
    String::from_utf8_lossy(&token.bytes).into_owned()
}
