//! Answers: the same however they are cut into steps, in whatever company, whatever the session held, and each way they can end.

mod common;

use common::*;
use picolm_core::sampler::Params;
use picolm_core::text::{ChatTemplate, Encode};
use picolm_engine::{Answer, Batch, Chat, Error, Event, Kind, Prompt, Reason, Request, TokenLogprob, Want};

#[test]
fn steps_of_any_size_and_what_the_session_held_change_nothing() {
    let request = drawn(prompt(50), 20);
    let wanted = said(&answer(&mut batch(), &request));
    let mut batch = batch();
    for (before, most) in [(0, 1), (3, 7), (50, 16), (49, 64), (80, 0)] {
        if before > 0 {
            answer(&mut batch, &drawn(prompt(before), 2));
        }
        let id = batch.open(&request).expect("a free session");
        let mut found = Answer::default();
        while !batch.is_idle() {
            let events = batch.step_with(most);
            events.into_iter().for_each(|event| assert!(found.take(event).is_ok()));
        }
        batch.close(id).expect("an open session");
        assert_eq!(said(&found), wanted, "after a prompt of {before}, steps of {most}");
    }
}

/// Sessions that come and go between the steps of others get the answers they get alone, with batches of any size.
#[test]
fn company_changes_no_answer() {
    let requests = [(40, 30, 1), (3, 9, 2), (90, 20, 3), (41, 25, 4), (7, 40, 5), (7, 40, 5)];
    let requests = requests.map(|(tokens, length, seed)| {
        let request = drawn((0..tokens).map(|i| (7 + seed as u32 + i * 37) % 300).collect(), length);
        Request { sampling: Params { seed, ..request.sampling }, logprobs: (seed % 2 == 0).then_some(2), ..request }
    });
    let alone = requests.clone().map(|request| said(&answer(&mut batch(), &request)));
    for columns in [1, 16, 256] {
        let mut batch = Setup { columns, ..Setup::new(MODEL) }.batch();
        let (mut ids, mut answers) = (Vec::new(), Vec::new());
        for request in &requests {
            ids.push(batch.open(request).expect("a free session"));
            answers.push(Ok(Answer::default()));
            (0..3).for_each(|_| take(batch.step(), &ids, &mut answers));
        }
        while !batch.is_idle() {
            take(batch.step(), &ids, &mut answers);
        }
        for (found, wanted) in answers.iter().zip(&alone) {
            assert_eq!(&said(found.as_ref().expect("an answer")), wanted, "batches of {columns}");
        }
    }
}

#[test]
fn lookup_changes_nothing() {
    // What repeats itself is proposed; whether it is right, the model says.
    let repeated: Vec<u32> = prompt(12).repeat(4);
    for request in [drawn(repeated.clone(), 30), greedy(repeated, 30)] {
        let wanted = said(&answer(&mut batch(), &request));
        for lookup in [1, 7] {
            assert_eq!(said(&answer(&mut batch(), &Request { lookup, ..request.clone() })), wanted);
        }
    }
}

#[test]
fn only_what_is_new_is_fed() {
    let mut batch = batch();
    answer(&mut batch, &drawn(prompt(50), 5));
    let mut reused = |tokens: &[u32], kept: &[u32]| {
        let id = batch.open(&drawn(tokens.to_vec(), 5)).expect("a free session");
        assert_eq!(batch.held(id).expect("it is open"), kept, "what differs is forgotten");
        let found = run(&mut batch, &[id]).remove(0).expect("an answer").usage;
        batch.close(id).expect("it is open");
        assert_eq!(found.prompt, tokens.len());
        found.reused
    };
    let long = prompt(60);
    assert_eq!(reused(&long[..55], &long[..50]), 50);
    // The last token is fed in any case.
    assert_eq!(reused(&long[..50], &long[..49]), 49);
    assert_eq!(reused(&[299, 298], &[]), 0);
    // Unless the request wants nothing of what was.
    let fresh = Request { cache_prompt: false, ..drawn(prompt(50), 5) };
    assert_eq!(answer(&mut batch, &fresh).usage.reused, 0);
}

