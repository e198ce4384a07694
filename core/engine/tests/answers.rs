//! Generation: the same answer however it is cut into steps and whatever the session held, and each way it can end.

mod common;

use common::{backends, fixture, load, team};
use picolm_core::generation::{End, Error, Generation, Options};
use picolm_core::gguf::Gguf;
use picolm_core::model::Model;
use picolm_core::sampler::Params;
use picolm_core::session::{Engine, Feed, KvType, Session, Want};
use picolm_core::text::Tokenizer;
use std::sync::Arc;

const MODEL: &str = "golden/llama-Q4_0.gguf";
const CONTEXT: usize = 120;

struct Host {
    model: Arc<Model>,
    engine: Engine,
    session: Session,
    tokenizer: Tokenizer,
}

impl Host {
    fn new() -> Self {
        let path = fixture(MODEL);
        let model = load(&path);
        let bytes = std::fs::read(&path).expect("the fixture");
        let tokenizer = Tokenizer::from_gguf(&Gguf::parse(&bytes).expect("a file")).expect("a vocabulary");
        let engine = Engine::new(model.clone(), backends()[0], team(1), 16).expect("buffers");
        let session = Session::new(&model, CONTEXT, KvType::F16).expect("a session");
        Host { model, engine, session, tokenizer }
    }

    fn begin(&mut self, prompt: &[u32], options: &Options) -> Result<Generation, Error> {
        Generation::begin(prompt.to_vec(), &mut self.session, self.model.config.vocab, options.clone())
    }

    /// The text, tokens and end of an answer, computed in steps of up to `most` tokens of the prompt.
    fn answer(&mut self, prompt: &[u32], options: &Options, most: usize) -> (String, Vec<u32>, End) {
        let mut generation = self.begin(prompt, options).expect("a prompt that fits");
        let mut text = String::new();
        while generation.end().is_none() {
            text += generation.step(&mut self.engine, &mut self.session, &self.tokenizer, most).expect("a step");
        }
        (text, generation.tokens().to_vec(), generation.end().expect("an end"))
    }
}

fn prompt(n: u32) -> Vec<u32> {
    (0..n).map(|i| (7 + i * 37) % 300).collect()
}

/// Drawn, so that the window of the penalties and the positions of the random numbers matter.
fn drawn(max_tokens: usize) -> Options {
    let sampling = Params { temperature: 1.5, repetition_penalty: 1.2, seed: 3, ..Params::default() };
    Options { sampling, max_tokens, ..Options::default() }
}

#[test]
fn steps_of_any_size_and_what_the_session_held_change_nothing() {
    let options = drawn(20);
    let wanted = Host::new().answer(&prompt(50), &options, 1000);
    let mut host = Host::new();
    for (before, most) in [(0, 1), (3, 7), (50, 16), (49, 64), (80, 0)] {
        if before > 0 {
            host.answer(&prompt(before), &drawn(2), 16);
        }
        assert_eq!(host.answer(&prompt(50), &options, most), wanted, "after a prompt of {before}, steps of {most}");
    }
}

/// As a host does that feeds many sessions in one batch: here two, which answer the same.
#[test]
fn a_host_that_feeds_by_itself_gets_the_same() {
    let options = drawn(20);
    let (text, tokens, end) = Host::new().answer(&prompt(50), &options, 16);
    let mut host = Host::new();
    let mut other = Session::new(&host.model, CONTEXT, KvType::F16).expect("a session");
    let vocab = host.model.config.vocab;
    let new = || Generation::new(prompt(50), CONTEXT, vocab, options.clone()).expect("a prompt that fits");
    let mut answers = [(new(), String::new()), (new(), String::new())];
    while answers.iter().any(|(generation, _)| generation.end().is_none()) {
        let sessions = [&mut host.session, &mut other];
        let pending = [7, 30].into_iter().zip(&answers).zip(&sessions);
        let tokens: Vec<Vec<u32>> = pending.map(|((most, (g, _)), s)| g.pending(s.len(), most).to_vec()).collect();
        let feeds = sessions.into_iter().zip(&tokens).zip(&answers).map(|((session, tokens), (generation, _))| {
            let whole = session.len() + tokens.len() == generation.all().len() && generation.end().is_none();
            Feed { session, tokens, want: if whole { Want::Last } else { Want::Nothing } }
        });
        let mut feeds: Vec<Feed<'_>> = feeds.collect();
        host.engine
            .forward(&mut feeds, &mut |feed, _, logits| {
                let (generation, text) = &mut answers[feed];
                text.push_str(generation.choose(&host.tokenizer, logits).expect("a token"));
            })
            .expect("a step");
    }
    for (generation, found) in &answers {
        assert_eq!((found, generation.tokens(), generation.end()), (&text, &tokens[..], Some(end)));
    }
}

