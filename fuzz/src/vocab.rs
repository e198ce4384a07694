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

/// T5's kind: unigram scores, and a charsmap that makes `é` an `e`.
pub fn unigram() -> Writer {
    let mut tokens = vec![("<pad>".to_string(), CONTROL), ("</s>".into(), CONTROL), ("<unk>".into(), UNKNOWN)];
    tokens.extend(["▁", "h", "e", "l", "o", "he", "ll", "hell", "▁hello"].map(|t| (t.into(), NORMAL)));
    let scores: Vec<f32> = (0..tokens.len()).map(|id| -(id as f32)).collect();
    // From the root (base 0) by the byte C3 to a node with base 0x100, from there by A9 to one whose leaf is at 0x100.
    let mut units = [0u32; 0x200];
    units[0xc3] = 0xc3 | (0xc3 ^ 0x100) << 10;
    units[0x1a9] = 0xa9 | 1 << 8 | 0xa9 << 10;
    units[0x100] = 1 << 31;
    let units = units.iter().flat_map(|unit| unit.to_le_bytes());
    let charsmap: Vec<u8> = 0x800u32.to_le_bytes().into_iter().chain(units).chain(*b"e\0").collect();
    with_tokens(Writer::new().with("tokenizer.ggml.model", "t5"), tokens)
        .with("tokenizer.ggml.scores", scores)
        .with("tokenizer.ggml.eos_token_id", 1u32)
        .with("tokenizer.ggml.unknown_token_id", 2u32)
        .with("tokenizer.ggml.remove_extra_whitespaces", true)
        .with("tokenizer.ggml.precompiled_charsmap", charsmap)
}

/// BERT's kind.
pub fn words() -> Writer {
    let mut tokens = vec![("[UNK]".to_string(), UNKNOWN), ("[CLS]".into(), CONTROL), ("[SEP]".into(), CONTROL)];
    tokens.extend(["▁h", "▁hello", "▁,", "e", "l", "o", "ell"].map(|t| (t.into(), NORMAL)));
    with_tokens(Writer::new().with("tokenizer.ggml.model", "bert"), tokens)
        .with("tokenizer.ggml.unknown_token_id", 0u32)
        .with("tokenizer.ggml.cls_token_id", 1u32)
        .with("tokenizer.ggml.seperator_token_id", 2u32)
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
