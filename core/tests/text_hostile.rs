//! Vocabularies that broke others: each must give an error that names what is wrong, or be harmless.

mod vocabulary;

use picolm_core::gguf::Gguf;
use picolm_core::text::{Encode, Tokenizer};
use proptest::prelude::*;
use vocabulary::{Keys, byte_alphabet};

const BOTH: [fn() -> Keys; 2] = [Keys::bytes, Keys::scores];
const ALL: [fn() -> Keys; 4] = [Keys::bytes, Keys::scores, Keys::unigram, Keys::words];
const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";

#[test]
fn the_sound_vocabularies_are_accepted() {
    let tokenizer = Keys::bytes().read().unwrap();
    assert_eq!(tokenizer.encode("abcb", Encode::TEXT), [257, 65]);
    let tokenizer = Keys::scores().read().unwrap();
    assert_eq!(tokenizer.encode("ab\u{e9}", Encode::PROMPT), [1, 263, 0xc3 + 3, 0xa9 + 3]);
    let whole = Encode { bos: true, eos: true, special: true };
    // ▁ab: -5 alone, -6 as ▁, ab. What is unknown is so once for a run.
    assert_eq!(Keys::unigram().read().unwrap().encode("ab b??</s>", whole), [7, 3, 5, 2, 1]);
    assert_eq!(Keys::unigram().read().unwrap().decode(&[7, 3, 5], false), "ab b");
    // The longest first: ab, b. A word that does not come out is unknown as a whole.
    assert_eq!(Keys::words().read().unwrap().encode("ABB! aba", whole), [2, 5, 6, 7, 1, 3]);
    assert_eq!(Keys::words().read().unwrap().decode(&[2, 5, 6, 7], false), "abb !");
}

#[test]
fn an_empty_vocabulary() {
    for keys in ALL {
        let none: [&str; 0] = [];
        assert!(keys().with("tokenizer.ggml.tokens", none).error().contains("0 tokens"));
    }
}

#[test]
fn missing_keys_are_named() {
    for (keys, names) in [
        (Keys::bytes as fn() -> Keys, &["model", "tokens", "merges", "pre"][..]),
        (Keys::scores, &["model", "tokens", "scores"]),
        (Keys::unigram, &["model", "tokens", "scores", "eos_token_id", "unknown_token_id"]),
        (Keys::words, &["model", "tokens", "cls_token_id", "seperator_token_id", "unknown_token_id"]),
    ] {
        for name in names {
            let key = format!("tokenizer.ggml.{name}");
            let error = keys().without(&key).error();
            assert!(error.contains(&key) && error.contains("missing"), "{error}");
        }
    }
}

#[test]
fn unknown_tokenizers_and_pre_tokenisers_name_the_known() {
    let error = Keys::bytes().with("tokenizer.ggml.model", "wordpiece").error();
    assert!(error.contains("\"wordpiece\"") && error.contains("llama, gpt2"), "{error}");
    let error = Keys::bytes().with("tokenizer.ggml.pre", "gpt-9").error();
    assert!(error.contains("\"gpt-9\"") && error.contains("llama-bpe") && error.contains("qwen2"), "{error}");
    let error = Keys::bytes().without("tokenizer.ggml.pre").error();
    assert!(error.contains("missing") && error.contains("smollm"), "{error}");
}

#[test]
fn special_ids_outside_the_vocabulary() {
    for keys in ALL {
        for name in ["bos", "eos", "eot", "eom", "unknown"] {
            let key = format!("tokenizer.ggml.{name}_token_id");
            for id in [264u32, 100_000, u32::MAX] {
                let error = keys().with(&key, id).error();
                assert!(error.contains(&key) && error.contains(&id.to_string()), "{error}");
            }
            assert!(keys().with(&key, -1i32).error().contains(&key));
            assert!(keys().with(&key, "1").error().contains(&key));
        }
    }
}

