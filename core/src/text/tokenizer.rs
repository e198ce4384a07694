//! [`Tokenizer`]: text to token ids and back.

use super::bpe_bytes::ByteBpe;
use super::bpe_score::ScoreBpe;
use super::merge::Merger;
use super::spelling::Spelling;
use super::unigram::Unigram;
use super::vocab::{Kind, Vocab};
use super::wordpiece::WordPiece;
use super::{TokenizerError, special};
use crate::gguf::Gguf;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;
use picolm_template::Traced;

/// A vocabulary and the rules for writing text with it. Owns compact data and borrows nothing from the file.
///
/// ```
/// use picolm_core::gguf::{Gguf, Writer};
/// use picolm_core::text::{Encode, Tokenizer};
///
/// let file = Writer::new()
///     .with("tokenizer.ggml.model", "gpt2")
///     .with("tokenizer.ggml.pre", "gpt-2")
///     .with("tokenizer.ggml.tokens", ["a", "b", "ab"])
///     .with("tokenizer.ggml.merges", ["a b"])
///     .finish();
/// let tokenizer = Tokenizer::from_gguf(&Gguf::parse(&file)?)?;
/// assert_eq!(tokenizer.encode("aab", Encode::PROMPT), [0, 2]);
/// assert_eq!(tokenizer.decode(&[0, 2], false), "aab");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Tokenizer {
    vocab: Vocab,
    model: Model,
    bos: Option<u32>,
    eos: Option<u32>,
    eot: Option<u32>,
    unknown: Option<u32>,
    add_bos: bool,
    add_eos: bool,
    /// whether white space after special tokens is left out
    strip_after_special: bool,
    /// tokens that end generation, sorted
    ends: Vec<u32>,
}

#[derive(Debug)]
enum Model {
    Score(ScoreBpe),
    Bytes(ByteBpe),
    Unigram(Unigram),
    WordPiece(WordPiece),
}

/// All bytes of any text.
const EVERYWHERE: Range<usize> = 0..usize::MAX;

/// The values of `tokenizer.ggml.model`.
const MODELS: &str = "llama, gpt2, t5, bert";

/// What [`Tokenizer::encode`] does besides the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encode {
    /// Begin with BOS if the model's file asks for it and the text does not begin with it already.
    pub bos: bool,
    /// End with EOS if the model's file asks for it and the text does not end with it already.
    pub eos: bool,
    /// Recognise control tokens written out in the text. Otherwise they are text like any other, so that what a user
    /// types can never act as one.
    pub special: bool,
}

impl Encode {
    /// The text and nothing else.
    pub const TEXT: Encode = Encode { bos: false, eos: false, special: false };
    /// A prompt to be continued: raw, or rendered by a chat template. BOS is never doubled.
    pub const PROMPT: Encode = Encode { bos: true, eos: false, special: true };
}

