//! Small vocabularies, and how to break them one key at a time.
#![allow(dead_code)] // each test file uses its own part

#[path = "../kept/mod.rs"]
pub mod kept;

use picolm_core::gguf::{Encode as GgufValue, Gguf, Writer};
use picolm_core::text::{Tokenizer, TokenizerError};

/// Keys and values of a vocabulary, in order; later entries of a name replace earlier ones.
pub struct Keys(Vec<(String, Write)>);

type Write = Box<dyn Fn(Writer, &str) -> Writer>;

impl Keys {
    /// Byte-level: 256 bytes in order of the alphabet (id = place), then `ab`, `abc`, `<s>` (258), `</s>` (259).
    pub fn bytes() -> Keys {
        let mut tokens = byte_alphabet();
        tokens.extend(["ab", "abc", "<s>", "</s>"].map(String::from));
        let types: Vec<i32> = (0..260).map(|id| if id < 258 { 1 } else { 3 }).collect();
        Keys(Vec::new())
            .with("tokenizer.ggml.model", "gpt2")
            .with("tokenizer.ggml.pre", "gpt-2")
            .with("tokenizer.ggml.tokens", tokens)
            .with("tokenizer.ggml.token_type", types)
            .with("tokenizer.ggml.merges", ["a b", "ab c"])
            .with("tokenizer.ggml.bos_token_id", 258u32)
            .with("tokenizer.ggml.eos_token_id", 259u32)
    }

    /// Scored: `<unk>`, `<s>`, `</s>`, 256 byte tokens (id = byte + 3), `▁`, `a`, `b`, `ab`, `▁ab` (263).
    pub fn scores() -> Keys {
        let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).into();
        tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
        tokens.extend(["▁", "a", "b", "ab", "▁ab"].map(String::from));
        let mut types = vec![2, 3, 3];
        types.extend([6; 256]);
        types.extend([1; 5]);
        let scores: Vec<f32> = (0..264).map(|id| if id < 259 { 0.0 } else { -(id as f32) }).collect();
        Keys(Vec::new())
            .with("tokenizer.ggml.model", "llama")
            .with("tokenizer.ggml.tokens", tokens)
            .with("tokenizer.ggml.token_type", types)
            .with("tokenizer.ggml.scores", scores)
            .with("tokenizer.ggml.bos_token_id", 1u32)
            .with("tokenizer.ggml.eos_token_id", 2u32)
            .with("tokenizer.ggml.unknown_token_id", 0u32)
    }

    /// Unigram: `<pad>`, `</s>`, `<unk>`, then `▁`, `a`, `b`, `ab`, `▁ab` (7).
    pub fn unigram() -> Keys {
        Keys(Vec::new())
            .with("tokenizer.ggml.model", "t5")
            .with("tokenizer.ggml.tokens", ["<pad>", "</s>", "<unk>", "▁", "a", "b", "ab", "▁ab"])
            .with("tokenizer.ggml.token_type", [3, 3, 2, 1, 1, 1, 1, 1])
            .with("tokenizer.ggml.scores", [0f32, 0.0, 0.0, -2.0, -3.0, -3.5, -4.0, -5.0])
            .with("tokenizer.ggml.eos_token_id", 1u32)
            .with("tokenizer.ggml.unknown_token_id", 2u32)
    }

    /// BERT's: `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]`, then `▁a`, `▁ab`, `b`, `▁!` (7).
    pub fn words() -> Keys {
        Keys(Vec::new())
            .with("tokenizer.ggml.model", "bert")
            .with("tokenizer.ggml.tokens", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁a", "▁ab", "b", "▁!"])
            .with("tokenizer.ggml.token_type", [3, 2, 3, 3, 1, 1, 1, 1])
            .with("tokenizer.ggml.unknown_token_id", 1u32)
            .with("tokenizer.ggml.cls_token_id", 2u32)
            .with("tokenizer.ggml.seperator_token_id", 3u32)
    }

    pub fn with(mut self, key: &str, value: impl GgufValue + 'static) -> Keys {
        self.0.retain(|(name, _)| name != key);
        self.0.push((key.into(), Box::new(move |writer, key| writer.with(key, &value))));
        self
    }

    pub fn without(mut self, key: &str) -> Keys {
        self.0.retain(|(name, _)| name != key);
        self
    }

    pub fn file(&self) -> Vec<u8> {
        self.0.iter().fold(Writer::new(), |writer, (key, write)| write(writer, key)).finish()
    }

    pub fn read(&self) -> Result<Tokenizer, TokenizerError> {
        let file = self.file();
        kept::keep("vocabulary", &file);
        Tokenizer::from_gguf(&Gguf::parse(&file).unwrap())
    }

    /// The message of the error it must give.
    #[track_caller]
    pub fn error(&self) -> String {
        self.read().expect_err("a broken vocabulary was accepted").to_string()
    }
}

/// GPT-2's alphabet: printable bytes first, then the others as U+0100 and on.
pub fn byte_alphabet() -> Vec<String> {
    let printable = |b: &u32| matches!(b, 33..=126 | 161..=172 | 174..=255);
    let chars = (0..256u32).filter(printable).chain(256..324);
    chars.map(|c| char::from_u32(c).unwrap().to_string()).collect()
}
