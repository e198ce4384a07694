//! Special tokens known by their names. GGUF has keys for some, but files often leave them out. A name counts only where
//! the file says that its token is no ordinary text: `</s>` is text to Qwen 2.

use alloc::vec::Vec;

/// Tokens that end a turn, the surest first. If the file does not name its own, the first of these that the vocabulary has
/// is it.
const END_OF_TURN: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<｜end▁of▁sentence｜>",
];

/// Other tokens after which a model has nothing more to say: ends of sequences and of messages, calls that wait for an
/// answer, and the separators and padding of code models. The names are those llama.cpp knows (`llama-vocab.cpp`).
const OTHER_ENDS: &[&str] = &[
    "</s>",
    "<eos>",
    "[EOS]",
    "<|eom_id|>",
    "<|return|>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "<turn|>",
    "<|tool_response>",
    "[e~[",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
];

/// Tokens that begin a turn, or stand around the name of who speaks.
const STARTS_OF_TURN: &[&str] = &[
    "<|im_start|>",
    "<start_of_turn>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|start_of_role|>",
    "<|end_of_role|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "[INST]",
    "[/INST]",
];

/// Phi-3's special tokens that do not take the white space after them.
pub(super) fn keeps_space_after(token: &[u8]) -> bool {
    [&b"<unk>"[..], b"<s>", b"<|endoftext|>"].contains(&token)
}

/// The token that ends a turn. `find`: a special token by its text.
pub(super) fn end_of_turn(find: impl Fn(&str) -> Option<u32>) -> Option<u32> {
    END_OF_TURN.iter().find_map(|text| find(text))
}

/// Tokens of the vocabulary that begin a turn.
pub(super) fn starts(find: impl Fn(&str) -> Option<u32>) -> Vec<u32> {
    STARTS_OF_TURN.iter().filter_map(|text| find(text)).collect()
}

/// All tokens that end generation, sorted: those of the vocabulary known by name, and those the file names.
pub(super) fn all_ends(find: impl Fn(&str) -> Option<u32>, named: [Option<u32>; 3]) -> Vec<u32> {
    let has = |text| find(text).is_some();
    // Harmony and Solar end messages, not answers, with <|end|>; Gemma 4 has an unused </s>.
    let harmony = (has("<|return|>") || has("<|flush|>")) && (has("<|call|>") || has("<|calls|>"));
    let not_here = |text: &str| (harmony && text == "<|end|>") || (text == "</s>" && has("<|tool_response>"));
    let known = END_OF_TURN.iter().chain(OTHER_ENDS).filter(|text| !not_here(text)).filter_map(|text| find(text));
    let mut ends: Vec<u32> = known.chain(named.into_iter().flatten()).collect();
    ends.sort_unstable();
    ends.dedup();
    ends
}
