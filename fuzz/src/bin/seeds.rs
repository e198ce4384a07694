//! Writes the first corpus of every target: a few small files that reach each part of the parsers.
//!
//!     cargo run --bin seeds -- corpus

use picolm_core::gguf::{GgmlType, Writer};
use picolm_fuzz::vocab;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "corpus".into());
    let folder = Path::new(&folder);
    write(&folder.join("gguf"), gguf_seeds())?;
    write(&folder.join("template"), template_seeds()?)?;
    write(&folder.join("grammar"), grammar_seeds())?;
    write(&folder.join("state"), picolm_fuzz::state::seeds())?;
    write(&folder.join("tokenizer"), tokenizer_seeds())
}

fn write(folder: &Path, seeds: Vec<Vec<u8>>) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (i, seed) in seeds.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{i:02}")), seed)?;
    }
    println!("{}: {} seeds", folder.display(), seeds.len());
    Ok(())
}

/// One of each kind, with keywords that need each part of the reader.
fn grammar_seeds() -> Vec<Vec<u8>> {
    [
        r##"\0{"type":"object","properties":{"a":{"$ref":"#/$defs/b"},"c":{"enum":[1,"x",null]}},"required":["a"],"additionalProperties":false,"$defs":{"b":{"type":"string","maxLength":3,"pattern":"^a+$"}}}"##,
        r#"\0{"anyOf":[{"type":"integer","minimum":-3,"maximum":12},{"type":"array","prefixItems":[true],"items":{"type":"number","multipleOf":2},"minItems":1,"uniqueItems":false}],"title":"t"}"#,
        r#"\0{"oneOf":[{"const":1},{"type":"string","format":"date"}],"patternProperties":{"^x":{"type":"null"}}}"#,
        "\u{1}(a|bc)*[^\\d\\s]{2,5}\\p{L}?x+?",
        "\u{2}start: greeting (\" \" NAME)*\ngreeting: \"a\" | /b[cd]/\nNAME: /[A-Z]{1,3}/\n%ignore /x/",
        "\u{2}start: \"v\" %json {\"type\": \"boolean\"}",
        "\u{3}root ::= (expr \"=\" term \"\\n\")+\nexpr ::= term ([-+*/] term)*\nterm ::= num | \"(\" expr \")\"\nnum ::= [0-9]{1,3} # a number\n",
    ]
    .map(|seed| seed.replacen("\\0", "\0", 1).into_bytes())
    .into()
}

/// The published templates of the interpreter's tests.
fn template_seeds() -> std::io::Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/template/tests/published");
    let mut paths = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jinja"));
    paths.sort();
    paths.iter().map(std::fs::read).collect()
}

/// Good files of every kind of value and tensor, and bad ones that no small change to those would give.
fn gguf_seeds() -> Vec<Vec<u8>> {
    let f32_type = GgmlType::from_name("F32").expect("a ggml type");
    let one = |w: Writer| w.tensor("w", f32_type, &[2], [0; 8]);
    let strange_type = GgmlType { id: 1000, ..f32_type };
    let scalars = Writer::new()
        .version(2)
        .with("a", 1u8)
        .with("b", -1i8)
        .with("c", 1u16)
        .with("d", -1i16)
        .with("e", 1u32)
        .with("f", -1i32)
        .with("g", 1u64)
        .with("h", -1i64)
        .with("i", 0.5f32)
        .with("j", 0.5f64)
        .with("k", true)
        .with("l", "text");
    let arrays = Writer::new()
        .with("a", [1u8, 2])
        .with("b", [true, false])
        .with("c", ["x", "", "yz"])
        .with("d", vec![vec!["x"], vec![]])
        .with("e", vec![vec![vec![vec![1i64]]]]);
    let too_deep = Writer::new().with("a", vec![vec![vec![vec![vec![0u8]]]]]);
    let mut seeds = vec![
        scalars.finish(),
        arrays.finish(),
        too_deep.finish(),
        one(Writer::new()).finish(),
        one(Writer::new().alignment(64)).finish(),
        Writer::new().alignment(3).finish(),
        Writer::new().with("general.alignment", "32").finish(),
        Writer::new().with("a", 1u8).with("a", 2u8).finish(),
        Writer::new().with("", 1u8).finish(),
        Writer::new().version(1).finish(),
        one(one(Writer::new())).finish(),
        Writer::new().tensor("w", f32_type, &[2, 2], [0; 8]).tensor("v", f32_type, &[2], [0; 8]).finish(),
        Writer::new().tensor("w", f32_type, &[64, 1, 1, 1, 1], [0; 8]).finish(),
        Writer::new().tensor("w", f32_type, &[u64::MAX, 2], [0; 8]).finish(),
        Writer::new().tensor("w", f32_type, &[0], [0; 8]).finish(),
        Writer::new().tensor("v", f32_type, &[20], [0; 8]).tensor("w", f32_type, &[2], [0; 80]).finish(),
        Writer::new().tensor("w", strange_type, &[2], [0; 8]).finish(),
    ];
    seeds.extend(
        GgmlType::all().map(|ty| Writer::new().tensor("w", ty, &[ty.block], vec![0; ty.bytes as usize]).finish()),
    );
    seeds
}

