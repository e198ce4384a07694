//! Packed weights: the same logits as from the file, for every golden model, and the file's pages given back.

use picolm_core::kernels::Backend;
use picolm_core::model::{LoadError, Model};
use picolm_core::session::{Executor, Feed, KvType, Session, Want};
use picolm_core::team::Solo;
use picolm_machine::{ModelFile, Packed, Pool, cpu};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn models() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../core/tests/golden");
    let files = std::fs::read_dir(folder).expect("golden models").map(|entry| entry.expect("an entry").path());
    let mut models: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "gguf")).collect();
    models.sort();
    models
}

fn load(file: &ModelFile) -> Result<Model, LoadError> {
    Model::load(&file.gguf().expect("a header"), file.source())
}

/// The bits of all logits of a few tokens: many at once, then one by one.
fn logits(model: &Arc<Model>, backend: Backend) -> Vec<u32> {
    let mut executor = Executor::new(model.clone(), backend, Arc::new(Solo), 32).expect("buffers");
    let mut session = Session::new(model, model.config.context.min(64), KvType::F16).expect("a session");
    let token = |i: usize| (i * 7 + 3) as u32 % model.config.vocab as u32;
    let tokens: Vec<u32> = (0..model.config.context.min(24)).map(token).collect();
    let (first, rest) = tokens.split_at(tokens.len() - 4);
    let mut bits = Vec::new();
    for tokens in [first].into_iter().chain(rest.chunks(1)) {
        let feed = Feed { session: &mut session, tokens, want: Want::All };
        let read = &mut |_: usize, _: usize, row: &[f32]| bits.extend(row.iter().map(|x| x.to_bits()));
        executor.forward(&mut [feed], read).expect("logits");
    }
    bits
}

#[test]
fn every_golden_model_has_the_same_logits_packed() {
    let team = Pool::new(2).expect("threads");
    let mut compared = 0;
    for path in models() {
        let file = ModelFile::open(&path).expect("a file");
        // Some are there to be refused.
        let Ok(model) = load(&file) else { continue };
        let expected = logits(&Arc::new(model), cpu::backends()[0]);
        let model = load(&file).expect("loaded before");
        let packed = Arc::new(Packed::new(&model, &file, &team).expect("memory"));
        assert!(packed.memory_bytes() as u64 >= model.weight_bytes());
        let model = Arc::new(model.with_source(packed));
        for backend in cpu::backends() {
            assert!(logits(&model, backend) == expected, "{} {}", path.display(), backend.name());
        }
        compared += 1;
    }
    assert!(compared > 10, "{compared} models");
}

#[test]
fn a_file_whose_pages_were_given_back_is_read_again() {
    let path = &models()[0];
    let file = ModelFile::open(path).expect("a file");
    let model = load(&file).expect("a model");
    let before = file.source().0[0].as_ref().to_vec();
    Packed::new(&model, &file, &Solo).expect("memory");
    assert_eq!(file.source().0[0].as_ref(), before);
    file.check().expect("it is what it was");
}
