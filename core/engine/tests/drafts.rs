//! Drafts, good, bad and impossible, against tokens fed one by one: the same answer, and the same session afterwards.

mod common;

use common::{Run, backends, emulated, fixture, load, load_bytes};
use picolm_core::gguf::Gguf;
use picolm_core::model::Model;
use picolm_core::sampler::{Params, Sampler, argmax};
use picolm_core::session::{Engine, Error, Feed, KvType, Lookup, Session, Want};
use std::sync::Arc;

/// Tokens of an answer.
const ANSWER: usize = 60;

/// A sequence on its way.
struct Sequence {
    session: Session,
    sampler: Sampler,
    /// Prompt and answer; the last one is not in the session.
    tokens: Vec<u32>,
}

impl Sequence {
    /// Reads a prompt that repeats itself, and chooses a token.
    fn start(engine: &mut Engine, kv: KvType, params: &Params) -> Self {
        let (model, prompt) = (engine.model().clone(), [3, 50, 7, 120, 9].repeat(4));
        let session = Session::new(&model, model.config.context, kv).expect("a session");
        let mut sampler = Sampler::new(params.clone(), model.config.vocab).expect("a sampler");
        prompt.iter().for_each(|&token| sampler.accept(token));
        let mut sequence = Sequence { session, sampler, tokens: prompt };
        sequence.feed(engine, 20);
        sequence
    }

    /// The same with `n` tokens, one by one and without [`Engine::forward_draft`].
    fn alone(engine: &mut Engine, kv: KvType, params: &Params, n: usize) -> Self {
        let mut sequence = Sequence::start(engine, kv, params);
        (1..n).for_each(|_| sequence.feed(engine, 1));
        sequence
    }

    /// Feeds the last `n` tokens and chooses one.
    fn feed(&mut self, engine: &mut Engine, n: usize) {
        let Sequence { session, sampler, tokens } = self;
        let mut next = None;
        let feed = Feed { session, tokens: &tokens[tokens.len() - n..], want: Want::Last };
        let choose = &mut |_, _, logits: &[f32]| next = sampler.sample(logits, tokens.len() as u64).ok();
        engine.forward(&mut [feed], choose).expect("logits");
        sampler.accept(next.expect("a token"));
        tokens.extend(next);
    }

    /// Feeds the last token and a draft, and goes on to at most `limit` tokens; how many of the draft were right.
    fn step(&mut self, engine: &mut Engine, draft: &[u32], limit: usize) -> usize {
        let before = self.tokens.len();
        let tokens: Vec<u32> = self.tokens.last().into_iter().chain(draft).copied().collect();
        let Sequence { session, sampler, tokens: all } = self;
        let right = engine.forward_draft(session, &tokens, &mut |position, logits| {
            assert_eq!(position, all.len());
            let token = sampler.sample(logits, position as u64).expect("a token");
            sampler.accept(token);
            all.push(token);
            (all.len() < limit).then_some(token)
        });
        let right = right.expect("logits");
        assert_eq!(self.tokens.len(), before + right + 1);
        assert_eq!(self.session.len(), self.tokens.len() - 1, "all but the last are in the session");
        right
    }

    /// The bits of the logits after the last token.
    fn next_logits(mut self, engine: &mut Engine) -> Vec<u32> {
        let mut bits = Vec::new();
        let last = &self.tokens[self.tokens.len() - 1..];
        let feed = Feed { session: &mut self.session, tokens: last, want: Want::Last };
        let keep = &mut |_, _, logits: &[f32]| bits = logits.iter().map(|x| x.to_bits()).collect();
        engine.forward(&mut [feed], keep).expect("logits");
        bits
    }
}

/// A way to make drafts: from the tokens so far, and those that will come.
struct Drafter {
    name: &'static str,
    draft: fn(&[u32], &[u32]) -> Vec<u32>,
    /// What the number of right tokens must be, from the draft and those that will come.
    right: fn(&[u32], &[u32]) -> usize,
}

