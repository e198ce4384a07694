//! Sessions: who gets one, what they share, how they end, and their way into bytes and back.

mod common;

use common::*;
use picolm_core::sampler::Params;
use picolm_engine::{
    Answer, Arithmetic, Batch, Error, Event, Kind, Local, Reason, Request, SessionId, append, take as take_bytes,
};

/// Bytes of a block of 256 positions: each session of these tests takes one.
fn block() -> u64 {
    batch().arithmetic().session_bytes(1)
}

fn with_sessions(sessions: usize) -> Batch<Local> {
    let mut setup = Setup::new(MODEL);
    setup.settings.sessions = sessions;
    setup.batch()
}

/// A prompt like no other's.
fn other(seed: u32, n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * i + 17 * seed + i * seed) % 310).collect()
}

fn reused(batch: &mut Batch<Local>, prompt: Vec<u32>) -> usize {
    answer(batch, &drawn(prompt, 2)).usage.reused
}

#[test]
fn the_session_that_has_been_idle_for_the_longest_time_goes() {
    let mut batch = with_sessions(3);
    let prompts = [1, 2, 3, 4].map(|seed| other(seed, 40));
    for prompt in &prompts[..3] {
        assert_eq!(reused(&mut batch, prompt.clone()), 0);
    }
    // The first is used again, so the second is the oldest.
    assert_eq!(reused(&mut batch, prompts[0].clone()), 39);
    assert_eq!(reused(&mut batch, prompts[3].clone()), 0);
    assert_eq!(reused(&mut batch, prompts[0].clone()), 39);
    assert_eq!(reused(&mut batch, prompts[2].clone()), 39);
    assert_eq!(reused(&mut batch, prompts[3].clone()), 39);
    assert_eq!(reused(&mut batch, prompts[1].clone()), 0);
}

/// Layers with windows drop what lies far back. A session that cannot go back as far as it has to reads the prompt anew, and one that was
/// copied from another, too: once, and by itself.
#[test]
fn a_session_that_cannot_go_back_reads_again() {
    let mut setup = Setup::new("gemma3-F16");
    (setup.file, setup.columns) = (longer(setup.file, 1200), 64);
    (setup.settings.context, setup.settings.sessions) = (1200, 1);
    let begin = other(1, 530);
    let [long, near, far] = [(2, 510), (2, 400), (3, 40)].map(|(seed, n)| [begin.clone(), other(seed, n)].concat());
    let near = [near, other(4, 40)].concat();
    let alone = |prompt: &[u32]| answer(&mut setup.batch(), &greedy(prompt.to_vec(), 5));
    let [long_alone, near_alone, far_alone] = [&long, &near, &far].map(|prompt| alone(prompt));

    let mut batch = setup.batch();
    assert_eq!(said(&answer(&mut batch, &greedy(long.clone(), 5))), said(&long_alone));
    let found = answer(&mut batch, &greedy(near.clone(), 5));
    assert_eq!((said(&found), found.usage.reused), (said(&near_alone), 930));
    let found = answer(&mut batch, &greedy(far.clone(), 5));
    assert_eq!((said(&found), found.usage.reused), (said(&far_alone), 0));

    setup.settings.sessions = 2;
    let mut batch = setup.batch();
    let first = batch.open(&greedy(long, 5)).expect("a free session");
    let mut answers = vec![Ok(Answer::default()); 2];
    while batch.held(first).expect("it is open").len() < 1040 {
        take(batch.step(), &[first], &mut answers);
    }
    let ids = [first, batch.open(&greedy(far, 5)).expect("a free session")];
    let mut steps = 0;
    while !batch.is_idle() {
        take(batch.step(), &ids, &mut answers);
        steps += 1;
    }
    assert!(steps < 60, "{steps}: the copy is not tried again and again");
    for (found, alone) in answers.iter().zip([&long_alone, &far_alone]) {
        assert_eq!(said(found.as_ref().expect("an answer")), said(alone));
    }
}

