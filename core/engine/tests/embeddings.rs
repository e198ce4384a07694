//! Embeddings: the same bits in batches of any size and in any company, as work that delays no answer.

mod common;

use common::*;
use picolm_engine::{Answer, Batch, Chat, Event, Kind, Local, Prompt, Request, Task, Want};

fn embed(tokens: Vec<u32>) -> Request {
    Request { prompt: Prompt::Tokens(tokens), task: Task::Embed, ..Request::default() }
}

fn embedding(batch: &mut Batch<Local>, tokens: &[u32]) -> Vec<u32> {
    bits(&answer(batch, &embed(tokens.to_vec())))
}

fn bits(answer: &Answer) -> Vec<u32> {
    answer.embedding.iter().map(|x| x.to_bits()).collect()
}

/// By its definition, of hidden states that are computed one by one.
fn by_hand(tokens: &[u32]) -> Vec<u32> {
    let mut batch = batch();
    let mut sum = Vec::new();
    for token in tokens {
        let add = &mut |row: &[f32]| {
            sum.resize(row.len(), 0.0);
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
        };
        batch.feed(&[*token], Want::Hidden, add).expect("a state");
    }
    let length = libm::sqrt(sum.iter().map(|x| x * x).sum());
    sum.iter().map(|x| ((x / length) as f32).to_bits()).collect()
}

#[test]
fn an_embedding_is_the_mean_of_the_states_of_length_1() {
    for tokens in [prompt(90), prompt(1), vec![8; 20]] {
        let wanted = by_hand(&tokens);
        for columns in [1, 7, 16, 256] {
            let mut batch = Setup { columns, ..Setup::new(MODEL) }.batch();
            for most in [1, 13, 64] {
                let id = batch.open(&embed(tokens.clone())).expect("a free session");
                let mut found = Answer::default();
                while !batch.is_idle() {
                    batch.step_with(most).into_iter().for_each(|event| assert!(found.take(event).is_ok()));
                }
                batch.close(id).expect("it is open");
                assert_eq!(bits(&found), wanted, "batches of {columns}, steps of {most}");
                assert_eq!((found.usage.prompt, found.usage.answer, found.usage.reused), (tokens.len(), 0, 0));
                let length: f64 = found.embedding.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
                assert!((length - 1.0).abs() < 1e-5, "{length}");
            }
        }
    }
    // The mean of the parts would be that of the whole if tokens did not see each other.
    assert_ne!(embedding(&mut batch(), &prompt(90)[1..]), by_hand(&prompt(90)));
}

#[test]
fn what_other_sessions_hold_is_not_used() {
    let mut batch = batch();
    answer(&mut batch, &drawn(prompt(60), 5));
    let wanted = by_hand(&prompt(60));
    assert_eq!(embedding(&mut batch, &prompt(60)), wanted);
    // Two at once, and beside an answer to the same prompt.
    let ids = [embed(prompt(60)), drawn(prompt(60), 5), embed(prompt(60))].map(|request| batch.open(&request).unwrap());
    let found = run(&mut batch, &ids);
    assert_eq!(bits(found[0].as_ref().expect("an embedding")), wanted);
    assert_eq!(bits(found[2].as_ref().expect("an embedding")), wanted);
    let alone = answer(&mut self::batch(), &drawn(prompt(60), 5));
    assert_eq!(said(found[1].as_ref().expect("an answer")), said(&alone));
}

/// An answer to a prompt that an embedding has read, or reads, may begin with a copy of its session.
#[test]
fn an_answer_may_begin_with_what_an_embedding_computed() {
    let mut batch = batch();
    let alone = said(&answer(&mut batch, &drawn(prompt(60), 5)));
    batch.reset();
    let ids = [embed(prompt(60)), drawn(prompt(60), 5)].map(|request| batch.open(&request).expect("a free session"));
    let found = run(&mut batch, &ids);
    assert_eq!(bits(found[0].as_ref().expect("an embedding")), by_hand(&prompt(60)));
    let found = found[1].as_ref().expect("an answer");
    assert_eq!((said(found), found.usage.reused), (alone, 59));
}

#[test]
fn a_long_text_delays_no_answer() {
    let mut setup = Setup::new(MODEL);
    (setup.settings.prompt_step, setup.settings.prompt_step_beside) = (64, 10);
    let mut batch = setup.batch();
    let requests = [drawn(prompt(20), 15), drawn(prompt(9), 15)].map(|request| endless(&batch, request));
    let wanted = requests.clone().map(|request| said(&answer(&mut batch, &request)));
    batch.reset();
    let answers = requests.map(|request| batch.open(&request).expect("a free session"));
    batch.step();
    let text = batch.open(&embed(prompt(100))).expect("a free session");
    let mut done = Vec::new();
    for step in 0..10 {
        let events = batch.step();
        for id in answers {
            let tokens = events.iter().filter(|event| matches!(event, Event::Piece { id: of, .. } if *of == id));
            assert_eq!(tokens.count(), 1, "step {step} gives every answer a token");
        }
        done.extend(events.iter().filter_map(|event| match event {
            Event::Prompt { id, done, of: 100 } if *id == text => Some(*done),
            _ => None,
        }));
        let over = events.iter().any(|event| matches!(event, Event::Embedded { id, .. } if *id == text));
        assert_eq!(over, step == 9, "the text is read in parts");
    }
    assert_eq!(done, (1..=10).map(|part| 10 * part).collect::<Vec<_>>());
    assert!(!batch.is_idle());
    let mut found = vec![Ok(Answer::default()); 2];
    while !batch.is_idle() {
        take(batch.step(), &answers, &mut found);
    }
    // The events of the first steps were looked at above: this is the rest.
    for (found, wanted) in found.into_iter().zip(wanted) {
        let rest = found.expect("an answer").tokens;
        assert_eq!(rest, wanted.tokens[15 - rest.len()..]);
    }
}

