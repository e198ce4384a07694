//! Beginnings of prompts, kept on disk: after a restart, or when a model comes back into memory, a prompt that begins as an earlier one is
//! computed from where they part.
//!
//! In memory this is the engine's business: its idle sessions keep what they hold. Here are the states that go to a folder, one file each,
//! and a guess of what the engine holds, so that a file is only read if it has more. The guess may be wrong: that costs time, and changes
//! no answer.
//!
//! ```text
//!   FOLDER/MODEL-0123456789abcdef/      the file's name, and a hash of its size, time and context
//!       89abcdef01234567.state          "picolm prefix 1\n", number of tokens, tokens (u32 LE each), the engine's state
//! ```
//! A file appears whole or not at all: written beside, synced, renamed; a thread does the last two, so that the next answer need not wait
//! for the disk. The engine checks the state itself.

use super::metrics::Metrics;
use picolm_engine::{Engine, SessionId, Usage};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

const MAGIC: &[u8; 16] = b"picolm prefix 1\n";

/// Fewer tokens than this are computed sooner than read.
const WORTH_IT: usize = 128;

/// The states of one model.
pub(crate) struct Prefixes {
    /// `None`: nothing is kept on disk.
    folder: Option<PathBuf>,
    /// Most bytes in the folder of all models together.
    budget: u64,
    files: Vec<Kept>,
    /// The last of the files, on its way to the disk; whether it came there.
    writing: Option<JoinHandle<bool>>,
    /// What the engine's idle sessions hold, as far as we know: the oldest first.
    held: VecDeque<Vec<u32>>,
    sessions: usize,
    metrics: Arc<Metrics>,
}

struct Kept {
    path: PathBuf,
    tokens: Vec<u32>,
}

impl Prefixes {
    /// Nothing is kept on disk.
    pub(crate) fn none(sessions: usize, metrics: Arc<Metrics>) -> Self {
        let (files, held) = (Vec::new(), VecDeque::new());
        Prefixes { folder: None, budget: 0, files, writing: None, held, sessions, metrics }
    }

    /// What is in the folder for this model file, run with this much context. Files that are no states of ours are left alone.
    pub(crate) fn open(folder: &Path, model: &Path, context: usize, budget: u64, none: Self) -> io::Result<Self> {
        let folder = folder.join(model_folder(model, context)?);
        create_private(&folder)?;
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("state") => files.extend(read_tokens(&path).ok().map(|tokens| Kept { path, tokens })),
                // Of a process that was killed half-way.
                Some("new") => drop(fs::remove_file(&path)),
                _ => {}
            }
        }
        // (`..none` would take a value apart that has a Drop.)
        let mut prefixes = none;
        (prefixes.folder, prefixes.budget, prefixes.files) = (Some(folder), budget, files);
        Ok(prefixes)
    }

    /// Waits until the last file is on the disk.
    fn settle(&mut self) {
        let on_disk = self.writing.take().is_none_or(|thread| thread.join().unwrap_or(false));
        if !on_disk {
            self.files.pop();
        }
    }

    /// Before a prompt is begun: reads the state that has most in common with it, if that is more than the engine seems to hold.
    pub(crate) fn prepare(&mut self, engine: &mut dyn Engine, prompt: &[u32]) {
        if self.writing.as_ref().is_some_and(JoinHandle::is_finished) {
            self.settle();
        }
        let held = self.held.iter().enumerate().map(|(i, tokens)| (common(tokens, prompt), i)).max();
        let best = self.files.iter().enumerate().map(|(i, kept)| (common(&kept.tokens, prompt), i)).max();
        let in_memory = held.map_or(0, |(n, _)| n);
        match best {
            Some((n, i)) if n >= in_memory + WORTH_IT => {
                if i + 1 == self.files.len() {
                    self.settle();
                }
                if i == self.files.len() {
                    return;
                }
                if let Err(error) = self.restore(engine, i) {
                    super::log::warn(
                        "a saved prefix is not used",
                        &[("file", &self.files[i].path.display()), ("why", &error)],
                    );
                    let kept = self.files.remove(i);
                    let _ = fs::remove_file(kept.path);
                }
            }
            // The engine takes the session that holds it.
            _ if in_memory > 0 => drop(held.and_then(|(_, i)| self.held.remove(i))),
            _ => {}
        }
    }

    fn restore(&mut self, engine: &mut dyn Engine, file: usize) -> Result<(), Box<dyn std::error::Error>> {
        let kept = &self.files[file];
        let mut bytes = Vec::new();
        File::open(&kept.path)?.read_to_end(&mut bytes)?;
        let state = bytes.get(MAGIC.len() + 4 + 4 * kept.tokens.len()..).ok_or("it is cut short")?;
        match engine.restore(state) {
            Ok(_) => {}
            // Every session is at work, or there is no memory: the file is not to blame.
            Err(error) if error.kind != picolm_engine::Kind::State => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        self.metrics.restored();
        // So that what is used is the last to go.
        let now = fs::FileTimes::new().set_modified(SystemTime::now());
        let _ = File::options().append(true).open(&kept.path).and_then(|file| file.set_times(now));
        Ok(())
    }

    /// After an answer: writes what the session holds, if that saves more than it costs.
    pub(crate) fn keep(&mut self, engine: &mut dyn Engine, id: SessionId, tokens: &[u32], usage: Usage) {
        let Some(folder) = self.folder.clone() else { return };
        let known = self.files.iter().map(|kept| common(&kept.tokens, tokens)).max().unwrap_or(0);
        if usage.prompt < known + WORTH_IT {
            return;
        }
        self.settle();
        let path = folder.join(format!("{}.state", &hex(&Sha256::digest(bytes_of(tokens)))[..16]));
        let written = engine.save(id).map_err(io::Error::other).and_then(|state| {
            self.shrink(&folder, state.len() as u64);
            write(&path, tokens, &state)
        });
        let file = match written {
            Ok(file) => file,
            Err(error) => return not_saved(&path, &error),
        };
        // What the new one makes superfluous goes once that is there.
        let old = |kept: &Kept| kept.path == path || tokens.starts_with(&kept.tokens);
        let superfluous: Vec<PathBuf> =
            self.files.iter().filter(|kept| old(kept) && kept.path != path).map(|kept| kept.path.clone()).collect();
        self.files.retain(|kept| !old(kept));
        self.files.push(Kept { path: path.clone(), tokens: tokens.to_vec() });
        let metrics = self.metrics.clone();
        let new = path.with_extension("new");
        let work = move || {
            if let Err(error) = settle(&file, &path) {
                not_saved(&path, &error);
                return false;
            }
            superfluous.iter().for_each(|path| drop(fs::remove_file(path)));
            metrics.saved();
            true
        };
        match thread::Builder::new().name("picolm-state".into()).spawn(work) {
            Ok(thread) => self.writing = Some(thread),
            Err(error) => {
                self.files.pop();
                let _ = fs::remove_file(&new);
                not_saved(&new, &error);
            }
        }
    }

    /// A session went idle with these tokens.
    pub(crate) fn closed(&mut self, tokens: Vec<u32>) {
        self.held.push_back(tokens);
        while self.held.len() > self.sessions {
            self.held.pop_front();
        }
    }

    /// Removes the files, of any model, that were not used for the longest time, until the rest and `more` bytes are within the budget.
    fn shrink(&mut self, folder: &Path, more: u64) {
        let Some(all) = folder.parent().and_then(|parent| fs::read_dir(parent).ok()) else { return };
        let states = all.flatten().filter_map(|model| fs::read_dir(model.path()).ok()).flatten().flatten();
        let states = states.filter(|file| file.path().extension().is_some_and(|extension| extension == "state"));
        let mut files: Vec<_> = states
            .filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.metadata().ok()?.len(), file.path())))
            .collect();
        files.sort();
        let mut total: u64 = more + files.iter().map(|(_, len, _)| len).sum::<u64>();
        for (_, len, path) in files {
            if total <= self.budget {
                break;
            }
            total -= len;
            let _ = fs::remove_file(&path);
            self.files.retain(|kept| kept.path != path);
        }
    }
}

