//! Components that try what they should not (`tests/guest`): each is contained, and the next model in the same process runs.
#![cfg(feature = "sandbox")]

mod common;

use common::{answer, golden, witness};
use picolm_host::engine::{Engine, Kind, Options, open};
use picolm_host::{ErrorKind, Event, Prompt, Request, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const MODEL: &str = "llama-F32.gguf";

/// No attempt was let through.
const NONE: [u32; 0] = [];

/// What a hostile component gets.
const MEMORY: usize = 64 << 20;

fn hostile() -> PathBuf {
    std::env::var_os("PICOLM_HOSTILE_COMPONENT").expect("cargo xtask test host builds it and sets this").into()
}

fn attacker(kind: Kind, model: &Path) -> Box<dyn Engine> {
    let options = Options {
        component: Some(hostile()),
        memory: MEMORY,
        call_limit: Duration::from_millis(500),
        ..Options::default()
    };
    open(kind, model, &options).expect("it looks like an engine")
}

/// The attempts that were let through.
fn attack(engine: &mut dyn Engine, name: &str) -> Result<Vec<u32>> {
    engine.tokenize(&Prompt::Text(name.into()))
}

/// A model in a sandbox of this process answers as if nothing had happened.
fn the_host_goes_on() {
    let mut engine = open(Kind::SandboxNative, &golden(MODEL), &Options::default()).expect("an engine");
    let request = Request { prompt: Prompt::Tokens(vec![1, 2, 3]), max_tokens: 3, ..Request::default() };
    assert_eq!(answer(&mut *engine, &request).tokens.len(), 3);
}

/// One test at a time: memory is the process's.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn anonymous() -> usize {
    picolm_machine::memory::anonymous().expect("Linux") as usize
}

/// A file of a size that writing over costs more than a guest has.
fn large_file(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let piece: Vec<u8> = (0..1 << 20).map(|i| (i % 251) as u8).collect();
    std::fs::write(&path, piece.repeat((4 * MEMORY) >> 20)).expect("room on the disk");
    path
}

#[test]
fn what_does_not_end_or_ends_badly_is_stopped() {
    let _alone = alone();
    for kind in [Kind::Sandbox, Kind::SandboxNative] {
        for (name, message) in [
            ("loop", "longer than it may"),
            ("recursion", "wasm trap"),
            ("trap", "unreachable"),
            ("allocate", "unreachable"),
        ] {
            let mut engine = attacker(kind, &golden(MODEL));
            assert_eq!(attack(&mut *engine, "nothing").expect("no attack"), NONE);
            let (before, start) = (anonymous(), Instant::now());
            let error = attack(&mut *engine, name).expect_err(name);
            assert_eq!(error.kind, ErrorKind::Stopped, "{name}: {error}");
            assert!(error.message.contains(message), "{name}: {error}");
            assert!(start.elapsed() < Duration::from_secs(60), "{name} took {:?}", start.elapsed());
            assert_eq!(attack(&mut *engine, "nothing").expect_err("it is gone").kind, ErrorKind::Stopped);
            drop(engine);
            assert!(anonymous() < before + MEMORY, "{name} has left {} bytes", anonymous() - before);
            the_host_goes_on();
        }
    }
}

/// Ten thousand messages that are one megabyte in the guest would be ten gigabytes here.
#[test]
fn more_than_a_guest_can_have_is_not_taken_from_it() {
    let _alone = alone();
    let mut engine = attacker(Kind::Sandbox, &golden(MODEL));
    assert_eq!(attack(&mut *engine, "flood").expect("it has not begun"), NONE);
    let before = anonymous();
    let error = engine.step().expect_err("a flood");
    assert_eq!(error.kind, ErrorKind::Stopped, "{error}");
    assert!(anonymous() < before + 3 * MEMORY, "{} bytes were taken", anonymous() - before);
    the_host_goes_on();
}

/// It goes into logs and to clients.
#[test]
fn a_long_message_is_clipped() {
    let _alone = alone();
    let mut engine = attacker(Kind::Sandbox, &golden(MODEL));
    assert_eq!(attack(&mut *engine, "message").expect("it has not begun"), NONE);
    match &engine.step().expect("one event")[..] {
        [Event::Failed { error, .. }] => assert!(error.message.len() < 10_000, "{} bytes", error.message.len()),
        other => panic!("{} events", other.len()),
    }
}

