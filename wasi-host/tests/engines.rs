//! What every engine does, and that all of them do the same.

mod common;

use common::{Answer, answer, digest, golden, run, witness};
use picolm_core::gguf::Gguf;
use picolm_core::sampler::Params;
use picolm_host::engine::{Engine, Kind, Options, open};
use picolm_host::{ErrorKind, Event, Prompt, Reason, Request, Task};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

const MODEL: &str = "llama-Q4_0.gguf";

fn engines(options: &Options) -> impl Iterator<Item = (Kind, Box<dyn Engine>)> {
    let open = move |kind: &Kind| (*kind, open(*kind, &golden(MODEL), options).expect("an engine"));
    Kind::ALL.iter().map(open)
}

fn request(prompt: u32, length: usize, seed: u64) -> Request {
    let tokens = (0..prompt).map(|i| (7 + seed as u32 + i * 37) % 300).collect();
    let sampling = Params { temperature: 1.5, repetition_penalty: 1.2, seed, ..Params::default() };
    Request { prompt: Prompt::Tokens(tokens), sampling, max_tokens: length, ..Request::default() }
}

#[test]
fn digests_are_the_witness() {
    for kind in Kind::ALL {
        for model in [MODEL, "qwen3-Q8_0.gguf", "gemma3-F16.gguf", "qwen3moe-Q8_0.gguf", "llama-Q4_K_S.gguf"] {
            let mut engine = open(*kind, &golden(model), &Options { context: 256, ..Options::default() }).expect(model);
            assert_eq!(digest(&mut *engine), witness(model), "{model} in {}", kind.name());
            engine.rewind().expect("an engine that lives");
            assert_eq!(digest(&mut *engine), witness(model), "{model} in {}, again", kind.name());
        }
    }
}

/// The tensors of each layer a gigabyte behind those of the one before, in a file with holes: wasm takes one layer after the other into a
/// window.
#[test]
fn models_beyond_four_gigabytes() {
    let bytes = std::fs::read(golden(MODEL)).expect("a golden model");
    let gguf = Gguf::parse(&bytes).expect("a file");
    let (mut header, data) = (bytes.clone(), gguf.header_len().next_multiple_of(32));
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("far.gguf");
    let file = File::create(&path).expect("a file");
    for tensor in gguf.tensors() {
        let layer = tensor.name.strip_prefix("blk.").and_then(|rest| rest.split('.').next()?.parse::<u64>().ok());
        let moved = layer.map_or(0, |layer| (layer + 4) << 30);
        // An entry of the directory: the name, the number of dimensions, these, the type, the offset.
        let name = header.windows(tensor.name.len()).position(|at| at == tensor.name.as_bytes()).expect("its name");
        let at = name + tensor.name.len() + 4 + 8 * tensor.n_dims + 4;
        header[at..at + 8].copy_from_slice(&(tensor.offset - data + moved).to_le_bytes());
        let weights = &bytes[tensor.offset as usize..][..tensor.len as usize];
        file.write_all_at(weights, tensor.offset + moved).expect("room on the disk");
    }
    file.write_all_at(&header[..data as usize], 0).expect("room on the disk");
    assert!(file.metadata().expect("a file").len() > 4 << 30);
    for kind in Kind::ALL {
        let mut engine = open(*kind, &path, &Options::default()).expect("an engine");
        assert_eq!(digest(&mut *engine), witness(MODEL), "{}", kind.name());
    }
    std::fs::remove_file(path).expect("the file");
}

/// Sessions that come and go between the steps of others get the answers they get alone.
#[test]
fn company_changes_no_answer() {
    let requests = [request(40, 30, 1), request(3, 9, 2), request(90, 20, 3), request(41, 25, 4), request(7, 40, 5)];
    let alone: Vec<Answer> = {
        let mut engine = open(Kind::Native, &golden(MODEL), &Options::default()).expect("an engine");
        requests.iter().map(|request| answer(&mut *engine, request)).collect()
    };
    assert!(alone.iter().all(|answer| !answer.tokens.is_empty() && answer.error.is_none()));
    for batch in [1, 16, 256] {
        for (kind, mut engine) in engines(&Options { sessions: 5, batch, ..Options::default() }) {
            let (mut ids, mut answers) = (Vec::new(), Vec::new());
            for request in &requests {
                ids.push(engine.begin(request).expect("a free session"));
                answers.push(Answer::default());
                for event in (0..3).flat_map(|_| engine.step().expect("an engine that lives")) {
                    answers[ids.iter().position(|id| *id == event.id()).expect("its session")].take(event);
                }
            }
            let rest = run(&mut *engine, &ids);
            for ((found, rest), wanted) in answers.iter_mut().zip(rest).zip(&alone) {
                found.text += &rest.text;
                found.tokens.extend(rest.tokens);
                found.finished = found.finished.or(rest.finished);
                assert_eq!(found, wanted, "{} with batches of {batch}", kind.name());
            }
        }
    }
}

