//! What lists of models say about files that nobody has loaded: the family, the number of weights, their format. It stands in the header,
//! which is read by picolm's checked reader; nothing of it is believed when a model is loaded.

use super::models::ModelFile;
use picolm_core::gguf::{Error, Gguf, part_names};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Longest header that is read. Vocabularies of 260,000 tokens take some 12 MB.
const MAX_HEADER: u64 = 64 << 20;

/// The facts about a file; empty where it does not say them, or is no model.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Facts {
    /// `general.architecture`
    pub(crate) family: String,
    pub(crate) weights: u64,
    /// `Q4_K_M`, or the format of most bytes
    pub(crate) format: String,
    /// whether there is a chat template
    pub(crate) chats: bool,
}

/// Headers that were read, and of which files.
#[derive(Default)]
pub(crate) struct Headers(Mutex<HashMap<PathBuf, (ModelFile, Facts)>>);

impl Headers {
    /// The facts about files. Reads those that are new, on a thread that may wait for the disk.
    pub(crate) async fn facts(self: &Arc<Self>, files: Vec<ModelFile>) -> Vec<(ModelFile, Facts)> {
        let headers = self.clone();
        tokio::task::spawn_blocking(move || headers.read(files)).await.unwrap_or_default()
    }

    fn read(&self, files: Vec<ModelFile>) -> Vec<(ModelFile, Facts)> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known().retain(|path, _| path.exists());
        let read = |file: ModelFile| {
            let before = known().get(&file.path).filter(|(before, _)| *before == file).cloned();
            let read = before.unwrap_or_else(|| {
                let facts = facts(&file.path).unwrap_or_default();
                (file, facts)
            });
            known().insert(read.0.path.clone(), read.clone());
            read
        };
        files.into_iter().map(read).collect()
    }
}

impl Facts {
    /// The number of weights as Ollama writes it: `134.52M`, `7.2B`.
    pub(crate) fn size(&self) -> String {
        let n = self.weights as f64;
        match self.weights {
            0 => String::new(),
            1_000_000_000.. => format!("{:.1}B", n / 1e9),
            1_000_000.. => format!("{:.2}M", n / 1e6),
            1000.. => format!("{:.2}K", n / 1e3),
            n => n.to_string(),
        }
    }
}

/// Reads the header of a file, or of all parts of one.
fn facts(path: &Path) -> io::Result<Facts> {
    let Some(parts) = path.file_name().and_then(|name| part_names(name.to_str()?)) else { return header(path) };
    let parts: Vec<Facts> = parts.iter().map(|part| header(&path.with_file_name(part))).collect::<io::Result<_>>()?;
    Ok(Facts { weights: parts.iter().map(|part| part.weights).sum(), ..parts.into_iter().next().unwrap_or_default() })
}

fn header(path: &Path) -> io::Result<Facts> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let (mut bytes, mut wanted) = (Vec::new(), 1 << 20);
    loop {
        file.by_ref().take(wanted - bytes.len() as u64).read_to_end(&mut bytes)?;
        return match Gguf::parse_header(&bytes, len) {
            Ok(gguf) => Ok(of(&gguf)),
            Err(Error::Truncated { needed, .. }) if needed <= len.min(MAX_HEADER) && bytes.len() as u64 == wanted => {
                wanted = needed.max(wanted * 2).min(MAX_HEADER);
                continue;
            }
            Err(error) => Err(io::Error::other(error)),
        };
    }
}

fn of(gguf: &Gguf<'_>) -> Facts {
    let mut bytes: HashMap<&str, u64> = HashMap::new();
    gguf.tensors().iter().for_each(|tensor| *bytes.entry(tensor.ty.name).or_default() += tensor.len);
    let most = bytes.into_iter().max_by_key(|(name, bytes)| (*bytes, *name)).map(|(name, _)| name);
    let said = gguf.u32("general.file_type").ok().flatten().and_then(mixture);
    Facts {
        family: gguf.str("general.architecture").ok().flatten().unwrap_or_default().chars().take(64).collect(),
        weights: gguf.tensors().iter().map(|tensor| tensor.dims.iter().product::<u64>()).sum(),
        format: said.or(most).unwrap_or_default().to_string(),
        chats: gguf.get("tokenizer.chat_template").is_some(),
    }
}

/// llama.cpp's mixtures of formats, by their number in `general.file_type`; of the others the format of most weights is the name.
fn mixture(number: u32) -> Option<&'static str> {
    let names = [(10, "Q2_K"), (11, "Q3_K_S"), (12, "Q3_K_M"), (13, "Q3_K_L"), (14, "Q4_K_S"), (15, "Q4_K_M")];
    let more = [(16, "Q5_K_S"), (17, "Q5_K_M"), (21, "Q2_K_S"), (22, "IQ3_XS"), (27, "IQ3_M"), (29, "IQ2_M")];
    names.into_iter().chain(more).find(|(of, _)| *of == number).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let size = |weights| Facts { weights, ..Facts::default() }.size();
        assert_eq!([0, 999, 1500, 134_515_008, 7_241_732_096].map(size), ["", "999", "1.50K", "134.52M", "7.2B"]);
    }
}
