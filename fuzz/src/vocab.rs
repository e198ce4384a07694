//! Small complete vocabularies, one for each kind of tokenizer: for the `tokenizer` target and its seeds.

use picolm_core::gguf::Writer;

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

/// SentencePiece's kind: every byte, a few words with scores.
pub fn scores() -> Writer {
    let mut tokens = vec![("<unk>".to_string(), UNKNOWN), ("<s>".into(), CONTROL), ("</s>".into(), CONTROL)];
    tokens.extend((0..=255).map(|byte| (format!("<0x{byte:02X}>"), BYTE)));
    tokens.push(("<tool>".into(), USER_DEFINED));
    tokens.extend(
        ["▁", "h", "e", "l", "o", "é", "he", "ll", "hell", "hello", "▁hello", "▁▁"].map(|t| (t.into(), NORMAL)),
    );
    let scores: Vec<f32> = (0..tokens.len()).map(|id| -(id as f32)).collect();
    with_tokens(Writer::new().with("tokenizer.ggml.model", "llama"), tokens)
        .with("tokenizer.ggml.scores", scores)
        .with("tokenizer.ggml.bos_token_id", 1u32)
        .with("tokenizer.ggml.eos_token_id", 2u32)
        .with("tokenizer.ggml.unknown_token_id", 0u32)
        .with("tokenizer.ggml.add_space_prefix", true)
}

/// GPT-2's kind: every byte, a few merges; `pre` names the rule that cuts words.
pub fn merges(pre: &str) -> Writer {
    let mut tokens: Vec<(String, i32)> = (0..=255).map(|byte| (letter(byte).to_string(), NORMAL)).collect();
    let merges = ["h e", "l l", "he ll", "hell o", "Ġ hello", "Ġ Ġ", "Ã ©"];
    tokens.extend(merges.map(|merge| (merge.replace(' ', ""), NORMAL)));
    tokens.extend([("<|im_start|>".into(), CONTROL), ("<|im_end|>".into(), CONTROL), ("<tool>".into(), USER_DEFINED)]);
    let bos = 256 + merges.len() as u32;
    with_tokens(Writer::new().with("tokenizer.ggml.model", "gpt2").with("tokenizer.ggml.pre", pre), tokens)
        .with("tokenizer.ggml.merges", merges)
        .with("tokenizer.ggml.bos_token_id", bos)
        .with("tokenizer.ggml.eos_token_id", bos + 1)
        .with("tokenizer.ggml.add_bos_token", true)
}

fn with_tokens(to: Writer, tokens: Vec<(String, i32)>) -> Writer {
    let (texts, types): (Vec<String>, Vec<i32>) = tokens.into_iter().unzip();
    to.with("tokenizer.ggml.tokens", texts).with("tokenizer.ggml.token_type", types)
}

/// The letter GPT-2 writes for a byte: itself if it prints, else the next one from U+0100 on.
fn letter(byte: u8) -> char {
    let prints = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let hidden = (0..byte).filter(|&b| !prints(b)).count() as u32;
    if prints(byte) { byte.into() } else { char::from_u32(256 + hidden).expect("a letter") }
}
