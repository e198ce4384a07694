//! Sources of weights: slots that are used again, and reads that fail.

mod common;

use common::{backends, emulated, fixture, load, team};
use picolm_core::gguf::Gguf;
use picolm_core::model::{LoadError, Model};
use picolm_core::session::{Error, Executor, Feed, KvType, Session, Want};
use picolm_core::weights::{Lent, Part, Span, Spans, WeightSource, WeightsError};
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// A file that is not in memory: what is lent is copied into one slot, which holds nothing but that.
struct Slots {
    file: Vec<u8>,
    /// where the tensors of each layer are; those outside of layers are spread over the file
    layers: Vec<Range<usize>>,
    slot: Mutex<Arc<Slot>>,
    /// what was asked for
    asked: Mutex<Vec<Part>>,
    /// reads and loans that are well before one fails
    good: Mutex<usize>,
}

struct Slot {
    start: usize,
    bytes: Vec<u8>,
}

impl Spans for Slot {
    fn bytes(&self, span: Span) -> Option<&[u8]> {
        self.bytes.get((span.offset as usize).checked_sub(self.start)?..)?.get(..span.len)
    }
}

impl Slots {
    fn new(name: &str, good: usize) -> Self {
        let file = std::fs::read(fixture("golden").join(name)).expect("a golden model");
        let gguf = Gguf::parse(&file).expect("a file");
        let mut layers: Vec<Range<usize>> = Vec::new();
        for tensor in gguf.tensors() {
            let at = tensor.offset as usize..(tensor.offset + tensor.len) as usize;
            if let Some((layer, _)) = tensor.name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
                let layer: usize = layer.parse().expect("a number");
                layers.resize(layers.len().max(layer + 1), Range { start: usize::MAX, end: 0 });
                layers[layer] = layers[layer].start.min(at.start)..layers[layer].end.max(at.end);
            }
        }
        let slot = Mutex::new(Arc::new(Slot { start: 0, bytes: Vec::new() }));
        Slots { file, layers, slot, asked: Mutex::default(), good: Mutex::new(good) }
    }

    fn model(self) -> (Arc<Self>, Result<Arc<Model>, LoadError>) {
        let source = Arc::new(self);
        let gguf = Gguf::parse(&source.file).expect("a file");
        (source.clone(), Model::load(&gguf, source.clone()).map(Arc::new))
    }

    /// Fails once when its time has come.
    fn count(&self) -> Result<(), WeightsError> {
        let mut good = self.good.lock().expect("good");
        let failed = *good == 0;
        *good = good.wrapping_sub(1);
        if failed { Err(WeightsError("the disk is gone".into())) } else { Ok(()) }
    }

    fn fail_after(&self, good: usize) {
        *self.good.lock().expect("good") = good;
    }
}

impl WeightSource for Slots {
    fn len(&self) -> u64 {
        self.file.len() as u64
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), WeightsError> {
        self.count()?;
        into.copy_from_slice(&self.file[offset as usize..][..into.len()]);
        Ok(())
    }

    fn lend(&self, part: Part) -> Result<Lent<'_>, WeightsError> {
        self.asked.lock().expect("asked").push(part);
        let mut slot = self.slot.lock().expect("the slot");
        let free = Arc::get_mut(&mut slot).ok_or_else(|| WeightsError("the slot is in use".into()))?;
        // What is in it is lost, also if the read fails.
        free.bytes.fill(0xff);
        self.count()?;
        let range = match part {
            Part::Layer(layer) => self.layers[layer].clone(),
            Part::Outside => 0..self.file.len(),
        };
        *free = Slot { start: range.start, bytes: self.file[range].to_vec() };
        Ok(Lent::Slot(slot.clone()))
    }
}

const MODELS: [&str; 3] = ["llama-Q4_K_S.gguf", "qwen3moe-Q8_0.gguf", "gemma2-F16.gguf"];

fn tokens(n: u32) -> Vec<u32> {
    (0..n).map(|i| (3 + i * 37) % 320).collect()
}

fn session(model: &Model) -> Session {
    Session::new(model, 200, KvType::F16).expect("a session")
}

/// All logits, as bits.
fn feed(executor: &mut Executor, session: &mut Session, tokens: &[u32]) -> Result<Vec<u32>, Error> {
    let mut bits = Vec::new();
    let feed = Feed { session, tokens, want: Want::All };
    executor.forward(&mut [feed], &mut |_, _, logits| bits.extend(logits.iter().map(|x| x.to_bits())))?;
    Ok(bits)
}

