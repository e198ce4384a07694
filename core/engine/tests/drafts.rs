//! Drafts, good, bad and impossible, against tokens fed one by one: the same answer, and the same session afterwards.

mod common;

use common::*;
use picolm_core::sampler::Params;
use picolm_engine::{Answer, Batch, Extras, KvType, Local, Prompt, Reason, Request, SessionId};

/// A way to make drafts.
struct Way {
    name: &'static str,
    draft: Draft,
}

const WAYS: [Way; 7] = [
    Way { name: "none", draft: |_| Vec::new() },
    Way { name: "right", draft: |next| start(next, 7) },
    Way { name: "right and long", draft: |next| start(next, 30) },
    Way { name: "wrong", draft: |next| next.iter().take(5).map(|t| (t + 1) % 320).collect() },
    Way { name: "right, then wrong", draft: |next| start(next, 2).into_iter().chain([1; 4]).collect() },
    Way { name: "past the context", draft: |next| [next, &[5; 300]].concat() },
    Way { name: "no such token", draft: |next| [&start(next, 2)[..], &[320]].concat() },
];

fn start(tokens: &[u32], n: usize) -> Vec<u32> {
    tokens.iter().take(n).copied().collect()
}

/// Of a prompt that repeats itself.
fn variations(max_tokens: usize) -> [Request; 2] {
    let prompt = [3, 50, 7, 120, 9].repeat(4);
    let penalised = Params { temperature: 1.5, repetition_penalty: 1.3, seed: 7, ..Params::default() };
    [Params::greedy(), penalised].map(|sampling| Request { sampling, ..drawn(prompt.clone(), max_tokens) })
}

/// An answer, what it took, and the session behind it.
fn whole(batch: &mut Batch<Local>, request: &Request, extras: Extras) -> (Answer, Vec<u8>) {
    let id = batch.open_with(request, extras).expect("a free session");
    let found = run(batch, &[id]).remove(0).expect("an answer");
    (found, state(batch, id))
}

/// Tokens that were tried, and that were right, if each step tries as much of a draft as there is room for.
fn counts(way: &Way, answer: &[u32]) -> (usize, usize) {
    // The prompt's step chooses the first token.
    let (mut at, mut drafted, mut accepted) = (1, 0, 0);
    while at < answer.len() {
        let next = &answer[at..];
        let mut draft = (way.draft)(next);
        draft.truncate(next.len() - 1);
        // A token that is none is noticed before anything is computed, and the draft dropped.
        let tried = if draft.contains(&320) { &[][..] } else { &draft };
        let right = tried.iter().zip(next).take_while(|(a, b)| a == b).count();
        (at, drafted, accepted) = (at + right + 1, drafted + tried.len(), accepted + right);
    }
    (drafted, accepted)
}

#[test]
fn no_draft_changes_the_answer_or_the_session() {
    // Windows, and experts, whose columns are regrouped by every batch.
    let models = ["llama-Q4_K_S", "gemma3-Q8_0", "qwen3moe-Q8_0"];
    for name in &models[..if emulated() { 1 } else { 3 }] {
        for kv in [KvType::F16, KvType::Q8_0] {
            let mut setup = Setup { kv, ..Setup::new(name) };
            setup.settings.context = 256;
            for request in variations(60) {
                let mut alone = Setup { columns: 1, ..setup.clone() }.batch();
                let request = endless(&alone, request);
                let (wanted, session) = whole(&mut alone, &request, Extras::default());
                assert_eq!((wanted.tokens.len(), wanted.usage.drafted), (60, 0));
                for (way, columns) in WAYS.iter().flat_map(|way| [(way, 1), (way, 5), (way, 64)]) {
                    let mut batch = Setup { columns, ..setup.clone() }.batch();
                    let extras = oracle(&request, &wanted.tokens, way.draft);
                    let (found, after) = whole(&mut batch, &request, extras);
                    let what = format!("{name} {kv:?} {} {columns}", way.name);
                    assert_eq!(said(&found), said(&wanted), "{what}");
                    assert!(after == session, "{what}: another session");
                    assert_eq!((found.usage.drafted, found.usage.accepted), counts(way, &wanted.tokens), "{what}");
                }
            }
        }
    }
}