#[test]
fn sessions_are_counted_and_cancelled() {
    let mut batch = with_sessions(2);
    let ids = [1, 2].map(|seed| batch.open(&drawn(other(seed, 10), 50)).expect("a free session"));
    let busy = batch.open(&drawn(other(3, 10), 5)).expect_err("both are in use");
    assert_eq!((busy.kind, &busy.message[..]), (Kind::Busy, "all 2 sessions are in use"));
    let first = batch.step();
    batch.close(ids[0]).expect("an open session");
    assert_eq!(batch.close(ids[0]).expect_err("it is closed").message, format!("there is no session {}", ids[0]));
    let third = batch.open(&drawn(other(3, 10), 5)).expect("a free session");
    assert!(third > ids[1]);
    let mut answers = vec![Ok(Answer::default()); 2];
    take(first.into_iter().filter(|event| event.id() == ids[1]).collect(), &[ids[1], third], &mut answers);
    while !batch.is_idle() {
        take(batch.step(), &[ids[1], third], &mut answers);
    }
    let third = answers[1].as_ref().expect("an answer");
    assert_eq!((third.reason, third.usage.answer), (Some(Reason::Length), 5));
    let alone = answer(&mut self::batch(), &drawn(other(2, 10), 50));
    assert_eq!(said(answers[0].as_ref().expect("an answer")), said(&alone));
    // A finished answer's session is its own until it is closed.
    assert_eq!(batch.open(&drawn(other(3, 10), 5)).expect_err("both are open").kind, Kind::Busy);
}

#[test]
fn sessions_take_no_more_bytes_than_they_may() {
    let mut setup = Setup::new(MODEL);
    setup.settings.context = 256;
    setup.settings.session_bytes = Some(2 * block());
    let mut batch = setup.batch();
    let ids = [1, 2].map(|seed| batch.open(&drawn(other(seed, 10), 5)).expect("room for two"));
    assert_eq!(batch.open(&drawn(other(3, 10), 5)).expect_err("no room").kind, Kind::Busy);
    run(&mut batch, &ids);
    batch.close(ids[0]).expect("it is open");
    // What is idle makes room.
    let third = batch.open(&drawn(other(3, 10), 5)).expect("room");
    assert!(batch.held(ids[0]).is_err());
    run(&mut batch, &[third]);
    assert!(batch.arithmetic().kv_bytes() as u64 <= 2 * block());
    batch.reset();
    assert_eq!((batch.arithmetic().kv_bytes(), batch.is_idle()), (0, true));
    assert!(batch.held(third).is_err());
    // The first is let in whatever it takes.
    setup.settings.session_bytes = Some(1);
    let mut batch = setup.batch();
    let first = batch.open(&drawn(other(1, 10), 5)).expect("the first");
    assert_eq!(batch.open(&drawn(other(2, 10), 5)).expect_err("no room").kind, Kind::Busy);
    run(&mut batch, &[first]);
    batch.close(first).expect("it is open");
    assert_eq!(reused(&mut batch, other(1, 12)), 10, "used again, it is still the only one");
    assert_eq!(reused(&mut batch, other(2, 10)), 0);
}

/// Counts a byte for each token, whatever the core's blocks are.
struct Bytes(Local);

impl Arithmetic for Bytes {
    fn open(&mut self) -> picolm_engine::Result<usize> {
        self.0.open()
    }

    fn close(&mut self, session: usize) {
        self.0.close(session);
    }

    fn rewind(&mut self, session: usize, len: usize) -> picolm_engine::Result<usize> {
        self.0.rewind(session, len)
    }

    fn forward(
        &mut self,
        feeds: &[picolm_engine::Feed],
        rows: &mut dyn FnMut(usize, &[f32]),
    ) -> picolm_engine::Result<()> {
        self.0.forward(feeds, rows)
    }

    fn save(&mut self, session: usize, write: picolm_engine::Write<'_>) -> picolm_engine::Result<()> {
        self.0.save(session, write)
    }

    fn load(&mut self, session: usize, read: picolm_engine::Read<'_>) -> picolm_engine::Result<Vec<u32>> {
        self.0.load(session, read)
    }

    fn session_bytes(&self, tokens: usize) -> u64 {
        tokens as u64
    }
}

