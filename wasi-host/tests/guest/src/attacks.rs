//! The attacks, by name.

use crate::bindings::picolm::engine::kernels::{self, Value};
use crate::bindings::picolm::engine::types::{Error, ErrorKind, Event, Happening, Want};
use crate::bindings::picolm::engine::weights;
use core::arch::wasm32::{memory_grow, memory_size};
use core::hint::black_box;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Messages of the next steps.
static MESSAGES: AtomicUsize = AtomicUsize::new(0);

const PAGE: u64 = 64 << 10;

pub(crate) fn run(name: &str) -> Vec<u32> {
    match name {
        "nothing" => Vec::new(),
        "loop" => loop {
            black_box(());
        },
        "recursion" => vec![recurse(1)],
        "trap" => core::arch::wasm32::unreachable(),
        "allocate" => allocate(),
        "grow" => grow(),
        "message" | "flood" => {
            MESSAGES.store(if name == "flood" { 10_000 } else { 1 }, Ordering::Relaxed);
            Vec::new()
        }
        "write a little" => write(&mut mapped()[..3 * PAGE as usize]),
        "write everywhere" => write(mapped()),
        "fill" => fill(mapped()),
        "fill and copy" => fill_and_copy(mapped()),
        "answer into weights" => answer_into(mapped().as_mut_ptr()),
        "touch room" => write(&mut room(PAGE)[..1]),
        "fill room" => fill(room(64 * PAGE)),
        "answer into room" => answer_into(room(PAGE).as_mut_ptr()),
        "fill all room" => fill(all_room()),
        "touch all room" => write(all_room()),
        "touch and fill all room" => {
            let room = all_room();
            write(room);
            fill(room)
        }
        "touch every second piece" => touch_every_second(all_room()),
        "copy all room" => fill_and_copy(all_room()),
        "copy backwards" => copy_backwards(all_room()),
        "read all room" => read_all(all_room()),
        "answers all over room" => answers_all_over(all_room()),
        "rooms and pages" => rooms_and_pages(),
        "write every second piece" => touch_every_second(mapped()),
        "write, fill, touch" => {
            touch_every_second(mapped());
            fill(mapped());
            write(all_room())
        }
        "windows everywhere" => windows_everywhere(),
        "map after a fault" => map_after_a_fault(),
        "map" => map(),
        "map often" => map_often(),
        "read" => read(),
        "kernels" => kernels(),
        "plans" => plans(),
        other => panic!("no attack is called {other}"),
    }
}

/// What a step says: after "message" a long one, after "flood" a great many, all of which are the same bytes. The host's copies would be gigabytes.
pub(crate) fn events() -> Vec<Event> {
    let text = "x".repeat(1 << 20).leak();
    let event = |session| {
        // SAFETY: none: these strings share their bytes. That is the attack; nobody here looks at them again.
        let message = unsafe { String::from_raw_parts(text.as_mut_ptr(), text.len(), text.len()) };
        Event { session, what: Happening::Failed(Error { kind: ErrorKind::Model, field: None, message }) }
    };
    (0..MESSAGES.load(Ordering::Relaxed) as u64).map(event).collect()
}

#[allow(unconditional_recursion, reason = "the attack")]
fn recurse(n: u32) -> u32 {
    let array = black_box([n; 64]);
    recurse(n + 1) + array[n as usize % 64]
}

fn allocate() -> Vec<u32> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    loop {
        all.push(vec![1; 1 << 20]);
        black_box(&all);
    }
}

/// Takes pages until there are no more; none of them is let through if the host stops giving some time.
fn grow() -> Vec<u32> {
    while memory_grow::<0>(16) != usize::MAX {}
    let bytes = memory_size::<0>() as u64 * PAGE;
    if bytes > 1 << 31 { vec![1] } else { Vec::new() }
}

/// Room for so many bytes, with nothing in it.
fn room(bytes: u64) -> &'static mut [u8] {
    weights::reserve(bytes).expect("room");
    let at = memory_grow::<0>(bytes.div_ceil(PAGE) as usize) * PAGE as usize;
    // SAFETY: new pages, which nobody else knows.
    unsafe { core::slice::from_raw_parts_mut(core::ptr::with_exposed_provenance_mut(at), bytes as usize) }
}