#[test]
fn malformed_byte_tokens() {
    let at = |id: usize, text: &str| {
        let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).into();
        tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
        tokens.extend(["▁", "a", "b", "ab", "▁ab"].map(String::from));
        tokens[id] = text.into();
        Keys::scores().with("tokenizer.ggml.tokens", tokens)
    };
    for text in ["<0x-1>", "<0x+1>", "<0x1>", "<0x001>", "<0xGG>", "<0x>", "0x41", "<0x41", "<0X41>", "é", ""] {
        let error = at(10, text).error();
        assert!(error.contains("token 10") && error.contains(&format!("{text:?}")), "{error}");
    }
    // Two tokens for one byte.
    let error = at(10, "<0xff>").error();
    assert!(error.contains("twice") && error.contains("10"), "{error}");
}

#[test]
fn duplicate_tokens_are_named_with_both_ids() {
    let tokens = |change: &[(usize, &str)]| {
        let mut tokens = byte_alphabet();
        tokens.extend(["ab", "abc", "<s>", "</s>"].map(String::from));
        change.iter().for_each(|(id, text)| tokens[*id] = text.to_string());
        Keys::bytes().with("tokenizer.ggml.tokens", tokens)
    };
    for (change, text, ids) in [
        (&[(257, "ab")][..], "\"ab\"", ["256", "257"]),
        (&[(259, "<s>")], "\"<s>\"", ["258", "259"]),
        (&[(259, "ab")], "\"ab\"", ["256", "259"]),
    ] {
        let error = tokens(change).error();
        assert!([text, ids[0], ids[1]].iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn unigram_scores_that_cannot_be_summed() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut scores = [-1f32; 8];
        scores[5] = bad;
        let error = Keys::unigram().with("tokenizer.ggml.scores", scores).error();
        assert!(error.contains("token 5"), "{error}");
    }
    // The greatest floats do no harm.
    for large in [f32::MAX, f32::MIN] {
        let tokenizer = Keys::unigram().with("tokenizer.ggml.scores", [large; 8]).read().unwrap();
        let ids = tokenizer.encode(&"ab?".repeat(1000), Encode::TEXT);
        assert!(ids.iter().all(|&id| id < 8) && ids.contains(&2));
    }
    assert!(Keys::unigram().with("tokenizer.ggml.scores", [0f32; 7]).error().contains("7 entries"));
}

/// A charsmap of one key of one character: a node for it (label, leaf at base) and the value of its replacement.
fn charsmap(key: u8, replacements: &[u8]) -> Vec<u8> {
    let mut units = [0u32; 256];
    // The root's base is 0, so the child for `key` stands at `key`; its own base leads to 255.
    units[usize::from(key)] = u32::from(key) | 1 << 8 | u32::from(key ^ 255) << 10;
    units[255] = 1 << 31;
    let trie = units.iter().flat_map(|unit| unit.to_le_bytes());
    1024u32.to_le_bytes().into_iter().chain(trie).chain(replacements.iter().copied()).collect()
}

#[test]
fn a_charsmap_replaces_characters() {
    let keys = |map: Vec<u8>| Keys::unigram().with(CHARSMAP, map).with("tokenizer.ggml.add_space_prefix", false);
    assert_eq!(keys(charsmap(b'x', b"ab\0")).read().unwrap().encode("xb", Encode::TEXT), [6, 5]);
    assert_eq!(keys(charsmap(b'x', b"\0")).read().unwrap().encode("xbx", Encode::TEXT), [5]);
    assert_eq!(keys(Vec::new()).read().unwrap().encode("xb", Encode::TEXT), [2, 5]);
}

#[test]
fn a_charsmap_cut_short_or_pointing_outside() {
    let error = |map: Vec<u8>| Keys::unigram().with(CHARSMAP, map).error();
    let good = charsmap(b'x', b"ab\0");
    for len in 1..good.len() {
        let error = error(good[..len].to_vec());
        assert!(error.contains(CHARSMAP), "{len}: {error}");
    }
    for size in [0u32, 3, 1025, 1028, 1 << 31, u32::MAX] {
        let mut map = good.clone();
        map[..4].copy_from_slice(&size.to_le_bytes());
        assert!(error(map).contains("at byte 0"));
    }
    assert!(error(charsmap(b'x', b"")).contains("does not end"));
    assert!(error(charsmap(b'x', b"ab")).contains("does not end"));
    assert!(error(charsmap(b'x', b"\xff\0")).contains("UTF-8"));
    assert!(error(charsmap(b'x', &[[b'a'; 300].as_slice(), b"\0"].concat())).contains("too long"));
    // The node of x, whose leaf or replacement is outside.
    let node = 4 + 4 * usize::from(b'x');
    for (at, unit) in [(node, u32::from(b'x') | 1 << 8 | 0x1f_ffff << 10), (4 + 4 * 255, 1 << 31 | 77)] {
        let mut map = good.clone();
        map[at..at + 4].copy_from_slice(&unit.to_le_bytes());
        assert!(error(map).contains(&format!("at byte {node}")), "{at}");
    }
    assert!(Keys::unigram().with(CHARSMAP, [1f32]).error().contains("array of bytes"));
    assert!(Keys::unigram().with(CHARSMAP, "map").error().contains(CHARSMAP));
}

/// A node that is its own child would lead on for as long as the text does.
#[test]
fn a_charsmap_that_loops() {
    let mut map = charsmap(b'x', b"ab\0");
    // The root's base is 0, and that of x is x: from x, x leads back to x.
    let unit = u32::from(b'x') | u32::from(b'x') << 10;
    map[4 + 4 * usize::from(b'x')..][..4].copy_from_slice(&unit.to_le_bytes());
    let tokenizer = Keys::unigram().with(CHARSMAP, map).read().unwrap();
    assert_eq!(tokenizer.encode(&"x".repeat(300_000), Encode::TEXT), [3, 2]);
}

/// Phi-3's special tokens take the white space after them, but for three: `<s>` is one.
#[test]
fn white_space_after_phi3s_special_tokens() {
    let special = Encode { special: true, ..Encode::TEXT };
    let phi3 = |keys: Keys| keys.with("general.architecture", "phi3").read().unwrap();
    let tokenizer = phi3(Keys::scores());
    assert_eq!(tokenizer.encode("</s> \n ab", special), [2, 263]);
    assert_eq!(tokenizer.encode("<s>\nab", special), [1, 259, 0x0a + 3, 262]);
    assert_eq!(Keys::scores().read().unwrap().encode("</s>\nab", special), [2, 259, 0x0a + 3, 262]);
    // Phi-4 has byte-level merges, and keeps it.
    assert_eq!(phi3(Keys::bytes()).encode("</s>a", special), [259, 64]);
}

#[test]
fn long_runs_in_every_model() {
    for keys in ALL {
        let tokenizer = keys().read().unwrap();
        for unit in ["a", "ab", " ", "\n", "é", "界", "\u{301}", "\0", "🦙", "!", "?", "a b"] {
            let ids = tokenizer.encode(&unit.repeat(300_000 / unit.len()), Encode::PROMPT);
            assert!(ids.len() <= 300_002, "{unit:?}");
        }
    }
}

#[test]
fn merges_that_are_not_two_tokens_making_a_third() {
    for (merge, why) in [
        ("a", "space"),
        ("", "space"),
        ("a x y", "does not have"),
        (" ab", "does not have"),
        ("a ", "does not have"),
        ("zz a", "does not have"),
        ("a zz", "does not have"),
        ("<s> a", "does not have"),
        ("a\u{20ac} b", "does not have"),
        ("b a", "not a token"),
    ] {
        let error = Keys::bytes().with("tokenizer.ggml.merges", ["a b", merge]).error();
        assert!(error.contains("merge 1") && error.contains(&format!("{merge:?}")), "{error}");
        assert!(error.contains(why), "{error}");
    }
    assert!(Keys::bytes().with("tokenizer.ggml.merges", [1u32]).error().contains("tokenizer.ggml.merges"));
}

#[test]
fn add_bos_with_no_bos() {
    for keys in BOTH {
        for (flag, id) in [("add_bos_token", "bos_token_id"), ("add_eos_token", "eos_token_id")] {
            let [flag, id] = [flag, id].map(|name| format!("tokenizer.ggml.{name}"));
            let error = keys().without(&id).with(&flag, true).error();
            assert!(error.contains(&flag) && error.contains(&id), "{error}");
            assert!(keys().without(&id).with(&flag, false).read().is_ok());
            assert!(keys().with(&flag, 1u32).error().contains(&flag));
        }
    }
    // The default for scores is to add BOS.
    let error = Keys::scores().without("tokenizer.ggml.bos_token_id").error();
    assert!(error.contains("by default") && error.contains("bos_token_id"), "{error}");
}

#[test]
fn scores_and_types_of_another_length_or_type() {
    let scores = "tokenizer.ggml.scores";
    assert!(Keys::scores().with(scores, vec![0f32; 263]).error().contains("263 entries"));
    assert!(Keys::scores().with(scores, vec![0f32; 265]).error().contains("265 entries"));
    assert!(Keys::scores().with(scores, vec![0i32; 264]).error().contains(scores));
    assert!(Keys::scores().with(scores, "0").error().contains(scores));
    let mut values = vec![0f32; 264];
    values[7] = f32::NAN;
    assert!(Keys::scores().with(scores, values).error().contains("token 7"));
    let types = "tokenizer.ggml.token_type";
    for keys in BOTH {
        assert!(keys().with(types, vec![1i32; 3]).error().contains("3 entries"));
        assert!(keys().with(types, vec![1f32; 264]).error().contains(types));
        assert!(keys().with(types, 1i32).error().contains(types));
    }
    for value in [-1, 0, 7, i32::MIN, i32::MAX] {
        let mut values = vec![1i32; 260];
        values[5] = value;
        let error = Keys::bytes().with(types, values).error();
        assert!(error.contains("token 5") && error.contains(&value.to_string()), "{error}");
    }
    assert!(Keys::bytes().with("tokenizer.ggml.tokens", [1u32]).error().contains("tokenizer.ggml.tokens"));
}

#[test]
fn a_byte_no_token_stands_for() {
    let keys = |unknown: bool| {
        let keys = Keys::scores()
            .with("tokenizer.ggml.tokens", ["<unk>", "<s>", "</s>", "a"])
            .with("tokenizer.ggml.token_type", [2, 3, 3, 1])
            .with("tokenizer.ggml.scores", [0f32; 4]);
        if unknown { keys } else { keys.without("tokenizer.ggml.unknown_token_id") }
    };
    assert!(keys(false).error().contains("0x00"));
    // With an unknown token there is something to write; in byte-level vocabularies the byte is left out, as by others.
    assert_eq!(keys(true).read().unwrap().encode("ab", Encode::TEXT), [0, 3, 0]);
    let mut tokens = byte_alphabet();
    tokens[1] = "none".into();
    let keys = Keys::bytes().with("tokenizer.ggml.tokens", tokens).with("tokenizer.ggml.token_type", [1i32; 256]);
    let keys = keys.with("tokenizer.ggml.merges", [""; 0]);
    let keys = keys.with("tokenizer.ggml.bos_token_id", 0u32).with("tokenizer.ggml.eos_token_id", 0u32);
    assert_eq!(keys.read().unwrap().encode("!\"!", Encode::TEXT), [0, 0]);
}

#[test]
fn tokens_of_absurd_length() {
    for keys in BOTH {
        let error = keys().with("tokenizer.ggml.tokens", ["a".repeat(5000)]);
        let error = error.without("tokenizer.ggml.token_type").error();
        assert!(error.contains("token 0") && error.contains("5000"), "{error}");
    }
}

/// Merges that double, so that every one of them applies to a long run; and tokens that grow by one, so that all but one
/// neighbour stays the same. What is checked is the result; that there is one, in a test's time, is the point.
#[test]
fn a_merge_list_that_would_make_encoding_quadratic() {
    let n = 300_000;
    let powers: Vec<String> = (0..10).map(|i| "a".repeat(1 << i)).collect();
    let merges: Vec<String> = powers.windows(2).map(|pair| format!("{0} {0}", pair[0])).collect();
    let tokens = [byte_alphabet(), powers[1..].to_vec()].concat();
    let keys = Keys::bytes().with("tokenizer.ggml.tokens", tokens).without("tokenizer.ggml.token_type");
    let tokenizer = keys.with("tokenizer.ggml.merges", merges).read().unwrap();
    let ids = tokenizer.encode(&"a".repeat(n), Encode::TEXT);
    assert_eq!(ids.len(), n / 512 + (n % 512).count_ones() as usize);

    let grown: Vec<String> = (1..=100).map(|i| "a".repeat(i)).collect();
    let merges: Vec<String> = grown.iter().take(99).map(|left| format!("{left} a")).collect();
    let tokens = [byte_alphabet(), grown[1..].to_vec()].concat();
    let keys = Keys::bytes().with("tokenizer.ggml.tokens", tokens).without("tokenizer.ggml.token_type");
    let tokenizer = keys.with("tokenizer.ggml.merges", merges).read().unwrap();
    let ids = tokenizer.encode(&"a".repeat(n), Encode::TEXT);
    assert_eq!(tokenizer.decode(&ids, false).len(), n);

    let tokens = [vec!["<unk>".to_string(), "▁".to_string()], grown].concat();
    let scores: Vec<f32> = (0..tokens.len()).map(|i| i as f32).collect();
    let keys = Keys::scores().with("tokenizer.ggml.tokens", tokens).with("tokenizer.ggml.scores", scores);
    let keys = keys.without("tokenizer.ggml.token_type").with("tokenizer.ggml.add_space_prefix", false);
    let tokenizer = keys.read().unwrap();
    let ids = tokenizer.encode(&"a".repeat(n), Encode::TEXT);
    assert_eq!(tokenizer.decode(&ids, false).len(), n);
}

#[test]
fn long_runs_in_every_pre_tokeniser() {
    for name in [
        "default",
        "gpt-2",
        "smollm",
        "llama-bpe",
        "qwen2",
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
    ] {
        let keys = Keys::bytes().with("tokenizer.ggml.pre", name);
        let tokenizer = keys.read().unwrap();
        for unit in ["a", " ", "\n", "1", "'", "é", " \n", "'s", "\u{301}", "\0", "🦙"] {
            let text = unit.repeat(100_000 / unit.len());
            let ids = tokenizer.encode(&text, Encode::TEXT);
            assert_eq!(tokenizer.decode(&ids, false), text, "{name} {unit:?}");
        }
    }
}

#[test]
fn ids_outside_the_vocabulary_decode_to_nothing() {
    for keys in ALL {
        let tokenizer = keys().read().unwrap();
        assert_eq!(tokenizer.decode(&[u32::MAX, 264, 1 << 24], true), "");
        assert!(!tokenizer.is_end_of_generation(u32::MAX) && !tokenizer.is_special(u32::MAX));
    }
}

proptest! {
    /// Any tokens, types, scores and merges: an error or a tokenizer, never a panic; and the tokenizer works on any text.
    #[test]
    fn any_vocabulary_is_refused_or_works(
        tokens in prop::collection::vec("[ab▁Ġ<>0xF]{0,4}", 1..12),
        types in prop::collection::vec(1i32..7, 12),
        merges in prop::collection::vec("[ab]{1,2} [ab]{1,2}", 0..4),
        ids in prop::array::uniform4(0u32..16),
        kind in 0usize..4,
        map in prop::collection::vec(any::<u8>(), 0..40),
        text in "[ab ▁<>0xF\\PC]{0,24}",
    ) {
        let n = tokens.len();
        let keys = ALL[kind]()
            .with("tokenizer.ggml.tokens", tokens)
            .with("tokenizer.ggml.token_type", types[..n].to_vec())
            .with("tokenizer.ggml.scores", vec![-1f32; n])
            .with("tokenizer.ggml.merges", merges)
            .with("tokenizer.ggml.bos_token_id", ids[0])
            .with("tokenizer.ggml.eos_token_id", ids[1])
            .with("tokenizer.ggml.eot_token_id", ids[2])
            .with("tokenizer.ggml.unknown_token_id", ids[3])
            .with(CHARSMAP, [&(map.len() as u32 / 8 * 4).to_le_bytes()[..], &map].concat());
        let file = keys.file();
        if let Ok(tokenizer) = Tokenizer::from_gguf(&Gguf::parse(&file).unwrap()) {
            for how in [Encode::TEXT, Encode::PROMPT, Encode { bos: true, eos: true, special: true }] {
                let ids = tokenizer.encode(&text, how);
                prop_assert!(ids.iter().all(|&id| (id as usize) < n));
                tokenizer.decode(&ids, true);
            }
        }
    }
}
