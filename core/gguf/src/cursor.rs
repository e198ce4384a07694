//! A position in the header that only moves forward and never past the end.
//!
//! Two lengths bound it: the bytes at hand (reading past them is [`Error::Truncated`]), and the whole file, of which
//! they may be only the beginning (a count that the rest of the file cannot hold is [`Error::Count`]).

use super::Error;
use alloc::string::ToString;

pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    file_len: u64,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], file_len: u64) -> Self {
        Cursor { bytes, at: 0, file_len }
    }

    /// Bytes read so far: the offset of the next one.
    pub(super) fn offset(&self) -> u64 {
        self.at as u64
    }

    /// The bytes read so far.
    pub(super) fn taken(&self) -> &'a [u8] {
        &self.bytes[..self.at]
    }

    /// Everything at hand and not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The next `n` bytes, or an error that says inside `what` the bytes ended.
    pub(super) fn take(&mut self, n: u64, what: &str) -> Result<&'a [u8], Error> {
        if n > self.rest().len() as u64 {
            let needed = self.offset().saturating_add(n);
            return Err(Error::Truncated { what: what.to_string(), needed, len: self.bytes.len() as u64 });
        }
        let taken = &self.bytes[self.at..self.at + n as usize];
        self.at += n as usize;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Error> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N as u64, what)?);
        Ok(out)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, Error> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, Error> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A u64 length and so many bytes of UTF-8.
    pub(super) fn str(&mut self, what: &str) -> Result<&'a str, Error> {
        let len = self.u64(what)?;
        let offset = self.offset();
        let bytes = self.take(len, what)?;
        core::str::from_utf8(bytes).map_err(|_| Error::Utf8 { what: what.to_string(), offset })
    }

    /// A count of things that take at least `min_bytes` each, checked against what is left of the file.
    pub(super) fn count(&mut self, what: &'static str, min_bytes: u64) -> Result<u64, Error> {
        let offset = self.offset();
        let count = self.u64(what)?;
        let left = self.file_len.saturating_sub(self.offset());
        match count.checked_mul(min_bytes) {
            Some(bytes) if bytes <= left => Ok(count),
            _ => Err(Error::Count { what, count, offset }),
        }
    }
}