#[test]
fn a_session_that_grows_counts_with_what_it_will_hold() {
    let mut setup = Setup::new(MODEL);
    setup.settings.session_bytes = Some(100);
    let mut batch = setup.batch_of(Bytes);
    let finish = |batch: &mut Batch<Bytes>, id: SessionId| {
        while !batch.is_idle() {
            batch.step();
        }
        batch.close(id).expect("it is open");
    };
    let [idle, short] = [other(1, 20), other(2, 20)].map(|prompt| {
        let id = batch.open(&drawn(prompt, 5)).expect("room");
        finish(&mut batch, id);
        id
    });
    let busy = batch.open(&drawn(other(3, 20), 5)).expect("room");
    let long = |n: usize| drawn([other(2, 20), vec![5; n - 20]].concat(), 5);
    // 25 are in use, and 60 would be besides: the other idle one is in the way.
    let id = batch.open(&long(55)).expect("room");
    assert!(batch.held(idle).is_err(), "it has made room");
    assert!(batch.held(short).is_err(), "it is used again");
    assert_eq!(batch.held(id).expect("it is open").len(), 20);
    batch.close(id).expect("it is open");
    // Nothing idle is left that could make room for 80, and the session is as it was.
    assert_eq!(batch.open(&long(75)).expect_err("no room").kind, Kind::Busy);
    assert_eq!(batch.held(id).expect("it is there").len(), 20);
    let mut state = Vec::new();
    batch.save(id, &mut |bytes| append(&mut state, bytes)).expect("a state");
    // A state counts once it is known how much it is.
    let restored = batch.restore(&mut reader(&state)).expect("room");
    let again = batch.open(&long(50)).expect("25 + 20 + 55");
    assert!(batch.held(restored).is_err() && batch.held(id).is_ok(), "the later of the two is used again");
    let restored = batch.restore(&mut reader(&state)).expect("in the place of the idle one");
    assert!(batch.held(restored).is_ok() && batch.held(id).is_err());
    batch.close(again).expect("it is open");
    finish(&mut batch, busy);

    setup.settings.session_bytes = Some(30);
    let mut batch = setup.batch_of(Bytes);
    let busy = batch.open(&drawn(other(3, 20), 5)).expect("room");
    for _ in 0..2 {
        assert_eq!(batch.restore(&mut reader(&state)).expect_err("no room for 20 more").kind, Kind::Busy);
        assert_eq!(batch.arithmetic().0.kv_bytes(), 0, "nothing of it is left");
    }
    finish(&mut batch, busy);
}

/// Reads a state from memory.
fn reader(state: &[u8]) -> impl FnMut(&mut [u8]) -> picolm_engine::Result<usize> {
    let mut rest = state;
    move |into| Ok(take_bytes(&mut rest, into))
}

/// Three answers to one prompt, and one to a prompt that begins as it does.
#[test]
fn what_prompts_have_in_common_is_read_once() {
    let mut requests = vec![drawn(prompt(100), 10); 4];
    requests.iter_mut().zip(1..).for_each(|(request, seed)| request.sampling.seed = seed);
    let mut tokens = prompt(100);
    tokens.splice(70.., [1, 2, 3]);
    requests[3] = Request { sampling: requests[3].sampling.clone(), ..drawn(tokens, 10) };
    let alone: Vec<Answer> = requests.iter().map(|request| said(&answer(&mut batch(), request))).collect();
    for columns in [1, 16, 256] {
        let mut setup = Setup { columns, ..Setup::new(MODEL) };
        setup.settings.sessions = 4;
        let mut batch = setup.batch();
        let ids: Vec<SessionId> = requests.iter().map(|request| batch.open(request).expect("a free session")).collect();
        for ((found, wanted), reused) in run(&mut batch, &ids).iter().zip(&alone).zip([0, 99, 99, 70]) {
            let found = found.as_ref().expect("an answer");
            assert_eq!((&said(found), found.usage.reused), (wanted, reused), "batches of {columns}");
        }
    }
}

#[test]
fn the_one_that_prompts_wait_for_may_be_cancelled() {
    let mut batch = batch();
    let request = drawn(prompt(100), 5);
    let alone = said(&answer(&mut self::batch(), &request));
    let ids = [(); 3].map(|()| batch.open(&request).expect("a free session"));
    batch.step_with(10);
    batch.close(ids[0]).expect("it is open");
    let found = run(&mut batch, &ids[1..]);
    assert!(found.iter().all(|found| said(found.as_ref().expect("an answer")) == alone));
}

/// Little in common is not worth a copy; what an idle session loses is looked at.
#[test]
fn a_short_beginning_in_common_leaves_a_long_session_alone() {
    let mut batch = with_sessions(3);
    answer(&mut batch, &drawn(prompt(100), 5));
    let short = [&prompt(100)[..20], &[1, 2, 3]].concat();
    assert_eq!(reused(&mut batch, short), 0);
    assert_eq!(reused(&mut batch, prompt(100)), 99, "it is whole");
}