#[test]
fn an_answer_ends_at_its_limit_at_the_context_and_in_front_of_a_stop_string() {
    let whole = answer(&mut batch(), &drawn(prompt(50), 6));
    assert_eq!((whole.tokens.len(), whole.reason, whole.usage.answer), (6, Some(Reason::Length), 6));

    let mut batch = batch();
    let request = endless(&batch, drawn(prompt(100), 0));
    let id = batch.open(&request).expect("a free session");
    let full = run(&mut batch, &[id]).remove(0).expect("an answer");
    // The last one is chosen and cannot be fed.
    assert_eq!((full.tokens.len(), full.reason), (CONTEXT - 100 + 1, Some(Reason::Context)));
    assert_eq!(batch.held(id).expect("it is open").len(), CONTEXT);

    let middle = whole.text.char_indices().nth(whole.text.chars().count() / 2).expect("a text").0;
    let stop = whole.text[middle..].to_string();
    let request = Request { stops: vec![stop.clone()], ..drawn(prompt(50), 6) };
    let until = answer(&mut self::batch(), &request);
    assert_eq!(until.reason, Some(Reason::Stop));
    assert_eq!(until.text, whole.text[..whole.text.find(&stop).expect("in the text")]);
}

#[test]
fn an_end_token_ends_an_answer_and_is_no_part_of_it() {
    let mut batch = batch();
    let end = end_token(&batch);
    let mut request = drawn(prompt(50), 20);
    request.sampling.logit_bias = vec![(end, 100.0)];
    let found = answer(&mut batch, &request);
    assert_eq!((found.reason, found.tokens.len(), found.text.len()), (Some(Reason::Token), 0, 0));
    assert_eq!(found.usage.answer, 0);
}

#[test]
fn a_request_that_cannot_be_leaves_all_sessions_as_they_were() {
    let mut batch = batch();
    answer(&mut batch, &drawn(prompt(50), 5));
    let refused = |batch: &mut Batch<_>, request: Request| batch.open(&request).expect_err("it cannot be");
    let with = |change: fn(&mut Params)| {
        let mut bad = drawn(prompt(3), 5);
        change(&mut bad.sampling);
        bad
    };
    let cases = [
        (drawn(vec![], 5), Kind::Request, None, "the prompt is empty"),
        (
            drawn(prompt(CONTEXT as u32 + 1), 5),
            Kind::ContextFull,
            None,
            "the prompt has 121 tokens, and the context holds 120: shorten it, or ask for a longer context",
        ),
        (drawn(vec![1, 2, 1_000_000], 5), Kind::Request, None, "token 1000000 is not in the vocabulary of 320"),
        (
            with(|params| params.temperature = -1.0),
            Kind::Request,
            Some("temperature"),
            "temperature is -1, which is not from 0 to 100",
        ),
        (
            with(|params| params.top_p = f32::NAN),
            Kind::Request,
            Some("top_p"),
            "top_p is NaN, which is not from 0 to 1",
        ),
        (
            with(|params| params.penalty_last_n = usize::MAX),
            Kind::Request,
            Some("penalty_last_n"),
            "penalty_last_n is 18446744073709551615, which is not from 0 to 1048576",
        ),
        (
            with(|params| params.logit_bias = vec![(320, 1.0)]),
            Kind::Request,
            Some("logit_bias.320"),
            "logit_bias.320 is of no token: the vocabulary ends at 319",
        ),
        (
            Request { stops: vec!["a".into(), String::new()], ..drawn(prompt(3), 5) },
            Kind::Request,
            Some("stop"),
            "stop has an empty string, number 1, which would stop everywhere",
        ),
        (
            Request { logprobs: Some(21), ..drawn(prompt(3), 5) },
            Kind::Request,
            Some("logprobs"),
            "logprobs has to be a number from 0 to 20",
        ),
    ];
    for (request, kind, field, message) in cases {
        let error = refused(&mut batch, request);
        let wanted = message.replace("18446744073709551615", &usize::MAX.to_string());
        assert_eq!(error, Error { kind, field: field.map(str::to_string), message: wanted });
        assert!(batch.is_idle());
    }
    // All of the prompt but its last token is there still.
    assert_eq!(answer(&mut batch, &drawn(prompt(50), 5)).usage.reused, 49);
}