const DRAFTERS: [Drafter; 7] = [
    Drafter { name: "none", draft: |_, _| Vec::new(), right: |_, _| 0 },
    Drafter { name: "right", draft: |_, next| start(next, 7), right: |draft, _| draft.len() },
    Drafter { name: "right and long", draft: |_, next| start(next, 30), right: |draft, _| draft.len() },
    Drafter { name: "wrong", draft: |_, next| next.iter().take(5).map(|t| (t + 1) % 320).collect(), right: |_, _| 0 },
    Drafter {
        name: "right, then wrong",
        draft: |_, next| start(next, 2).into_iter().chain([1; 4]).collect(),
        right: |draft, next| draft.iter().zip(next).take_while(|(a, b)| a == b).count(),
    },
    Drafter { name: "past the context", draft: |_, next| [next, &[5; 300]].concat(), right: |_, _| 0 },
    Drafter { name: "no such token", draft: |_, next| [&start(next, 2)[..], &[320]].concat(), right: |_, _| 0 },
];

fn start(tokens: &[u32], n: usize) -> Vec<u32> {
    tokens.iter().take(n).copied().collect()
}

fn variations() -> Vec<(KvType, Params)> {
    let penalised = Params { temperature: 1.5, repetition_penalty: 1.3, seed: 7, ..Params::default() };
    let params = [Params::greedy(), penalised];
    params.into_iter().flat_map(|p| [(KvType::F16, p.clone()), (KvType::Q8_0, p)]).collect()
}

fn run(columns: usize) -> Run {
    Run { backend: backends()[0], threads: 1, batch: columns, kv: KvType::F16 }
}

#[test]
fn no_draft_changes_the_answer_or_the_session() {
    // Windows, and experts, whose columns are regrouped by every batch.
    let models = ["llama-Q4_K_S", "gemma3-Q8_0", "qwen3moe-Q8_0"];
    for name in &models[..if emulated() { 1 } else { 3 }] {
        let model = load(&fixture(&format!("golden/{name}.gguf")));
        for (kv, params) in variations() {
            let mut engine = run(1).engine(&model);
            let alone = Sequence::alone(&mut engine, kv, &params, ANSWER);
            let expected = alone.tokens.clone();
            let end = expected.len();
            let logits = alone.next_logits(&mut engine);
            for (drafter, columns) in DRAFTERS.iter().flat_map(|d| [(d, 1), (d, 5), (d, 64)]) {
                let mut engine = run(columns).engine(&model);
                let mut sequence = Sequence::start(&mut engine, kv, &params);
                while sequence.tokens.len() < end {
                    let next = &expected[sequence.tokens.len()..];
                    let draft = (drafter.draft)(&sequence.tokens, next);
                    let right = sequence.step(&mut engine, &draft, end);
                    // The last one of the answer ends it, right or not.
                    let possible = (drafter.right)(&draft, next).min(next.len() - 1);
                    assert_eq!(right, possible, "{name} {kv:?} {} {columns}", drafter.name);
                }
                assert_eq!(sequence.tokens, expected, "{name} {kv:?} {} {columns}", drafter.name);
                assert_eq!(sequence.next_logits(&mut engine), logits, "{name} {kv:?} {} {columns}", drafter.name);
            }
        }
    }
}

#[test]
fn lookup_takes_fewer_steps_to_the_same_answer() {
    let model = load(&fixture("golden/llama-Q4_K_S.gguf"));
    // Drawn to what it has said before, even a model that knows nothing says the same again and again.
    let circling = Params { frequency_penalty: -10.0, ..Params::greedy() };
    let circles = [(KvType::F16, circling.clone()), (KvType::Q8_0, circling)];
    for (kv, params) in variations().into_iter().chain(circles) {
        let answer = |longest| {
            let mut engine = run(64).engine(&model);
            let mut sequence = Sequence::start(&mut engine, kv, &params);
            let (mut lookup, mut steps) = (Lookup::new(longest), 0);
            let end = sequence.tokens.len() + 200;
            while sequence.tokens.len() < end {
                let draft = lookup.propose(&sequence.tokens, end - sequence.tokens.len() - 1)[1..].to_vec();
                lookup.learn(sequence.step(&mut engine, &draft, end));
                steps += 1;
            }
            (sequence.tokens.clone(), sequence.next_logits(&mut engine), steps)
        };
        let (alone, drafted) = (answer(0), answer(7));
        assert_eq!((&drafted.0, &drafted.1), (&alone.0, &alone.1), "{kv:?}");
        assert_eq!(alone.2, 200);
        // 8 tokens a step once it goes well.
        let most = if params.frequency_penalty < 0.0 { 40 } else { 200 };
        assert!(drafted.2 <= most, "{kv:?} {params:?}: {} steps", drafted.2);
    }
}