impl Tokenizer {
    /// Reads the tokenizer of a model file, or of a file that holds only a vocabulary.
    ///
    /// # Errors
    /// An unknown tokenizer or pre-tokeniser, a missing key, and any inconsistency: see [`TokenizerError`].
    pub fn from_gguf(gguf: &Gguf<'_>) -> Result<Tokenizer, TokenizerError> {
        let name = gguf.require_str("tokenizer.ggml.model")?;
        let spelling = match name {
            "llama" | "t5" => Spelling::Spaces,
            "bert" => Spelling::Words,
            "gpt2" => Spelling::Bytes,
            _ => return Err(TokenizerError::Model { model: name.to_string(), known: MODELS }),
        };
        let mut vocab = Vocab::read(gguf, spelling)?;
        let id = |key| special_id(gguf, key, vocab.len());
        let (mut bos, mut eos) = (id("tokenizer.ggml.bos_token_id")?, id("tokenizer.ggml.eos_token_id")?);
        let (eot, eom) = (id("tokenizer.ggml.eot_token_id")?, id("tokenizer.ggml.eom_token_id")?);
        let unknown = id("tokenizer.ggml.unknown_token_id")?;
        let (mut bos_key, mut eos_key) = ("tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id");
        let mut eos_flag = "tokenizer.ggml.add_eos_token";
        let (model, add_bos, add_eos) = match name {
            "llama" => (Model::Score(ScoreBpe::read(gguf, &vocab, unknown)?), true, false),
            "t5" => (Model::Unigram(Unigram::read(gguf, &vocab, unknown)?), false, true),
            "bert" => {
                // BERT's begin and end have names of their own. (The misspelling is GGUF's.)
                (bos_key, eos_key) = ("tokenizer.ggml.cls_token_id", "tokenizer.ggml.seperator_token_id");
                eos_flag = "tokenizer.ggml.add_sep_token";
                (bos, eos) = (id(bos_key)?.or(bos), id(eos_key)?.or(eos));
                (Model::WordPiece(WordPiece::read(gguf, unknown)?), true, true)
            }
            _ => {
                let model = ByteBpe::read(gguf, &vocab)?;
                let add_bos = model.rule.add_bos;
                (Model::Bytes(model), add_bos, false)
            }
        };
        let add_bos = add(gguf, "tokenizer.ggml.add_bos_token", add_bos, bos_key, bos)?;
        let add_eos = add(gguf, eos_flag, add_eos, eos_key, eos)?;
        let ends = special::all_ends(|text| vocab.find_special(text), [eos, eot, eom]);
        // Some files have these as user-defined, which means text.
        vocab.set_control(&ends);
        vocab.set_control(&special::starts(|text| vocab.find_special(text)));
        let eot = eot.or_else(|| special::end_of_turn(|text| vocab.find_special(text)));
        let strip_after_special = strips_after_special(gguf)?;
        Ok(Tokenizer { vocab, model, bos, eos, eot, unknown, add_bos, add_eos, strip_after_special, ends })
    }

    /// The tokens of a text. Takes time in proportion to its length, up to a logarithm.
    pub fn encode(&self, text: &str, how: Encode) -> Vec<u32> {
        self.encode_around(text, &[], how)
    }

    /// The tokens of what a template has made: control tokens count where it has written them, and are text in what it was given, however they
    /// are spelled there, also across the borders.
    pub fn encode_traced(&self, prompt: &Traced, how: Encode) -> Vec<u32> {
        self.encode_around(prompt.text(), &prompt.given().collect::<Vec<_>>(), how)
    }

    /// `plain`: where control tokens are text, ranges in order.
    fn encode_around(&self, text: &str, plain: &[Range<usize>], how: Encode) -> Vec<u32> {
        let plain = if how.special { plain } else { core::slice::from_ref(&EVERYWHERE) };
        let mut out = Vec::new();
        let mut merger = Merger::default();
        let (mut done, mut first) = (0, true);
        if how.bos && self.add_bos {
            out.extend(self.bos);
        }
        let start = out.len();
        loop {
            let special = self.vocab.next_special(text, done, plain);
            let before = &text[done..special.map_or(text.len(), |(at, _)| at)];
            if !before.is_empty() {
                self.encode_plain(before, first, &mut merger, &mut out);
            }
            let Some((at, id)) = special else { break };
            out.push(id);
            done = at + self.vocab.bytes(id).len();
            if self.strip_after_special && !special::keeps_space_after(self.vocab.bytes(id)) {
                done = text.len() - text[done..].trim_start().len();
            }
            first = true;
        }
        if start > 0 && out.get(start) == out.first() {
            out.remove(0);
        }
        if how.eos && self.add_eos && out.last() != self.eos.as_ref() {
            out.extend(self.eos);
        }
        out
    }

    /// The text of tokens; bytes that are not UTF-8 become U+FFFD. Control tokens are written out if `special`, else left
    /// out. The inverse of [`encode`](Self::encode): a space that it put before the text is taken away again.
    pub fn decode(&self, ids: &[u32], special: bool) -> String {
        String::from_utf8_lossy(&self.decode_bytes(ids, special)).into_owned()
    }

    /// [`decode`](Self::decode), as bytes.
    pub fn decode_bytes(&self, ids: &[u32], special: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let mut at_start = match &self.model {
            Model::Score(model) => model.space_prefix,
            Model::Unigram(model) => model.space_prefix,
            Model::WordPiece(_) => true,
            Model::Bytes(_) => false,
        };
        for &id in ids {
            let control = self.is_special(id);
            if control && !special {
                continue;
            }
            let bytes = self.vocab.bytes(id);
            let prefixed = at_start && !control;
            out.extend_from_slice(if prefixed { bytes.strip_prefix(b" ").unwrap_or(bytes) } else { bytes });
            at_start &= control || bytes.is_empty();
        }
        out
    }

