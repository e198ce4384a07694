//! Any bytes as the vocabulary of a GGUF file, and as a text for vocabularies that are known to be complete.

use crate::vocab;
use picolm_core::gguf::Gguf;
use picolm_core::text::{Encode, Tokenizer, Utf8Stream};
use std::sync::LazyLock;

static SCORES: LazyLock<Tokenizer> = LazyLock::new(|| read(&vocab::scores().finish()).expect("a good vocabulary"));
static MERGES: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
    let rules = [
        "gpt-2",
        "llama-bpe",
        "qwen2",
        "smollm",
        "default",
        "qwen35",
        "seed-coder",
        "gpt-4o",
        "tekken",
        "falcon",
        "deepseek-llm",
        "deepseek-coder",
        "deepseek-v3",
        "bloom",
        "viking",
    ];
    rules.map(|pre| read(&vocab::merges(pre).finish()).expect("a good vocabulary")).into()
});
/// Those that do not give every text back.
static LOSSY: LazyLock<[Tokenizer; 2]> =
    LazyLock::new(|| [vocab::unigram(), vocab::words()].map(|file| read(&file.finish()).expect("a good vocabulary")));

fn read(file: &[u8]) -> Result<Tokenizer, String> {
    let gguf = Gguf::parse(file).map_err(|e| e.to_string())?;
    Tokenizer::from_gguf(&gguf).map_err(|e| e.to_string())
}

/// `data` as a vocabulary, as a text, and as token ids.
pub fn tokenizer(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match read(data) {
        // Its own text is in the file, so the bytes of the file are a text that uses it.
        Ok(tokenizer) => {
            check(&tokenizer, &text);
            check(&tokenizer, "Hello hello  é🦙\n\u{0} <s></s>▁ 123 don't");
            check_ids(&tokenizer, data);
        }
        Err(message) => assert!(!message.is_empty()),
    }
    for tokenizer in &*LOSSY {
        check(tokenizer, &text);
        check_ids(tokenizer, data);
    }
    // One of them for each input, to be quick.
    match MERGES.get(data.len() % (MERGES.len() + 1)) {
        Some(tokenizer) => check_complete(tokenizer, data, &text, &text),
        // To SentencePiece a ▁ is a space, and a space is put behind special tokens.
        None if text.contains("<tool>") => check(&SCORES, &text),
        None => check_complete(&SCORES, data, &text, &text.replace('▁', " ")),
    }
}

/// A vocabulary with every byte: text comes back as `read`, and never as a control token.
fn check_complete(tokenizer: &Tokenizer, data: &[u8], text: &str, read: &str) {
    check(tokenizer, text);
    check_ids(tokenizer, data);
    let plain = tokenizer.encode(text, Encode::TEXT);
    assert_eq!(tokenizer.decode(&plain, false), read);
    assert!(plain.iter().all(|&id| !tokenizer.is_special(id)));
}

/// Every way of encoding gives tokens of the vocabulary.
fn check(tokenizer: &Tokenizer, text: &str) {
    for how in [Encode::TEXT, Encode::PROMPT, Encode { bos: true, eos: true, special: true }] {
        let ids = tokenizer.encode(text, how);
        assert!(ids.iter().all(|&id| (id as usize) < tokenizer.n_vocab()));
        // At most a token for each byte and for a space behind each special token; BOS, EOS, a space at the start. A file's
        // charsmap makes at most 128 bytes of one.
        assert!(ids.len() <= 129 * text.len() + 3, "{} tokens for {} bytes", ids.len(), text.len());
        let streamed = stream(tokenizer, &ids);
        let whole: Vec<u8> = ids.iter().flat_map(|&id| tokenizer.token_bytes(id)).copied().collect();
        assert_eq!(streamed, String::from_utf8_lossy(&whole));
        tokenizer.decode(&ids, true);
    }
}

fn stream(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let (mut stream, mut text) = (Utf8Stream::new(), String::new());
    for &id in ids {
        text.push_str(stream.push(tokenizer.token_bytes(id)));
    }
    text + stream.finish()
}

/// Any ids decode to something, those outside the vocabulary to nothing.
fn check_ids(tokenizer: &Tokenizer, data: &[u8]) {
    let ids: Vec<u32> = data.chunks(2).map(|pair| pair.iter().fold(0, |id, &b| id << 8 | u32::from(b))).collect();
    let whole: usize = ids.iter().map(|&id| tokenizer.token_bytes(id).len()).sum();
    let decoded = tokenizer.decode_bytes(&ids, true).len();
    assert!(decoded == whole || decoded + 1 == whole, "at most the space at the beginning is taken away");
    assert!(tokenizer.decode_bytes(&ids, false).len() <= decoded);
    for &id in &ids {
        let _ = (tokenizer.is_end_of_generation(id), tokenizer.is_special(id), tokenizer.token_bytes(id));
    }
    let special = [tokenizer.bos(), tokenizer.eos(), tokenizer.eot(), tokenizer.unknown()];
    assert!(special.into_iter().flatten().all(|id| (id as usize) < tokenizer.n_vocab()));
    assert!(tokenizer.memory_bytes() > 0);
}