#[test]
fn lookup_changes_nothing() {
    // What repeats itself is proposed; whether it is right, the model says.
    let repeated: Vec<u32> = prompt(12).repeat(4);
    for options in [drawn(30), Options { sampling: Params::greedy(), ..drawn(30) }] {
        let wanted = Host::new().answer(&repeated, &options, 16);
        for lookup in [1, 7] {
            assert_eq!(Host::new().answer(&repeated, &Options { lookup, ..options.clone() }, 16), wanted);
        }
    }
}

#[test]
fn only_what_is_new_is_fed() {
    let mut host = Host::new();
    host.answer(&prompt(50), &drawn(5), 16);
    let reused = |host: &mut Host, prompt: &[u32]| host.begin(prompt, &drawn(5)).expect("it fits").reused();
    assert_eq!(reused(&mut host, &prompt(60)[..55]), 50);
    // The last token is fed in any case, and what differs is forgotten.
    assert_eq!(reused(&mut host, &prompt(50)), 49);
    assert_eq!(host.session.len(), 49);
    assert_eq!(reused(&mut host, &[299, 298]), 0);
}

#[test]
fn an_answer_ends_at_its_limit_at_the_context_and_in_front_of_a_stop_string() {
    let (text, tokens, end) = Host::new().answer(&prompt(50), &drawn(6), 16);
    assert_eq!((tokens.len(), end), (6, End::Length));

    let mut host = Host::new();
    let mut endless = drawn(0);
    let ends = (0..host.model.config.vocab as u32).filter(|&id| host.tokenizer.is_end_of_generation(id));
    endless.sampling.logit_bias = ends.map(|id| (id, f32::NEG_INFINITY)).collect();
    let (_, tokens, end) = host.answer(&prompt(100), &endless, 16);
    // The last one is chosen and cannot be fed.
    assert_eq!((tokens.len(), end, host.session.len()), (CONTEXT - 100 + 1, End::Context, CONTEXT));

    let middle = text.char_indices().nth(text.chars().count() / 2).expect("a text").0;
    let stop = text[middle..].to_string();
    let (until, _, end) = Host::new().answer(&prompt(50), &Options { stops: vec![stop.clone()], ..drawn(6) }, 16);
    assert_eq!(end, End::Stop);
    assert_eq!(until, text[..text.find(&stop).expect("in the text")]);
}

#[test]
fn a_request_that_cannot_be_leaves_the_session_as_it_was() {
    let mut host = Host::new();
    host.answer(&prompt(50), &drawn(5), 16);
    let before = host.session.tokens().to_vec();
    let bad = Options { sampling: Params { temperature: -1.0, ..Params::default() }, ..drawn(5) };
    let errors = [
        host.begin(&[], &drawn(5)).map(|_| ()),
        host.begin(&prompt(CONTEXT as u32 + 1), &drawn(5)).map(|_| ()),
        host.begin(&prompt(3), &bad).map(|_| ()),
        host.begin(&prompt(3), &Options { stops: vec![String::new()], ..drawn(5) }).map(|_| ()),
    ];
    assert_eq!(errors[0], Err(Error::EmptyPrompt));
    assert_eq!(errors[1], Err(Error::PromptTooLong { tokens: CONTEXT + 1, context: CONTEXT }));
    assert!(matches!(&errors[2..], [Err(Error::Sampler(_)), Err(Error::Sampler(_))]));
    assert_eq!(host.session.tokens(), before);
}

#[test]
fn a_token_that_is_not_in_the_vocabulary_is_an_error_of_the_step() {
    let mut host = Host::new();
    let mut generation = host.begin(&[1, 2, 1_000_000], &drawn(5)).expect("it fits");
    let error = generation.step(&mut host.engine, &mut host.session, &host.tokenizer, 16).map(str::to_string);
    assert!(matches!(error, Err(Error::Session(_))), "{error:?}");
    assert!(host.session.is_empty());
}
