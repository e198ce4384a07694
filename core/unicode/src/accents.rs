//! Text without accents, as BERT makes it: canonical decomposition (NFD) less nonspacing marks (Mn).
//! <https://www.unicode.org/reports/tr15/>

use super::tables::{BASES, LONG_BASES, MARK_ORDER};
use super::{Class, class};
use alloc::vec::Vec;

/// Takes accents off, character by character.
#[derive(Default)]
pub struct Accents {
    /// Marks that stay, since the last letter, each with its combining class: NFD sorts them by it.
    marks: Vec<(u8, char)>,
}

impl Accents {
    /// Puts what stays of the next character.
    pub fn strip(&mut self, c: char, put: &mut dyn FnMut(char)) {
        if c.is_ascii() {
            return self.keep(c, put);
        }
        match class(c) {
            Class::Accent => return,
            Class::StillMark => return self.finish(put),
            _ => {}
        }
        match c as u32 {
            code @ 0xac00..=0xd7a3 => hangul(code - 0xac00, &mut |c| self.keep(c, put)),
            _ => match LONG_BASES.binary_search_by_key(&c, |entry| entry.0) {
                Ok(at) => LONG_BASES[at].1.chars().for_each(|c| self.keep(c, put)),
                Err(_) => self.keep(base(c).unwrap_or(c), put),
            },
        }
    }

    /// Puts the marks at the text's end.
    pub fn finish(&mut self, put: &mut dyn FnMut(char)) {
        self.marks.sort_by_key(|&(order, _)| order);
        self.marks.drain(..).for_each(|(_, c)| put(c));
    }

    /// A character that is not decomposed further.
    fn keep(&mut self, c: char, put: &mut dyn FnMut(char)) {
        let after = MARK_ORDER.partition_point(|&(first, _, _)| first <= c);
        match MARK_ORDER[..after].last() {
            Some(&(_, last, order)) if c <= last => self.marks.push((order, c)),
            _ => {
                if !self.marks.is_empty() {
                    self.finish(put);
                }
                put(c);
            }
        }
    }
}

/// The letter that a letter with accents has under them, if it is one.
fn base(c: char) -> Option<char> {
    let after = BASES.partition_point(|&(first, _)| first <= c);
    let (first, bases) = BASES.get(after.checked_sub(1)?)?;
    bases.chars().nth(c as usize - *first as usize)
}

/// The two or three letters of a Korean syllable, by its number.
fn hangul(syllable: u32, put: &mut dyn FnMut(char)) {
    let (first, vowel, last) = (syllable / (21 * 28), syllable / 28 % 21, syllable % 28);
    let letters = [0x1100 + first, 0x1161 + vowel, 0x11a7 + last];
    letters[..if last == 0 { 2 } else { 3 }].iter().filter_map(|&code| char::from_u32(code)).for_each(put);
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_general_category::{GeneralCategory::NonspacingMark, get_general_category};
    use unicode_normalization::UnicodeNormalization;

    #[test]
    fn every_character_loses_its_accents_and_nothing_else() {
        // Marks before and after it, which change places if the character lets them: of the combining classes 226 and 216, and 230.
        for c in '\0'..=char::MAX {
            for text in [[c, ' ', ' '], ['\u{1d16d}', c, '\u{1d165}'], ['\u{301}', c, '\u{302e}']] {
                let (mut found, mut accents) = (String::new(), Accents::default());
                text.iter().for_each(|&c| accents.strip(c, &mut |c| found.push(c)));
                accents.finish(&mut |c| found.push(c));
                let nfd = text.into_iter().nfd();
                let expected: String = nfd.filter(|&c| get_general_category(c) != NonspacingMark).collect();
                assert_eq!(found, expected, "{text:?}");
            }
        }
    }
}