/// Text that is none does not become a `String` of the host.
#[test]
fn lies_about_types_are_noticed() {
    let _alone = alone();
    let mut engine = attacker(Kind::Sandbox, &golden(MODEL));
    let error = engine.detokenize(&[]).expect_err("bytes that are not UTF-8");
    assert_eq!(error.kind, ErrorKind::Stopped, "{error}");
    the_host_goes_on();
}

#[test]
fn bad_arguments_are_refused_each_and_all() {
    let _alone = alone();
    for kind in [Kind::Sandbox, Kind::SandboxNative] {
        for name in ["map", "map often", "read", "kernels", "plans", "grow"] {
            let mut engine = attacker(kind, &golden(MODEL));
            assert_eq!(attack(&mut *engine, name).expect("refusals, not a trap"), NONE, "{name} in {}", kind.name());
        }
    }
    the_host_goes_on();
}

#[test]
fn a_few_writes_over_the_model_are_the_guests_own() {
    let _alone = alone();
    let path = large_file("few-writes");
    let before = std::fs::read(&path).expect("the file");
    let mut engine = attacker(Kind::Sandbox, &path);
    assert_eq!(attack(&mut *engine, "write a little").expect("it may"), NONE);
    assert_eq!(attack(&mut *engine, "nothing").expect("it lives"), NONE);
    assert!(std::fs::read(&path).expect("the file") == before, "the file has changed");
}

/// Stores, and `memory.fill`, `memory.copy` and answers that the host writes: where the host writes, a trap would be no way out.
#[test]
fn writes_over_the_model_cost_no_more_than_the_guest_has() {
    let _alone = alone();
    let path = large_file("writes");
    let before = std::fs::read(&path).expect("the file");
    for name in ["write everywhere", "fill", "fill and copy"] {
        let mut engine = attacker(Kind::Sandbox, &path);
        let memory = anonymous();
        let error = attack(&mut *engine, name).expect_err(name);
        assert_eq!(error.kind, ErrorKind::Stopped);
        assert!(error.message.contains("more of its model") || error.message.contains("longer"), "{name}: {error}");
        let peak = anonymous();
        assert!(peak < memory + MEMORY + (8 << 20), "{name} took {} bytes", peak - memory);
        assert!(std::fs::read(&path).expect("the file") == before, "the file has changed");
    }
    let mut engine = attacker(Kind::Sandbox, &path);
    assert_eq!(attack(&mut *engine, "answer into weights").expect("it may"), NONE);
    the_host_goes_on();
}

#[test]
fn room_without_a_file_is_no_memory() {
    let _alone = alone();
    for name in ["touch room", "fill room", "answer into room"] {
        let mut engine = attacker(Kind::Sandbox, &golden(MODEL));
        let error = attack(&mut *engine, name).expect_err(name);
        assert_eq!(error.kind, ErrorKind::Stopped);
        assert!(error.message.contains("room"), "{name}: {error}");
        the_host_goes_on();
    }
}

/// Mappings of this process.
fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").expect("Linux").lines().count()
}