impl Drop for Prefixes {
    fn drop(&mut self) {
        self.settle();
    }
}

fn not_saved(path: &Path, why: &io::Error) {
    super::log::warn("a prefix is not saved", &[("file", &path.display()), ("why", why)]);
}

fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A folder's name for a model file: another file under the same name has another one.
fn model_folder(model: &Path, context: usize) -> io::Result<String> {
    let about = fs::metadata(model)?;
    let time = about.modified()?.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    let stem = model.file_stem().unwrap_or_default().to_string_lossy();
    let hash = Sha256::digest(format!("{} {time} {context}", about.len()));
    Ok(format!("{stem}-{}", &hex(&hash)[..16]))
}

/// Prompts are nobody else's business.
fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(tokens: &[u32]) -> Vec<u8> {
    tokens.iter().flat_map(|token| token.to_le_bytes()).collect()
}

/// Writes a state beside the place where it belongs; [`settle`] moves it there.
fn write(path: &Path, tokens: &[u32], state: &[u8]) -> io::Result<File> {
    let new = path.with_extension("new");
    let write = || {
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&new)?;
        file.write_all(MAGIC)?;
        file.write_all(&(tokens.len() as u32).to_le_bytes())?;
        file.write_all(&bytes_of(tokens))?;
        file.write_all(state)?;
        Ok(file)
    };
    write().inspect_err(|_| drop(fs::remove_file(&new)))
}

/// From now on it is there, whole, whatever happens.
fn settle(file: &File, path: &Path) -> io::Result<()> {
    let new = path.with_extension("new");
    file.sync_all().and_then(|()| fs::rename(&new, path)).inspect_err(|_| drop(fs::remove_file(&new)))
}

/// The tokens at the head of a state file.
fn read_tokens(path: &Path) -> io::Result<Vec<u32>> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut head = [0; MAGIC.len() + 4];
    file.read_exact(&mut head)?;
    let count = u32::from_le_bytes([head[16], head[17], head[18], head[19]]);
    if &head[..MAGIC.len()] != MAGIC || u64::from(count) * 4 > len {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a saved prefix"));
    }
    let mut tokens = vec![0; count as usize * 4];
    file.read_exact(&mut tokens)?;
    Ok(tokens.chunks_exact(4).map(|token| u32::from_le_bytes([token[0], token[1], token[2], token[3]])).collect())
}