#[test]
fn a_token_that_the_model_cannot_compute_fails_its_answer_alone() {
    let setup = Setup { file: without_embedding(golden("llama-Q8_0"), 300), ..Setup::new(MODEL) };
    let good = [drawn(prompt(30), 10), drawn(prompt(5), 20)];
    let wanted = good.clone().map(|request| said(&answer(&mut setup.batch(), &request)));
    assert!(wanted.iter().all(|answer| !answer.tokens.contains(&300)));
    for columns in [1, 16] {
        let mut batch = Setup { columns, ..setup.clone() }.batch();
        let mut bad = prompt(9);
        bad[7] = 300;
        let requests = [good[0].clone(), drawn(bad, 5), good[1].clone()];
        let ids = requests.map(|request| batch.open(&request).expect("a free session"));
        let found = run(&mut batch, &ids);
        let error = found[1].as_ref().expect_err("no logits");
        assert!(error.kind == Kind::Model && error.message.contains("not finite"), "{error:?}");
        for (at, wanted) in [(0, &wanted[0]), (2, &wanted[1])] {
            assert_eq!(&said(found[at].as_ref().expect("an answer")), wanted, "batches of {columns}");
        }
        // What was failed is closed as any other.
        assert_eq!(ids.map(|id| batch.close(id)), [const { Ok(String::new()) }; 3]);
    }
}

#[test]
fn what_bans_every_token_is_the_requests_fault() {
    let mut request = drawn(prompt(5), 5);
    request.sampling.logit_bias = (0..VOCABULARY as u32).map(|token| (token, f32::NEG_INFINITY)).collect();
    let error = answer_with(&mut batch(), &request, Default::default()).expect_err("no token is left");
    assert_eq!((error.kind, &error.message[..]), (Kind::Request, "every token of the vocabulary is banned"));
}

#[test]
fn prompts_are_read_in_parts_and_said_to_be() {
    let mut batch = batch();
    let id = batch.open(&drawn(prompt(50), 3)).expect("a free session");
    let progress = |events: Vec<Event>| -> Vec<(usize, usize)> {
        let parts = events.into_iter().filter_map(|event| match event {
            Event::Prompt { done, of, id: 1 } => Some((done, of)),
            _ => None,
        });
        parts.collect()
    };
    assert_eq!(id, 1);
    let steps = [20, 20, 20, 20].map(|most| progress(batch.step_with(most)));
    assert_eq!(steps, [vec![(20, 50)], vec![(40, 50)], vec![(50, 50)], vec![]]);
}

#[test]
fn the_progress_of_a_prompt_comes_before_its_first_token_and_the_end_comes_last() {
    let mut batch = batch();
    let ids = [drawn(prompt(5), 1), drawn(vec![8; 5], 1)].map(|request| batch.open(&request).expect("a free session"));
    let events = batch.step();
    for id in ids {
        let of: Vec<&Event> = events.iter().filter(|event| event.id() == id).collect();
        assert!(
            matches!(
                of[..],
                [
                    Event::Prompt { done: 5, of: 5, .. },
                    Event::Piece { .. },
                    Event::Finished { reason: Reason::Length, .. }
                ]
            ),
            "{of:?}"
        );
        assert_eq!(of.iter().map(|event| event.is_last()).collect::<Vec<_>>(), [false, false, true]);
    }
}