#[test]
fn no_more_is_chosen_after_the_end() {
    let model = load(&fixture("golden/llama-Q4_K_S.gguf"));
    let mut engine = run(64).engine(&model);
    let mut session = Session::new(&model, 256, KvType::F16).expect("a session");
    let (mut best, mut positions) = (0, Vec::new());
    let first = Feed { session: &mut session, tokens: &[5], want: Want::Last };
    engine.forward(&mut [first], &mut |_, _, logits| best = argmax(logits)).expect("logits");
    session.truncate(0);
    let right = engine.forward_draft(&mut session, &[5, best, 7, 8], &mut |position, logits| {
        positions.push(position);
        (position < 2).then(|| argmax(logits))
    });
    assert_eq!((right, session.len(), positions), (Ok(1), 2, vec![1, 2]));
}

/// The model with a NaN for the scale of a block of this token's embedding.
fn without_embedding(token: usize) -> Arc<Model> {
    let mut bytes = std::fs::read(fixture("golden/llama-Q8_0.gguf")).expect("a golden model");
    let gguf = Gguf::parse(&bytes).expect("GGUF");
    let embedding = gguf.require_tensor("token_embd.weight").expect("a tensor");
    let (at, row) = (embedding.offset as usize, (embedding.len / embedding.dims[1]) as usize);
    bytes[at + token * row..][..2].copy_from_slice(&half::f16::NAN.to_le_bytes());
    load_bytes(bytes)
}

#[test]
fn a_draft_that_cannot_be_computed_is_dropped_and_a_token_is_an_error() {
    let (whole, broken) = (load(&fixture("golden/llama-Q8_0.gguf")), without_embedding(300));
    let mut engine = run(64).engine(&whole);
    let alone = Sequence::alone(&mut engine, KvType::F16, &Params::greedy(), 40);
    let expected = alone.tokens.clone();
    let logits = alone.next_logits(&mut engine);
    assert!(!expected.contains(&300));

    for (columns, good) in [1, 3, 64].into_iter().flat_map(|columns| [0, 1, 5].map(|good| (columns, good))) {
        let mut engine = run(columns).engine(&broken);
        let mut sequence = Sequence::start(&mut engine, KvType::F16, &Params::greedy());
        while sequence.tokens.len() < expected.len() {
            let mut draft = start(&expected[sequence.tokens.len()..], good);
            draft.extend([300, 4, 5]);
            // What was computed in batches before the broken token's is kept, the first token in any case.
            let computed = (draft.len() - 2) / columns * columns;
            let ended = expected.len() - sequence.tokens.len() - 1;
            let right = sequence.step(&mut engine, &draft, expected.len());
            assert_eq!(right, computed.saturating_sub(1).min(ended), "{columns} {good}");
        }
        assert_eq!(sequence.tokens, expected, "{columns} {good}");
        assert_eq!(sequence.next_logits(&mut engine), logits, "{columns} {good}");
    }

    let mut engine = run(64).engine(&broken);
    let mut session = Session::new(&broken, 256, KvType::F16).expect("a session");
    for tokens in [&[300][..], &[300, 4, 5]] {
        let error = engine.forward_draft(&mut session, tokens, &mut |_, _| panic!("no logits")).expect_err("an error");
        assert!(matches!(error, Error::NotFinite { .. }), "{error:?}");
        assert!(session.is_empty());
    }
}
