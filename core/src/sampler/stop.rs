//! Stop strings in text that arrives in pieces.
//!
//! Every byte moves each stop string's automaton (Knuth, Morris, Pratt 1977) one step, so that the work per byte is
//! constant whatever the strings look like, and cutting the text into other pieces changes nothing. The first stop string
//! *to be complete* ends the text, in front of it; of two that end together, the one that starts first. (Waiting for an
//! earlier start that might still become complete would cost tokens, and delay the answer.)

use alloc::string::String;
use alloc::vec::Vec;

use super::{Error, MAX_STOPS};

/// Finds the first of some stop strings in streamed text, and holds back no more text than could belong to one.
#[derive(Debug, Clone, Default)]
pub struct StopMatcher {
    stops: Vec<Stop>,
    /// The text not known to be free of stops, after `emitted` bytes that the last call handed out.
    buffer: String,
    emitted: usize,
    hit: Option<usize>,
}

/// What a piece of text released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released<'a> {
    /// Text that can be shown: it is in front of every stop string.
    pub text: &'a str,
    /// Which of the stop strings has ended the text, by its place in the list given to [`StopMatcher::new`].
    pub stop: Option<usize>,
}

impl StopMatcher {
    /// A matcher for any of `stops`. With none, text passes through.
    ///
    /// # Errors
    /// An empty string, which would stop everywhere, and more strings than [`MAX_STOPS`].
    pub fn new(stops: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, Error> {
        let mut matcher = Self::default();
        for (i, text) in stops.into_iter().enumerate() {
            let text = text.into();
            if i == MAX_STOPS {
                return Err(Error::Stops);
            }
            if text.is_empty() {
                return Err(Error::EmptyStop(i));
            }
            matcher.stops.push(Stop::new(text));
        }
        Ok(matcher)
    }

    /// Takes the next piece of text, and releases what can be shown now: all but the longest end of the text that begins
    /// a stop string. After a stop nothing more is released.
    pub fn push(&mut self, piece: &str) -> Released<'_> {
        self.buffer.drain(..self.emitted);
        self.emitted = 0;
        if self.hit.is_some() {
            return self.released();
        }
        let mut end = self.buffer.len();
        self.buffer.push_str(piece);
        for byte in piece.bytes() {
            end += 1;
            if let Some((i, len)) = self.step(byte) {
                self.hit = Some(i);
                self.buffer.truncate(end - len);
                self.emitted = self.buffer.len();
                return self.released();
            }
        }
        let held = self.stops.iter().map(|s| s.matched).max().unwrap_or(0);
        self.emitted = self.buffer.len() - held;
        self.released()
    }

    /// Ends the text: returns what was held back, which turned out to be no stop string. The matcher is as new.
    pub fn finish(&mut self) -> String {
        self.buffer.drain(..self.emitted);
        self.emitted = 0;
        self.hit = None;
        self.stops.iter_mut().for_each(|s| s.matched = 0);
        core::mem::take(&mut self.buffer)
    }

    /// Moves every automaton; the stop string that is complete, and its length. The longest starts first.
    fn step(&mut self, byte: u8) -> Option<(usize, usize)> {
        let mut hit: Option<(usize, usize)> = None;
        for (i, stop) in self.stops.iter_mut().enumerate() {
            let len = stop.text.len();
            if stop.step(byte) && hit.is_none_or(|(_, longest)| len > longest) {
                hit = Some((i, len));
            }
        }
        hit
    }

    fn released(&self) -> Released<'_> {
        Released { text: &self.buffer[..self.emitted], stop: self.hit }
    }
}

/// One stop string and how much of it the text ends with.
#[derive(Debug, Clone)]
struct Stop {
    text: String,
    /// `fall[i]`: the length of the longest proper prefix of the string that also ends its first `i + 1` bytes.
    fall: Vec<usize>,
    /// The longest prefix that the text so far ends with. Both are UTF-8, so it ends and starts between characters.
    matched: usize,
}

impl Stop {
    fn new(text: String) -> Self {
        let mut stop = Self { fall: Vec::with_capacity(text.len()), text, matched: 0 };
        // The table for byte i needs only those before it: the string, from its second byte, is matched with itself.
        stop.fall.push(0);
        for i in 1..stop.text.len() {
            stop.step(stop.text.as_bytes()[i]);
            stop.fall.push(stop.matched);
        }
        stop.matched = 0;
        stop
    }

    /// Whether the string is complete with this byte.
    fn step(&mut self, byte: u8) -> bool {
        let text = self.text.as_bytes();
        while self.matched > 0 && text[self.matched] != byte {
            self.matched = self.fall[self.matched - 1];
        }
        self.matched += usize::from(text[self.matched] == byte);
        self.matched == text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    /// At each end in turn, is there a stop string? Then the text up to the start of the longest, and which it is.
    fn naive<'a>(text: &'a str, stops: &[String]) -> (&'a str, Option<usize>) {
        for end in 1..=text.len() {
            let here = (0..stops.len()).filter(|i| text.as_bytes()[..end].ends_with(stops[*i].as_bytes()));
            if let Some(i) = here.rev().max_by_key(|i| stops[*i].len()) {
                return (&text[..end - stops[i].len()], Some(i));
            }
        }
        (text, None)
    }

