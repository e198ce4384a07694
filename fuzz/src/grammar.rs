//! Any bytes as a schema, an expression or a grammar, and an answer that goes as they say.

use picolm_grammar::{Grammar, Limits, Source, Token, Vocabulary};
use std::sync::{Arc, LazyLock};

static VOCABULARY: LazyLock<Arc<Vocabulary>> = LazyLock::new(|| {
    let bytes: Vec<u8> = (0..=255).collect();
    let tokens = bytes.chunks(1).map(Token::Text).chain([Token::End(b"</s>"), Token::Text(b"ab"), Token::Text(b"\":")]);
    Vocabulary::new(tokens, None).expect("a good vocabulary")
});

/// As many tokens of an answer are chosen.
const MOST: usize = 40;

/// The first byte says what the text is, and what stands behind a zero byte chooses the tokens of an answer among those that are allowed.
pub fn grammar(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    let (text, choices) =
        data.iter().position(|&byte| byte == 0).map_or((data, &[][..]), |at| (&data[..at], &data[at + 1..]));
    let text = String::from_utf8_lossy(text);
    let source = match kind % 4 {
        0 => Source::JsonSchema(&text),
        1 => Source::Regex(&text),
        2 => Source::Lark(&text),
        _ => Source::Gbnf(&text),
    };
    let mut matcher = match Grammar::new(source, &VOCABULARY, &Limits::default()) {
        Ok(grammar) => grammar.matcher(),
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let mut answer = Vec::new();
    for at in 0..MOST {
        let allowed: Vec<u32> = match matcher.mask(&answer) {
            Ok(mask) => {
                (0..VOCABULARY.len() as u32).filter(|id| mask[*id as usize / 32] >> (id % 32) & 1 == 1).collect()
            }
            Err(error) => return assert!(!error.to_string().is_empty()),
        };
        // There is always a way on, or the answer is whole.
        assert!(!allowed.is_empty());
        let choice = choices.get(at).map_or(0, |&byte| byte as usize);
        let token = allowed[choice % allowed.len()];
        if token == 256 {
            assert_eq!(matcher.may_end(&answer), Ok(true));
            return;
        }
        answer.push(token);
    }
}
