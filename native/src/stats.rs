//! Times and memory, for people.

use std::time::Duration;

/// What a generation took.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Stats {
    pub(crate) prompt: Rate,
    pub(crate) answer: Rate,
    pub(crate) lookup: Drafts,
}

/// Tokens, and the time they took.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) tokens: usize,
    pub(crate) time: Duration,
}

impl Rate {
    pub(crate) fn add(&mut self, tokens: usize, time: Duration) {
        self.tokens += tokens;
        self.time += time;
    }

    /// Tokens per second; 0 if nothing was measured.
    pub(crate) fn per_second(&self) -> f64 {
        if self.time.is_zero() { 0.0 } else { self.tokens as f64 / self.time.as_secs_f64() }
    }
}

/// Tokens that were tried before the model had chosen them, and those of them that it then chose.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Drafts {
    pub(crate) proposed: usize,
    pub(crate) accepted: usize,
}

impl Drafts {
    pub(crate) fn add(&mut self, proposed: usize, accepted: usize) {
        self.proposed += proposed;
        self.accepted += accepted;
    }

    /// How many of a hundred were accepted; 0 if none were proposed.
    pub(crate) fn percent(&self) -> f64 {
        100.0 * self.accepted as f64 / self.proposed.max(1) as f64
    }
}

/// `12.3 MB`; megabytes are 10^6 bytes, as in the sizes of model files.
pub(crate) fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        0.0..1e5 => format!("{:.1} KB", bytes / 1e3),
        0.0..1e10 => format!("{:.1} MB", bytes / 1e6),
        _ => format!("{:.1} GB", bytes / 1e9),
    }
}