    /// The whole output of a matcher. Checks after each piece that what is held back could still become a stop string,
    /// and that no longer end of the text could.
    fn streamed(pieces: &[&str], stops: &[String]) -> (String, Option<usize>) {
        let mut matcher = StopMatcher::new(stops.to_vec()).unwrap();
        let (mut seen, mut out, mut stop) = (String::new(), String::new(), None);
        for piece in pieces {
            seen.push_str(piece);
            let released = matcher.push(piece);
            out.push_str(released.text);
            if stop.is_some() {
                assert_eq!(released, Released { text: "", stop });
            }
            stop = released.stop;
            if stop.is_none() {
                let begins_a_stop = |end: &&str| stops.iter().any(|s| s.starts_with(*end));
                let held = seen.char_indices().map(|(i, _)| &seen[i..]).find(begins_a_stop).unwrap_or("");
                assert_eq!(out.len() + held.len(), seen.len(), "{held:?} is to be held back");
            }
        }
        let rest = matcher.finish();
        assert!(stop.is_none() || rest.is_empty());
        (out + &rest, stop)
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| String::from(*s)).collect()
    }

    #[test]
    fn emits_what_is_in_front() {
        let mut matcher = StopMatcher::new(["</end>"]).unwrap();
        assert_eq!(matcher.push("a < b </e"), Released { text: "a < b ", stop: None });
        assert_eq!(matcher.push("m></en"), Released { text: "</em>", stop: None });
        assert_eq!(matcher.push("d> more"), Released { text: "", stop: Some(0) });
        assert_eq!(matcher.push("and more"), Released { text: "", stop: Some(0) });
        assert_eq!(matcher.finish(), "");
        // and again
        assert_eq!(matcher.push("d></end"), Released { text: "d>", stop: None });
        assert_eq!(matcher.finish(), "</end");
        assert_eq!(matcher.push(">"), Released { text: ">", stop: None });
    }

    #[test]
    fn the_first_to_be_complete_wins() {
        let stops = strings(&["abcd", "bc", "abc", "xabc"]);
        assert_eq!(streamed(&["_abcd"], &stops), ("_".into(), Some(2)));
        assert_eq!(streamed(&["_xabcd"], &stops), ("_".into(), Some(3)));
        assert_eq!(streamed(&["_bcd"], &stops), ("_".into(), Some(1)));
        assert_eq!(streamed(&["ab", "", "ac"], &stops), ("abac".into(), None));
        assert_eq!(streamed(&["x"], &strings(&["x", "x"])), ("".into(), Some(0)));
    }

    #[test]
    fn characters_of_many_bytes() {
        // The second stop string shares its first two bytes with the euro sign.
        let stops = strings(&["€€", "\u{2080}"]);
        assert_eq!(streamed(&["5 €", " 6 €", "€!"], &stops), ("5 € 6 ".into(), Some(0)));
        assert_eq!(streamed(&["€", "é", "\u{2080}"], &stops), ("€é".into(), Some(1)));
    }

    #[test]
    fn lists_that_cannot_be() {
        assert_eq!(StopMatcher::new(["a", ""]).unwrap_err(), Error::EmptyStop(1));
        assert_eq!(StopMatcher::new(vec!["a"; MAX_STOPS + 1]).unwrap_err(), Error::Stops);
        assert!(StopMatcher::new(vec!["a"; MAX_STOPS]).is_ok());
        let mut none = StopMatcher::new(Vec::<String>::new()).unwrap();
        assert_eq!(none.push("text"), Released { text: "text", stop: None });
    }

    /// A naive matcher needs about 2^36 comparisons for this text.
    #[test]
    fn long_stops_that_nearly_match() {
        let run = "a".repeat(1 << 17);
        let stops = [run.clone() + "b"];
        let text = run.repeat(4) + "c";
        let mut matcher = StopMatcher::new(stops).unwrap();
        assert_eq!(matcher.push(&text), Released { text: &text, stop: None });
    }

    proptest! {
        /// Any cut of any text, over an alphabet small enough for stop strings to overlap themselves and each other.
        #[test]
        fn pieces_do_not_matter(
            pieces in prop::collection::vec("[abé]{0,6}", 0..12),
            stops in prop::collection::vec("[abé]{1,5}", 0..5),
        ) {
            let pieces: Vec<&str> = pieces.iter().map(|p| p.as_str()).collect();
            let whole = pieces.concat();
            let (text, stop) = naive(&whole, &stops);
            prop_assert_eq!(streamed(&pieces, &stops), (String::from(text), stop));
        }
    }
}
