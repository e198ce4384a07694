//! Four published vocabularies: texts and the ids their own tokenizers give, and texts made at random. For every kind of
//! tokenizer a small vocabulary made for the test, and the ids Hugging Face's `tokenizers` gives for 1,000 texts
//! (`tokenizers/make_vocabularies.py`).

use picolm_core::gguf::{Gguf, Writer};
use picolm_core::text::{Encode, Tokenizer, Utf8Stream};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::LazyLock;

struct Published {
    name: &'static str,
    tokenizer: Tokenizer,
}

/// `gpt-2`: byte-level; `llama-bpe` (Llama 3): whole words and 280k merges; `llama-spm` (Llama 2): scores; `qwen2`.
static PUBLISHED: LazyLock<Vec<Published>> = LazyLock::new(|| {
    let load = |name| {
        let file = std::fs::read(path(name, "gguf")).unwrap();
        Published { name, tokenizer: Tokenizer::from_gguf(&Gguf::parse(&file).unwrap()).unwrap() }
    };
    ["gpt-2", "llama-bpe", "llama-spm", "qwen2"].map(load).into()
});

fn path(name: &str, extension: &str) -> String {
    format!("{}/tests/tokenizers/ggml-vocab-{name}.{extension}", env!("CARGO_MANIFEST_DIR"))
}

/// The texts of a vocabulary and the ids expected for each.
fn expected(name: &str) -> Vec<(String, Vec<u32>)> {
    let texts = std::fs::read_to_string(path(name, "gguf.inp")).unwrap();
    let ids = std::fs::read_to_string(path(name, "gguf.out")).unwrap();
    let texts = texts.split("\n__ggml_vocab_test__\n").map(String::from);
    let ids = ids.lines().map(|line| line.split_whitespace().map(|id| id.parse().unwrap()).collect());
    texts.zip(ids).collect()
}

#[test]
fn published_texts_encode_to_the_published_ids() {
    for Published { name, tokenizer } in &*PUBLISHED {
        let expected = expected(name);
        assert!(expected.len() >= 46, "{name}: {} texts", expected.len());
        for (text, ids) in expected {
            assert_eq!(tokenizer.encode(&text, Encode::TEXT), ids, "{name}: {text:?}");
            assert_eq!(tokenizer.decode(&ids, false), text, "{name}: {text:?}");
        }
    }
}

#[test]
fn bos_is_added_by_the_files_rule_and_never_twice() {
    // From the vocabularies' metadata: Llama 2 says add_bos_token, Llama 3's pre-tokeniser implies it, the others do not.
    for (name, bos) in [("gpt-2", None), ("llama-bpe", Some(128000)), ("llama-spm", Some(1)), ("qwen2", None)] {
        let tokenizer = published(name);
        let plain = tokenizer.encode("Hello", Encode::TEXT);
        let begun: Vec<u32> = bos.into_iter().chain(plain).collect();
        assert_eq!(tokenizer.encode("Hello", Encode::PROMPT), begun, "{name}");
        assert_eq!(tokenizer.encode("", Encode::PROMPT), Vec::from_iter(bos), "{name}");
        if let Some(bos) = bos {
            let written = String::from_utf8_lossy(tokenizer.token_bytes(bos)) + "Hello";
            assert_eq!(tokenizer.encode(&written, Encode::PROMPT), begun, "{name}");
        }
    }
}

#[test]
fn control_tokens_are_text_unless_asked_for() {
    let tokenizer = published("llama-bpe");
    let text = "<|start_header_id|>user<|eot_id|>";
    let special = tokenizer.encode(text, Encode { special: true, ..Encode::TEXT });
    assert_eq!((special[0], special[special.len() - 1]), (128006, 128009));
    assert_eq!(tokenizer.decode(&special, true), text);
    assert_eq!(tokenizer.decode(&special, false), "user");
    let plain = tokenizer.encode(text, Encode::TEXT);
    assert!(plain.iter().all(|&id| id < 128000), "{plain:?}");
    assert_eq!(tokenizer.decode(&plain, false), text);
    // Qwen 2 has an ordinary token "</s>", which is not the end of anything.
    let tokenizer = published("qwen2");
    let id = tokenizer.id_of("</s>").unwrap();
    assert!(!tokenizer.is_special(id) && !tokenizer.is_end_of_generation(id));
}

