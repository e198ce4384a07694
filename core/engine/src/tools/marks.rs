//! Marks in texts: compared without white space, which models write as they like.

/// How a text begins, compared with a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    /// With the mark, which takes so many bytes, those of white space in front of it included.
    Whole(usize),
    /// With a part of it, and there it ends.
    Part,
    No,
}

/// Most white space that is held back, and within a mark: more of it would be looked at again with each piece of text.
pub(super) const MAX_SPACE: usize = 64;

/// Bytes of a text without the white space at its end, if that is not too much to be held back.
pub(super) fn without_space(text: &str) -> usize {
    let bytes = text.trim_end().len();
    if text.len() - bytes > MAX_SPACE { text.len() } else { bytes }
}

/// Compares the beginning of a text with a mark. An empty one is there at once.
pub(super) fn begins(text: &str, mark: &str) -> Begins {
    let mut wanted = mark.chars().filter(|c| !c.is_whitespace());
    let Some(mut next) = wanted.next() else { return Begins::Whole(0) };
    let mut space = 0;
    for (at, c) in text.char_indices() {
        if c.is_whitespace() && space < MAX_SPACE {
            space += 1;
            continue;
        }
        if c != next {
            return Begins::No;
        }
        match wanted.next() {
            Some(after) => next = after,
            None => return Begins::Whole(at + c.len_utf8()),
        }
    }
    Begins::Part
}

/// Bytes at the end of a text that a mark begins with.
pub(super) fn longest_start(text: &str, mark: &str) -> usize {
    let longest = text.len().min(mark.len().saturating_sub(1));
    (0..=longest).rev().find(|&bytes| mark.as_bytes().starts_with(&text.as_bytes()[text.len() - bytes..])).unwrap_or(0)
}

/// The first tag of a mark, such as `<tool_call>` or `[TOOL_CALLS]`; otherwise its first word.
pub(super) fn first_tag(mark: &str) -> &str {
    let closing = match mark.chars().next() {
        Some('<') => Some('>'),
        Some('[') => Some(']'),
        _ => None,
    };
    match closing {
        Some(closing) => mark.find(closing).map_or(mark, |at| &mark[..=at]),
        None => mark.split_whitespace().next().unwrap_or(mark),
    }
}

/// Bytes that two texts begin with alike.
pub(super) fn common_start(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(c, _)| c.len_utf8()).sum()
}

/// Bytes that two texts end with alike.
pub(super) fn common_end(a: &str, b: &str) -> usize {
    a.chars().rev().zip(b.chars().rev()).take_while(|(a, b)| a == b).map(|(c, _)| c.len_utf8()).sum()
}

/// What two texts begin with alike, but for a tag that has only begun in it.
pub(super) fn common_tags_at_start<'a>(a: &'a str, b: &str) -> &'a str {
    let common = &a[..common_start(a, b)];
    let (begun, ended) = (common.rfind('<'), common.rfind('>'));
    match begun.filter(|_| common.len() < a.len().max(b.len())) {
        Some(begun) if ended.is_none_or(|ended| ended < begun) => &common[..begun],
        _ => common,
    }
}

/// What two texts end with alike, but for a tag of which only the end is in it.
pub(super) fn common_tags_at_end<'a>(a: &'a str, b: &str) -> &'a str {
    let common = &a[a.len() - common_end(a, b)..];
    let (begun, ended) = (common.find('<'), common.find('>'));
    match ended.filter(|_| common.len() < a.len().max(b.len())) {
        Some(ended) if begun.is_none_or(|begun| begun > ended) => &common[ended + 1..],
        _ => common,
    }
}