/// All that the memory has, and nothing in it.
fn all_room() -> &'static mut [u8] {
    let own = memory_size::<0>() as u64 * PAGE;
    room((1 << 32) - own - PAGE)
}

/// So that no two neighbours are of one kind.
fn touch_every_second(bytes: &mut [u8]) -> Vec<u32> {
    bytes.chunks_mut(2 * PAGE as usize).for_each(|piece| drop(write(&mut piece[..1])));
    Vec::new()
}

fn copy_backwards(bytes: &mut [u8]) -> Vec<u32> {
    let len = bytes.len() - 3 * PAGE as usize / 2;
    black_box(bytes).copy_within(..len, 3 * PAGE as usize / 2);
    Vec::new()
}

fn read_all(bytes: &[u8]) -> Vec<u32> {
    bytes.iter().step_by(PAGE as usize).for_each(|byte| _ = black_box(*byte));
    Vec::new()
}

/// The host writes to a thousand places.
fn answers_all_over(bytes: &mut [u8]) -> Vec<u32> {
    let step = bytes.len() / 1000 / PAGE as usize * PAGE as usize;
    bytes.chunks_mut(step).for_each(|piece| drop(answer_into(piece.as_mut_ptr())));
    Vec::new()
}

/// Room, a page of its own, room, …: how many rooms there were.
fn rooms_and_pages() -> Vec<u32> {
    let rooms = (0..30_000).take_while(|_| {
        weights::reserve(PAGE).expect("room");
        memory_grow::<0>(1) != usize::MAX && memory_grow::<0>(1) != usize::MAX
    });
    let rooms = rooms.count();
    if rooms > 100 { vec![rooms as u32] } else { Vec::new() }
}

/// A window of the file that moves, written to wherever it has been.
fn windows_everywhere() -> Vec<u32> {
    let room = all_room();
    let at = room.as_ptr().expose_provenance() as u64;
    let len = weights::size().min(4 * PAGE) / PAGE * PAGE;
    for i in 0..20_000 {
        // The same place with another length: what is longer stays mapped as nothing.
        weights::map_range(at, 0, if i % 2 == 0 { len } else { PAGE }).expect("a window");
        room[(i % 4) * PAGE as usize] = 1;
    }
    Vec::new()
}

/// After a fault nothing is mapped any more.
fn map_after_a_fault() -> Vec<u32> {
    let room = all_room();
    write(&mut room[..1]);
    let at = room.as_ptr().expose_provenance() as u64;
    let mapped = (0..100_000).find(|i| weights::map_range(at + i * PAGE % (1 << 20), 0, PAGE).is_ok());
    if mapped.is_some() { core::arch::wasm32::unreachable() } else { Vec::new() }
}

/// The whole file.
fn mapped() -> &'static mut [u8] {
    let room = room(weights::size());
    weights::map_range(room.as_ptr().expose_provenance() as u64, 0, weights::size()).expect("the file");
    room
}

fn write(bytes: &mut [u8]) -> Vec<u32> {
    for byte in bytes.iter_mut().step_by(4096) {
        // SAFETY: a byte of the slice.
        unsafe { core::ptr::write_volatile(byte, 7) };
    }
    Vec::new()
}

fn fill(bytes: &mut [u8]) -> Vec<u32> {
    // (`memory.fill`, which the host does.)
    black_box(bytes).fill(9);
    Vec::new()
}

fn fill_and_copy(bytes: &mut [u8]) -> Vec<u32> {
    fill(bytes);
    let half = bytes.len() / 2;
    black_box(bytes).copy_within(..half, half);
    Vec::new()
}

/// Has the host write its answer to an address of ours.
fn answer_into(at: *mut u8) -> Vec<u32> {
    #[link(wasm_import_module = "picolm:engine/weights@0.1.0")]
    unsafe extern "C" {
        #[link_name = "read"]
        fn read(offset: u64, len: u32, answer: *mut u8);
    }
    // SAFETY: the answer takes 12 bytes.
    unsafe { read(0, 16, at) };
    Vec::new()
}

