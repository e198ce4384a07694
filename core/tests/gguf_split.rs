//! Split models: the same bits as the whole file, and clear words for parts that do not belong together.

mod common;
#[path = "common/split.rs"]
mod parts;

use common::{Run, backends, digest, fixture, load};
use parts::split;
use picolm_core::gguf::{Error, Gguf, Writer};
use picolm_core::model::{LoadError, Model};
use picolm_core::session::KvType;
use picolm_core::weights::{InMemory, Joined};
use std::sync::Arc;

fn golden() -> Vec<u8> {
    std::fs::read(fixture("golden/llama-Q4_0.gguf")).expect("a golden model")
}

fn join(files: &[Vec<u8>]) -> Result<Gguf<'_>, Error> {
    Gguf::join(files.iter().map(|file| Gguf::parse(file).expect("a GGUF file")).collect())
}

#[track_caller]
fn refused(files: &[Vec<u8>], words: &str) {
    match join(files) {
        Err(Error::Split(why)) => assert!(why.contains(words), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_parts_give_the_bits_of_the_whole() {
    let run = Run { backend: backends()[0], threads: 1, batch: 64, kv: KvType::F16 };
    let whole = digest(&load(&fixture("golden/llama-Q4_0.gguf")), run, 20);
    for at in [&[3][..], &[1, 2, 9], &[0, 5]] {
        let files = split(&golden(), at);
        let source = Arc::new(Joined(files));
        let gguf = join(&source.0).expect("parts of one model");
        assert_eq!(gguf.parts() as usize, at.len() + 1);
        let model = Arc::new(Model::load(&gguf, source.clone()).expect("a model"));
        assert_eq!(digest(&model, run, 20), whole, "{at:?}");
    }
}

#[test]
fn one_part_alone_says_what_is_missing() {
    let first = split(&golden(), &[20]).remove(0);
    let gguf = Gguf::parse(&first).expect("a GGUF file");
    match Model::load(&gguf, Arc::new(InMemory(first.clone()))) {
        Err(LoadError::Gguf(Error::Split(why))) => assert!(why.contains("part 1 of 2"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn parts_that_do_not_belong_together() {
    let two = split(&golden(), &[5]);
    let three = split(&golden(), &[5, 7]);
    refused(&[], "no file");
    refused(&[two[1].clone(), two[0].clone()], "file 1 of 2 says that it is part 2 of 2");
    refused(&[two[0].clone(), three[1].clone()], "file 2 of 2 says that it is part 2 of 3");
    refused(&[two[0].clone(), golden()], "file 2 of 2 says that it is part 1 of 1");
    let empty = Writer::new().with("split.no", 1u16).with("split.count", 2u16).finish();
    refused(&[two[0].clone(), empty], "5 tensors together instead of 21");
    let last = Writer::new().with("split.no", u32::MAX).with("split.count", 2u16).finish();
    refused(&[two[0].clone(), last], "says that it is part 4294967296 of 2");
    let gguf = Gguf::parse(&two[0]).expect("a GGUF file");
    let (t, twice) = (gguf.tensors()[0], Writer::new().with("split.no", 1u16).with("split.count", 2u16));
    let twice = twice.tensor(t.name, t.ty, &t.dims[..t.n_dims], vec![0; t.len as usize]).finish();
    assert_eq!(join(&[two[0].clone(), twice]).err(), Some(Error::Duplicate { what: "tensor", name: t.name.into() }));
}
