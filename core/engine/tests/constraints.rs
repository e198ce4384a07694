//! Constraints: what they ban never comes, what they force comes without the model, and neither drafts nor company change that.

mod common;

use common::*;
use picolm_core::sampler::Params;
use picolm_core::text::Tokenizer;
use picolm_engine::{Answer, Constraint, Error, Extras, Kind, Prompt, Reason, Request, SessionId};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Only even tokens.
struct Even;

impl Constraint for Even {
    fn mask(&mut self, _: &[u32], _: usize, _: &Tokenizer, logits: &mut [f32]) -> Result<(), Error> {
        logits.iter_mut().skip(1).step_by(2).for_each(|logit| *logit = f32::NEG_INFINITY);
        Ok(())
    }
}

/// Each token in `after` is followed by these.
#[derive(Clone)]
struct Then {
    after: fn(u32) -> bool,
    next: &'static [u32],
    masked: Arc<AtomicUsize>,
}

impl Then {
    fn new(after: fn(u32) -> bool, next: &'static [u32]) -> Self {
        Then { after, next, masked: Arc::default() }
    }

    fn due(&self, answer: &[u32]) -> Option<u32> {
        (0..self.next.len()).find_map(|n| {
            let (front, end) = answer.split_at(answer.len().checked_sub(n)?);
            (end == &self.next[..n] && (self.after)(*front.last()?)).then_some(self.next[n])
        })
    }
}

impl Constraint for Then {
    fn mask(&mut self, answer: &[u32], _: usize, _: &Tokenizer, logits: &mut [f32]) -> Result<(), Error> {
        self.masked.fetch_add(1, Ordering::Relaxed);
        if let Some(due) = self.due(answer) {
            let logit = logits[due as usize];
            logits.fill(f32::NEG_INFINITY);
            logits[due as usize] = logit;
        }
        Ok(())
    }

    fn forced(&mut self, answer: &[u32]) -> Option<u32> {
        self.due(answer)
    }
}

/// The same without saying that it forces: the model is asked for every token.
struct Asked(Then);

impl Constraint for Asked {
    fn mask(&mut self, answer: &[u32], room: usize, tokenizer: &Tokenizer, logits: &mut [f32]) -> Result<(), Error> {
        self.0.mask(answer, room, tokenizer, logits)
    }
}

/// Bans everything once there are so many tokens.
struct NothingAfter(usize);

impl Constraint for NothingAfter {
    fn mask(&mut self, answer: &[u32], _: usize, _: &Tokenizer, logits: &mut [f32]) -> Result<(), Error> {
        if answer.len() >= self.0 {
            logits.fill(f32::NEG_INFINITY);
        }
        Ok(())
    }
}