/// A process has 65,530 mappings, and dies where a fault in its own code finds none left. Attacks with all 4 GiB that a guest can reach,
/// piece by piece, in both engines: each takes no more than a few, and another model answers meanwhile.
#[test]
fn all_that_a_guest_can_touch_costs_few_mappings() {
    let _alone = alone();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    // Holes: nothing on the disk.
    let large = folder.join("three-gigabytes");
    std::fs::File::create(&large).and_then(|file| file.set_len(3 << 30)).expect("a file of holes");
    let small = golden(MODEL);
    for kind in [Kind::Sandbox, Kind::SandboxNative] {
        for (name, model) in [
            ("fill all room", &small),
            ("touch all room", &small),
            ("touch and fill all room", &small),
            ("touch every second piece", &small),
            ("copy all room", &small),
            ("copy backwards", &small),
            ("read all room", &small),
            ("answers all over room", &small),
            ("rooms and pages", &small),
            ("write every second piece", &large),
            ("fill", &large),
            ("write, fill, touch", &large),
            ("windows everywhere", &large),
            ("map after a fault", &small),
        ] {
            let options = Options {
                component: Some(hostile()),
                memory: 4 << 30,
                call_limit: Duration::from_secs(20),
                ..Options::default()
            };
            let mut engine = open(kind, model, &options).expect("it looks like an engine");
            let (before, over) = (mappings(), AtomicBool::new(false));
            let (most, outcome) = std::thread::scope(|scope| {
                let watch = scope.spawn(|| {
                    let mut most = 0;
                    while !over.load(Ordering::Acquire) {
                        most = most.max(mappings());
                        the_host_goes_on();
                    }
                    most
                });
                let outcome = attack(&mut *engine, name);
                over.store(true, Ordering::Release);
                (watch.join().expect("the other model answers"), outcome)
            });
            let most = most.max(mappings());
            match name {
                "rooms and pages" => assert_eq!(outcome.expect(name), NONE),
                _ => assert_eq!(outcome.expect_err(name).kind, ErrorKind::Stopped, "{name}"),
            }
            assert!(most < before + 4000, "{name}: {} mappings more", most - before);
            the_host_goes_on();
        }
    }
}

#[test]
fn a_file_that_is_cut_short_or_replaced_is_noticed() {
    let _alone = alone();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let request = Request { prompt: Prompt::Tokens(vec![1, 2, 3]), max_tokens: 50, ..Request::default() };
    for kind in Kind::ALL {
        type Change = fn(&Path);
        let changes: [(&str, Change); 4] = [
            ("cut", |path| {
                std::fs::File::options()
                    .write(true)
                    .open(path)
                    .and_then(|file| file.set_len(4096))
                    .expect("a shorter file");
            }),
            ("emptied", |path| {
                std::fs::File::create(path).expect("an empty file");
            }),
            ("rewritten", |path| {
                let bytes = std::fs::read(path).expect("the file");
                std::fs::write(path, bytes).expect("the file");
            }),
            ("replaced", |path| {
                let other = path.with_extension("other");
                std::fs::copy(golden(MODEL), &other).and_then(|_| std::fs::rename(&other, path)).expect("another file");
            }),
        ];
        for (name, change) in changes {
            let path = folder.join(format!("{name}-{}.gguf", kind.name()));
            std::fs::copy(golden(MODEL), &path).expect("a copy");
            let mut engine = open(*kind, &path, &Options::default()).expect("an engine");
            engine.begin(&request).expect("a free session");
            engine.step().expect("a step");
            // The clock of files has a grain of some milliseconds.
            std::thread::sleep(Duration::from_millis(50));
            change(&path);
            let error = (0..50).find_map(|_| engine.step().err()).unwrap_or_else(|| panic!("{name}, {}", kind.name()));
            assert_eq!(error.kind, ErrorKind::Stopped, "{name} in {}: {error}", kind.name());
            let again = engine.step().expect_err("it is gone");
            assert_eq!(again.kind, ErrorKind::Stopped);
            the_host_goes_on();
        }
    }
}

/// A component that wants more than a model file is not even made.
#[test]
fn components_that_ask_for_files_and_sockets_are_refused() {
    let _alone = alone();
    let wanted = std::env::var_os("PICOLM_COMMAND_COMPONENT").expect("cargo xtask test host builds it and sets this");
    let options = Options { component: Some(wanted.into()), ..Options::default() };
    let error = open(Kind::Sandbox, &golden(MODEL), &options).map(|_| ()).expect_err("it wants files");
    assert!(error.message.contains("wasi:"), "{error}");
}

/// Two hosts of one model, and what they compute.
#[test]
fn many_sandboxes_live_beside_each_other() {
    let _alone = alone();
    let threads: Vec<_> = (0..3)
        .map(|_| {
            #[allow(clippy::disallowed_methods, reason = "a test may panic")]
            std::thread::spawn(|| {
                for kind in [Kind::Sandbox, Kind::SandboxNative] {
                    let options = Options { context: 256, threads: 1, ..Options::default() };
                    let mut engine = open(kind, &golden(MODEL), &options).expect("an engine");
                    assert_eq!(common::digest(&mut *engine), witness(MODEL));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
}
