//! Memory that is refused is an error, and nothing is lost: an allocator gives each test as much as it says.

mod common;

use common::{backends, emulated, load_longer, team};
use picolm_core::model::Model;
use picolm_core::session::{Error, Executor, Feed, KvType, Session, StateError, Want};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;

struct Budget;

thread_local! {
    /// Bytes that this thread may still take.
    static LEFT: Cell<usize> = const { Cell::new(usize::MAX / 2) };
}

// SAFETY: passes everything on to the system's allocator, or refuses it.
unsafe impl GlobalAlloc for Budget {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(left) = LEFT.get().checked_sub(layout.size()) else { return std::ptr::null_mut() };
        LEFT.set(left);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LEFT.set(LEFT.get() + layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static BUDGET: Budget = Budget;

/// Does something with so many bytes.
fn with_bytes<T>(bytes: usize, job: impl FnOnce() -> T) -> T {
    let before = LEFT.replace(bytes);
    let result = job();
    LEFT.set(before - (bytes - LEFT.get()));
    result
}

fn refused<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::OutOfMemory { bytes: 1.., .. }))
}

#[test]
fn an_executor_without_room_for_its_buffers_is_an_error() {
    // Experts have buffers of their own.
    for name in ["qwen3moe-Q8_0.gguf", "llama-Q4_K_S.gguf"] {
        let model = load_longer(name, 600);
        let (backend, team) = (backends()[0], team(1));
        let make = |columns| Executor::new(model.clone(), backend, team.clone(), columns);
        let needed = make(32).expect("buffers").memory_bytes();
        for percent in (0..100).step_by(if emulated() { 25 } else { 1 }) {
            let left = LEFT.get();
            let result = with_bytes(needed * percent / 100, || make(32).map(|_| ()));
            assert!(refused(&result), "{name} with {percent} %: {result:?}");
            assert_eq!(LEFT.get(), left, "what was taken is given back");
        }
        assert!(with_bytes(2 * needed + 65536, || make(32).map(|_| ())).is_ok(), "{name}");
        assert!(refused(&make(usize::MAX).map(|_| ())), "{name}");
        assert!(refused(&make(usize::MAX / 1000).map(|_| ())), "{name}");
    }
}

#[test]
fn a_session_without_room_for_a_block_stays_as_it_was() {
    let model = load_longer("llama-Q4_K_S.gguf", 600);
    for kv in [KvType::F16, KvType::Q8_0] {
        let mut executor = Executor::new(model.clone(), backends()[0], team(1), 32).expect("buffers");
        let (mut session, mut twin) = (fed(&model, &mut executor, kv), fed(&model, &mut executor, kv));
        let expected = last(&mut executor, &mut twin, &[7; 100]).expect("logits");
        let block = Session::memory_for(&model, 256, kv) as usize;
        for percent in (0..100).step_by(if emulated() { 25 } else { 1 }) {
            // The last of the blocks' buffers is one of two, or the small one of four.
            let result = with_bytes(block * percent / 100, || last(&mut executor, &mut session, &[7; 100]));
            assert!(refused(&result), "{kv:?} with {percent} %: {result:?}");
            assert_eq!((session.tokens(), session.memory_bytes()), (&[5; 200][..], block), "{kv:?}");
        }
        // The room for the logits, too, is taken under the budget.
        let result = with_bytes(block + 65536, || last(&mut executor, &mut session, &[7; 100]));
        assert_eq!(result, Ok(expected), "{kv:?}");
        assert_eq!((session.tokens(), session.memory_bytes()), (twin.tokens(), 2 * block));
    }
}

#[test]
fn a_state_without_room_for_it_leaves_the_session_as_it_was() {
    let model = load_longer("llama-Q4_K_S.gguf", 600);
    let mut executor = Executor::new(model.clone(), backends()[0], team(1), 32).expect("buffers");
    let (mut session, mut other) = (fed(&model, &mut executor, KvType::F16), fed(&model, &mut executor, KvType::F16));
    last(&mut executor, &mut other, &[7; 100]).expect("logits");
    let mut state = Vec::new();
    let write = &mut |bytes: &[u8]| -> Result<(), Infallible> {
        state.extend_from_slice(bytes);
        Ok(())
    };
    other.save(&model, write).expect("a state");
    let needed = Session::memory_for(&model, 300, KvType::F16) as usize;
    let mut load = |bytes| {
        let mut rest = &state[..];
        with_bytes(bytes, || {
            session.load::<Infallible>(&model, &mut |into| {
                let next = rest.split_off(..into.len().min(rest.len())).expect("no more than there is");
                into[..next.len()].copy_from_slice(next);
                Ok(next.len())
            })
        })
        .map(|()| session.len())
        .map_err(|error| (error, session.tokens().to_vec()))
    };
    for percent in (0..100).step_by(if emulated() { 25 } else { 1 }) {
        let (error, tokens) = load(needed * percent / 100).expect_err("no memory");
        assert!(matches!(error, StateError::Session(Error::OutOfMemory { bytes: 1.., .. })), "{error}");
        assert_eq!(tokens, [5; 200]);
    }
    // 16 KB are enough for the rest.
    assert_eq!(load(needed + 16384).map_err(|e| e.0), Ok(300));
}

/// What a batch does that has no room for a draft: it goes without.
#[test]
fn where_several_tokens_have_no_room_one_may() {
    let model = load_longer("llama-Q4_K_S.gguf", 600);
    let mut executor = Executor::new(model.clone(), backends()[0], team(1), 32).expect("buffers");
    let mut session = fed(&model, &mut executor, KvType::F16);
    last(&mut executor, &mut session, &[7; 55]).expect("logits");
    // The logits of the last token take more than is left, too: none are wanted.
    let mut feed = |session: &mut Session, tokens: &[u32]| {
        let feed = Feed { session, tokens, want: Want::Nothing };
        with_bytes(1000, || executor.forward(&mut [feed], &mut |_, _, _| ()))
    };
    let result = feed(&mut session, &[7; 4]);
    assert!(refused(&result), "{result:?}");
    assert_eq!(session.len(), 255);
    assert_eq!((feed(&mut session, &[7]), session.len()), (Ok(()), 256));
}

/// A session of 200 tokens.
fn fed(model: &Arc<Model>, executor: &mut Executor, kv: KvType) -> Session {
    let mut session = Session::new(model, 600, kv).expect("a session");
    last(executor, &mut session, &[5; 200]).expect("logits");
    session
}

fn last(executor: &mut Executor, session: &mut Session, tokens: &[u32]) -> Result<Vec<u32>, Error> {
    let mut bits = Vec::new();
    executor.forward(&mut [Feed { session, tokens, want: Want::Last }], &mut |_, _, logits| {
        bits = logits.iter().map(|x| x.to_bits()).collect();
    })?;
    Ok(bits)
}
