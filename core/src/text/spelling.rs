//! How vocabularies spell the bytes of a token.

use alloc::vec::Vec;

/// An alphabet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// A space is `▁` (U+2581), everything else itself: SentencePiece.
    Spaces,
    /// A `▁` at the beginning, before anything else, is a space; all others stand for themselves: BERT's, as converters
    /// write them.
    Words,
    /// Every byte is a printable character: itself if it is one in Latin-1, else from U+0100 on. Byte-level BPE, as GPT-2's
    /// `bytes_to_unicode` (<https://github.com/openai/gpt-2/blob/master/src/encoder.py>).
    Bytes,
}

impl Spelling {
    /// Appends the bytes that `text` spells; false, with nothing appended, if it has characters outside the alphabet.
    pub(super) fn decode(self, text: &str, out: &mut Vec<u8>) -> bool {
        match self {
            Spelling::Spaces | Spelling::Words if text.contains(' ') => false,
            Spelling::Spaces | Spelling::Words => {
                self.decode_lossy(text, out);
                true
            }
            Spelling::Bytes => {
                let start = out.len();
                for c in text.chars() {
                    let Some(byte) = byte_of(c) else {
                        out.truncate(start);
                        return false;
                    };
                    out.push(byte);
                }
                true
            }
        }
    }

    /// Appends the bytes that `text` spells; characters outside the alphabet stand for themselves.
    pub(super) fn decode_lossy(self, text: &str, out: &mut Vec<u8>) {
        let mut buffer = [0; 4];
        for (at, c) in text.char_indices() {
            match self {
                Spelling::Spaces if c == '▁' => out.push(b' '),
                Spelling::Words if c == '▁' && at == 0 && text != "▁" => out.push(b' '),
                Spelling::Bytes if byte_of(c).is_some() => out.extend(byte_of(c)),
                _ => out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes()),
            }
        }
    }
}

/// The byte that a character of GPT-2's alphabet stands for. The 68 bytes that are not printable follow from U+0100 on, in
/// order: 00 to 20, 7F to A0, AD.
fn byte_of(c: char) -> Option<u8> {
    let code = c as u32;
    let byte = match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => code,
        0x100..=0x120 => code - 0x100,
        0x121..=0x142 => code - 0x121 + 0x7f,
        0x143 => 0xad,
        _ => return None,
    };
    Some(byte as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_character() {
        // As GPT-2's encoder.py makes it: printable bytes first, then a counter from 256 for the others.
        let printable = |b: u32| matches!(b, 33..=126 | 161..=172 | 174..=255);
        let mut next = 256;
        for byte in 0..=255u8 {
            let code = if printable(byte.into()) { byte.into() } else { next };
            next += u32::from(!printable(byte.into()));
            assert_eq!(char::from_u32(code).and_then(byte_of), Some(byte));
        }
        assert_eq!((next, byte_of('\u{144}'), byte_of(' ')), (324, None, None));
    }
}
