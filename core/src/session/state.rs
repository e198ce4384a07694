//! A session as bytes, and back: `docs/state-format.md` has the layout.
//!
//! ```text
//!   header (56 bytes) │ record │ record │ … │ checksum of all before
//!                        └ a position: its token, its keys and values in each layer
//! ```
//! Both ways a record at a time passes through memory, so neither needs room for the whole. What is read is believed only once the
//! checksum has come: until then it goes into blocks of its own, and the session stays as it is.

use super::kv::{Extent, KvType, SLACK};
use super::{Error, Session, memory};
use crate::model::Model;
use core::hash::Hasher;
use twox_hash::XxHash64;

const MAGIC: [u8; 8] = *b"picolmKV";

/// Version of the format, which changes with the layout and with anything that changes keys and values.
const VERSION: u32 = 2;

/// Bytes of the header, and of the part before its own checksum.
const HEADER: usize = 56;
const HEADER_HASHED: usize = 48;

/// Why a state could not be written or read. The session is as it was.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages name the fields")]
pub enum StateError<E> {
    /// What the host's reader or writer said.
    #[error("{0}")]
    Host(E),
    /// Another model than the session's, or no memory.
    #[error(transparent)]
    Session(#[from] Error),
    /// Other bytes.
    #[error("it is not a saved session: it does not begin with {:?}", MAGIC.escape_ascii())]
    NotState,
    /// Written by another version of picolm.
    #[error("it has version {found} of the format (supported: {VERSION})")]
    Version { found: u32 },
    /// The bytes end early.
    #[error("it is cut short: it ends at byte {at} of {len}")]
    Truncated { at: u64, len: u64 },
    /// The header's checksum is not that of the header.
    #[error("its header is damaged: the checksum is {stored:016x} instead of {found:016x}")]
    Header { stored: u64, found: u64 },
    /// The checksum at the end is not that of what stands before it.
    #[error("it is damaged: the checksum is {stored:016x} instead of {found:016x}")]
    Checksum { stored: u64, found: u64 },
    /// Saved with another model.
    #[error("it was saved with another model: that has fingerprint {found:016x}, this one {expected:016x}")]
    OtherModel { expected: u64, found: u64 },
    /// Saved by a session with another type of KV cache.
    #[error("its keys and values are of type {found} (0: f16, 1: q8_0), and {expected:?} is wanted")]
    KvType { expected: KvType, found: u32 },
    /// More tokens than the session can hold.
    #[error("it has {tokens} tokens, and the context is {context}")]
    TooLong { tokens: u64, context: usize },
    /// More to go back than any session keeps.
    #[error("it says that {slack} tokens can be taken back (at most: {SLACK})")]
    Slack { slack: u64 },
    /// A context for which the model turns keys in another way.
    #[error("it was saved with a context of {saved}, and for {context} this model encodes positions in another way")]
    Context { saved: u64, context: usize },
    /// A token id outside the vocabulary.
    #[error("token {token} at position {position} is not in the vocabulary of {vocab}")]
    Token { position: usize, token: u32, vocab: usize },
    /// A value that no session stores.
    #[error("the keys and values of position {position} have one that is not finite or out of range")]
    Value { position: usize },
}

impl Session {
    /// Writes the session: calls `write` with the next bytes, to the last. They depend on the tokens, the model, the context and the type
    /// of the cache alone, and are the same on every machine.
    ///
    /// # Errors
    /// What `write` says; [`Error::OtherModel`] if the session is of another model; [`Error::OutOfMemory`] for one record.
    pub fn save<E>(&self, model: &Model, write: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), StateError<E>> {
        self.check_model(model)?;
        let extent = Extent { len: self.len(), slack: self.kv.slack(self.len()) };
        // The last position is in all layers.
        let longest = 4 + self.kv.record_bytes(extent.len, extent);
        let mut record = memory::zeroed("a record of the state", longest)?;
        let mut hash = XxHash64::with_seed(0);
        let mut put = |bytes: &[u8]| {
            hash.write(bytes);
            write(bytes).map_err(StateError::Host)
        };
        put(&self.header(model, extent))?;
        for (position, token) in self.tokens.iter().enumerate() {
            let record = &mut record[..4 + self.kv.record_bytes(position, extent)];
            let (id, rows) = record.split_at_mut(4);
            id.copy_from_slice(&token.to_le_bytes());
            self.kv.save(position, extent, rows);
            put(record)?;
        }
        write(&hash.finish().to_le_bytes()).map_err(StateError::Host)
    }