#[test]
fn lookup_takes_fewer_steps_to_the_same_answer() {
    let setup = |kv| {
        let mut setup = Setup { columns: 64, kv, ..Setup::new("llama-Q4_K_S") };
        setup.settings.context = 256;
        setup
    };
    // Drawn to what it has said before, even a model that knows nothing says the same again and again.
    let [greedy, _] = variations(200);
    let circling = Request { sampling: Params { frequency_penalty: -10.0, ..Params::greedy() }, ..greedy };
    for kv in [KvType::F16, KvType::Q8_0] {
        for request in variations(200).into_iter().chain([circling.clone()]) {
            let answer = |lookup| {
                let mut batch = setup(kv).batch();
                let request = Request { lookup, ..endless(&batch, request.clone()) };
                let id = batch.open(&request).expect("a free session");
                let (mut found, mut steps) = (Answer::default(), 0);
                while !batch.is_idle() {
                    batch.step().into_iter().for_each(|event| assert!(found.take(event).is_ok()));
                    steps += 1;
                }
                (said(&found), state(&mut batch, id), steps, found.usage)
            };
            let (alone, drafted) = (answer(0), answer(7));
            assert_eq!(&drafted.0, &alone.0, "{kv:?}");
            assert!(drafted.1 == alone.1, "{kv:?}: another session");
            assert_eq!((alone.2, alone.3.drafted, alone.3.accepted), (200, 0, 0));
            // 8 tokens a step once it goes well.
            let most = if request.sampling.frequency_penalty < 0.0 { 40 } else { 200 };
            assert!(drafted.2 <= most, "{kv:?} {request:?}: {} steps", drafted.2);
            // A step makes one token, and those that were right.
            assert_eq!(drafted.2 + drafted.3.accepted, 200);
            assert!(drafted.3.accepted <= drafted.3.drafted);
        }
    }
}

/// Drafts of the tokens that do come, and others behind the end.
fn beyond(next: &[u32]) -> Vec<u32> {
    [next, &[11; 9]].concat()
}

#[test]
fn no_more_is_chosen_after_the_end() {
    let [request, _] = variations(0);
    let mut plain = batch();
    let request = endless(&plain, request);
    let full = answer(&mut plain, &request);
    assert_eq!(full.reason, Some(Reason::Context));

    // An end token within a draft: in the place of the tenth.
    let end = end_token(&plain);
    let ending = request_without_bias(&request, end);
    let limited = Request { max_tokens: 9, ..request.clone() };
    let text = plain.detokenize(&full.tokens[..9], false);
    let stops = vec![text.chars().last().expect("a text").to_string()];
    let stopping = Request { stops, ..request.clone() };
    let cases = [
        ("end token", ending, Some(EndAt { at: 9, end }), Reason::Token),
        ("limit", limited, None, Reason::Length),
        ("stop string", stopping, None, Reason::Stop),
        ("context", request, None, Reason::Context),
    ];
    for (name, request, rule, reason) in cases {
        let extras = || rule.map_or_else(Extras::default, constrained);
        let (wanted, session) = whole(&mut batch(), &request, extras());
        assert_eq!(wanted.reason, Some(reason), "{name}");
        for columns in [1, 3, 64] {
            let mut batch = Setup { columns, ..Setup::new(MODEL) }.batch();
            let drafts = Extras { drafter: oracle(&request, &full.tokens, beyond).drafter, ..extras() };
            let (found, after) = whole(&mut batch, &request, drafts);
            assert_eq!(said(&found), said(&wanted), "{name} {columns}");
            assert!(after == session, "{name} {columns}: another session");
            // One draft has it all, and what is right of it comes before the last token; in front of an end token, all of it.
            let right = wanted.tokens.len() - if reason == Reason::Token { 1 } else { 2 };
            assert_eq!(found.usage.accepted, right, "{name} {columns}");
        }
    }
}

