//! Layers that see a window keep a window: fed in parts, rewound, drafted and saved, a session gives the bits of one that keeps everything.

mod common;

use common::{backends, emulated, fixture, load_longer, team, with_context};
use picolm_core::gguf::Gguf;
use picolm_core::model::Model;
use picolm_core::session::{Error, Executor, Feed, KvType, Session, StateError, Want};
use std::convert::Infallible;
use std::sync::Arc;

/// Windows of 32, 32 and 16; in the last model the layers without one are stretched by YaRN.
const MODELS: [&str; 3] = ["gemma3-Q8_0.gguf", "gemma2-F16.gguf", "olmo3-F16.gguf"];
const CONTEXT: usize = 1400;
const LENGTH: u32 = 1300;

fn cases() -> impl Iterator<Item = (Arc<Model>, KvType)> {
    let models = &MODELS[..if emulated() { 1 } else { 3 }];
    let types = [KvType::Q8_0, KvType::F16, KvType::F16];
    models.iter().zip(types).map(|(name, kv)| (load_longer(name, CONTEXT as u32), kv))
}

fn executor(model: &Arc<Model>) -> Executor {
    Executor::new(model.clone(), backends()[0], team(1), 64).expect("buffers")
}

fn session(model: &Model, kv: KvType) -> Session {
    Session::new(model, CONTEXT, kv).expect("a session")
}

fn tokens() -> Vec<u32> {
    (0..LENGTH).map(|i| (3 + i * 37 + i * i / 7) % 319).collect()
}

/// All logits, as bits, by position.
fn feed(executor: &mut Executor, session: &mut Session, tokens: &[u32]) -> Vec<Vec<u32>> {
    let mut rows = Vec::new();
    let feed = Feed { session, tokens, want: Want::All };
    let row = |logits: &[f32]| logits.iter().map(|x| x.to_bits()).collect();
    executor.forward(&mut [feed], &mut |_, _, logits| rows.push(row(logits))).expect("logits");
    rows
}

/// The tokens, fed so many at a time.
fn parts(executor: &mut Executor, session: &mut Session, tokens: &[u32], part: usize) -> Vec<Vec<u32>> {
    tokens.chunks(part).flat_map(|part| feed(executor, session, part)).collect()
}

/// What a session that was fed at once has, which drops nothing while it is.
fn expected(model: &Arc<Model>, kv: KvType) -> Vec<Vec<u32>> {
    let mut whole = session(model, kv);
    let rows = feed(&mut executor(model), &mut whole, &tokens());
    let block = Session::memory_for(model, 1, kv) as usize;
    assert_eq!(whole.memory_bytes(), 6 * block, "6 blocks of 256");
    rows
}

fn save(model: &Model, session: &Session) -> Vec<u8> {
    let mut bytes = Vec::new();
    let write = &mut |next: &[u8]| -> Result<(), Infallible> {
        bytes.extend_from_slice(next);
        Ok(())
    };
    session.save(model, write).expect("a state");
    bytes
}

fn restore(model: &Model, session: &mut Session, mut bytes: &[u8]) -> Result<(), StateError<Infallible>> {
    session.load(model, &mut |into| {
        let n = into.len().min(bytes.len());
        into[..n].copy_from_slice(&bytes[..n]);
        bytes = &bytes[n..];
        Ok(n)
    })
}

#[test]
fn parts_of_any_size_give_the_same_bits_in_bounded_memory() {
    for (model, kv) in cases() {
        let expected = expected(&model, kv);
        let sizes = [1, 7, 64, 200, 256, 700];
        for part in if emulated() { vec![200] } else { sizes.to_vec() } {
            let mut session = session(&model, kv);
            assert!(parts(&mut executor(&model), &mut session, &tokens(), part) == expected, "{kv:?} {part}");
            let (found, most) = (session.memory_bytes() as u64, Session::memory_for(&model, LENGTH as usize, kv));
            let all = 6 * Session::memory_for(&model, 1, kv);
            assert!(most < all, "{most} of {all}");
            if part <= 256 {
                assert!(found <= most, "{kv:?} {part}: {found} > {most}");
            }
        }
    }
}