/// Good vocabularies, tiny ones with a flaw each, and texts.
fn tokenizer_seeds() -> Vec<Vec<u8>> {
    let small = |types: [i32; 3]| {
        Writer::new()
            .with("tokenizer.ggml.model", "llama")
            .with("tokenizer.ggml.tokens", ["<0x0A>", "▁a", "<s>"])
            .with("tokenizer.ggml.scores", [0.0f32, -1.0, 0.0])
            .with("tokenizer.ggml.token_type", types)
    };
    let bytes = |merges: &[&str]| {
        Writer::new()
            .with("tokenizer.ggml.model", "gpt2")
            .with("tokenizer.ggml.pre", "gpt-2")
            .with("tokenizer.ggml.tokens", ["a", "b", "ab", "Ġ"])
            .with("tokenizer.ggml.merges", merges)
    };
    let files = [
        vocab::scores(),
        vocab::merges("gpt-2"),
        vocab::merges("llama-bpe"),
        vocab::merges("qwen2"),
        vocab::merges("smollm"),
        vocab::merges("deepseek-llm"),
        vocab::unigram(),
        vocab::words(),
        vocab::merges("no such rule"),
        small([6, 1, 3]),
        small([6, 1, 3]).with("tokenizer.ggml.unknown_token_id", 2u32).with("tokenizer.ggml.bos_token_id", 2u32),
        small([6, 4, 2]).with("tokenizer.ggml.unknown_token_id", 2u32).with("tokenizer.ggml.add_bos_token", false),
        small([6, 1, 3]).with("tokenizer.ggml.bos_token_id", 3u32),
        small([1, 6, 5]),
        small([7, 1, 1]),
        bytes(&["a b"]),
        bytes(&["a b", "a b"]).with("tokenizer.ggml.add_eos_token", true),
        bytes(&["a c"]),
        bytes(&["b a"]),
        bytes(&["ab"]),
        Writer::new().with("tokenizer.ggml.model", "bert"),
        Writer::new().with("tokenizer.ggml.model", "gpt2").with("tokenizer.ggml.tokens", ["a", "a"]),
        Writer::new().with("tokenizer.ggml.model", "gpt2").with("tokenizer.ggml.tokens", Vec::<String>::new()),
    ];
    let texts = [
        "hello hello  hé\n\tHELLO'll 12345 ½ 🦙<s></s><tool> <|im_start|>▁▁<0x41>",
        "\u{0}\u{feff}e\u{301}٣Ⅷ\u{3000}\u{10ffff} \r\n  x'ſa !!?\u{200d}",
    ];
    let files = files.into_iter().map(|file| file.finish());
    files.chain(texts.map(|text| text.as_bytes().to_vec())).chain([b"\xff\xfe\xf0\x9f".to_vec()]).collect()
}