/// Lets nothing but the end token come as token `at` of the answer, and no end token before.
#[derive(Clone, Copy)]
struct EndAt {
    at: usize,
    end: u32,
}

impl picolm_engine::Constraint for EndAt {
    fn mask(
        &mut self,
        answer: &[u32],
        _: usize,
        _: &picolm_core::text::Tokenizer,
        logits: &mut [f32],
    ) -> picolm_engine::Result<()> {
        let end = std::mem::replace(&mut logits[self.end as usize], f32::NEG_INFINITY);
        if answer.len() == self.at {
            logits.fill(f32::NEG_INFINITY);
            logits[self.end as usize] = end;
        }
        Ok(())
    }
}

#[test]
fn an_end_token_in_a_draft_is_not_a_right_one() {
    let (mut alone, mut drafted) = (batch(), batch());
    let [request, _] = variations(30);
    let end = end_token(&alone);
    let ends = || constrained(EndAt { at: 4, end });
    let wanted = answer_with(&mut alone, &request_without_bias(&request, end), ends()).expect("an answer");
    assert_eq!((wanted.tokens.len(), wanted.reason), (4, Some(Reason::Token)));
    let with_end = [&wanted.tokens[..], &[end, 5, 5]].concat();
    let request = request_without_bias(&request, end);
    let extras = Extras { drafter: oracle(&request, &with_end, |next| next.to_vec()).drafter, ..ends() };
    let found = answer_with(&mut drafted, &request, extras).expect("an answer");
    assert_eq!(said(&found), said(&wanted));
    assert_eq!((found.usage.drafted, found.usage.accepted), (6, 3));
}

/// The request with a bias of 0 on the end token: `EndAt` alone says when it comes.
fn request_without_bias(request: &Request, end: u32) -> Request {
    let mut request = request.clone();
    request.sampling.logit_bias = vec![(end, 0.0)];
    request
}

#[test]
fn a_draft_that_cannot_be_computed_is_dropped() {
    let setup = |file, columns| {
        let mut setup = Setup { columns, file, ..Setup::new(MODEL) };
        setup.settings.context = 256;
        setup
    };
    let golden = golden("llama-Q8_0");
    let broken = without_embedding(golden.clone(), 300);
    let mut plain = setup(golden, 64).batch();
    let request = endless(&plain, variations(40)[0].clone());
    let (wanted, session) = whole(&mut plain, &request, Extras::default());
    assert!(!wanted.tokens.contains(&300));
    let ways: [Draft; 3] = [
        |_| vec![300, 4, 5],
        |next| [&start(next, 1)[..], &[300, 4, 5]].concat(),
        |next| [&start(next, 5)[..], &[300, 4, 5]].concat(),
    ];
    for columns in [1, 3, 64] {
        for (i, way) in ways.iter().enumerate() {
            let mut batch = setup(broken.clone(), columns).batch();
            let (found, after) = whole(&mut batch, &request, oracle(&request, &wanted.tokens, *way));
            assert_eq!(said(&found), said(&wanted), "{columns} {i}");
            assert!(after == saved_by(&mut setup(broken.clone(), 64).batch(), &request), "{columns} {i}");
            assert_eq!(after.len(), session.len());
        }
    }
}

/// The session behind an answer without drafts. (The file's fingerprint is part of it.)
fn saved_by(batch: &mut Batch<Local>, request: &Request) -> Vec<u8> {
    whole(batch, request, Extras::default()).1
}