#[test]
fn memory_is_as_told_at_every_length() {
    let model = load_longer(MODELS[0], CONTEXT as u32);
    let (mut executor, tokens) = (executor(&model), tokens());
    for part in [1, 100, 256] {
        let mut session = session(&model, KvType::F16);
        let mut most = 0;
        for (i, part_of) in tokens.chunks(part).enumerate() {
            let feed = Feed { session: &mut session, tokens: part_of, want: Want::Nothing };
            executor.forward(&mut [feed], &mut |_, _, _| ()).expect("no logits");
            let told = Session::memory_for(&model, session.len(), KvType::F16);
            assert!(session.memory_bytes() as u64 <= told, "{part} {i}");
            most = most.max(session.memory_bytes() as u64);
        }
        // Six of the seven layers have windows: they end, the seventh goes on.
        assert!(most <= Session::memory_for(&model, LENGTH as usize, KvType::F16), "{part}");
    }
    let told = |n| Session::memory_for(&model, n, KvType::F16);
    assert!(told(100_000) - told(99_744) < told(256) - told(0), "only the layers without a window grow");
}

#[test]
fn rewound_as_far_as_it_goes_a_session_continues_as_if_it_had_never_gone_further() {
    for (model, kv) in cases() {
        let (expected, tokens, mut executor) = (expected(&model, kv), tokens(), executor(&model));
        let mut session = session(&model, kv);
        parts(&mut executor, &mut session, &tokens, 64);
        let (mut reached, mut dropped) = (0, 0);
        for back in [0, 1, 15, 16, 17, 31, 32, 33, 100, 255, 256, 257, 290, 400, 700, 1000, 1299, 1300] {
            let to = tokens.len() - back;
            let at = session.rewind(to);
            assert!(at == to || at == 0, "{to}: {at}");
            assert!(at == to || back > 256, "256 tokens can always be taken back: {back}");
            assert_eq!((session.len(), session.tokens()), (at, &tokens[..at]));
            *if at == to { &mut reached } else { &mut dropped } += 1;
            // Other tokens in their place, which are taken back again.
            if at > 0 {
                feed(&mut executor, &mut session, &[9; 50]);
                assert_eq!(session.rewind(at), at);
            }
            assert!(parts(&mut executor, &mut session, &tokens[at..], 97) == expected[at..], "{kv:?} {back}");
        }
        assert!(reached >= 11 && dropped >= 3, "{reached} {dropped}");
        assert_eq!(session.rewind(usize::MAX), tokens.len());
    }
}

#[test]
fn drafts_cross_the_borders_of_blocks() {
    for (model, kv) in cases() {
        let (expected, tokens, mut executor) = (expected(&model, kv), tokens(), executor(&model));
        let mut session = session(&model, kv);
        parts(&mut executor, &mut session, &tokens[..700], 64);
        while session.len() < 1100 {
            let at = session.len();
            // Right for some tokens, and then wrong.
            let (right, wrong) = (at % 5, at % 9);
            let mut draft = tokens[at..at + 1 + right].to_vec();
            draft.extend((0..wrong).map(|i| (tokens[at + 1 + right + i] + 1) % 320));
            let found = feed(&mut executor, &mut session, &draft);
            assert!(found[..=right] == expected[at..=at + right], "{at}");
            assert_eq!(session.rewind(at + 1 + right), at + 1 + right);
        }
    }
}

/// The third model with a NaN in the embedding of token 319, which `tokens` does not have.
fn without_embedding() -> Arc<Model> {
    let mut bytes = std::fs::read(fixture("golden").join(MODELS[2])).expect("a golden model");
    let gguf = Gguf::parse(&bytes).expect("GGUF");
    let embedding = gguf.require_tensor("token_embd.weight").expect("a tensor");
    let (at, row) = (embedding.offset as usize, (embedding.len / embedding.dims[1]) as usize);
    bytes[at + 319 * row..][..2].copy_from_slice(&half::f16::NAN.to_le_bytes());
    with_context(bytes, CONTEXT as u32)
}

