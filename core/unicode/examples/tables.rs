//! Writes `core/unicode/src/tables.rs` from the crates that have all of Unicode (the tests compare what came of it):
//! `cargo run -p picolm-unicode --example tables > core/unicode/src/tables.rs`

use unicode_general_category::{GeneralCategory, GeneralCategory::*, get_general_category};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

fn main() {
    println!("//! Tables of Unicode 16. Written by `core/unicode/examples/tables.rs`: change that, not this.\n");
    println!("/// The classes of all characters, in runs: see `run_at`.\n#[rustfmt::skip]");
    let runs = class_runs();
    println!("pub(super) static CLASS_RUNS: [u8; {}] = [", runs.len());
    print_items(runs.iter().map(|byte| format!("{byte},")), "");
    println!("];\n");

    let (bases, long) = bases();
    println!(
        "/// Letters with accents: the first of a range, and for each of it the letter under the accents (or itself)."
    );
    print_pairs("BASES", &bases);
    println!("/// Those that become several letters or marks.");
    print_pairs("LONG_BASES", &long);

    println!("/// Marks that take room and are sorted nevertheless: first, last, combining class.\n#[rustfmt::skip]");
    println!("pub(super) static MARK_ORDER: &[(char, char, u8)] = &[");
    print_items(mark_order().iter().map(|(first, last, order)| format!("({first:?}, {last:?}, {order}),")), " ");
    println!("];");
}

/// Items in lines of up to 140 columns.
fn print_items(items: impl Iterator<Item = String>, between: &str) {
    let mut line = String::from("   ");
    for (i, item) in items.enumerate() {
        if line.chars().count() + item.chars().count() > 138 {
            println!("{line}");
            line = String::from("   ");
        }
        line += if i == 0 || line.len() == 3 { " " } else { between };
        line += &item;
    }
    println!("{line}");
}

fn print_pairs(name: &str, pairs: &[Letters]) {
    println!("#[rustfmt::skip]\npub(super) static {name}: &[(char, &str)] = &[");
    for (first, bases) in pairs {
        let mut text = String::new();
        let mut width = 20;
        for c in bases.chars() {
            let spelling = spelled(c);
            width += spelling.len();
            if width > 138 {
                text += "\\\n     ";
                width = 5 + spelling.len();
            }
            text += &spelling;
        }
        println!("    ('\\u{{{:x}}}', \"{}\"),", *first as u32, text);
    }
    println!("];\n");
}

/// A character in a string literal; those that do not stand on their own as numbers.
fn spelled(c: char) -> String {
    if c.is_alphanumeric() && !is_combining_mark(c) { c.to_string() } else { format!("\\u{{{:x}}}", c as u32) }
}

fn characters() -> impl Iterator<Item = char> {
    '\0'..=char::MAX
}

/// The number of a class, as in `CLASSES`.
fn class(c: char) -> u8 {
    match get_general_category(c) {
        UppercaseLetter | TitlecaseLetter => 1,
        LowercaseLetter => 2,
        ModifierLetter | OtherLetter => 3,
        NonspacingMark if [c].into_iter().nfd().all(|c| canonical_combining_class(c) != 0) => 4,
        NonspacingMark => 5,
        SpacingMark | EnclosingMark => 6,
        DecimalNumber => 7,
        LetterNumber | OtherNumber => 8,
        ConnectorPunctuation | DashPunctuation | OpenPunctuation | ClosePunctuation => 9,
        InitialPunctuation | FinalPunctuation | OtherPunctuation => 9,
        MathSymbol | CurrencySymbol | ModifierSymbol | OtherSymbol => 10,
        Control | Format | PrivateUse => 11,
        _ => 0,
    }
}

fn class_runs() -> Vec<u8> {
    let mut runs: Vec<(u8, u32)> = Vec::new();
    for code in 0..=char::MAX as u32 {
        let class = char::from_u32(code).map_or(0, class);
        match runs.last_mut() {
            Some(run) if run.0 == class => run.1 += 1,
            _ => runs.push((class, 1)),
        }
    }
    let mut bytes = Vec::new();
    for (class, len) in runs {
        bytes.push(class << 4 | (len - 1).min(15) as u8);
        if let Some(mut more) = len.checked_sub(16) {
            while more >= 128 {
                bytes.push(more as u8 | 128);
                more >>= 7;
            }
            bytes.push(more as u8);
        }
    }
    bytes
}

fn is_accent(c: char) -> bool {
    get_general_category(c) == GeneralCategory::NonspacingMark
}

/// A character and letters.
type Letters = (char, String);

/// Those that become one letter, in ranges, and those that become several.
fn bases() -> (Vec<Letters>, Vec<Letters>) {
    let (mut ranges, mut long) = (Vec::<Letters>::new(), Vec::new());
    for c in characters().filter(|&c| !is_accent(c) && !('\u{ac00}'..='\u{d7a3}').contains(&c)) {
        let bases: String = [c].into_iter().nfd().filter(|&c| !is_accent(c)).collect();
        if bases.chars().eq([c]) {
            continue;
        }
        if bases.chars().count() > 1 {
            long.push((c, bases));
            continue;
        }
        if let Some((first, all)) = ranges.last_mut() {
            // A small gap is filled with characters that stay themselves: shorter than another range.
            let end = *first as u32 + all.chars().count() as u32;
            if c as u32 - end < 6 {
                all.extend((end..c as u32).filter_map(char::from_u32));
                *all += &bases;
                continue;
            }
        }
        ranges.push((c, bases));
    }
    (ranges, long)
}

fn mark_order() -> Vec<(char, char, u8)> {
    let mut ranges: Vec<(char, char, u8)> = Vec::new();
    for c in characters().filter(|&c| !is_accent(c) && canonical_combining_class(c) != 0) {
        let order = canonical_combining_class(c);
        match ranges.last_mut() {
            Some((_, last, same)) if *last as u32 + 1 == c as u32 && *same == order => *last = c,
            _ => ranges.push((c, c, order)),
        }
    }
    ranges
}
