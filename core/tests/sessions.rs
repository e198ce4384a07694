//! Sessions: mixed batches, rewinding, and errors that lose nothing.

mod common;

use common::{backends, emulated, fixture, load, load_bytes, team};
use picolm_core::gguf::Gguf;
use picolm_core::kernels::Backend;
use picolm_core::model::Model;
use picolm_core::session::{Error, Executor, Feed, KvType, Session, Want};
use std::sync::Arc;

fn model() -> Arc<Model> {
    load(&fixture("golden/llama-Q4_K_S.gguf"))
}

fn executor(model: &Arc<Model>, columns: usize) -> Executor {
    Executor::new(model.clone(), backends()[0], team(1), columns).expect("buffers")
}

fn session(model: &Model) -> Session {
    Session::new(model, 200, KvType::F16).expect("a session")
}

/// Logits of the last token, as bits.
fn last(executor: &mut Executor, session: &mut Session, tokens: &[u32]) -> Vec<u32> {
    let mut bits = Vec::new();
    executor
        .forward(&mut [Feed { session, tokens, want: Want::Last }], &mut |_, _, logits| {
            bits = logits.iter().map(|x| x.to_bits()).collect();
        })
        .expect("logits");
    bits
}

fn tokens(seed: u32, n: u32) -> Vec<u32> {
    (0..n).map(|i| (seed + i * 37) % 320).collect()
}

#[test]
fn a_mixed_batch_gives_each_session_what_it_gets_alone() {
    let models = ["qwen3moe-Q8_0", "llama-Q4_K_S", "gemma3-F16", "phi2-Q8_0"];
    for name in &models[..if emulated() { 1 } else { 4 }] {
        mixed_batches(&load(&fixture(&format!("golden/{name}.gguf"))));
    }
}

fn mixed_batches(model: &Arc<Model>) {
    let prompts = [tokens(1, 40), tokens(5, 3), tokens(9, 65), tokens(2, 1)];
    let alone: Vec<Vec<u32>> =
        prompts.iter().map(|prompt| last(&mut executor(model, 64), &mut session(model), prompt)).collect();
    for columns in [1, 5, 64, 200] {
        let mut executor = executor(model, columns);
        let mut sessions: Vec<Session> = prompts.iter().map(|_| session(model)).collect();
        // Half of each prompt first, each session in its own call; then the rest of all of them together.
        for (session, prompt) in sessions.iter_mut().zip(&prompts) {
            last(&mut executor, session, &prompt[..prompt.len() / 2]);
        }
        let mut feeds: Vec<Feed<'_>> = sessions
            .iter_mut()
            .zip(&prompts)
            .map(|(session, prompt)| Feed { session, tokens: &prompt[prompt.len() / 2..], want: Want::Last })
            .collect();
        let mut found = vec![Vec::new(); prompts.len()];
        executor
            .forward(&mut feeds, &mut |feed, position, logits| {
                assert_eq!(position, prompts[feed].len() - 1);
                found[feed] = logits.iter().map(|x| x.to_bits()).collect();
            })
            .expect("logits");
        assert_eq!(found, alone, "{columns} columns");
    }
}

#[test]
fn a_rewound_session_continues_as_if_it_had_never_gone_further() {
    let model = model();
    for kv in [KvType::F16, KvType::Q8_0] {
        let (mut executor, fresh) = (executor(&model, 16), || Session::new(&model, 256, kv).expect("a session"));
        let (start, other, then) = (tokens(3, 50), tokens(100, 60), tokens(7, 20));
        let mut straight = fresh();
        last(&mut executor, &mut straight, &start);
        let expected = last(&mut executor, &mut straight, &then);
        let mut rewound = fresh();
        last(&mut executor, &mut rewound, &start);
        last(&mut executor, &mut rewound, &other);
        assert_eq!(rewound.rewind(start.len()), start.len());
        assert_eq!(last(&mut executor, &mut rewound, &then), expected, "{kv:?}");
    }
}

#[test]
fn wants_are_answered_in_order_and_only_them() {
    let model = model();
    let (mut a, mut b, mut c) = (session(&model), session(&model), session(&model));
    let (ta, tb, tc) = (tokens(1, 12), tokens(2, 9), tokens(3, 2));
    let mut feeds = [
        Feed { session: &mut a, tokens: &ta, want: Want::All },
        Feed { session: &mut b, tokens: &tb, want: Want::Nothing },
        Feed { session: &mut c, tokens: &tc, want: Want::Last },
    ];
    let mut seen = Vec::new();
    executor(&model, 7).forward(&mut feeds, &mut |feed, position, _| seen.push((feed, position))).expect("logits");
    let expected: Vec<(usize, usize)> = (0..12).map(|p| (0, p)).chain([(2, 1)]).collect();
    assert_eq!(seen, expected);
    assert_eq!((a.len(), b.len(), c.len()), (12, 9, 2));
}

#[test]
fn errors_leave_the_sessions_as_they_were() {
    let model = model();
    let mut executor = executor(&model, 16);
    let mut session = session(&model);
    last(&mut executor, &mut session, &tokens(3, 150));
    let mut twin = Session::new(&model, 200, KvType::F16).expect("a session");
    last(&mut executor, &mut twin, &tokens(3, 150));

    let mut feed = |executor: &mut Executor, tokens: &[u32]| {
        let mut feeds = [Feed { session: &mut session, tokens, want: Want::Last }];
        let error = executor.forward(&mut feeds, &mut |_, _, _| panic!("no logits")).expect_err("an error");
        assert_eq!(session.len(), 150);
        error
    };
    assert_eq!(feed(&mut executor, &[1; 51]), Error::ContextFull { tokens: 51, used: 150, context: 200 });
    assert_eq!(feed(&mut executor, &[1, 320]), Error::Token { token: 320, vocab: 320 });
    let other = load(&fixture("golden/qwen3-Q8_0.gguf"));
    assert_eq!(feed(&mut self::executor(&other, 16), &[1]), Error::OtherModel);

    assert_eq!(last(&mut executor, &mut session, &[1, 2]), last(&mut executor, &mut twin, &[1, 2]));
}

