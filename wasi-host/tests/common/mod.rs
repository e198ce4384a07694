//! What the tests of engines share.
#![allow(dead_code, reason = "each test file uses some of it")]

#[cfg(feature = "serve")]
pub mod server;

use picolm_core::session::digest_tokens;
use picolm_host::engine::Engine;
use picolm_host::{Event, Reason, Request, SessionId, Usage, Want};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// A golden model of the core's tests.
pub fn golden(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../core/tests/golden")).join(name)
}

/// What the witness says its digest is.
pub fn witness(name: &str) -> String {
    let text = include_str!("../../../core/tests/witness/digests.json");
    let all: serde_json::Value = serde_json::from_str(text).expect("JSON");
    all["f16"][name].as_str().expect("a digest").to_string()
}

/// `picolm digest`, by an engine.
pub fn digest(engine: &mut dyn Engine) -> String {
    let info = engine.info();
    let tokens: Vec<u32> = digest_tokens(info.vocabulary, info.trained_context).collect();
    let mut hash = Sha256::new();
    for part in tokens.chunks(37) {
        engine
            .feed(part, Want::All, &mut |row| row.iter().for_each(|x| hash.update(x.to_le_bytes())))
            .expect("finite logits");
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All that was said of one session.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    pub text: String,
    pub tokens: Vec<u32>,
    pub finished: Option<(Reason, Usage)>,
    pub embedding: Vec<f32>,
    pub error: Option<String>,
}

impl Answer {
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Prompt { .. } => {}
            Event::Piece { piece, .. } => {
                self.text += &piece.text;
                self.tokens.extend(piece.token);
            }
            Event::Finished { reason, usage, .. } => self.finished = Some((reason, usage)),
            Event::Embedded { embedding, .. } => self.embedding = embedding,
            Event::Failed { error, .. } => self.error = Some(error.to_string()),
        }
    }
}

/// The answer to one request, alone. The session is closed.
pub fn answer(engine: &mut dyn Engine, request: &Request) -> Answer {
    let id = engine.begin(request).expect("a request that can be");
    let answer = run(engine, &[id]).remove(0);
    engine.close(id).expect("an open session");
    answer
}

/// Steps until nothing is left to do; what was said of each session.
pub fn run(engine: &mut dyn Engine, ids: &[SessionId]) -> Vec<Answer> {
    let mut answers = vec![Answer::default(); ids.len()];
    while !engine.is_idle() {
        for event in engine.step().expect("an engine that lives") {
            let at = ids.iter().position(|id| *id == event.id()).expect("a session that was asked for");
            answers[at].take(event);
        }
    }
    answers
}
