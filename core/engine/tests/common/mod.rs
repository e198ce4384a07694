//! What the tests of the engine share: batches of golden models, and what they say.
#![allow(dead_code, unused_imports, missing_docs, reason = "each test uses some of it")]

#[path = "../../../tests/common/mod.rs"]
mod of_core;

pub use of_core::emulated;

use of_core::{backends, fixture, load_bytes, team};
use picolm_core::gguf::Gguf;
use picolm_core::sampler::Params;
use picolm_core::session::Executor;
use picolm_core::text::{ChatTemplate, Tokenizer};
use picolm_engine::{
    Answer, Arithmetic, Batch, Constraint, Drafter, Error, Event, Extras, KvType, Local, Prompt, Request, SessionId,
    Settings, Usage, append,
};

pub const MODEL: &str = "llama-Q4_0";
/// Of a batch, unless a test says otherwise.
pub const CONTEXT: usize = 120;
/// Of the golden models.
pub const VOCABULARY: usize = 320;

/// How a batch is made.
#[derive(Clone)]
pub struct Setup {
    pub file: Vec<u8>,
    pub columns: usize,
    pub kv: KvType,
    pub settings: Settings,
}

pub fn golden(name: &str) -> Vec<u8> {
    std::fs::read(fixture(&format!("golden/{name}.gguf"))).expect("a golden model")
}

impl Setup {
    pub fn new(name: &str) -> Self {
        let settings = Settings {
            context: CONTEXT,
            vocabulary: VOCABULARY,
            sessions: 8,
            session_bytes: None,
            prompt_step: 64,
            prompt_step_beside: 16,
        };
        Setup { file: golden(name), columns: 16, kv: KvType::F16, settings }
    }

    /// The same with room for so many tokens, and the file says so, too.
    pub fn with_context(self, context: usize) -> Self {
        let settings = Settings { context, ..self.settings };
        Setup { file: longer(self.file, context as u32), settings, ..self }
    }

    pub fn batch(&self) -> Batch<Local> {
        self.batch_of(|local| local)
    }

    /// Of other arithmetic, made of the core's.
    pub fn batch_of<A: Arithmetic>(&self, arithmetic: impl FnOnce(Local) -> A) -> Batch<A> {
        self.with(arithmetic, None)
    }

    pub fn batch_with(&self, template: ChatTemplate) -> Batch<Local> {
        self.with(|local| local, Some(template))
    }

    fn with<A: Arithmetic>(&self, arithmetic: impl FnOnce(Local) -> A, template: Option<ChatTemplate>) -> Batch<A> {
        let model = load_bytes(self.file.clone());
        let tokenizer = Tokenizer::from_gguf(&Gguf::parse(&self.file).expect("a file")).expect("a vocabulary");
        let engine = Executor::new(model, backends()[0], team(1), self.columns).expect("buffers");
        let local = Local::new(engine, self.settings.context, self.kv);
        Batch::new(arithmetic(local), tokenizer, template, self.settings)
    }
}

/// The file with a longer context.
pub fn longer(mut file: Vec<u8>, context: u32) -> Vec<u8> {
    let key = b".context_length";
    let at = file.windows(key.len()).position(|w| w == key).expect("the key") + key.len() + 4;
    file[at..at + 4].copy_from_slice(&context.to_le_bytes());
    file
}

/// The file with a NaN for the scale of a block of this token's embedding.
pub fn without_embedding(mut file: Vec<u8>, token: usize) -> Vec<u8> {
    const NAN: u16 = 0x7e00;
    let gguf = Gguf::parse(&file).expect("a file");
    let embedding = gguf.require_tensor("token_embd.weight").expect("a tensor");
    let (at, row) = (embedding.offset as usize, (embedding.len / embedding.dims[1]) as usize);
    file[at + token * row..][..2].copy_from_slice(&NAN.to_le_bytes());
    file
}

pub fn batch() -> Batch<Local> {
    Setup::new(MODEL).batch()
}

pub fn prompt(n: u32) -> Vec<u32> {
    (0..n).map(|i| (7 + i * 37) % 300).collect()
}

