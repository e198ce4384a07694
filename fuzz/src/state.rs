//! Any bytes as a saved session of a small model, as they are and with checksums that fit.

use picolm_core::gguf::Gguf;
use picolm_core::kernels::Backend;
use picolm_core::model::Model;
use picolm_core::session::{Error, Executor, Feed, KvType, Session, StateError, Want};
use picolm_core::team::Solo;
use picolm_core::weights::InMemory;
use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use twox_hash::XxHash64;

const HEADER: usize = 56;
const CONTEXT: usize = 6;

/// Bits of the first byte of an input: the session's type of cache, and whether to make the state one of this model.
const Q8: u8 = 1;
const FORGED: u8 = 2;

static MODEL: LazyLock<Arc<Model>> = LazyLock::new(|| {
    let file = include_bytes!("../../core/tests/golden/llama-Q8_0.gguf");
    let model = Gguf::parse(file).map(|gguf| Model::load(&gguf, Arc::new(InMemory(file))));
    Arc::new(model.expect("GGUF").expect("a model"))
});

/// Loads the bytes into a session that has one token, and computes with what comes of it.
pub fn state(data: &[u8]) {
    let Some((&how, state)) = data.split_first() else { return };
    let mut state = state.to_vec();
    if how & FORGED != 0 {
        forge(&mut state);
    }
    let mut session = fed(kv_type(how), &[1]);
    let mut rest = &state[..];
    let loaded = session.load::<Infallible>(&MODEL, &mut |into| {
        let (next, behind) = rest.split_at(rest.len().min(into.len()));
        into[..next.len()].copy_from_slice(next);
        rest = behind;
        Ok(next.len())
    });
    let read = state.len() - rest.len();
    match loaded {
        Ok(()) => {
            assert!(session.len() <= CONTEXT);
            let saved = save(&session);
            // The header tells this session's context, so its checksums differ.
            assert!(saved.len() == read && saved[HEADER..read - 8] == state[HEADER..read - 8]);
            if data.len() % 16 == 0 {
                step(&mut session, 2);
            }
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(!matches!(error, StateError::Session(_) | StateError::Host(_)), "{error}");
            assert_eq!(session.tokens(), [1]);
        }
    }
}

/// Good states of both types, with every number of tokens.
pub fn seeds() -> Vec<Vec<u8>> {
    let states = [0, Q8].into_iter().flat_map(|how| (0..=CONTEXT).map(move |n| (how, n)));
    let states = states.map(|(how, n)| (how, save(&fed(kv_type(how), &[5, 300, 7, 7, 0, 319][..n]))));
    states.flat_map(|(how, state)| [0, FORGED].map(|forged| [&[how | forged], &state[..]].concat())).collect()
}

fn kv_type(how: u8) -> KvType {
    if how & Q8 == 0 { KvType::F16 } else { KvType::Q8_0 }
}

/// Puts in the model's fingerprint and the checksums.
fn forge(state: &mut [u8]) {
    let len = state.len();
    if len < HEADER + 8 {
        return;
    }
    state[16..24].copy_from_slice(&MODEL.fingerprint().to_le_bytes());
    let header = XxHash64::oneshot(0, &state[..48]);
    state[48..56].copy_from_slice(&header.to_le_bytes());
    let whole = XxHash64::oneshot(0, &state[..len - 8]);
    state[len - 8..].copy_from_slice(&whole.to_le_bytes());
}

fn fed(kv: KvType, tokens: &[u32]) -> Session {
    let mut session = Session::new(&MODEL, CONTEXT, kv).expect("a session");
    tokens.iter().for_each(|&token| step(&mut session, token));
    session
}

/// Feeds a token, if there is room for it. Values that a file may hold can be too large to compute with.
fn step(session: &mut Session, token: u32) {
    thread_local!(static ENGINE: std::cell::RefCell<Executor> = Executor::new(MODEL.clone(), Backend::REFERENCE, Arc::new(Solo), 1)
        .expect("buffers").into());
    let full = session.len() == session.context();
    let feed = Feed { session, tokens: &[token], want: Want::Last };
    let result = ENGINE.with_borrow_mut(|engine| engine.forward(&mut [feed], &mut |_, _, _| ()));
    match result {
        Ok(()) => assert!(!full),
        Err(Error::ContextFull { .. }) => assert!(full),
        Err(Error::NotFinite { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

fn save(session: &Session) -> Vec<u8> {
    let mut bytes = Vec::new();
    let write = &mut |next: &[u8]| -> Result<(), Infallible> {
        bytes.extend_from_slice(next);
        Ok(())
    };
    session.save(&MODEL, write).expect("a state");
    bytes
}