#[test]
fn log_probabilities_are_those_of_the_logits() {
    let mut batch = batch();
    for sampling in [Params::greedy(), Params { repetition_penalty: 1.7, temperature: 2.0, ..Params::default() }] {
        let asked = Request { logprobs: Some(3), sampling, ..drawn(prompt(20), 4) };
        let found = answer(&mut batch, &asked);
        assert_eq!((found.logprobs.len(), found.tokens.len()), (4, 4));
        for (at, (chosen, top)) in found.logprobs.iter().enumerate() {
            let fed = [&prompt(20)[..], &found.tokens[..at]].concat();
            let mut logits = Vec::new();
            batch.rewind().expect("a session");
            batch.feed(&fed, Want::Last, &mut |row| logits = row.to_vec()).expect("logits");
            let total = libm::log(logits.iter().map(|&x| libm::exp(f64::from(x))).sum());
            let mut order: Vec<usize> = (0..logits.len()).collect();
            order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
            assert_eq!(top.iter().map(|entry| entry.token as usize).collect::<Vec<_>>(), order[..3]);
            assert_eq!(chosen.token, found.tokens[at]);
            for TokenLogprob { token, bytes, logprob } in top.iter().chain([chosen]) {
                let wanted = f64::from(logits[*token as usize]) - total;
                assert!((f64::from(*logprob) - wanted).abs() < 1e-4, "{logprob} is not {wanted}");
                assert_eq!(bytes, batch.tokenizer().token_bytes(*token));
            }
        }
    }
    let none = answer(&mut batch, &Request { logprobs: Some(0), ..drawn(prompt(20), 4) });
    assert!(none.logprobs.len() == 4 && none.logprobs.iter().all(|(_, top)| top.is_empty()));
}

