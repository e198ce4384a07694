//! What the tests share: the fixtures, the machine's backends, a team of threads.
#![allow(dead_code, unused_imports, missing_docs, reason = "each test uses some of it")]

#[path = "../../kernels/tests/common/mod.rs"]
mod machine;

pub use machine::{backends, emulated};

use picolm_core::gguf::Gguf;
use picolm_core::kernels::Backend;
use picolm_core::model::Model;
use picolm_core::session::{Executor, Feed, KvType, Session, Want, digest_tokens};
use picolm_core::team::{Solo, Team};
use picolm_core::weights::InMemory;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file of `core/tests`.
pub fn fixture(name: &str) -> PathBuf {
    // The tests of crates in core's folder use it, too.
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find(|folder| folder.ends_with("core"));
    core.expect("core's folder").join("tests").join(name)
}

/// How many threads teams are tried with: WebAssembly modules of their own have one.
pub fn most_threads() -> usize {
    match () {
        _ if cfg!(target_family = "wasm") => 1,
        _ if emulated() => 2,
        _ => 4,
    }
}

/// A team that starts its threads for each job.
pub struct Threads(pub usize);

impl Team for Threads {
    fn size(&self) -> usize {
        self.0
    }

    fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            for member in 1..self.0 {
                scope.spawn(move || job(member));
            }
            job(0);
        });
    }
}

/// Solo, or a team of threads where there can be any.
pub fn team(threads: usize) -> Arc<dyn Team> {
    if threads == 1 || most_threads() == 1 { Arc::new(Solo) } else { Arc::new(Threads(threads)) }
}

pub fn load(path: &Path) -> Arc<Model> {
    load_bytes(std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

pub fn load_bytes(bytes: Vec<u8>) -> Arc<Model> {
    let source = Arc::new(InMemory(bytes));
    let gguf = Gguf::parse(&source.0).expect("a GGUF file");
    Arc::new(Model::load(&gguf, source.clone()).expect("a model"))
}

/// A golden model, which has a context of 256, with a longer one.
pub fn load_longer(name: &str, context: u32) -> Arc<Model> {
    with_context(std::fs::read(fixture("golden").join(name)).expect("a golden model"), context)
}

/// A model with another context.
pub fn with_context(mut bytes: Vec<u8>, context: u32) -> Arc<Model> {
    let key = b".context_length";
    let at = bytes.windows(key.len()).position(|w| w == key).expect("the key") + key.len() + 4;
    bytes[at..at + 4].copy_from_slice(&context.to_le_bytes());
    load_bytes(bytes)
}

/// One way of running a model.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub backend: Backend,
    pub threads: usize,
    pub batch: usize,
    pub kv: KvType,
}

impl Run {
    pub fn executor(&self, model: &Arc<Model>) -> Executor {
        Executor::new(model.clone(), self.backend, team(self.threads), self.batch).expect("buffers")
    }
}

/// All logits of some tokens: (positions, vocabulary).
pub fn logits(model: &Arc<Model>, run: Run, tokens: &[u32]) -> Vec<Vec<f32>> {
    let mut session = Session::new(model, model.config.context, run.kv).expect("a session");
    let mut all = Vec::new();
    run.executor(model)
        .forward(&mut [Feed { session: &mut session, tokens, want: Want::All }], &mut |_, position, logits| {
            assert_eq!(position, all.len());
            all.push(logits.to_vec());
        })
        .expect("finite logits");
    all
}

/// The digest of `docs/numerics.md`, of the first `limit` tokens.
pub fn digest(model: &Arc<Model>, run: Run, limit: usize) -> String {
    let tokens: Vec<u32> = digest_tokens(model.config.vocab, model.config.context).take(limit).collect();
    let mut session = Session::new(model, model.config.context, run.kv).expect("a session");
    let mut hash = Sha256::new();
    run.executor(model)
        .forward(&mut [Feed { session: &mut session, tokens: &tokens, want: Want::All }], &mut |_, _, logits| {
            logits.iter().for_each(|x| hash.update(x.to_le_bytes()));
        })
        .expect("finite logits");
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}
