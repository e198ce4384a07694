//! Saved sessions: they go on as if they had never been saved, and whatever is not one is refused and costs nothing.

mod common;

use common::{backends, emulated, fixture, load, load_bytes, load_longer, team};
use picolm_core::gguf::Gguf;
use picolm_core::model::Model;
use picolm_core::session::{Error, Executor, Feed, KvType, Session, StateError, Want};
use std::convert::Infallible;
use std::sync::Arc;
use twox_hash::XxHash64;

const MODEL: &str = "llama-Q4_K_S.gguf";
const HEADER: usize = 56;
const BOTH: [KvType; 2] = [KvType::F16, KvType::Q8_0];

fn executor(model: &Arc<Model>) -> Executor {
    Executor::new(model.clone(), backends()[0], team(1), 64).expect("buffers")
}

fn tokens(seed: u32, n: u32) -> Vec<u32> {
    (0..n).map(|i| (seed + i * 37) % 320).collect()
}

/// All logits of the tokens, as bits.
fn feed(executor: &mut Executor, session: &mut Session, tokens: &[u32]) -> Vec<u32> {
    let mut bits = Vec::new();
    let feed = Feed { session, tokens, want: Want::All };
    executor.forward(&mut [feed], &mut |_, _, logits| bits.extend(logits.iter().map(|x| x.to_bits()))).expect("logits");
    bits
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

/// Gives at most `step` bytes at a time.
fn load_state(
    model: &Model,
    session: &mut Session,
    mut bytes: &[u8],
    step: usize,
) -> Result<(), StateError<Infallible>> {
    session.load(model, &mut |into| {
        let n = into.len().min(bytes.len()).min(step);
        into[..n].copy_from_slice(&bytes[..n]);
        bytes = &bytes[n..];
        Ok(n)
    })
}

/// A model, a state of `n` tokens, and a session of 30 others that is asked to load it.
struct Place {
    model: Arc<Model>,
    state: Vec<u8>,
    session: Session,
    before: Vec<u8>,
}

impl Place {
    fn new(name: &str, kv: KvType, n: u32) -> Self {
        let model = load(&fixture("golden").join(name));
        let mut executor = executor(&model);
        let [mut saved, mut session] = [(); 2].map(|()| Session::new(&model, 200, kv).expect("a session"));
        feed(&mut executor, &mut saved, &tokens(3, n));
        feed(&mut executor, &mut session, &tokens(11, 30));
        let (state, before) = (save(&model, &saved), save(&model, &session));
        Place { model, state, session, before }
    }

    /// The error, with nothing lost.
    #[track_caller]
    fn refused(&mut self, state: &[u8]) -> StateError<Infallible> {
        let error = load_state(&self.model, &mut self.session, state, usize::MAX).expect_err("an error");
        assert_eq!(self.session.tokens(), tokens(11, 30), "{error}");
        assert!(!error.to_string().is_empty());
        error
    }

    /// That no keys and values were touched either.
    fn is_as_before(&self) {
        assert!(save(&self.model, &self.session) == self.before, "the session has changed");
    }
}

/// The state after a change, with checksums that fit it.
fn forged(state: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut state = state.to_vec();
    change(&mut state);
    let header = XxHash64::oneshot(0, &state[..48]);
    state[48..56].copy_from_slice(&header.to_le_bytes());
    let end = state.len() - 8;
    let whole = XxHash64::oneshot(0, &state[..end]);
    state[end..].copy_from_slice(&whole.to_le_bytes());
    state
}

#[test]
fn a_loaded_session_continues_as_if_it_had_never_been_saved() {
    // Heads of 64 and of other widths, windows, experts; blocks that are full, begun and just full.
    let models = [MODEL, "gemma3-Q8_0.gguf", "phi2-F16.gguf", "qwen3moe-Q8_0.gguf", "phi3-long-F16.gguf"];
    let lengths = [300, 257, 256, 255, 100, 17, 16, 15, 1, 0];
    for (name, kv) in models[..if emulated() { 1 } else { 5 }].iter().flat_map(|name| BOTH.map(|kv| (name, kv))) {
        let model = load_longer(name, 600);
        let mut executor = executor(&model);
        let fresh = || Session::new(&model, 400, kv).expect("a session");
        let mut session = fresh();
        feed(&mut executor, &mut session, &tokens(3, 300));
        for len in lengths {
            assert_eq!(session.rewind(len), len);
            let state = save(&model, &session);
            // Whatever the loading session has seen before.
            let mut loaded = fresh();
            feed(&mut executor, &mut loaded, &tokens(8, 40));
            load_state(&model, &mut loaded, &state, 1000).expect("a state");
            assert_eq!(loaded.tokens(), &tokens(3, 300)[..len]);
            assert!(save(&model, &loaded) == state, "{name} {kv:?} {len}: the same state");
            let then = tokens(5, 20);
            let (expected, found) = (feed(&mut executor, &mut session, &then), feed(&mut executor, &mut loaded, &then));
            assert!(found == expected, "{name} {kv:?} {len}: the same bits");
        }
    }
}

/// Forgotten tokens stay in memory: they must not get into the bytes.
#[test]
fn a_state_is_made_of_what_the_session_holds_alone() {
    for kv in BOTH {
        let Place { model, state, .. } = Place::new(MODEL, kv, 40);
        let mut session = Session::new(&model, 200, kv).expect("a session");
        let mut executor = executor(&model);
        feed(&mut executor, &mut session, &tokens(3, 40));
        feed(&mut executor, &mut session, &tokens(90, 60));
        session.rewind(40);
        assert!(save(&model, &session) == state, "{kv:?}");
        // Of each position its token, and 2 layers x 2 heads x (64 + 64) values: f16, or blocks of 34 bytes.
        let position = 4 + if kv == KvType::F16 { 1024 } else { 512 / 32 * 34 };
        assert_eq!(state.len(), HEADER + 40 * position + 8);
        assert_eq!(
            state[..16],
            *if kv == KvType::F16 { b"picolmKV\x02\0\0\0\0\0\0\0" } else { b"picolmKV\x02\0\0\0\x01\0\0\0" }
        );
        assert_eq!(state[32..40], 40u64.to_le_bytes());
        assert_eq!(state[HEADER + position..][..4], 40u32.to_le_bytes(), "the second token, 3 + 37");
    }
}

#[test]
fn every_place_where_it_can_be_cut_is_named() {
    for kv in BOTH {
        let mut place = Place::new(MODEL, kv, 3);
        let (state, len) = (place.state.clone(), place.state.len() as u64);
        for at in 0..state.len() {
            let known = if at < HEADER { HEADER as u64 } else { len };
            assert_eq!(place.refused(&state[..at]), StateError::Truncated { at: at as u64, len: known });
        }
        place.is_as_before();
        for step in [1, 7, usize::MAX] {
            // What stands behind it is not looked at.
            let longer = [&state[..], b"more"].concat();
            load_state(&place.model, &mut place.session, &longer, step).expect("a state");
            assert!(save(&place.model, &place.session) == state);
        }
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    for kv in BOTH {
        let mut place = Place::new(MODEL, kv, 2);
        let state = place.state.clone();
        let step = if emulated() { 97 } else { 1 };
        for bit in (0..8 * state.len()).step_by(step) {
            let mut flipped = state.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = place.refused(&flipped);
            let named = match bit / 8 {
                0..8 => error == StateError::NotState,
                8..12 => matches!(error, StateError::Version { .. }),
                12..HEADER => matches!(error, StateError::Header { .. }),
                _ => matches!(error, StateError::Checksum { .. }),
            };
            assert!(named, "bit {bit}: {error}");
        }
        place.is_as_before();
    }
}

#[test]
fn headers_that_lie_are_refused() {
    for kv in BOTH {
        let mut place = Place::new(MODEL, kv, 5);
        let state = place.state.clone();
        let field = |at: usize, value: u64, n: usize| {
            forged(&state, |state| state[at..at + n].copy_from_slice(&value.to_le_bytes()[..n]))
        };
        // (1 is that of files from before windows were kept as windows.)
        for found in [0, 1, 3, u32::MAX] {
            assert_eq!(place.refused(&field(8, found.into(), 4)), StateError::Version { found });
        }
        for found in [1 - u32::from(kv == KvType::Q8_0), 2, u32::MAX] {
            assert_eq!(place.refused(&field(12, found.into(), 4)), StateError::KvType { expected: kv, found });
        }
        for tokens in [201, 1 << 32, 1 << 63, u64::MAX] {
            assert_eq!(place.refused(&field(32, tokens, 8)), StateError::TooLong { tokens, context: 200 });
        }
        let len = (HEADER + (state.len() - HEADER - 8) / 5 * 200 + 8) as u64;
        assert_eq!(place.refused(&field(32, 200, 8)), StateError::Truncated { at: state.len() as u64, len });
        assert!(matches!(place.refused(&field(32, 4, 8)), StateError::Checksum { .. }));
        for slack in [257, 1 << 32, u64::MAX] {
            assert_eq!(place.refused(&field(40, slack, 8)), StateError::Slack { slack });
        }
        place.is_as_before();
        // A context that changes nothing, since this model turns all alike.
        load_state(&place.model, &mut place.session, &field(24, u64::MAX, 8), usize::MAX).expect("a state");
    }
}

/// Whoever knows the checksum can write anything, and still cannot make the executor compute with it.
#[test]
fn tokens_and_values_that_cannot_be_are_refused() {
    let mut place = Place::new(MODEL, KvType::F16, 5);
    let record = 4 + 1024;
    for (position, token) in [(0, 320), (4, u32::MAX)] {
        let state =
            forged(&place.state, |s| s[HEADER + position * record..][..4].copy_from_slice(&token.to_le_bytes()));
        assert_eq!(place.refused(&state), StateError::Token { position, token, vocab: 320 });
    }
    for (position, value) in [(0, 0x7c00u16), (2, 0xfc00), (4, 0x7e01)] {
        let at = HEADER + (position + 1) * record - 2;
        let state = forged(&place.state, |s| s[at..][..2].copy_from_slice(&value.to_le_bytes()));
        assert_eq!(place.refused(&state), StateError::Value { position });
    }
    place.is_as_before();

    let mut place = Place::new(MODEL, KvType::Q8_0, 5);
    let record = 4 + 512 / 32 * 34;
    for (position, offset, value) in [(1, 4, &[0, 0x7c][..]), (3, 4 + 34 * 5 + 33, &[0x80]), (4, record - 1, &[0x80])] {
        let at = HEADER + position * record + offset;
        let state = forged(&place.state, |s| s[at..][..value.len()].copy_from_slice(value));
        assert_eq!(place.refused(&state), StateError::Value { position });
    }
    place.is_as_before();
}

#[test]
fn files_that_are_something_else() {
    let mut place = Place::new(MODEL, KvType::F16, 5);
    let gguf = std::fs::read(fixture("golden").join(MODEL)).expect("a model");
    assert_eq!(place.refused(&gguf), StateError::NotState);
    assert_eq!(place.refused(&[0; 5000]), StateError::NotState);
    assert_eq!(place.refused(b""), StateError::Truncated { at: 0, len: HEADER as u64 });
    place.is_as_before();
}

#[test]
fn a_state_of_another_model_is_refused() {
    let mut place = Place::new(MODEL, KvType::F16, 5);
    let expected = place.model.fingerprint();
    for name in ["llama-Q8_0.gguf", "qwen3-Q8_0.gguf", "llama-F16.gguf"] {
        let other = Place::new(name, KvType::F16, 5);
        let found = other.model.fingerprint();
        assert_eq!(place.refused(&other.state), StateError::OtherModel { expected, found });
        assert_ne!(expected, found);
        // Nor may a session be loaded or saved as one of a model that it is not of.
        let error: StateError<Infallible> = place.session.save(&other.model, &mut |_| Ok(())).expect_err("an error");
        assert_eq!(error, StateError::Session(Error::OtherModel));
        let error = load_state(&other.model, &mut place.session, &other.state, 9).expect_err("an error");
        assert_eq!(error, StateError::Session(Error::OtherModel));
    }
    place.is_as_before();
    // The same file, loaded once more, is the same model.
    let mut again = Place::new(MODEL, KvType::F16, 0);
    load_state(&again.model, &mut again.session, &place.state, usize::MAX).expect("a state");
}

#[test]
fn a_fingerprint_knows_the_header_and_the_weights_it_looks_at() {
    let bytes = std::fs::read(fixture("golden").join(MODEL)).expect("a model");
    let gguf = Gguf::parse(&bytes).expect("GGUF");
    let fingerprint = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        load_bytes(bytes).fingerprint()
    };
    let same = fingerprint(&|_| ());
    assert_eq!(fingerprint(&|_| ()), same);
    assert_ne!(fingerprint(&|bytes| bytes.extend([0; 32])), same, "a longer file");
    let name = b"golden llama";
    let at = bytes.windows(name.len()).position(|w| w == name).expect("the name");
    assert_ne!(fingerprint(&|bytes| bytes[at] ^= 0x20), same, "another name");
    for tensor in ["token_embd.weight", "output.weight", "blk.0.attn_q.weight", "blk.1.ffn_down.weight"] {
        let t = gguf.require_tensor(tensor).expect("a tensor");
        let (first, last) = (t.offset as usize, (t.offset + t.len - 1) as usize);
        for at in [first, last] {
            assert_ne!(fingerprint(&|bytes| bytes[at] ^= 1), same, "{tensor}");
        }
    }
}

/// Phi-3 turns keys in one way up to its original context, and in another beyond it.
#[test]
fn a_context_that_encodes_positions_in_another_way_is_refused() {
    let model = load(&fixture("golden/phi3-long-F16.gguf"));
    let (original, _) = model.ropes[0].long.as_ref().expect("two sets of factors");
    let (short, long) = (*original, model.config.context);
    assert!(short < long && model.ropes[0].freqs(short) != model.ropes[0].freqs(long));
    let session = |context| Session::new(&model, context, KvType::F16).expect("a session");
    let mut saved = session(short);
    feed(&mut executor(&model), &mut saved, &tokens(3, 5));
    let state = save(&model, &saved);
    let error = load_state(&model, &mut session(long), &state, usize::MAX).expect_err("an error");
    assert_eq!(error, StateError::Context { saved: short as u64, context: long });
    load_state(&model, &mut session(short - 1), &state, usize::MAX).expect("both short");
}

#[test]
fn what_the_host_says_comes_back() {
    let mut place = Place::new(MODEL, KvType::F16, 5);
    let (mut left, state) = (900, place.state.clone());
    let full = place.session.save(&place.model, &mut |bytes| {
        left = usize::checked_sub(left, bytes.len()).ok_or("the disk is full")?;
        Ok(())
    });
    assert_eq!(full, Err(StateError::Host("the disk is full")));
    let mut calls = 0;
    let broken = place.session.load(&place.model, &mut |into| {
        calls += 1;
        into.copy_from_slice(&state[..into.len()]);
        if calls < 2 { Ok(into.len()) } else { Err("the disk has failed") }
    });
    assert_eq!((broken, calls), (Err(StateError::Host("the disk has failed")), 2));
    // A reader that claims more than there was room for, and one that never ends.
    assert_eq!(place.session.load(&place.model, &mut |_| Ok::<_, Infallible>(usize::MAX)), Err(StateError::NotState));
    let mut endless = state[..HEADER].to_vec();
    endless.reverse();
    let error = place.session.load::<Infallible>(&place.model, &mut |into| {
        into.iter_mut().for_each(|byte| *byte = endless.pop().unwrap_or(0));
        Ok(into.len())
    });
    assert!(matches!(error, Err(StateError::Checksum { .. })), "{error:?}");
    place.is_as_before();
}