#[test]
fn what_a_session_held_is_not_computed_again() {
    for (kind, mut engine) in engines(&Options::default()) {
        let first = answer(&mut *engine, &request(60, 10, 1));
        let again = answer(&mut *engine, &request(60, 10, 1));
        assert_eq!((&first.text, &first.tokens), (&again.text, &again.tokens), "{}", kind.name());
        let reused = |answer: &Answer| answer.finished.map(|(_, usage)| usage.reused);
        assert_eq!((reused(&first), reused(&again)), (Some(0), Some(59)), "{}", kind.name());
    }
}

/// Three answers to one prompt, and one to a prompt that begins as it does.
#[test]
fn what_prompts_have_in_common_is_read_once() {
    let mut requests = vec![request(100, 10, 1); 4];
    requests.iter_mut().zip(1..).for_each(|(request, seed)| request.sampling.seed = seed);
    let Prompt::Tokens(tokens) = &mut requests[3].prompt else { panic!("tokens") };
    tokens.splice(70.., [1, 2, 3]);
    let alone: Vec<Answer> = {
        let mut engine =
            open(Kind::Native, &golden(MODEL), &Options { sessions: 1, ..Options::default() }).expect("an engine");
        let other = Request { prompt: Prompt::Tokens(vec![5; 9]), ..request(9, 1, 1) };
        let alone = requests.iter().map(|request| (answer(&mut *engine, request), answer(&mut *engine, &other)).0);
        alone.collect()
    };
    for batch in [1, 16, 256] {
        for (kind, mut engine) in engines(&Options { sessions: 4, batch, ..Options::default() }) {
            let ids: Vec<_> = requests.iter().map(|request| engine.begin(request).expect("a free session")).collect();
            for ((found, wanted), reused) in run(&mut *engine, &ids).iter().zip(&alone).zip([0, 99, 99, 70]) {
                assert_eq!((&found.text, &found.tokens), (&wanted.text, &wanted.tokens), "{}", kind.name());
                let found = found.finished.map(|(_, usage)| usage.reused);
                assert_eq!(found, Some(reused), "{} with batches of {batch}", kind.name());
            }
        }
    }
}

#[test]
fn a_saved_session_goes_on_in_every_engine() {
    let mut states = Vec::new();
    let mut whole = Answer::default();
    for (_, mut engine) in engines(&Options::default()) {
        let id = engine.begin(&request(60, 10, 1)).expect("a free session");
        whole = run(&mut *engine, &[id]).remove(0);
        states.push(engine.save(id).expect("a state"));
    }
    for state in &states {
        assert_eq!(state, &states[0]);
        for (kind, mut engine) in engines(&Options::default()) {
            // The answer's last token has not been fed.
            assert_eq!(engine.restore(state).expect("a state"), 60 + 10 - 1);
            let found = answer(&mut *engine, &request(60, 10, 1));
            assert_eq!(found.tokens, whole.tokens, "{}", kind.name());
            assert_eq!(found.finished.map(|(_, usage)| usage.reused), Some(59), "{}", kind.name());
            let error = engine.restore(&state[..state.len() - 1]).expect_err("a state that is cut short");
            assert_eq!(error.kind, ErrorKind::State, "{}", kind.name());
        }
    }
}

#[test]
fn sessions_are_counted_and_cancelled() {
    for (kind, mut engine) in engines(&Options { sessions: 2, ..Options::default() }) {
        let ids = [1, 2].map(|seed| engine.begin(&request(10, 50, seed)).expect("a free session"));
        let busy = engine.begin(&request(10, 5, 3)).expect_err("both are in use");
        assert_eq!(busy.kind, ErrorKind::Busy, "{}", kind.name());
        engine.step().expect("an engine that lives");
        engine.close(ids[0]).expect("an open session");
        assert!(engine.close(ids[0]).is_err());
        let third = engine.begin(&request(10, 5, 3)).expect("a free session");
        let answers = run(&mut *engine, &[ids[1], third]);
        assert_eq!(answers[1].finished.map(|(reason, usage)| (reason, usage.answer)), Some((Reason::Length, 5)));
    }
}