fn executor(model: &Arc<Model>, threads: usize, columns: usize) -> Executor {
    Executor::new(model.clone(), backends()[0], team(threads), columns).expect("buffers")
}

#[test]
fn a_slot_that_is_used_again_gives_the_bits_of_a_file_in_memory() {
    for name in &MODELS[..if emulated() { 1 } else { 3 }] {
        let whole = load(&fixture("golden").join(name));
        let (source, model) = Slots::new(name, usize::MAX).model();
        let model = model.expect("a model");
        assert_eq!(model.fingerprint(), whole.fingerprint(), "{name}");
        let expected = feed(&mut executor(&whole, 1, 64), &mut session(&whole), &tokens(50));
        for (threads, columns) in [(1, 1), (1, 64), (2, 7)] {
            source.asked.lock().expect("asked").clear();
            let found = feed(&mut executor(&model, threads, columns), &mut session(&model), &tokens(50));
            assert!(found == expected, "{name} {threads} {columns}");
            let asked = source.asked.lock().expect("asked");
            let layers = (0..source.layers.len()).map(Part::Layer);
            let once: Vec<Part> = [Part::Outside].into_iter().chain(layers).chain([Part::Outside]).collect();
            assert_eq!(*asked, once.repeat(50_usize.div_ceil(columns)), "{name}");
        }
    }
}

#[test]
fn a_read_that_fails_names_its_part_and_loses_nothing() {
    for name in &MODELS[..if emulated() { 1 } else { 3 }] {
        let (source, model) = Slots::new(name, usize::MAX).model();
        let model = model.expect("a model");
        let mut executor = executor(&model, 1, 16);
        let mut straight = session(&model);
        let (start, then) = (tokens(20), tokens(40));
        let expected = [&start, &then].map(|tokens| feed(&mut executor, &mut straight, tokens).expect("logits"));
        // Three batches of the second feed: each asks for both ends and the layers.
        let asked = source.layers.len() + 2;
        let mut broken = session(&model);
        assert!(feed(&mut executor, &mut broken, &start).expect("logits") == expected[0]);
        for at in 0..3 * asked {
            source.fail_after(at);
            let error = feed(&mut executor, &mut broken, &then).expect_err("a failed read");
            let part = match at % asked {
                0 => Part::Outside,
                layer if layer <= source.layers.len() => Part::Layer(layer - 1),
                _ => Part::Outside,
            };
            let cause = WeightsError("the disk is gone".into());
            assert_eq!(error, Error::Weights { part, cause }, "{name} {at}");
            assert!(error.to_string().contains("the disk is gone") && error.to_string().contains(&part.to_string()));
            assert_eq!(broken.tokens(), start, "{name} {at}");
        }
        source.fail_after(usize::MAX);
        assert!(feed(&mut executor, &mut broken, &then).expect("logits") == expected[1], "{name}");
    }
}

/// The types say so: who holds what was lent keeps the slot from being filled anew.
#[test]
fn what_is_lent_is_not_overwritten() {
    let (source, model) = Slots::new(MODELS[0], usize::MAX).model();
    let model = model.expect("a model");
    let span = Span { offset: source.layers[1].start as u64, len: 100 };
    let lent = model.lend(Part::Layer(1)).expect("a layer");
    let error = feed(&mut executor(&model, 1, 16), &mut session(&model), &[1, 2]).expect_err("it is in use");
    assert_eq!(error, Error::Weights { part: Part::Outside, cause: WeightsError("the slot is in use".into()) });
    assert_eq!(lent.bytes(span), Ok(&source.file[span.offset as usize..][..100]));
    // Bytes of another part are an error, and not others in their place.
    assert!(lent.bytes(Span { offset: span.offset - 1, len: 100 }).is_err());
    assert!(lent.bytes(Span { offset: u64::MAX, len: usize::MAX }).is_err());
    drop(lent);
    feed(&mut executor(&model, 1, 16), &mut session(&model), &[1, 2]).expect("logits");
}

#[test]
fn reads_that_fail_while_a_model_is_loaded() {
    let mut failures = 0;
    for at in 0.. {
        match Slots::new(MODELS[0], at).model().1 {
            Err(LoadError::Weights { what, cause }) => {
                assert!(!what.is_empty());
                assert_eq!(cause.0, "the disk is gone");
                failures += 1;
            }
            Ok(_) => break,
            Err(other) => panic!("{other}"),
        }
    }
    // Five norms, and samples of two matrices outside of layers and of seven in each of two.
    assert!(failures > 5 + 16, "{failures}");
}