#[test]
fn an_error_leaves_what_is_kept() {
    let model = without_embedding();
    for kv in [KvType::F16, KvType::Q8_0] {
        let (expected, tokens, mut executor) = (expected(&model, kv), tokens(), executor(&model));
        let mut session = session(&model, kv);
        parts(&mut executor, &mut session, &tokens[..900], 64);
        // Of a long feed all but the last batch has been computed, and blocks taken for it, when a value is not finite.
        let long = [&tokens[900..], &[319]].concat();
        let feed = Feed { session: &mut session, tokens: &long, want: Want::Nothing };
        let error = executor.forward(&mut [feed], &mut |_, _, _| ()).expect_err("a NaN");
        assert!(matches!(error, Error::NotFinite { .. }), "{error}");
        assert_eq!(session.tokens(), &tokens[..900]);
        for back in [0, 1, 256] {
            assert_eq!(session.rewind(900 - back), 900 - back);
            let found = parts(&mut executor, &mut session, &tokens[900 - back..900], 300);
            assert!(found == expected[900 - back..900], "{kv:?} {back}");
        }
        assert!(parts(&mut executor, &mut session, &tokens[900..], 300) == expected[900..], "{kv:?}");
    }
}

#[test]
fn a_saved_window_continues_and_can_be_taken_back() {
    for (model, kv) in cases() {
        let (expected, tokens, mut executor) = (expected(&model, kv), tokens(), executor(&model));
        for len in if emulated() { vec![1000] } else { vec![1, 40, 255, 256, 300, 512, 600, 1000] } {
            let mut saved = session(&model, kv);
            parts(&mut executor, &mut saved, &tokens[..len], 64);
            let state = save(&model, &saved);
            let mut loaded = session(&model, kv);
            feed(&mut executor, &mut loaded, &[7; 400]);
            restore(&model, &mut loaded, &state).expect("a state");
            assert!(save(&model, &loaded) == state, "{kv:?} {len}: the same state");
            assert!(loaded.memory_bytes() <= saved.memory_bytes().max(Session::memory_for(&model, len, kv) as usize));
            let to = len.saturating_sub(256);
            for at in [len, len - 1, to] {
                assert_eq!(loaded.rewind(at), at, "{kv:?} {len}");
                let end = (at + 80).max(len);
                assert!(parts(&mut executor, &mut loaded, &tokens[at..end], 33) == expected[at..end], "{kv:?} {len}");
                restore(&model, &mut loaded, &state).expect("a state");
            }
            // However it was fed, the same tokens have the same bytes, unless it has been taken back behind what it dropped.
            let mut at_once = session(&model, kv);
            feed(&mut executor, &mut at_once, &tokens[..len]);
            assert!(save(&model, &at_once) == state, "{kv:?} {len}");
        }
        // Where it can be taken back less far, that is saved too.
        let mut session = session(&model, kv);
        parts(&mut executor, &mut session, &tokens, 64);
        assert_eq!(session.rewind(1100), 1100);
        let (state, mut loaded) = (save(&model, &session), self::session(&model, kv));
        restore(&model, &mut loaded, &state).expect("a state");
        assert!(save(&model, &loaded) == state);
        assert!(parts(&mut executor, &mut loaded, &tokens[1100..], 50) == expected[1100..], "{kv:?}");
    }
}

/// A state's windows take no more than windows: a state of many tokens is small.
#[test]
fn a_saved_window_is_as_long_as_a_window() {
    let model = load_longer(MODELS[2], CONTEXT as u32);
    let mut executor = executor(&model);
    let bytes = |n: usize, executor: &mut Executor| {
        let mut session = session(&model, KvType::F16);
        parts(executor, &mut session, &tokens()[..n], 64);
        save(&model, &session).len()
    };
    // Two of four layers have windows of 16; two heads of 16 values, keys and values of two bytes.
    let row = 2 * 2 * 16 * 2;
    assert_eq!(bytes(1000, &mut executor) - bytes(900, &mut executor), 100 * (4 + 2 * row));
    assert_eq!(bytes(1000, &mut executor), 56 + 8 + 1000 * (4 + 2 * row) + (15 + 256) * 2 * row);
}