#[test]
fn what_was_computed_before_a_draft_broke_counts() {
    let broken = without_embedding(golden("llama-Q8_0"), 300);
    let request = |batch: &Batch<Local>| endless(batch, variations(40)[0].clone());
    let steps = |columns: usize, drafts: bool| {
        let mut batch = Setup { columns, file: broken.clone(), ..Setup::new(MODEL) }.batch();
        let request = request(&batch);
        let next = answer(&mut batch, &request).tokens;
        batch.reset();
        let way: Draft = |next| [&start(next, 5)[..], &[300]].concat();
        let extras = if drafts { oracle(&request, &next, way) } else { Extras::default() };
        let id = batch.open_with(&request, extras).expect("a free session");
        let steps = (0..).find(|_| {
            batch.step();
            batch.is_idle()
        });
        batch.close(id).expect("it is open");
        steps.expect("an end") + 1
    };
    assert_eq!(steps(64, false), 40);
    // All of it is one batch: nothing is gained until there is no room for the broken token. With batches of 3, two of them are
    // computed, and 6 tokens chosen.
    assert_eq!(steps(64, true), 34 + 1);
    assert!(steps(3, true) < 20, "{}", steps(3, true));
}

/// Of many sessions in one batch some have drafts: right, wrong, impossible.
#[test]
fn drafts_in_company_change_no_answer() {
    let broken = without_embedding(golden("llama-Q8_0"), 300);
    let setup = |columns| Setup { columns, file: broken.clone(), ..Setup::new(MODEL) };
    let requests: Vec<Request> = {
        let batch = setup(1).batch();
        let one = |i: u32| drawn((0..10 + 9 * i).map(|at| (at * (i + 3) + 5) % 250).collect(), 25 + i as usize);
        (0..WAYS.len() as u32).map(|i| endless(&batch, one(i))).collect()
    };
    let alone: Vec<(Answer, Vec<u8>)> =
        requests.iter().map(|request| whole(&mut setup(1).batch(), request, Extras::default())).collect();
    assert!(alone.iter().all(|(answer, _)| !answer.tokens.contains(&300)));
    let broken_draft: Draft = |next| [&start(next, 3)[..], &[300]].concat();
    for columns in [1, 5, 64] {
        for impossible in [false, true] {
            let mut batch = setup(columns).batch();
            let open = |((request, (wanted, _)), way): ((&Request, &(Answer, Vec<u8>)), &Way)| {
                let draft = match way.name {
                    "no such token" if !impossible => broken_draft,
                    _ => way.draft,
                };
                batch.open_with(request, oracle(request, &wanted.tokens, draft)).expect("a free session")
            };
            let ids: Vec<SessionId> = requests.iter().zip(&alone).zip(&WAYS).map(open).collect();
            let found = run(&mut batch, &ids);
            for (i, ((found, id), (wanted, session))) in found.iter().zip(&ids).zip(&alone).enumerate() {
                let found = found.as_ref().expect("an answer");
                let what = format!("{} {columns} {impossible}", WAYS[i].name);
                assert_eq!(said(found), said(wanted), "{what}");
                // A last token is not fed again if the batch with it failed behind its logits.
                let Prompt::Tokens(prompt) = &requests[i].prompt else { unreachable!("tokens") };
                let all = [&prompt[..], &found.tokens].concat();
                let held = batch.held(*id).expect("it is open");
                let fed = all.len() - 1;
                assert_eq!(held, &all[..held.len()], "{what}");
                assert!(held.len() == fed || (!impossible && (prompt.len()..fed).contains(&held.len())), "{what}");
                assert!(held.len() < fed || state(&mut batch, *id) == *session, "{what}: another session");
                assert!(found.usage.accepted <= found.usage.drafted, "{what}");
            }
        }
    }
}

#[test]
fn drafts_and_log_probabilities() {
    let request = Request { logprobs: Some(4), ..drawn(prompt(20), 30) };
    let wanted = answer(&mut batch(), &request);
    assert_eq!(wanted.logprobs.len(), wanted.tokens.len());
    for way in &WAYS {
        let found =
            answer_with(&mut batch(), &request, oracle(&request, &wanted.tokens, way.draft)).expect("an answer");
        assert_eq!(said(&found), said(&wanted), "{}", way.name);
    }
    let Prompt::Tokens(tokens) = request.prompt else { unreachable!("tokens") };
    assert_eq!(wanted.usage.prompt, tokens.len());
}
