//! Counters, in the text form of Prometheus.

use picolm_engine::Usage;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What is counted. No prompt, no text, no address of anyone.
#[derive(Default)]
pub(crate) struct Metrics {
    /// by route and status
    requests: Mutex<BTreeMap<(String, u16), (u64, f64)>>,
    prompt_tokens: AtomicU64,
    reused_tokens: AtomicU64,
    answer_tokens: AtomicU64,
    cancelled: AtomicU64,
    refused: AtomicU64,
    loads: AtomicU64,
    unloads: AtomicU64,
    saved: AtomicU64,
    restored: AtomicU64,
    running: AtomicI64,
    waiting: AtomicI64,
    connections: AtomicI64,
}

impl Metrics {
    /// An HTTP answer. `route` is a route of ours, never a path somebody made up.
    pub(crate) fn request(&self, route: &str, status: u16, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let entry = requests.entry((route.to_string(), status)).or_default();
        *entry = (entry.0 + 1, entry.1 + took.as_secs_f64());
    }

    pub(crate) fn finished(&self, usage: Usage) {
        self.prompt_tokens.fetch_add((usage.prompt - usage.reused) as u64, Relaxed);
        self.reused_tokens.fetch_add(usage.reused as u64, Relaxed);
        self.answer_tokens.fetch_add(usage.answer as u64, Relaxed);
    }

    pub(crate) fn cancelled(&self) {
        self.cancelled.fetch_add(1, Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn loaded(&self) {
        self.loads.fetch_add(1, Relaxed);
    }

    pub(crate) fn unloaded(&self) {
        self.unloads.fetch_add(1, Relaxed);
    }

    pub(crate) fn saved(&self) {
        self.saved.fetch_add(1, Relaxed);
    }

    pub(crate) fn restored(&self) {
        self.restored.fetch_add(1, Relaxed);
    }

    /// Changes in the number of answers at work, and of those that wait.
    pub(crate) fn jobs(&self, running: i64, waiting: i64) {
        self.running.fetch_add(running, Relaxed);
        self.waiting.fetch_add(waiting, Relaxed);
    }

    pub(crate) fn connections(&self, change: i64) {
        self.connections.fetch_add(change, Relaxed);
    }

    /// All of it, and the models that are loaded.
    pub(crate) fn render(&self, loaded: &[String]) -> String {
        let mut out = String::new();
        let load = |value: &AtomicU64| value.load(Relaxed) as i64;
        let numbers = [
            ("prompt_tokens_total", "counter", "Tokens of prompts that were computed", load(&self.prompt_tokens)),
            ("reused_tokens_total", "counter", "Tokens of prompts that were held already", load(&self.reused_tokens)),
            ("answer_tokens_total", "counter", "Tokens of answers", load(&self.answer_tokens)),
            ("cancelled_total", "counter", "Answers whose client left", load(&self.cancelled)),
            ("refused_total", "counter", "Requests refused because the queue was full", load(&self.refused)),
            ("model_loads_total", "counter", "Models loaded", load(&self.loads)),
            ("model_unloads_total", "counter", "Models unloaded", load(&self.unloads)),
            ("states_saved_total", "counter", "Prefixes written to disk", load(&self.saved)),
            ("states_restored_total", "counter", "Prefixes read from disk", load(&self.restored)),
            ("answers_running", "gauge", "Answers being computed", self.running.load(Relaxed)),
            ("answers_waiting", "gauge", "Answers waiting for a session", self.waiting.load(Relaxed)),
            ("connections", "gauge", "Open connections", self.connections.load(Relaxed)),
        ];
        for (name, kind, help, value) in numbers {
            let _ = write!(out, "# HELP picolm_{name} {help}\n# TYPE picolm_{name} {kind}\npicolm_{name} {value}\n");
        }
        let _ = write!(out, "# HELP picolm_model_loaded Models in memory\n# TYPE picolm_model_loaded gauge\n");
        for name in loaded {
            let _ = writeln!(out, "picolm_model_loaded{{model=\"{}\"}} 1", escaped(name));
        }
        let _ = write!(
            out,
            "# HELP picolm_request_seconds Time until an answer began\n# TYPE picolm_request_seconds summary\n"
        );
        let requests = self.requests.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for ((route, status), (count, seconds)) in requests.iter() {
            let labels = format!("{{route=\"{}\",status=\"{status}\"}}", escaped(route));
            let _ = writeln!(out, "picolm_request_seconds_sum{labels} {seconds:.6}");
            let _ = writeln!(out, "picolm_request_seconds_count{labels} {count}");
        }
        out
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