/// The numbers of those that came back with a success.
fn let_through<T, E>(attempts: impl IntoIterator<Item = Result<T, E>>) -> Vec<u32> {
    attempts.into_iter().zip(0..).filter(|(result, _)| result.is_ok()).map(|(_, i)| i).collect()
}

fn map() -> Vec<u32> {
    let (size, own) = (weights::size(), memory_size::<0>() as u64 * PAGE);
    let before = room(4 * PAGE).as_ptr().expose_provenance() as u64;
    weights::map_range(before, 0, size.min(PAGE)).expect("the first page");
    let free = before + PAGE;
    let attempts = [
        // where nothing may be mapped
        (0, 0, size.min(PAGE)),
        (own - PAGE, 0, size.min(PAGE)),
        (before + 4 * PAGE, 0, size.min(PAGE)),
        (1 << 32, 0, size.min(PAGE)),
        ((1 << 32) - PAGE, 0, size.min(PAGE)),
        (1 << 40, 0, size.min(PAGE)),
        (u64::MAX - PAGE + 1, 0, size.min(PAGE)),
        (0x7fff_0000_0000, 0, size.min(PAGE)),
        // beside the pages
        (free + 1, 0, PAGE.min(size)),
        (free + 4096, 0, PAGE.min(size)),
        (free, 1, 1),
        (free, 4096, size.saturating_sub(4096)),
        // what is not in the file
        (free, 0, 0),
        (free, 0, 1),
        (free, 0, size + 1),
        (free, 0, u64::MAX),
        (free, u64::MAX - PAGE + 1, PAGE),
        (free, u64::MAX - PAGE + 1, u64::MAX),
        (free, size.next_multiple_of(PAGE), PAGE),
        // more than there is room for
        (free, 0, size.max(8 * PAGE)),
    ];
    let mut found = let_through(attempts.map(|(at, offset, len)| weights::map_range(at, offset, len)));
    let rooms = [0, u64::MAX, (1 << 32) + 1, u64::MAX - 1].map(weights::reserve);
    found.extend(let_through(rooms).into_iter().map(|i| 100 + i));
    found
}

/// Overlapping, and more than are kept account of.
fn map_often() -> Vec<u32> {
    let size = weights::size().min(2 * PAGE);
    let at = room(200 * PAGE).as_ptr().expose_provenance() as u64;
    weights::map_range(at + PAGE, 0, size).expect("two pages");
    let mut found = let_through([weights::map_range(at, 0, size), weights::map_range(at + 2 * PAGE, 0, size)]);
    // The same place again is a window that moves.
    weights::map_range(at + PAGE, 0, size).expect("two pages again");
    let many = (2..60).map(|i| weights::map_range(at + 2 * i * PAGE, 0, size));
    let most = let_through(many).len();
    if most > 32 {
        found.push(most as u32);
    }
    found
}

fn read() -> Vec<u32> {
    let size = weights::size();
    let attempts = [
        (size, 1),
        (size - 1, 2),
        (u64::MAX, 1),
        (u64::MAX, u32::MAX),
        (0, u32::MAX),
        (0, (1 << 20) + 1),
        (1 << 63, 1),
    ];
    let_through(attempts.map(|(offset, len)| weights::read(offset, len)))
}

/// A plan of nothing in particular.
fn plan() -> kernels::Plan {
    let integers = [
        ("block_count", 1),
        ("embedding_length", 64),
        ("feed_forward_length", 96),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
        ("context_length", 64),
    ];
    let mut metadata: Vec<_> = integers.map(|(key, n)| (key.to_string(), Value::Integer(n))).into();
    metadata.push(("attention.layer_norm_rms_epsilon".into(), Value::Number(1e-5)));
    kernels::Plan { architecture: "llama".into(), metadata, tensors: Vec::new(), header_hash: 0 }
}

/// The plan with another value.
fn with(plan: &mut kernels::Plan, key: &str, value: Value) {
    plan.metadata.retain(|(other, _)| other != key);
    plan.metadata.push((key.into(), value));
}

