//! The token loop allocates nothing but a KV block per 256 positions: counted by the allocator.

mod common;

use common::{backends, emulated, fixture, team};
use picolm_core::session::{Executor, Feed, KvType, Session, Want};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    /// Of this thread: the test runner has its own.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_token_allocates_nothing_but_a_block_per_256() {
    // Experts and windows among them.
    let models = ["qwen3moe-Q8_0.gguf", "llama-Q4_K_S.gguf", "gemma3-Q8_0.gguf"];
    for name in &models[..if emulated() { 1 } else { 3 }] {
        count(name);
    }
}

fn count(name: &str) {
    let model = common::load_longer(name, 600);
    let kinds = if name.starts_with("gemma3") { 2 } else { 1 };
    for (backend, kv, buffers) in
        backends().into_iter().flat_map(|b| [(b, KvType::F16, 2), (b, KvType::Q8_0, 4)]).collect::<Vec<_>>()
    {
        let mut executor = Executor::new(model.clone(), backend, team(1), 32).expect("buffers");
        let mut session = Session::new(&model, 600, kv).expect("a session");
        for position in 0..600u32 {
            let before = ALLOCATIONS.get();
            let tokens = [position % 320];
            let mut feeds = [Feed { session: &mut session, tokens: &tokens, want: Want::Last }];
            executor.forward(&mut feeds, &mut |_, _, _| ()).expect("logits");
            let made = ALLOCATIONS.get() - before;
            // A new block is its buffers and room in the list of blocks, for each kind of layer; and there is room for 256 tokens.
            let allowed = if position % 256 == 0 { kinds * (buffers + 1) + 1 } else { 0 };
            assert!(made <= allowed, "{name}: {made} allocations at position {position} ({backend:?}, {kv:?})");
            assert!(position % 256 != 0 || made >= buffers, "the counter counts");
        }
    }
}

/// What a batch does with a draft: several tokens at once, the wrong ones of which are taken back.
#[test]
fn drafts_allocate_nothing() {
    let model = common::load(&fixture("golden/llama-Q4_K_S.gguf"));
    let mut executor = Executor::new(model.clone(), backends()[0], team(1), 32).expect("buffers");
    let mut session = Session::new(&model, 256, KvType::F16).expect("a session");
    let mut feed = |session: &mut Session, tokens: &[u32]| {
        executor.forward(&mut [Feed { session, tokens, want: Want::All }], &mut |_, _, _| ()).expect("logits");
    };
    // The block of the cache comes with the first token.
    feed(&mut session, &[1, 2, 3, 1]);
    let before = ALLOCATIONS.get();
    for right in (0..8).cycle().take(40) {
        let len = session.len();
        feed(&mut session, &[2; 8]);
        assert_eq!(session.rewind(len + 1 + right), (len + 1 + right).min(len + 8));
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