#[test]
fn company_changes_no_bit() {
    let texts = [prompt(100), prompt(1), vec![9; 33], (0..70).map(|i| (i * 11) % 290).collect()];
    let wanted = texts.clone().map(|text| by_hand(&text));
    let request = drawn(prompt(30), 40);
    let said_alone = said(&answer(&mut batch(), &request));
    for columns in [1, 16, 64] {
        let mut batch = Setup { columns, ..Setup::new(MODEL) }.batch();
        let mut ids = vec![batch.open(&request).expect("a free session")];
        let mut answers = vec![Ok(Answer::default())];
        for text in &texts {
            (0..2).for_each(|_| take(batch.step(), &ids, &mut answers));
            ids.push(batch.open(&embed(text.clone())).expect("a free session"));
            answers.push(Ok(Answer::default()));
        }
        while !batch.is_idle() {
            take(batch.step(), &ids, &mut answers);
        }
        assert_eq!(said(answers[0].as_ref().expect("an answer")), said_alone, "batches of {columns}");
        for (found, wanted) in answers[1..].iter().zip(&wanted) {
            assert_eq!(&bits(found.as_ref().expect("an embedding")), wanted, "batches of {columns}");
        }
    }
}

/// Beside a session whose part of the batch fails: what had been shown of the text is not added again.
#[test]
fn an_embedding_beside_one_that_fails() {
    let broken = without_embedding(golden("llama-Q8_0"), 300);
    let setup = |columns| Setup { columns, file: broken.clone(), ..Setup::new(MODEL) };
    let wanted = embedding(&mut setup(16).batch(), &prompt(40));
    assert!(!prompt(40).contains(&300));
    for columns in [1, 4, 64] {
        let mut batch = setup(columns).batch();
        let texts = [prompt(40), vec![5, 300, 5], prompt(40)];
        let ids = texts.map(|text| batch.open(&embed(text)).expect("a free session"));
        let found = run(&mut batch, &ids);
        assert_eq!(found[1].as_ref().expect_err("no state").kind, Kind::Model);
        for at in [0, 2] {
            let found = found[at].as_ref().expect("an embedding");
            assert_eq!((bits(found), found.usage.prompt), (wanted.clone(), 40), "batches of {columns}");
        }
        ids.into_iter().for_each(|id| drop(batch.close(id).expect("it is open")));
        // And beside a draft that fails in every step.
        let request = endless(&batch, greedy(vec![3, 50, 7, 120], 40));
        let next = answer(&mut batch, &request).tokens;
        batch.reset();
        let answer = batch.open_with(&request, oracle(&request, &next, |_| vec![300])).expect("a free session");
        batch.step();
        let ids = [answer, batch.open(&embed(prompt(40))).expect("a free session")];
        let found = run(&mut batch, &ids);
        assert_eq!(bits(found[1].as_ref().expect("an embedding")), wanted, "batches of {columns}");
    }
}

#[test]
fn texts_that_cannot_be() {
    let mut batch = batch();
    let mut refused = |request: Request| batch.open(&request).expect_err("it cannot be").kind;
    assert_eq!(refused(embed(vec![])), Kind::Request);
    assert_eq!(refused(embed(prompt(CONTEXT as u32 + 1))), Kind::ContextFull);
    assert_eq!(refused(embed(vec![320])), Kind::Request);
    let chat = Chat::new(r#"[{"role":"user","content":"a"}]"#);
    assert_eq!(refused(Request { prompt: Prompt::Chat(chat), ..embed(vec![]) }), Kind::Request);
    // As much as fits.
    assert_eq!(answer(&mut batch, &embed(prompt(CONTEXT as u32))).usage.prompt, CONTEXT);
}

#[test]
fn its_session_is_freed_when_it_is_closed() {
    let mut setup = Setup::new(MODEL);
    setup.settings.sessions = 1;
    let mut batch = setup.batch();
    for _ in 0..3 {
        let id = batch.open(&embed(prompt(50))).expect("a free session");
        batch.step();
        assert_eq!(batch.open(&embed(prompt(5))).expect_err("one at a time").kind, Kind::Busy);
        assert!(batch.arithmetic().kv_bytes() > 0);
        assert_eq!(batch.close(id), Ok(String::new()));
        assert_eq!(batch.arithmetic().kv_bytes(), 0, "no answer begins in it");
        assert!(batch.close(id).is_err() && batch.held(id).is_err() && batch.is_idle());
    }
    // Cancelled half-way, too.
    let id = batch.open(&embed(prompt(100))).expect("a free session");
    batch.step_with(10);
    assert!(!batch.is_idle());
    batch.close(id).expect("it is open");
    assert!(batch.is_idle() && batch.step().is_empty());
}