/// The model with a NaN for the scale of one block of a feed-forward matrix.
fn damaged_model() -> Arc<Model> {
    let mut bytes = std::fs::read(fixture("golden/llama-Q4_K_S.gguf")).expect("a golden model");
    let at =
        Gguf::parse(&bytes).expect("GGUF").require_tensor("blk.1.ffn_up.weight").expect("a tensor").offset as usize;
    bytes[at..at + 2].copy_from_slice(&half::f16::NAN.to_le_bytes());
    load_bytes(bytes)
}

#[test]
fn weights_that_are_not_finite_are_an_error_on_every_backend() {
    let model = damaged_model();
    for backend in backends() {
        let mut session = session(&model);
        let mut executor = Executor::new(model.clone(), backend, team(2), 4).expect("buffers");
        let mut feeds = [Feed { session: &mut session, tokens: &[1, 2, 3, 4, 5, 6], want: Want::All }];
        let error = executor.forward(&mut feeds, &mut |_, _, _| panic!("no logits")).expect_err("an error");
        assert_eq!(error, Error::NotFinite { stage: "the feed-forward part", layer: 1 }, "{backend:?}");
        assert!(session.is_empty());
    }
}

#[test]
fn a_context_the_model_does_not_have_is_refused() {
    let model = model();
    for asked in [0, 257] {
        let error = Session::new(&model, asked, KvType::F16).expect_err("an error");
        assert_eq!(error, Error::Context { asked, trained: 256 });
    }
}

/// A host that runs with flush-to-zero gets the same bits, and its register back.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_host_that_flushes_denormals_changes_nothing() {
    let mxcsr = || {
        let mut value = 0u32;
        // SAFETY: writes four bytes.
        unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack)) };
        value
    };
    let model = model();
    let run = |backend: Backend, threads| {
        let mut executor = Executor::new(model.clone(), backend, team(threads), 8).expect("buffers");
        last(&mut executor, &mut session(&model), &tokens(4, 30))
    };
    let expected = run(Backend::REFERENCE, 1);
    let (normal, flushing) = (mxcsr(), mxcsr() | 0x8040);
    // SAFETY: sets flush-to-zero and denormals-are-zero, and below what was there.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const flushing, options(nostack)) };
    let found: Vec<_> = backends().into_iter().flat_map(|b| [run(b, 1), run(b, 3)]).collect();
    let after = mxcsr();
    // SAFETY: as above.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const normal, options(nostack)) };
    assert_eq!(after & 0x8040, 0x8040, "the host's register is back");
    assert!(found.iter().all(|logits| *logits == expected));
}

/// The hidden states are what the output matrix makes logits of, for any size of batch.
#[test]
fn hidden_states_are_what_logits_are_made_of() {
    let path = fixture("golden/llama-F32.gguf");
    let (model, tokens) = (load(&path), tokens(3, 70));
    let bytes = std::fs::read(&path).expect("a file");
    let gguf = Gguf::parse(&bytes).expect("GGUF");
    let output = gguf.require_tensor("output.weight").expect("a tensor");
    let floats = bytes[output.offset as usize..][..output.len as usize].chunks_exact(4);
    // (vocabulary, embedding)
    let matrix: Vec<f32> = floats.map(|four| f32::from_le_bytes(four.try_into().expect("four bytes"))).collect();
    let (mut logits, mut all) = (Vec::new(), Vec::new());
    let mut session_of_logits = session(&model);
    let feed = Feed { session: &mut session_of_logits, tokens: &tokens, want: Want::All };
    executor(&model, 64).forward(&mut [feed], &mut |_, _, row| logits.push(row.to_vec())).expect("logits");
    for columns in [1, 7, 64, 200] {
        let (mut hidden, mut beside) = (Vec::new(), Vec::new());
        let [mut first, mut session, mut last] = [(); 3].map(|()| session(&model));
        let logits_of = |session, tokens| Feed { session, tokens, want: Want::Last };
        // In one batch with others, whose logits are those they get alone.
        let of_hidden = Feed { session: &mut session, tokens: &tokens, want: Want::Hidden };
        let mut feeds = [logits_of(&mut first, &tokens[..1]), of_hidden, logits_of(&mut last, &tokens[..9])];
        executor(&model, columns)
            .forward(&mut feeds, &mut |feed, position, row| match feed {
                1 => {
                    assert_eq!(position, hidden.len());
                    hidden.push(row.to_vec());
                }
                _ => beside.push((feed, row.to_vec())),
            })
            .expect("hidden states");
        assert_eq!(beside, [(0, logits[0].clone()), (2, logits[8].clone())], "{columns} columns");
        all.push(hidden);
    }
    assert!(all.iter().all(|hidden| *hidden == all[0]));
    for (state, row) in all[0].iter().zip(&logits) {
        for (weights, logit) in matrix.chunks_exact(state.len()).zip(row) {
            let wanted: f64 = weights.iter().zip(state).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
            assert!((wanted - f64::from(*logit)).abs() < 1e-3, "{logit} is not {wanted}");
        }
    }
    assert_eq!((all[0].len(), logits.len()), (70, 70));
}