/// Plans that are lies, or worse.
fn plans() -> Vec<u32> {
    type Change = fn(&mut kernels::Plan);
    let tensor = |name: &str, kind, dims: &[u64], offset| kernels::Tensor {
        name: name.into(),
        type_: kind,
        dims: dims.into(),
        offset,
    };
    let changes: [Change; 21] = [
        |_| {},
        |p| p.architecture = "x".repeat(1 << 20),
        |p| p.metadata.clear(),
        |p| p.metadata.push(p.metadata[0].clone()),
        |p| p.metadata = (0..100_000).map(|i| (format!("key.{i}"), Value::Truth(false))).collect(),
        |p| with(p, &"x".repeat(1 << 20), Value::Text("x".repeat(1 << 20))),
        |p| with(p, "block_count", Value::Integer(0)),
        |p| with(p, "block_count", Value::Integer(i64::MAX)),
        |p| with(p, "block_count", Value::Integers(vec![1; 100_000])),
        |p| with(p, "block_count", Value::Texts(vec![String::new(); 100_000])),
        |p| with(p, "attention.head_count_kv", Value::Integer(0)),
        |p| with(p, "attention.head_count", Value::Integer(u32::MAX.into())),
        |p| with(p, "attention.key_length", Value::Integer(u32::MAX.into())),
        |p| with(p, "rope.dimension_count", Value::Integer(15)),
        |p| with(p, "embedding_length", Value::Integer(-1)),
        |p| with(p, "context_length", Value::Integer(u32::MAX.into())),
        |p| with(p, "attention.sliding_window_pattern", Value::Truths(Vec::new())),
        |p| with(p, "attention.layer_norm_rms_epsilon", Value::Number(f32::NAN)),
        |p| with(p, "rope.freq_base", Value::Number(f32::INFINITY)),
        |p| with(p, "rope.scaling.type", Value::Text("yarn".into())),
        |p| with(p, "expert_count", Value::Integer(u32::MAX.into())),
    ];
    let mut attempts: Vec<kernels::Plan> = changes
        .iter()
        .map(|change| {
            let mut plan = plan();
            change(&mut plan);
            plan
        })
        .collect();
    let size = weights::size();
    for tensors in [
        vec![tensor("token_embd.weight", 0, &[64, 8], u64::MAX - 7)],
        vec![tensor("token_embd.weight", 0, &[64, 8], size)],
        vec![tensor("token_embd.weight", 0, &[64, 8], 4)],
        vec![tensor("token_embd.weight", 0, &[64, 8], 1)],
        vec![tensor("token_embd.weight", 0, &[], 0)],
        vec![tensor("token_embd.weight", 0, &[64; 5], 0)],
        vec![tensor("token_embd.weight", 0, &[1 << 63, 1 << 63], 0)],
        vec![tensor("token_embd.weight", 0, &[0, 0], 0)],
        vec![tensor("token_embd.weight", 77, &[64, 8], 0)],
        vec![tensor("", 0, &[64, 8], 0)],
        vec![tensor("token_embd.weight", 0, &[64, 8], 0); 2],
        vec![tensor("token_embd.weight", 0, &[64, 8], 0), tensor("output.weight", 0, &[64, 8], 64)],
        vec![tensor("token_embd.weight", 2, &[1, 8], 0)],
    ] {
        attempts.push(kernels::Plan { tensors, ..plan() });
    }
    let_through(attempts.iter().map(kernels::load))
}

/// Calls without a plan, and with sessions that are not there.
fn kernels() -> Vec<u32> {
    let feed = |session, token| kernels::Feed { session, tokens: vec![token], want: Want::All };
    let mut found = let_through([
        kernels::open().map(drop),
        kernels::close(0),
        kernels::close(u32::MAX),
        kernels::rewind(0, 0).map(drop),
        kernels::rewind(u32::MAX, u32::MAX).map(drop),
        kernels::forward(&[]).map(drop),
        kernels::forward(&[feed(0, 0)]).map(drop),
        kernels::forward(&[feed(u32::MAX, u32::MAX), feed(u32::MAX, 0)]).map(drop),
        kernels::save(0).map(drop),
        kernels::restore(0, &[0; 100]).map(drop),
    ]);
    if kernels::session_bytes(u32::MAX) != 0 {
        found.push(100);
    }
    found
}
