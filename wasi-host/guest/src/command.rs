//! `digest MODEL` and `run MODEL PROMPT [TOKENS]` for any WASI runtime (`wit/command`): the same engine without a host of ours.

mod bindings {
    #![allow(missing_docs, clippy::undocumented_unsafe_blocks, reason = "written by wit-bindgen")]
    wit_bindgen::generate!({ world: "command", path: "../wit/command", generate_all });

    use super::Command;
    export!(Command);
}

use bindings::exports::wasi::cli::run::Guest;
use bindings::wasi::cli::{environment, stderr, stdout};
use bindings::wasi::filesystem::preopens;
use bindings::wasi::filesystem::types::{Descriptor, DescriptorFlags, OpenFlags, PathFlags};
use bindings::wasi::io::streams::OutputStream;
use picolm_core::gguf::Gguf;
use picolm_core::kernels::Simd128;
use picolm_core::model::Model;
use picolm_core::sampler::Params;
use picolm_core::session::{Executor, digest_tokens};
use picolm_core::team::Solo;
use picolm_core::text::{ChatTemplate, Tokenizer};
use picolm_core::weights::InMemory;
use picolm_engine::{Batch, Error, Event, Kind, KvType, Local, Prompt, Request, Result, Settings, Want};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Tokens taken through the layers at once.
const BATCH: usize = 64;

/// What is read of a file at once.
const PIECE: u64 = 1 << 20;

/// The longest write that a stream takes.
const WRITE: usize = 4096;

struct Command;

impl Guest for Command {
    fn run() -> std::result::Result<(), ()> {
        let arguments = environment::get_arguments();
        let arguments: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
        let done = match arguments[..] {
            ["digest", model] => digest(model),
            ["run", model, prompt] => run(model, prompt, "128"),
            ["run", model, prompt, tokens] => run(model, prompt, tokens),
            _ => Err(Error::request("digest MODEL, or run MODEL PROMPT [TOKENS]")),
        };
        done.map_err(|error| _ = write(&stderr::get_stderr(), &format!("picolm: {error}\n")))
    }
}

fn digest(path: &str) -> Result<()> {
    let (mut batch, config) = load(path)?;
    let mut hash = Sha256::new();
    let tokens: Vec<u32> = digest_tokens(config.vocabulary, config.context).collect();
    batch.feed(&tokens, Want::All, &mut |row| row.iter().for_each(|x| hash.update(x.to_le_bytes())))?;
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    write(&stdout::get_stdout(), &format!("{digest}\n"))
}

fn run(path: &str, prompt: &str, tokens: &str) -> Result<()> {
    let max_tokens = tokens.parse().map_err(|_| Error::request(format!("{tokens:?} is not a number of tokens")))?;
    let (mut batch, _) = load(path)?;
    let prompt = Prompt::Text(prompt.into());
    batch.open(&Request { prompt, max_tokens, sampling: Params::greedy(), ..Request::default() })?;
    let out = stdout::get_stdout();
    while !batch.is_idle() {
        for event in batch.step() {
            match event {
                Event::Piece { piece, .. } => write(&out, &piece.text)?,
                Event::Failed { error, .. } => return Err(error),
                Event::Prompt { .. } | Event::Finished { .. } | Event::Embedded { .. } => {}
            }
        }
    }
    write(&out, "\n")
}

fn load(path: &str) -> Result<(Batch<Local>, Settings)> {
    let source = Arc::new(InMemory(read(path)?));
    let gguf = Gguf::parse(&source.0)?;
    let tokenizer = Tokenizer::from_gguf(&gguf)?;
    let template = ChatTemplate::from_gguf(&gguf, &tokenizer)?;
    let model = Arc::new(Model::load(&gguf, source.clone())?);
    let (context, vocabulary) = (model.config.context, model.config.vocab);
    let executor = Executor::new(model, Simd128::new().backend(), Arc::new(Solo), BATCH)?;
    let local = Local::new(executor, context, KvType::F16);
    let settings = Settings {
        context,
        vocabulary,
        sessions: 1,
        session_bytes: None,
        prompt_step: BATCH,
        prompt_step_beside: BATCH,
    };
    Ok((Batch::new(local, tokenizer, template, settings), settings))
}

/// A file in one of the folders that the runtime has opened for us.
fn read(path: &str) -> Result<Vec<u8>> {
    let failed = |what: &dyn std::fmt::Debug| Error::new(Kind::Model, format!("cannot read {path}: {what:?}"));
    let file = open(path).ok_or_else(|| failed(&"it is in none of the folders that are open here"))?;
    let size = file.stat().map_err(|error| failed(&error))?.size;
    let mut bytes = Vec::new();
    let room = usize::try_from(size).is_ok_and(|size| bytes.try_reserve_exact(size).is_ok());
    if !room {
        return Err(Error::new(Kind::Memory, format!("{path} is larger than the memory of 32-bit WebAssembly")));
    }
    while (bytes.len() as u64) < size {
        let rest = size - bytes.len() as u64;
        let (piece, end) = file.read(rest.min(PIECE), bytes.len() as u64).map_err(|error| failed(&error))?;
        bytes.extend_from_slice(&piece);
        if end || piece.is_empty() {
            break;
        }
    }
    Ok(bytes)
}

fn open(path: &str) -> Option<Descriptor> {
    preopens::get_directories().iter().find_map(|(folder, name)| {
        let inside = match path.strip_prefix(name.as_str()) {
            Some(rest) => rest.trim_start_matches('/'),
            None => path,
        };
        folder.open_at(PathFlags::SYMLINK_FOLLOW, inside, OpenFlags::empty(), DescriptorFlags::READ).ok()
    })
}

fn write(stream: &OutputStream, text: &str) -> Result<()> {
    let written = text.as_bytes().chunks(WRITE).try_for_each(|piece| stream.blocking_write_and_flush(piece));
    written.map_err(|error| Error::new(Kind::Stopped, format!("cannot write: {error:?}")))
}