/// Drawn, so that the window of the penalties and the positions of the random numbers matter.
pub fn drawn(tokens: Vec<u32>, max_tokens: usize) -> Request {
    let sampling = Params { temperature: 1.5, repetition_penalty: 1.2, seed: 3, ..Params::default() };
    Request { prompt: Prompt::Tokens(tokens), sampling, max_tokens, ..Request::default() }
}

pub fn greedy(tokens: Vec<u32>, max_tokens: usize) -> Request {
    Request { sampling: Params::greedy(), ..drawn(tokens, max_tokens) }
}

/// The model's end token.
pub fn end_token(batch: &Batch<Local>) -> u32 {
    let end = (0..VOCABULARY as u32).find(|&id| batch.tokenizer().is_end_of_generation(id));
    end.expect("an end token")
}

/// No end tokens: for answers of a known length.
pub fn endless(batch: &Batch<Local>, mut request: Request) -> Request {
    let ends = (0..VOCABULARY as u32).filter(|&id| batch.tokenizer().is_end_of_generation(id));
    request.sampling.logit_bias = ends.map(|id| (id, f32::NEG_INFINITY)).collect();
    request
}

/// Steps to the end; what was said of each session, in the order of `ids`.
pub fn run(batch: &mut Batch<Local>, ids: &[SessionId]) -> Vec<Result<Answer, Error>> {
    let mut answers = vec![Ok(Answer::default()); ids.len()];
    while !batch.is_idle() {
        take(batch.step(), ids, &mut answers);
    }
    answers
}

/// Adds events to the answers of their sessions.
pub fn take(events: Vec<Event>, ids: &[SessionId], answers: &mut [Result<Answer, Error>]) {
    for event in events {
        let answer = &mut answers[ids.iter().position(|&id| id == event.id()).expect("one of the sessions")];
        if let Ok(so_far) = answer
            && let Err(error) = so_far.take(event)
        {
            *answer = Err(error);
        }
    }
}

/// An answer, from its beginning to its end.
pub fn answer(batch: &mut Batch<Local>, request: &Request) -> Answer {
    answer_with(batch, request, Extras::default()).expect("an answer")
}

pub fn answer_with(batch: &mut Batch<Local>, request: &Request, extras: Extras) -> Result<Answer, Error> {
    let id = batch.open_with(request, extras)?;
    let answer = run(batch, &[id]).remove(0);
    assert_eq!(batch.close(id), Ok(String::new()), "nothing is held back of a whole answer");
    answer
}

/// What was said, without what it took.
pub fn said(answer: &Answer) -> Answer {
    Answer { usage: Usage::default(), ..answer.clone() }
}

/// A session as bytes: equal if its tokens, keys and values are.
pub fn state(batch: &mut Batch<Local>, id: SessionId) -> Vec<u8> {
    let mut state = Vec::new();
    batch.save(id, &mut |bytes| append(&mut state, bytes)).expect("a state");
    state
}

/// A draft, of the tokens that will come.
pub type Draft = fn(&[u32]) -> Vec<u32>;

/// Drafts by a function of what has come and of what will.
pub struct Oracle {
    /// the prompt, and the answer that will come
    pub all: Vec<u32>,
    pub draft: Draft,
    pub last: Vec<u32>,
}

impl Drafter for Oracle {
    fn propose(&mut self, past: &[u32], _: usize) -> &[u32] {
        assert_eq!(past, &self.all[..past.len()], "it is asked about tokens that did come");
        self.last = (self.draft)(&self.all[past.len()..]);
        &self.last
    }

    fn learn(&mut self, right: usize) {
        assert!(right <= self.last.len());
    }
}

/// Extras with a drafter that knows what will come.
pub fn oracle(request: &Request, answer: &[u32], draft: Draft) -> Extras {
    let Prompt::Tokens(prompt) = &request.prompt else { panic!("tokens") };
    let drafter = Oracle { all: [&prompt[..], answer].concat(), draft, last: Vec::new() };
    Extras { drafter: Some(Box::new(drafter)), constraints: Vec::new() }
}

pub fn constrained(constraint: impl Constraint + 'static) -> Extras {
    Extras { constraints: vec![Box::new(constraint)], drafter: None }
}