#[test]
fn held_back_text_comes_with_the_end_of_a_cancelled_answer() {
    let mut batch = batch();
    let request = endless(&batch, drawn(prompt(30), 20));
    let whole = answer(&mut batch, &request);
    // The text so far always begins this one, which never comes.
    let stop = format!("{}\u{0}never", whole.text);
    let id = batch.open(&Request { stops: vec![stop.clone()], ..request.clone() }).expect("a free session");
    let mut found = Answer::default();
    for _ in 0..9 {
        batch.step().into_iter().for_each(|event| assert!(found.take(event).is_ok()));
    }
    assert_eq!((&found.text[..], found.tokens.len()), ("", 9), "all is held back");
    let text = batch.close(id).expect("it is open");
    assert!(!text.is_empty() && whole.text.starts_with(&text), "{text:?}");
    // Of a finished answer nothing is: it came with the last piece.
    let limited = Request { stops: vec![stop], max_tokens: 9, ..request };
    let finished = answer(&mut batch, &limited);
    assert_eq!(finished.text, answer(&mut batch, &Request { stops: Vec::new(), ..limited }).text);
}

#[test]
fn a_saved_session_goes_on_anywhere() {
    let mut first = batch();
    let request = drawn(prompt(60), 10);
    let id = first.open(&request).expect("a free session");
    let whole = run(&mut first, &[id]).remove(0).expect("an answer");
    let saved = state(&mut first, id);
    // The answer's last token has not been fed.
    let fed = [&prompt(60)[..], &whole.tokens[..9]].concat();
    assert_eq!(first.held(id), Ok(&fed[..]));
    first.close(id).expect("it is open");
    // Closed, it is there until another prompt needs it.
    assert_eq!(state(&mut first, id), saved);
    assert_eq!(first.held(id), Ok(&fed[..]));
    let again = first.open(&drawn(prompt(60), 1)).expect("a free session");
    let gone = first.save(id, &mut |_| Ok(())).expect_err("it is used again");
    assert_eq!((gone.kind, gone.message), (Kind::Request, format!("there is no session {id}")));
    assert_eq!(first.held(again).expect("it is open").len(), 59);

    let mut second = batch();
    let restored = second.restore(&mut reader(&saved)).expect("a state");
    assert_eq!(second.held(restored), Ok(&fed[..]));
    assert_eq!(state(&mut second, restored), saved);
    assert!(second.close(restored).is_err(), "nothing is open");
    let found = answer(&mut second, &request);
    assert_eq!((said(&found), found.usage.reused), (said(&whole), 59));
    // It goes on behind the answer, as the first would have.
    let on = drawn([&fed[..], &whole.tokens[9..], &[1, 2]].concat(), 5);
    let mut third = batch();
    third.restore(&mut reader(&saved)).expect("a state");
    let (found, wanted) = (answer(&mut third, &on), answer(&mut batch(), &on));
    assert_eq!((said(&found), found.usage.reused), (said(&wanted), 69));
}

#[test]
fn a_session_can_be_saved_half_way() {
    let mut first = batch();
    let request = drawn(prompt(60), 10);
    let wanted = said(&answer(&mut batch(), &request));
    let id = first.open(&request).expect("a free session");
    first.step_with(25);
    let part = state(&mut first, id);
    assert_eq!(first.held(id).expect("it is open"), &prompt(60)[..25]);
    assert_eq!(said(run(&mut first, &[id])[0].as_ref().expect("an answer")), wanted);
    let mut second = batch();
    second.restore(&mut reader(&part)).expect("a state");
    let found = answer(&mut second, &request);
    assert_eq!((said(&found), found.usage.reused), (wanted, 25));
}