#[test]
fn requests_that_cannot_be_are_refused_and_the_next_one_works() {
    let tokens = |tokens: Vec<u32>| Request { prompt: Prompt::Tokens(tokens), ..Request::default() };
    let sampling = |change: fn(&mut Params)| {
        let mut bad = request(5, 5, 1);
        change(&mut bad.sampling);
        bad
    };
    let bad = [
        (tokens(vec![]), ErrorKind::Request),
        (tokens(vec![1 << 30]), ErrorKind::Request),
        (tokens(vec![1; 257]), ErrorKind::ContextFull),
        (sampling(|params| params.temperature = f32::NAN), ErrorKind::Request),
        (sampling(|params| params.top_p = -1.0), ErrorKind::Request),
        (sampling(|params| params.logit_bias = vec![(u32::MAX, 1.0)]), ErrorKind::Request),
        (Request { stops: vec![String::new()], ..request(5, 5, 1) }, ErrorKind::Request),
        (Request { logprobs: Some(21), ..request(5, 5, 1) }, ErrorKind::Request),
    ];
    for (kind, mut engine) in engines(&Options::default()) {
        let wanted = answer(&mut *engine, &request(5, 5, 1));
        for (request, error) in &bad {
            let found = engine.begin(request).expect_err("a request that cannot be");
            assert_eq!(found.kind, *error, "{}: {found}", kind.name());
        }
        assert_eq!(answer(&mut *engine, &request(5, 5, 1)).tokens, wanted.tokens);
    }
}

#[test]
fn log_probabilities_are_those_of_the_logits() {
    for (kind, mut engine) in engines(&Options::default()) {
        let asked = Request { logprobs: Some(3), sampling: Params::greedy(), ..request(20, 4, 1) };
        let Prompt::Tokens(mut fed) = asked.prompt.clone() else { unreachable!("tokens") };
        let id = engine.begin(&asked).expect("a free session");
        let mut pieces = Vec::new();
        while !engine.is_idle() {
            let events = engine.step().expect("an engine that lives");
            pieces.extend(events.into_iter().filter_map(|event| match event {
                Event::Piece { piece, .. } => Some(piece),
                _ => None,
            }));
        }
        engine.close(id).expect("an open session");
        assert_eq!(pieces.len(), 4);
        for piece in pieces {
            let mut logits = Vec::new();
            engine.rewind().expect("an engine that lives");
            engine.feed(&fed, picolm_host::Want::Last, &mut |row| logits = row.to_vec()).expect("logits");
            let total: f64 = logits.iter().map(|&x| libm::exp(f64::from(x))).sum::<f64>();
            let total = libm::log(total);
            let mut order: Vec<usize> = (0..logits.len()).collect();
            order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
            assert_eq!(piece.top.iter().map(|t| t.token as usize).collect::<Vec<_>>(), order[..3], "{}", kind.name());
            assert_eq!(piece.logprob.as_ref(), piece.top.first(), "the best was taken");
            for entry in &piece.top {
                let wanted = f64::from(logits[entry.token as usize]) - total;
                assert!((f64::from(entry.logprob) - wanted).abs() < 1e-4, "{entry:?} is not {wanted}");
            }
            fed.extend(piece.token);
        }
    }
}

/// Beside an answer that is being written, which gets a token in each step.
#[test]
fn embeddings_are_the_same_everywhere_and_delay_no_answer() {
    let embed = |tokens: Vec<u32>| {
        let prompt = Prompt::Tokens(tokens);
        Request { prompt, task: Task::Embed, ..Request::default() }
    };
    let Prompt::Tokens(tokens) = request(90, 1, 1).prompt else { unreachable!("tokens") };
    let mut all = Vec::new();
    for batch in [1, 16, 256] {
        for (kind, mut engine) in engines(&Options { batch, ..Options::default() }) {
            let alone = answer(&mut *engine, &request(5, 100, 1));
            let ids = [request(5, 100, 1), embed(tokens.clone())].map(|asked| engine.begin(&asked).expect("a session"));
            let [beside, found] = &run(&mut *engine, &ids)[..] else { unreachable!("two") };
            assert_eq!((&beside.text, &beside.tokens), (&alone.text, &alone.tokens), "{}", kind.name());
            ids.iter().for_each(|id| engine.close(*id).expect("an open session"));
            let again = answer(&mut *engine, &embed(tokens.clone()));
            assert_eq!(found.embedding, again.embedding, "{}", kind.name());
            // The mean of the parts, weighed by their lengths, would be that of the whole if tokens did not see each other.
            assert_ne!(found.embedding, answer(&mut *engine, &embed(tokens[1..].to_vec())).embedding);
            let length: f64 = found.embedding.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
            assert!((length - 1.0).abs() < 1e-5, "{length}");
            all.push(found.embedding.clone());
            let refused = |tokens| engine.begin(&embed(tokens)).expect_err("no text").kind;
            assert_eq!([vec![], vec![1; 257]].map(refused), [ErrorKind::Request, ErrorKind::ContextFull]);
        }
    }
    assert!(all.iter().all(|found| *found == all[0]));
}
