//! Text that arrives a token at a time.

use alloc::string::String;
use alloc::vec::Vec;

/// Puts the bytes of tokens together to text: a character cut between tokens is held back until it is whole.
///
/// What it hands out, put together, is `String::from_utf8_lossy` of all the bytes: each sequence that can never become a
/// character is one U+FFFD, as soon as that is certain.
///
/// ```
/// let mut stream = picolm_core::text::Utf8Stream::new();
/// assert_eq!(stream.push(b"\xf0\x9f"), "");
/// assert_eq!(stream.push(b"\xa6\x99!"), "🦙!");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Utf8Stream {
    /// bytes not handed out yet: after a call, at most three that begin a character
    bytes: Vec<u8>,
    /// what the last call returned
    text: String,
}

impl Utf8Stream {
    /// Nothing pushed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the bytes of a token; returns the text that is complete now, which may be empty.
    pub fn push(&mut self, bytes: &[u8]) -> &str {
        self.bytes.extend_from_slice(bytes);
        self.text.clear();
        let mut rest = &self.bytes[..];
        loop {
            match core::str::from_utf8(rest) {
                Ok(valid) => {
                    self.text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, bad) = rest.split_at(error.valid_up_to());
                    self.text.push_str(core::str::from_utf8(valid).unwrap_or_default());
                    rest = bad;
                    let Some(len) = error.error_len() else { break };
                    self.text.push('\u{fffd}');
                    rest = &rest[len..];
                }
            }
        }
        let used = self.bytes.len() - rest.len();
        self.bytes.drain(..used);
        &self.text
    }

    /// Ends the text: an unfinished character becomes U+FFFD. The stream can be used for another text after.
    pub fn finish(&mut self) -> &str {
        self.text.clear();
        if !self.bytes.is_empty() {
            self.text.push('\u{fffd}');
        }
        self.bytes.clear();
        &self.text
    }

    /// Ends a text that was to go on: the bytes of an unfinished character are dropped. The stream can be used for another text after.
    pub fn cut(&mut self) {
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_character_cut_in_four() {
        let mut stream = Utf8Stream::new();
        let out: Vec<String> = "🦙".bytes().map(|b| stream.push(&[b]).into()).collect();
        assert_eq!(out, ["", "", "", "🦙"]);
        assert_eq!(stream.finish(), "");
    }

    #[test]
    fn what_cannot_become_a_character_does_not_wait() {
        let mut stream = Utf8Stream::new();
        assert_eq!(stream.push(b"a\xff"), "a\u{fffd}");
        assert_eq!(stream.push(b"\xe2\x82"), "");
        assert_eq!(stream.push(b"b"), "\u{fffd}b");
        assert_eq!(stream.push(b"\xe2"), "");
        assert_eq!(stream.finish(), "\u{fffd}");
        assert_eq!(stream.push(b"c"), "c");
    }

    #[test]
    fn a_cut_drops_what_is_unfinished_and_nothing_else() {
        let mut stream = Utf8Stream::new();
        assert_eq!(stream.push(b"a\xff\xe2\x82"), "a\u{fffd}");
        stream.cut();
        assert_eq!(stream.finish(), "");
        assert_eq!(stream.push(b"\x82\xacc"), "\u{fffd}\u{fffd}c");
    }

    proptest! {
        #[test]
        fn any_cuts_give_the_whole(parts in prop::collection::vec(prop::collection::vec(prop_oneof![
            any::<u8>(), prop::sample::select("é€🦙\u{e000}".as_bytes())], 0..6), 0..20)) {
            let mut stream = Utf8Stream::new();
            let mut text = String::new();
            for part in &parts {
                text.push_str(stream.push(part));
                prop_assert!(stream.bytes.len() < 4);
            }
            text.push_str(stream.finish());
            prop_assert_eq!(text, String::from_utf8_lossy(&parts.concat()).into_owned());
        }
    }
}