    /// Makes the session what [`Session::save`] wrote: calls `read` to fill a buffer from its start with the next bytes, which returns how
    /// many it gave, 0 at the end. It then continues as the saved one would have, bit for bit.
    ///
    /// Until all has been read and checked, the session is as it was and its memory is held too. Nothing behind the state is read.
    ///
    /// # Errors
    /// Anything but a state of this model, this type of cache and no more than this context: see [`StateError`].
    pub fn load<E>(
        &mut self,
        model: &Model,
        read: &mut dyn FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), StateError<E>> {
        self.check_model(model)?;
        let mut reader = Reader { read, hash: XxHash64::with_seed(0), at: 0, len: HEADER as u64 };
        let mut header = [0; HEADER];
        reader.fill(&mut header)?;
        let extent = self.check_header(model, &header)?;

        let mut loaded = Session::new(model, self.context, self.kv.kv_type())?;
        loaded.kv.begin(extent);
        let longest = 4 + self.kv.record_bytes(extent.len, extent);
        let mut record = memory::zeroed("a record of the state", longest)?;
        reader.len = (HEADER + 8) as u64 + 4 * extent.len as u64 + self.kv.records_bytes(extent);
        let (mut strange, vocab) = (None, model.config.vocab);
        for position in 0..extent.len {
            let record = &mut record[..4 + self.kv.record_bytes(position, extent)];
            reader.fill(record)?;
            loaded.reserve(position + 1)?;
            let token = u32::from_le_bytes(field(record, 0));
            loaded.tokens.push(token);
            if token as usize >= vocab {
                strange.get_or_insert(StateError::Token { position, token, vocab });
            }
            if !loaded.kv.load(position, extent, &record[4..]) {
                strange.get_or_insert(StateError::Value { position });
            }
        }
        let (found, mut stored) = (reader.hash.finish(), [0; 8]);
        reader.fill(&mut stored)?;
        match u64::from_le_bytes(stored) {
            // Damage has likely made what is strange: it is the news.
            stored if stored != found => return Err(StateError::Checksum { stored, found }),
            _ => strange.map_or(Ok(()), Err)?,
        }
        *self = loaded;
        Ok(())
    }

    fn check_model(&self, model: &Model) -> Result<(), Error> {
        if self.model == model.id() { Ok(()) } else { Err(Error::OtherModel) }
    }

    fn header(&self, model: &Model, extent: Extent) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[0..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&type_id(self.kv.kv_type()).to_le_bytes());
        header[16..24].copy_from_slice(&model.fingerprint().to_le_bytes());
        header[24..32].copy_from_slice(&(self.context as u64).to_le_bytes());
        header[32..40].copy_from_slice(&(extent.len as u64).to_le_bytes());
        header[40..48].copy_from_slice(&(extent.slack as u64).to_le_bytes());
        let checksum = XxHash64::oneshot(0, &header[..HEADER_HASHED]);
        header[48..56].copy_from_slice(&checksum.to_le_bytes());
        header
    }

    /// What is in it, if the state is one that this session can become.
    fn check_header<E>(&self, model: &Model, header: &[u8; HEADER]) -> Result<Extent, StateError<E>> {
        let number = |at| u64::from_le_bytes(field(header, at));
        let version = u32::from_le_bytes(field(header, 8));
        if header[..8] != MAGIC {
            return Err(StateError::NotState);
        }
        if version != VERSION {
            return Err(StateError::Version { found: version });
        }
        let (stored, found) = (number(48), XxHash64::oneshot(0, &header[..HEADER_HASHED]));
        if stored != found {
            return Err(StateError::Header { stored, found });
        }
        let (expected, found) = (model.fingerprint(), number(16));
        if found != expected {
            return Err(StateError::OtherModel { expected, found });
        }
        let (expected, found) = (self.kv.kv_type(), u32::from_le_bytes(field(header, 12)));
        if found != type_id(expected) {
            return Err(StateError::KvType { expected, found });
        }
        let (saved, tokens, context) = (number(24), number(32), self.context);
        if tokens > context as u64 {
            return Err(StateError::TooLong { tokens, context });
        }
        let slack = number(40);
        if slack > SLACK as u64 {
            return Err(StateError::Slack { slack });
        }
        let long = usize::try_from(saved).unwrap_or(usize::MAX);
        match model.ropes.iter().all(|rope| rope.freqs(long) == rope.freqs(context)) {
            true => Ok(Extent { len: tokens as usize, slack: slack as usize }),
            false => Err(StateError::Context { saved, context }),
        }
    }
}

fn type_id(kv_type: KvType) -> u32 {
    match kv_type {
        KvType::F16 => 0,
        KvType::Q8_0 => 1,
    }
}

/// The `N` bytes from `at` on, which are there.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// The host's bytes, counted and hashed.
struct Reader<'a, E> {
    read: &'a mut dyn FnMut(&mut [u8]) -> Result<usize, E>,
    hash: XxHash64,
    /// Bytes read
    at: u64,
    /// Bytes of the state, as far as that is known
    len: u64,
}

impl<E> Reader<'_, E> {
    fn fill(&mut self, into: &mut [u8]) -> Result<(), StateError<E>> {
        let mut rest = &mut *into;
        while !rest.is_empty() {
            match (self.read)(rest).map_err(StateError::Host)? {
                0 => return Err(StateError::Truncated { at: self.at, len: self.len }),
                n => {
                    // Never more than there was room for, whatever the host says.
                    let n = n.min(rest.len());
                    self.at += n as u64;
                    rest = &mut rest[n..];
                }
            }
        }
        self.hash.write(into);
        Ok(())
    }
}
