//! Models split over several files, `NAME-00001-of-00003.gguf`: each is a whole GGUF file that says which part it is, and the first
//! has the metadata. Source: `gguf-split` of llama.cpp.

use super::{Error, Gguf};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The names of all parts, in order, if `name` is that of one.
pub fn part_names(name: &str) -> Option<Vec<String>> {
    let rest = name.strip_suffix(".gguf")?;
    let (rest, count) = rest.rsplit_once("-of-")?;
    let (prefix, part) = rest.rsplit_once('-')?;
    let number = |digits: &str| match digits.len() == 5 && digits.bytes().all(|b| b.is_ascii_digit()) {
        true => digits.parse::<u32>().ok(),
        false => None,
    };
    let (part, count) = (number(part)?, number(count)?);
    (1..=count).contains(&part).then(|| (1..=count).map(|i| format!("{prefix}-{i:05}-of-{count:05}.gguf")).collect())
}

impl<'a> Gguf<'a> {
    /// Number of parts the model is split into, by its header; 1 if it is whole.
    pub fn split_count(&self) -> Result<u32, Error> {
        Ok(self.u32("split.count")?.unwrap_or(1).max(1))
    }

    /// One directory over all parts, given in order. The offsets in it are those of the files put one behind the other; the
    /// metadata is that of the first.
    ///
    /// # Errors
    /// [`Error::Split`] if a part is not the one it should be or tensors are missing, [`Error::Duplicate`] if two have a tensor of
    /// one name.
    pub fn join(parts: Vec<Gguf<'a>>) -> Result<Gguf<'a>, Error> {
        let count = parts.len();
        for (i, part) in parts.iter().enumerate() {
            let (found, of) = (u64::from(part.u32("split.no")?.unwrap_or(0)), u64::from(part.split_count()?));
            if (found, of) != (i as u64, count as u64) {
                let why = format!("file {} of {count} says that it is part {} of {of}", i + 1, found + 1);
                return Err(Error::Split(why));
            }
        }
        let mut parts = parts.into_iter();
        let mut whole = parts.next().ok_or_else(|| Error::Split("no file was given".to_string()))?;
        whole.append(parts)?;
        match whole.u32("split.tensors.count")? {
            Some(n) if n as usize != whole.tensors().len() => {
                Err(Error::Split(format!("the parts have {} tensors together instead of {n}", whole.tensors().len())))
            }
            _ => Ok(whole),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(
            part_names("a-b-00002-of-00002.gguf").unwrap(),
            ["a-b-00001-of-00002.gguf", "a-b-00002-of-00002.gguf"]
        );
        for name in [
            "a.gguf",
            "a-00000-of-00002.gguf",
            "a-00003-of-00002.gguf",
            "a-1-of-2.gguf",
            "a-00001-of-00002.bin",
            "-of-.gguf",
        ] {
            assert_eq!(part_names(name), None, "{name}");
        }
    }
}