/// Says what comes first, and after it, and masks nothing.
struct Begin(&'static [u32]);

impl Constraint for Begin {
    fn mask(&mut self, _: &[u32], _: usize, _: &Tokenizer, _: &mut [f32]) -> Result<(), Error> {
        Ok(())
    }

    fn forced(&mut self, answer: &[u32]) -> Option<u32> {
        self.0.get(answer.len()).copied()
    }
}

fn odd(token: u32) -> bool {
    !token.is_multiple_of(2)
}

fn multiple_of_3(token: u32) -> bool {
    token.is_multiple_of(3)
}

const AFTER_ODD: &[u32] = &[200, 202, 204];

/// The rules of a case, made anew for each answer.
type Rules = fn() -> Vec<Box<dyn Constraint>>;

const CASES: [(&str, Rules); 5] = [
    ("none", Vec::new),
    ("even", || vec![Box::new(Even)]),
    ("forced", || vec![Box::new(Then::new(odd, AFTER_ODD))]),
    ("asked", || vec![Box::new(Asked(Then::new(odd, AFTER_ODD)))]),
    ("both", || vec![Box::new(Even), Box::new(Then::new(multiple_of_3, &[10, 20]))]),
];

fn extras(rules: Rules) -> Extras {
    Extras { constraints: rules(), drafter: None }
}

fn requests() -> [Request; 3] {
    let prompt = prompt(12).repeat(2);
    let batch = batch();
    let stops = vec!["\u{1}\u{1}".to_string()];
    [greedy(prompt.clone(), 40), drawn(prompt.clone(), 40), Request { stops, ..drawn(prompt, 0) }]
        .map(|request| endless(&batch, request))
}

fn alone(request: &Request, rules: Rules) -> Answer {
    said(&answer_with(&mut batch(), request, extras(rules)).expect("an answer"))
}

#[test]
fn rules_are_kept() {
    for request in requests() {
        let [_, even, forced, asked, both] = CASES.map(|(_, rules)| alone(&request, rules));
        assert!(!even.tokens.is_empty() && !even.tokens.iter().any(|&token| odd(token)));
        assert_eq!(forced, asked, "whether the model is asked changes nothing");
        let mut held = 0;
        for answer in [&forced, &both] {
            let (after, next): (fn(u32) -> bool, _) =
                if answer == &forced { (odd, AFTER_ODD) } else { (multiple_of_3, &[10, 20][..]) };
            for (at, _) in answer.tokens.iter().enumerate().filter(|(_, token)| after(**token)) {
                let rest = &answer.tokens[at + 1..];
                let n = rest.len().min(next.len());
                assert_eq!(rest[..n], next[..n]);
                held += 1;
            }
        }
        assert!(held > 5, "the rule had something to do");
        assert!(!both.tokens.iter().any(|&token| odd(token)));
    }
}

#[test]
fn forced_tokens_take_no_step() {
    let request = &requests()[0];
    let rule = Then::new(odd, AFTER_ODD);
    let count = rule.masked.clone();
    let mut batch = batch();
    let id = batch.open_with(request, constrained(rule)).expect("a free session");
    let (mut found, mut steps) = (Answer::default(), 0);
    while !batch.is_idle() {
        batch.step().into_iter().for_each(|event| assert!(found.take(event).is_ok()));
        steps += 1;
    }
    batch.close(id).expect("it is open");
    let forced = found.tokens.iter().filter(|token| AFTER_ODD.contains(token)).count();
    assert!(forced >= 6, "{:?}", found.tokens);
    assert!(count.load(Ordering::Relaxed) <= 40 - forced + 3, "only what is not forced is asked for");
    assert_eq!(steps, count.load(Ordering::Relaxed));
    assert_eq!(found.usage.answer, 40);
}

#[test]
fn a_rule_that_forces_need_not_mask() {
    for logprobs in [None, Some(2)] {
        let request = Request { logprobs, ..drawn(prompt(20), 10) };
        let found = answer_with(&mut batch(), &request, constrained(Begin(&[7, 8, 9]))).expect("an answer");
        assert_eq!(found.tokens[..3], [7, 8, 9]);
        // And so it goes on as after a prompt that ends so.
        let whole = drawn([&prompt(20)[..], &[7, 8, 9]].concat(), 7);
        assert_eq!(found.tokens[3..], answer(&mut batch(), &whole).tokens);
        assert_eq!(found.logprobs.len(), if logprobs.is_some() { 10 } else { 0 });
    }
}

#[test]
fn a_forced_end_token_ends_the_answer() {
    let mut batch = batch();
    let end = end_token(&batch);
    /// An end after three tokens.
    struct End(u32);

    impl Constraint for End {
        fn mask(&mut self, _: &[u32], _: usize, _: &Tokenizer, logits: &mut [f32]) -> Result<(), Error> {
            logits[self.0 as usize] = f32::NEG_INFINITY;
            Ok(())
        }

        fn forced(&mut self, answer: &[u32]) -> Option<u32> {
            (answer.len() == 3).then_some(self.0)
        }
    }

    for logprobs in [None, Some(0)] {
        let request = Request { logprobs, ..drawn(prompt(20), 10) };
        let found = answer_with(&mut batch, &request, constrained(End(end))).expect("an answer");
        assert_eq!((found.tokens.len(), found.reason, found.usage.answer), (3, Some(Reason::Token), 3));
    }
}

#[test]
fn forced_tokens_end_an_answer_as_others_do() {
    let mut batch = batch();
    let request = endless(&batch, greedy(prompt(20), 0));
    let always = || constrained(Then::new(|_| true, &[200; 500]));
    let full = answer_with(&mut batch, &request, always()).expect("an answer");
    assert_eq!((full.reason, full.tokens.len()), (Some(Reason::Context), CONTEXT - 20 + 1));
    let limited = answer_with(&mut batch, &Request { max_tokens: 9, ..request.clone() }, always()).expect("an answer");
    assert_eq!((limited.reason, limited.tokens.len()), (Some(Reason::Length), 9));
    assert_eq!(limited.tokens[..], full.tokens[..9]);
    let text = batch.detokenize(&[200], false);
    assert!(!text.is_empty());
    let stopped = answer_with(&mut batch, &Request { stops: vec![text.repeat(3)], ..request }, always()).expect("one");
    assert_eq!((stopped.reason, &stopped.tokens[1..]), (Some(Reason::Stop), &[200; 3][..]));
}

#[test]
fn neither_drafts_nor_lookup_nor_batches_change_what_rules_allow() {
    let ways: [Draft; 4] = [
        |next| next.to_vec(),
        |next| next.iter().take(3).copied().collect(),
        |next| next.iter().take(2).copied().chain([1, 1, 1]).collect(),
        |_| vec![320],
    ];
    for request in requests() {
        for (name, rules) in CASES {
            let wanted = alone(&request, rules);
            for (columns, lookup) in [(1, 7), (16, 1), (64, 63)] {
                let request = Request { lookup, ..request.clone() };
                let mut batch = Setup { columns, ..Setup::new(MODEL) }.batch();
                let found = answer_with(&mut batch, &request, extras(rules)).expect("an answer");
                assert_eq!(said(&found), wanted, "{name}, lookup of {lookup}");
            }
            for (i, way) in ways.into_iter().enumerate() {
                let mut batch = batch();
                let drafts = Extras { constraints: rules(), ..oracle(&request, &wanted.tokens, way) };
                let found = answer_with(&mut batch, &request, drafts).expect("an answer");
                assert_eq!(said(&found), wanted, "{name}, draft {i}");
                assert!(found.usage.accepted <= found.usage.drafted);
                assert!(i > 0 || found.usage.accepted == found.usage.drafted, "{name}: {:?}", found.usage);
            }
        }
    }
}

#[test]
fn log_probabilities_of_forced_tokens_are_the_models() {
    for request in requests() {
        let request = Request { logprobs: Some(3), ..request };
        let [_, _, forced, asked, _] = CASES.map(|(_, rules)| alone(&request, rules));
        assert_eq!(forced, asked);
        assert_eq!(forced.logprobs.len(), forced.tokens.len());
        let plain = alone(&Request { logprobs: None, ..request.clone() }, CASES[2].1);
        assert_eq!((&plain.text, &plain.tokens), (&forced.text, &forced.tokens));
        // Of all tokens, before the rule: one that was forced is not certain.
        let certain = forced.logprobs.iter().filter(|(chosen, _)| chosen.logprob > -0.01).count();
        assert!(certain < forced.tokens.len() / 2);
        // A draft is tried here as well.
        let drafts = Extras { constraints: CASES[2].1(), ..oracle(&request, &forced.tokens, |next| next.to_vec()) };
        assert_eq!(said(&answer_with(&mut batch(), &request, drafts).expect("an answer")), forced);
    }
}

#[test]
fn company_changes_nothing_that_rules_allow() {
    let mixed: Vec<(Request, Rules)> = {
        let mut requests: Vec<Request> = requests().into_iter().chain(requests()).collect();
        requests[1].logprobs = Some(1);
        requests[4].lookup = 7;
        requests.truncate(CASES.len());
        let seeds = requests.into_iter().zip(1..).map(|(request, seed)| {
            let sampling = Params { seed, ..request.sampling };
            let Prompt::Tokens(mut tokens) = request.prompt else { unreachable!("tokens") };
            tokens[0] = seed as u32;
            Request { sampling, prompt: Prompt::Tokens(tokens), ..request }
        });
        seeds.zip(CASES).map(|(request, (_, rules))| (request, rules)).collect()
    };
    let wanted: Vec<Answer> = mixed.iter().map(|(request, rules)| alone(request, *rules)).collect();
    for columns in [1, 5, 64] {
        let mut batch = Setup { columns, ..Setup::new(MODEL) }.batch();
        let open = |(request, rules): &(Request, Rules)| batch.open_with(request, extras(*rules)).expect("a session");
        let ids: Vec<SessionId> = mixed.iter().map(open).collect();
        for ((found, wanted), (name, _)) in run(&mut batch, &ids).into_iter().zip(&wanted).zip(CASES) {
            assert_eq!(&said(&found.expect("an answer")), wanted, "{name}, batches of {columns}");
        }
    }
}

#[test]
fn a_rule_that_bans_everything_fails_its_answer_alone() {
    let [first, second, _] = requests();
    let wanted = [alone(&first, CASES[0].1), alone(&second, CASES[1].1)];
    for (tokens, lookup) in [(0, 0), (5, 0), (5, 7)] {
        let mut batch = batch();
        let ids = [
            batch.open_with(&first, extras(CASES[0].1)),
            batch.open_with(&Request { lookup, ..first.clone() }, constrained(NothingAfter(tokens))),
            batch.open_with(&second, extras(CASES[1].1)),
        ]
        .map(|id| id.expect("a free session"));
        let mut answers = vec![Ok(Answer::default()); 3];
        let mut failed = Answer::default();
        while !batch.is_idle() {
            let events = batch.step();
            let of_it = events.iter().filter(|event| event.id() == ids[1]).cloned();
            of_it.for_each(|event| drop(failed.take(event)));
            take(events, &ids, &mut answers);
        }
        let message = "every token of the vocabulary is banned".to_string();
        assert_eq!(answers[1], Err(Error { kind: Kind::Request, field: None, message }));
        assert_eq!(failed.tokens, wanted[0].tokens[..tokens], "what came before it was said");
        for (at, wanted) in [(0, &wanted[0]), (2, &wanted[1])] {
            assert_eq!(&said(answers[at].as_ref().expect("an answer")), wanted);
        }
    }
}

#[test]
fn a_forced_token_that_is_none_fails_its_answer_alone() {
    let [first, second, _] = requests();
    let wanted = alone(&second, CASES[1].1);
    let mut batch = batch();
    let strange = constrained(Begin(&[200, 1_000_000, 200]));
    let ids = [batch.open_with(&first, strange), batch.open_with(&second, extras(CASES[1].1))];
    let ids = ids.map(|id| id.expect("a free session"));
    let found = run(&mut batch, &ids);
    assert_eq!(found[0].as_ref().expect_err("no such token").kind, Kind::Request);
    assert_eq!(said(found[1].as_ref().expect("an answer")), wanted);
}

/// A model whose end token comes up by chance cannot end its answer sooner.
#[test]
fn an_answer_has_at_least_min_tokens() {
    let mut batch = batch();
    let sampling = Params { temperature: 100.0, top_k: 0, top_p: 1.0, min_p: 0.2, ..Params::default() };
    let mut ended = 0;
    for seed in 0..20 {
        let sampling = Params { seed, ..sampling.clone() };
        let free = Request { prompt: Prompt::Tokens(prompt(9)), sampling, max_tokens: 40, ..Request::default() };
        let alone = answer(&mut batch, &free);
        for (min_tokens, lookup) in [(12, 0), (12, 7), (60, 0)] {
            let found = answer(&mut batch, &Request { min_tokens, lookup, ..free.clone() });
            assert!(found.tokens.len() >= min_tokens.min(40), "{seed}: {} tokens", found.tokens.len());
        }
        ended += usize::from(alone.reason == Some(Reason::Token) && alone.tokens.len() < 12);
    }
    assert!(ended > 0, "some would have ended sooner");
}

/// In the vocabulary of the golden models, the token of a byte.
const fn byte(byte: u8) -> u32 {
    byte as u32 + 3
}

#[test]
fn an_answer_that_is_cut_in_a_character_ends_before_it() {
    let said = |tokens: &'static [u32], prompt_tokens: u32, max_tokens: usize| {
        let extras = Extras { constraints: vec![Box::new(Begin(tokens))], drafter: None };
        let mut batch = batch();
        let id = batch.open_with(&greedy(prompt(prompt_tokens), max_tokens), extras).expect("a free session");
        let answer = run(&mut batch, &[id]).remove(0).expect("an answer");
        (answer.text, answer.reason)
    };
    const LLAMA: &[u32] = &[byte(b'a'), byte(0xf0), byte(0x9f), byte(0xa6), byte(0x99), byte(b'b')];
    for (max_tokens, text) in [(1, "a"), (2, "a"), (3, "a"), (4, "a"), (5, "a🦙"), (6, "a🦙b")] {
        assert_eq!(said(LLAMA, 10, max_tokens), (text.into(), Some(Reason::Length)));
    }
    assert_eq!(said(LLAMA, CONTEXT as u32 - 2, 0), ("a".into(), Some(Reason::Context)));
    // What can be no character, whatever follows, was said.
    const NEVER: &[u32] = &[byte(b'a'), byte(0xff), byte(0xf0), byte(b'b')];
    assert_eq!(said(NEVER, 10, 4), ("a\u{fffd}\u{fffd}b".into(), Some(Reason::Length)));
    const ENDED: &[u32] = &[byte(b'a'), byte(0xf0), 2];
    assert_eq!(said(ENDED, 10, 3), ("a\u{fffd}".into(), Some(Reason::Token)));
}