#[test]
fn sentencepiece_never_makes_control_tokens_of_text() {
    let tokenizer = published("llama-spm");
    let plain = tokenizer.encode("<s></s><unk><0x0A>", Encode::TEXT);
    assert!(plain.iter().all(|&id| id >= 259), "{plain:?}");
    assert_eq!(tokenizer.decode(&plain, false), "<s></s><unk><0x0A>");
    // After a special token text begins anew, with a space put before it: "▁Hello" is 15043.
    assert_eq!(tokenizer.encode("</s>Hello", Encode { special: true, ..Encode::TEXT }), [2, 15043]);
}

#[test]
fn user_defined_tokens_are_found_in_any_text() {
    let tokenizer = published("qwen2");
    assert_eq!(tokenizer.encode("a[PAD151646]", Encode::TEXT), [64, 151646]);
}

#[test]
fn generation_ends_at_named_and_well_known_tokens() {
    let ends = |name| {
        let tokenizer = published(name);
        (0..tokenizer.n_vocab() as u32).filter(|&id| tokenizer.is_end_of_generation(id)).collect::<Vec<_>>()
    };
    assert_eq!(ends("gpt-2"), [50256]);
    assert_eq!(ends("llama-spm"), [2]);
    assert_eq!(ends("llama-bpe"), [128001, 128009]); // <|end_of_text|>, <|eot_id|>
    assert_eq!(ends("qwen2"), [151643, 151645]); // <|endoftext|>, <|im_end|>
    assert_eq!(published("llama-bpe").eot(), Some(128009));
    assert_eq!(published("qwen2").eot(), Some(151645));
}

#[test]
fn ids_and_texts_match() {
    for Published { name, tokenizer } in &*PUBLISHED {
        assert_eq!(tokenizer.n_vocab(), [50257, 128256, 32000, 151936][place(name)]);
        for id in (0..tokenizer.n_vocab() as u32).step_by(7) {
            let Ok(text) = std::str::from_utf8(tokenizer.token_bytes(id)) else { continue };
            // Only byte tokens share their text with others.
            if let Some(found) = tokenizer.id_of(text) {
                assert_eq!(tokenizer.token_bytes(found), text.as_bytes(), "{name} {id}");
                assert!(found == id || text.len() == 1, "{name} {id} {found}");
            }
        }
        assert_eq!(tokenizer.token_bytes(u32::MAX), b"");
        assert_eq!(tokenizer.id_of(""), None);
    }
}

#[test]
fn memory_is_compact() {
    for Published { name, tokenizer } in &*PUBLISHED {
        let merges = [50000, 280147, 0, 151387][place(name)];
        let limit = 24 * tokenizer.n_vocab() + 16 * merges;
        assert!(tokenizer.memory_bytes() <= limit, "{name}: {} > {limit}", tokenizer.memory_bytes());
    }
}

/// A kind of tokenizer: a line of `kinds.json`.
struct KindOf {
    /// the ids of each text
    ids: String,
    vocabulary: String,
    /// `tokenizer.ggml.model`
    model: String,
    /// the values of `tokenizer.ggml.pre` that ask for it, if any
    pre: Vec<String>,
    /// what the ids decode to, unless it is the text with a space for each ▁
    decoded: Option<String>,
}