#[test]
fn conversations_are_what_the_template_makes_of_them() {
    let setup = Setup::new(MODEL);
    let chat = |messages: &str| Prompt::Chat(Chat { now: Some(86_400), ..Chat::new(messages) });
    let bare = batch();
    let error = bare.prompt(&chat(r#"[{"role":"user","content":"a"}]"#)).expect_err("no template");
    assert_eq!(error.kind, Kind::Request);

    let source = "{% for m in messages %}{% if m.content == 'no' %}{{ raise_exception('No!') }}{% endif %}{{ m.role }}:{{ m.content }};\
                  {% endfor %}{{ extra }}{{ strftime_now('%Y-%m-%d') }}{% if add_generation_prompt %}>{% endif %}";
    let template = ChatTemplate::new(source, bare.tokenizer()).expect("a template");
    let local = setup.batch_with(template);
    let Prompt::Chat(whole) = chat(r#"[{"role":"user","content":"abc"}]"#) else { unreachable!("a conversation") };
    let whole = Prompt::Chat(Chat { variables: Some(r#"{"extra":"x"}"#.into()), ..whole });
    let text = local.render(&whole).expect("a text");
    assert_eq!(text, "user:abc;x1970-01-02>");
    assert_eq!(local.prompt(&whole), Ok(local.tokenize(&text, Encode::PROMPT)));

    let refused = local.prompt(&chat(r#"[{"role":"user","content":"no"}]"#)).expect_err("the template refuses it");
    assert!(refused.kind == Kind::Request && refused.message.contains("No!"), "{refused:?}");
    let field = |prompt: Prompt| local.prompt(&prompt).expect_err("no conversation").field.unwrap_or_default();
    assert_eq!(field(chat("{")), "messages");
    assert_eq!(field(chat("3")), "messages");
    assert_eq!(field(chat(r#"[{"role":"user","content":"a"},{"role":"king","content":"a"}]"#)), "messages[1].role");
    assert_eq!(field(chat(r#"[{"content":"a"}]"#)), "messages[0].role");
    let with = |tools: &str, variables: &str| {
        let tools = Some(tools.to_string()).filter(|tools| !tools.is_empty());
        let chat = Chat { tools, now: Some(0), ..Chat::new(r#"[{"role":"user","content":"a"}]"#) };
        Prompt::Chat(Chat { variables: Some(variables.into()), ..chat })
    };
    assert_eq!(field(with("{}", "{}")), "tools");
    assert_eq!(field(with("[", "{}")), "tools");
    assert_eq!(field(with("", "[]")), "chat_template_kwargs");
    assert!(local.prompt(&with("[]", "null")).is_ok());
}

#[test]
fn what_the_assistant_has_begun_is_continued() {
    let setup = Setup::new(MODEL);
    let source = "{% for m in messages %}<{{ m.role }}>{{ m.content|trim }}</s>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    let batch = setup.batch_with(ChatTemplate::new(source, setup.batch().tokenizer()).expect("a template"));
    let of = |messages: &str, add_generation_prompt, continue_final_message| {
        let chat = Chat { add_generation_prompt, continue_final_message, ..Chat::new(messages) };
        batch.render(&Prompt::Chat(chat))
    };
    let begun =
        |content: &str| format!(r#"[{{"role":"user","content":"a"}},{{"role":"assistant","content":{content}}}]"#);
    let (open, whole) = (begun(r#"" 1, 2, ""#), begun(r#""b""#));
    // With its white space, whatever the template does to other ends.
    assert_eq!(of(&open, None, None).as_deref(), Ok("<user>a</s><assistant>1, 2, "));
    for (add, go_on) in [(Some(false), None), (None, Some(true)), (Some(false), Some(true))] {
        assert_eq!(of(&whole, add, go_on).as_deref(), Ok("<user>a</s><assistant>b"));
    }
    for (add, go_on) in [(Some(true), None), (None, Some(false)), (Some(true), Some(false))] {
        assert_eq!(of(&whole, add, go_on).as_deref(), Ok("<user>a</s><assistant>b</s><assistant>"));
    }
    assert_eq!(of(&whole, Some(false), Some(false)).as_deref(), Ok("<user>a</s><assistant>b</s>"));
    for content in [r#""""#, "[]", r#"[{"type":"text","text":""}]"#] {
        assert_eq!(of(&begun(content), None, None).as_deref(), Ok("<user>a</s><assistant>"));
    }
    let parts = begun(r#"[{"type":"text","text":"b"},{"type":"text","text":"c"}]"#);
    assert_eq!(of(&parts, None, None).as_deref(), Ok("<user>a</s><assistant>bc"));

    let user = r#"[{"role":"user","content":"a"}]"#;
    assert_eq!(of(user, None, None).as_deref(), Ok("<user>a</s><assistant>"));
    let called = r#"[{"role":"assistant","content":"a","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}]"#;
    for (messages, add) in [(user, None), (called, None), (&*whole, Some(true))] {
        let error = of(messages, add, Some(true)).expect_err("nothing to continue");
        assert_eq!((error.kind, error.field.as_deref()), (Kind::Request, Some("continue_final_message")));
    }
}

#[test]
fn control_tokens_in_messages_are_text_unless_they_are_asked_for() {
    let setup = Setup::new(MODEL);
    let source = "{% for m in messages %}<s>{{ m.content }}</s>{% endfor %}";
    let batch = setup.batch_with(ChatTemplate::new(source, setup.batch().tokenizer()).expect("a template"));
    let controls = |parse_special| {
        let chat = Chat { parse_special, ..Chat::new(r#"[{"role":"user","content":"a</s><s>b"}]"#) };
        let tokens = batch.prompt(&Prompt::Chat(chat)).expect("a prompt");
        assert_eq!(batch.detokenize(&tokens, true).replace(' ', ""), "<s>a</s><s>b</s>");
        tokens.into_iter().filter(|&token| batch.tokenizer().is_special(token)).count()
    };
    assert_eq!((controls(false), controls(true)), (2, 4));
}