#[test]
fn what_fails_to_be_written_or_read_changes_nothing() {
    let mut batch = with_sessions(2);
    let request = drawn(prompt(40), 10);
    let wanted = answer(&mut self::batch(), &request);
    let id = batch.open(&request).expect("a free session");
    let whole = run(&mut batch, &[id]).remove(0).expect("an answer");
    let saved = state(&mut batch, id);
    let full = || Error::new(Kind::Memory, "the disk is full");
    for most in [0, 47, 48, 100, saved.len() - 1] {
        let mut written = 0;
        let write = &mut |bytes: &[u8]| {
            written += bytes.len();
            if written > most { Err(full()) } else { Ok(()) }
        };
        assert_eq!(batch.save(id, write), Err(full()), "{most}");
        assert_eq!(state(&mut batch, id), saved);

        let mut rest = &saved[..most];
        let broken = batch.restore(&mut |into| match take_bytes(&mut rest, into) {
            0 => Err(full()),
            n => Ok(n),
        });
        assert_eq!(broken, Err(full()), "{most}");
        let cut = batch.restore(&mut reader(&saved[..most])).expect_err("it is cut short");
        assert_eq!(cut.kind, Kind::State, "{most}: {cut}");
    }
    let mut damaged = saved.clone();
    damaged[200] ^= 1;
    assert_eq!(batch.restore(&mut reader(&damaged)).expect_err("a wrong checksum").kind, Kind::State);
    let other = Setup::new("llama-Q4_1").batch().restore(&mut reader(&saved)).expect_err("another model's");
    assert_eq!(other.kind, Kind::State);
    // No session is left of those: there is room for one, and none to be saved.
    assert_eq!(batch.save(0, &mut |_| Ok(())).expect_err("there is none").kind, Kind::Request);
    assert_eq!(batch.arithmetic().kv_bytes() as u64, block());
    assert_eq!(said(&whole), said(&wanted));
    batch.close(id).expect("it is open");
    assert_eq!(answer(&mut batch, &request).usage.reused, 39, "what it held is still there");

    let mut busy = with_sessions(1);
    busy.open(&request).expect("a free session");
    assert_eq!(busy.restore(&mut reader(&saved)).expect_err("the one is in use").kind, Kind::Busy);
}

#[test]
fn states_are_taken_in_parts_of_any_size() {
    let mut batch = batch();
    let id = batch.open(&drawn(prompt(40), 3)).expect("a free session");
    run(&mut batch, &[id]);
    let saved = state(&mut batch, id);
    for most in [1, 7, 4096] {
        let mut rest = &saved[..];
        let read = &mut |into: &mut [u8]| {
            let n = into.len().min(most);
            Ok(take_bytes(&mut rest, &mut into[..n]))
        };
        let restored = self::batch().restore(read);
        assert!(restored.is_ok(), "{restored:?}");
    }
    let (mut rest, mut into) = (&saved[..5], [0; 3]);
    assert_eq!((take_bytes(&mut rest, &mut into), &into[..]), (3, &saved[..3]));
    assert_eq!((take_bytes(&mut rest, &mut into), &into[..2]), (2, &saved[3..5]));
    assert_eq!((take_bytes(&mut rest, &mut into), rest.len()), (0, 0));
}

#[test]
fn what_is_fed_for_measurements_is_no_session() {
    let mut batch = with_sessions(1);
    let rows = |batch: &mut Batch<Local>, tokens: &[u32]| {
        let mut all = Vec::new();
        let keep = &mut |row: &[f32]| all.push(row.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
        batch.feed(tokens, picolm_engine::Want::All, keep).map(|()| all)
    };
    batch.rewind().expect("nothing to forget");
    let all = rows(&mut batch, &prompt(20)).expect("logits");
    assert_eq!((all.len(), all[0].len()), (20, VOCABULARY));
    let id = batch.open(&drawn(prompt(30), 5)).expect("it is free");
    assert_eq!(rows(&mut batch, &[400]).expect_err("no such token").kind, Kind::Request);
    assert_eq!(rows(&mut batch, &prompt(101)).expect_err("no room").kind, Kind::ContextFull);
    batch.rewind().expect("a session");
    let parts =
        [rows(&mut batch, &prompt(20)[..7]), rows(&mut batch, &prompt(20)[7..])].map(|rows| rows.expect("logits"));
    assert_eq!(parts.concat(), all);
    let found = run(&mut batch, &[id]).remove(0).expect("an answer");
    assert_eq!(said(&found), said(&answer(&mut self::batch(), &drawn(prompt(30), 5))));
    assert_eq!(found.usage.reused, 0);
}

#[test]
fn idle_batches_do_nothing() {
    let mut batch = batch();
    assert!(batch.is_idle() && batch.step().is_empty());
    let id = batch.open(&Request { sampling: Params::greedy(), ..drawn(prompt(5), 1) }).expect("a free session");
    assert!(!batch.is_idle());
    assert!(batch.step().iter().any(Event::is_last));
    assert!(batch.is_idle() && batch.step().is_empty());
    assert_eq!(batch.close(id), Ok(String::new()));
    assert!(batch.step().is_empty());
}