    /// The bytes a token stands for; those of one token need not be whole characters
    /// ([`Utf8Stream`](super::Utf8Stream) puts them together). Control tokens are written out. Empty for an id outside
    /// the vocabulary.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.vocab.bytes(id)
    }

    /// The token that stands for exactly this text, as decoded: `" the"`, not `"Ġthe"` or `"▁the"`.
    pub fn id_of(&self, text: &str) -> Option<u32> {
        self.vocab.find_special(text).or_else(|| self.vocab.find(text.as_bytes()))
    }

    /// Number of tokens.
    pub fn n_vocab(&self) -> usize {
        self.vocab.len()
    }

    /// Beginning of sequence.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// End of sequence.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// End of turn, if the vocabulary has a token for it.
    pub fn eot(&self) -> Option<u32> {
        self.eot
    }

    /// Stands for what cannot be written.
    pub fn unknown(&self) -> Option<u32> {
        self.unknown
    }

    /// Whether prompts begin with BOS.
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }

    /// Whether texts end with EOS.
    pub fn add_eos(&self) -> bool {
        self.add_eos
    }

    /// Whether generation stops at this token: EOS, end of turn, end of message, or a token known to be one by its name.
    pub fn is_end_of_generation(&self, id: u32) -> bool {
        self.ends.binary_search(&id).is_ok()
    }

    /// Whether this is a control or unknown token: structure, not text.
    pub fn is_special(&self, id: u32) -> bool {
        matches!(self.vocab.kind(id), Some(Kind::Control | Kind::Unknown))
    }

    /// Heap bytes held.
    pub fn memory_bytes(&self) -> usize {
        let model = match &self.model {
            Model::Score(model) => model.memory_bytes(),
            Model::Bytes(model) => model.memory_bytes(),
            Model::Unigram(model) => model.memory_bytes(),
            Model::WordPiece(_) => 0,
        };
        self.vocab.memory_bytes() + model + 4 * self.ends.capacity()
    }

    fn encode_plain(&self, text: &str, first: bool, merger: &mut Merger, out: &mut Vec<u32>) {
        match &self.model {
            Model::Score(model) => model.encode(&self.vocab, text, first, merger, out),
            Model::Bytes(model) => model.encode(&self.vocab, text, merger, out),
            Model::Unigram(model) => model.encode(text, first, out),
            Model::WordPiece(model) => model.encode(&self.vocab, text, out),
        }
    }
}

fn special_id(gguf: &Gguf<'_>, key: &'static str, vocab: usize) -> Result<Option<u32>, TokenizerError> {
    match gguf.u32(key)? {
        Some(id) if id as usize >= vocab => Err(TokenizerError::SpecialId { key, id, vocab }),
        id => Ok(id),
    }
}

/// Reads a flag such as `add_bos_token`, which needs an id if true.
fn add(
    gguf: &Gguf<'_>,
    flag: &'static str,
    default: bool,
    key: &'static str,
    id: Option<u32>,
) -> Result<bool, TokenizerError> {
    let stated = gguf.bool(flag)?;
    match stated.unwrap_or(default) {
        true if id.is_none() => Err(TokenizerError::MissingId { key, flag, by_default: stated.is_none() }),
        add => Ok(add),
    }
}

/// Phi-3's special tokens take the white space after them: its `tokenizer.json` says `rstrip`, GGUF has no key for it, and
/// llama.cpp looks for "phi-3" in the model's name. The architecture with a SentencePiece vocabulary says the same: that is
/// Phi-3, Phi-3.5 and what was made of them (Phi-4 has byte-level merges).
fn strips_after_special(gguf: &Gguf<'_>) -> Result<bool, TokenizerError> {
    let phi3 = gguf.str("general.architecture")? == Some("phi3");
    Ok(phi3 && gguf.str("tokenizer.ggml.model")? == Some("llama"))
}