fn made(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/tokenizers/made/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn kinds() -> Vec<KindOf> {
    let kinds: Vec<serde_json::Value> = serde_json::from_slice(&made("kinds.json")).unwrap();
    let text = |value: &serde_json::Value| value.as_str().map(String::from);
    let kind = |kind: &serde_json::Value| KindOf {
        ids: text(&kind["ids"]).unwrap(),
        vocabulary: text(&kind["vocabulary"]).unwrap(),
        model: text(&kind["model"]).unwrap(),
        pre: kind["pre"].as_array().into_iter().flatten().filter_map(text).collect(),
        decoded: text(&kind["decoded"]),
    };
    kinds.iter().map(kind).collect()
}

fn read(file: &[u8]) -> Tokenizer {
    Tokenizer::from_gguf(&Gguf::parse(file).unwrap()).unwrap()
}

/// The vocabulary for each of a kind's names.
fn tokenizers(kind: &KindOf) -> Vec<(String, Tokenizer)> {
    let file = made(&kind.vocabulary);
    if kind.pre.is_empty() {
        return vec![(kind.ids.clone(), read(&file))];
    }
    let gguf = Gguf::parse(&file).unwrap();
    let with = |pre: &String| {
        let others = gguf.metadata().filter(|(key, _)| *key != "tokenizer.ggml.pre");
        let file = others.fold(Writer::new(), |writer, (key, value)| writer.value(key, value));
        (pre.clone(), read(&file.with("tokenizer.ggml.pre", pre.as_str()).finish()))
    };
    kind.pre.iter().map(with).collect()
}

#[test]
fn a_thousand_texts_encode_and_decode_as_hugging_face_says() {
    let texts: Vec<String> = serde_json::from_slice(&made("texts.json")).unwrap();
    assert_eq!(texts.len(), 1000);
    for kind in kinds() {
        let numbers: Vec<u32> = made(&kind.ids).chunks(2).map(|b| u16::from_le_bytes([b[0], b[1]]).into()).collect();
        let decoded: Vec<String> = match &kind.decoded {
            Some(name) => serde_json::from_slice(&made(name)).unwrap(),
            None if kind.pre.is_empty() => texts.iter().map(|text| text.replace('▁', " ")).collect(),
            None => texts.clone(),
        };
        for (name, tokenizer) in tokenizers(&kind) {
            let mut rest = &numbers[..];
            for (text, decoded) in texts.iter().zip(&decoded) {
                let (ids, others) = rest[1..].split_at(rest[0] as usize);
                rest = others;
                assert_eq!(tokenizer.encode(text, Encode::TEXT), ids, "{name}: {text:?}");
                assert_eq!(tokenizer.decode(ids, false), *decoded, "{name}: {text:?}");
            }
            assert!(rest.is_empty(), "{name}");
        }
    }
}

/// The error for an unknown one lists those known: none may lack a fixture.
#[test]
fn every_tokenizer_and_pre_tokeniser_has_a_fixture() {
    let known = |model: &str| {
        let file = Writer::new().with("tokenizer.ggml.model", model).with("tokenizer.ggml.tokens", ["a"]);
        let file = file.with("tokenizer.ggml.pre", "?").finish();
        let error = Tokenizer::from_gguf(&Gguf::parse(&file).unwrap()).unwrap_err().to_string();
        let list = error.split_once("(known: ").unwrap().1.strip_suffix(')').unwrap();
        list.split(", ").map(String::from).collect::<BTreeSet<_>>()
    };
    assert_eq!(known("gpt2"), kinds().into_iter().flat_map(|kind| kind.pre).collect());
    assert_eq!(known("?"), kinds().into_iter().map(|kind| kind.model).collect());
}

/// Bits that pre-tokenisers and merges treat specially, and anything else.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>().prop_map(String::from),
        "[ \t\r\n\u{a0}\u{3000}▁]{1,6}",
        "[a-zA-Z'é]{1,9}",
        "[0-9½٣]{1,5}",
        "\\PC{0,4}",
        prop::sample::select(vec!["<s>", "</s>", "<|endoftext|>", "'ll", "🚀", "e\u{301}", "\0", "Ġ", "Ċ", "<0x0A>"])
            .prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_survives_encoding_and_decoding(text in texts()) {
        for Published { name, tokenizer } in &*PUBLISHED {
            let ids = tokenizer.encode(&text, Encode::TEXT);
            // SentencePiece cannot tell its mark for a space from a space.
            let text = if *name == "llama-spm" { text.replace('▁', " ") } else { text.clone() };
            prop_assert_eq!(tokenizer.decode(&ids, false), text, "{}", name);
        }
    }

    #[test]
    fn a_stream_of_tokens_gives_the_same_text(text in texts()) {
        for Published { name, tokenizer } in &*PUBLISHED {
            let ids = tokenizer.encode(&text, Encode::TEXT);
            let (mut stream, mut streamed) = (Utf8Stream::new(), String::new());
            for id in ids {
                streamed.push_str(stream.push(tokenizer.token_bytes(id)));
            }
            streamed.push_str(stream.finish());
            let space = if *name == "llama-spm" && !text.is_empty() { " " } else { "" };
            let text = if *name == "llama-spm" { text.replace('▁', " ") } else { text.clone() };
            prop_assert_eq!(streamed, format!("{space}{text}"), "{}", name);
        }
    }
}

fn published(name: &str) -> &'static Tokenizer {
    &PUBLISHED[place(name)].tokenizer
}

fn place(name: &str) -> usize {
    PUBLISHED.iter().position(|p| p.name == name).unwrap()
}
