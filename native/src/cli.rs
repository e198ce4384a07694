//! The command line: PicoLM's, with long names and subcommands beside it.

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use picolm_core::sampler::Params;
use picolm_engine::{Format, KvType, Request};
use picolm_machine::{cpu, memory};
use std::fs;
use std::path::{Path, PathBuf};

/// Runs GGUF language models. The reply goes to stdout, everything else to stderr.
#[derive(Debug, Parser)]
#[command(name = "picolm", version, arg_required_else_help = true, args_conflicts_with_subcommands = true)]
#[command(allow_negative_numbers = true, args_override_self = true, override_usage = USAGE)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) generate: Generate,
}

const USAGE: &str = "picolm <MODEL> [OPTIONS]            continue a prompt (standard input without -p)
       picolm <MODEL> --chat [OPTIONS]     talk
       picolm <COMMAND> <MODEL> [OPTIONS]";

/// A prompt or a conversation.
#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// Model file (GGUF)
    #[arg(value_name = "MODEL", required = true)]
    pub(crate) model: Option<PathBuf>,
    /// The prompt; without it, standard input to its end. With --chat: one question
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) prompt: Option<String>,
    /// Most tokens of an answer
    #[arg(short = 'n', long, value_name = "N", default_value_t = 256)]
    pub(crate) max_tokens: usize,
    /// Tokens before which the model cannot end an answer
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) min_tokens: usize,
    /// Most tokens of prompt and answer together [default: the model's, at most 4096]
    #[arg(short, long, value_name = "N")]
    pub(crate) context: Option<usize>,
    #[command(flatten)]
    pub(crate) machine: Machine,
    /// Hold a conversation, written with the model's chat template
    #[arg(long)]
    pub(crate) chat: bool,
    /// What the model is told before the conversation
    #[arg(long, value_name = "TEXT", requires = "chat", allow_hyphen_values = true)]
    pub(crate) system: Option<String>,
    /// Take control tokens written out in the conversation for such, and not for text
    #[arg(long, requires = "chat")]
    pub(crate) parse_special: bool,
    /// Tools that the model may call: a file with a JSON list of functions, as OpenAI has them. Calls are a line of JSON behind the text
    #[arg(long, value_name = "FILE", requires = "chat", conflicts_with_all = ["json", "form"])]
    pub(crate) tools: Option<PathBuf>,
    /// A call has to come: of any tool, or of the one with this name
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, requires = "tools")]
    pub(crate) must_call: Option<Option<String>>,
    #[command(flatten)]
    pub(crate) sampling: Sampling,
    /// End the answer in front of this text (repeatable)
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) stop: Vec<String>,
    #[command(flatten)]
    pub(crate) form: Form,
    /// Prompt lookup: try up to N tokens at once (7) that followed the last ones before. The same answer, sooner where it repeats itself
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "7", value_parser = DRAFT())]
    pub(crate) lookup: Option<u8>,
    /// Keep what was computed in a file, for a next prompt that begins in the same way. The same answer, sooner
    #[arg(long, value_name = "FILE")]
    pub(crate) cache: Option<PathBuf>,
}

/// What an answer, or a text, has to be. Ask the model for it, too: it is only kept from anything else.
#[derive(Debug, Args)]
pub(crate) struct Form {
    /// JSON (RFC 8259). An answer is an object, whole within -n
    #[arg(long)]
    json: bool,
    /// JSON that fits this schema: a file, or the schema itself
    #[arg(long, value_name = "FILE|JSON", group = "form")]
    schema: Option<String>,
    /// A text of the grammar in this file: llama.cpp's GBNF, or Lark where it begins with %llguidance
    #[arg(long, value_name = "FILE", group = "form")]
    grammar: Option<PathBuf>,
    /// A text that this regular expression matches as a whole
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true, group = "form")]
    regex: Option<String>,
}

/// How tokens are chosen.
#[derive(Debug, Args)]
pub(crate) struct Sampling {
    /// 0 always takes the best token; higher is more varied
    #[arg(short, long, value_name = "T", default_value_t = Params::PICOLM.temperature)]
    temperature: f32,
    /// Keep the most probable tokens up to this sum of probabilities
    #[arg(short = 'k', long, value_name = "P", default_value_t = Params::PICOLM.top_p)]
    top_p: f32,
    /// Keep the N most probable tokens; 0 keeps all
    #[arg(long, value_name = "N", default_value_t = Params::PICOLM.top_k)]
    top_k: u32,
    /// Keep the tokens this probable relative to the best
    #[arg(long, value_name = "P", default_value_t = Params::PICOLM.min_p)]
    min_p: f32,
    /// Same seed, same answer
    #[arg(short, long, value_name = "N", default_value_t = Params::PICOLM.seed)]
    seed: u64,
    /// Divides the logits of recent tokens; 1 is off
    #[arg(long, value_name = "X", default_value_t = Params::PICOLM.repetition_penalty)]
    repeat_penalty: f32,
    /// Taken off for each recent use of a token; 0 is off
    #[arg(long, value_name = "X", default_value_t = Params::PICOLM.frequency_penalty)]
    frequency_penalty: f32,
    /// Taken off once for a token used recently; 0 is off
    #[arg(long, value_name = "X", default_value_t = Params::PICOLM.presence_penalty)]
    presence_penalty: f32,
}

/// How to run.
#[derive(Debug, Args)]
pub(crate) struct Machine {
    /// Threads
    #[arg(short = 'j', long, value_name = "N", default_value_t = cpu::default_threads() as u16, value_parser = THREADS())]
    threads: u16,
    /// Type of the KV cache
    #[arg(long, value_name = "TYPE", value_enum, default_value_t)]
    pub(crate) kv: Kv,
    /// Tokens of a prompt taken through the layers at once: more are faster and take more memory
    #[arg(long, value_name = "N", default_value_t = memory::default_batch(), value_parser = batch)]
    pub(crate) batch: usize,
    /// Kernels to use: one of `picolm backends` [default: the best]
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: Option<String>,
    /// Where weights are put in the order in which kernels read them
    #[arg(long, value_name = "WHERE", value_enum, default_value_t)]
    pub(crate) pack: Pack,
}

/// From 2, as one is hardly worth a batch.
const DRAFT: fn() -> clap::builder::RangedI64ValueParser<u8> =
    || clap::value_parser!(u8).range(2..=picolm_engine::MAX_DRAFT as i64);

/// 1 to 512 threads.
const THREADS: fn() -> clap::builder::RangedI64ValueParser<u16> = || clap::value_parser!(u16).range(1..=512);

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Kv {
    /// Two bytes a value
    #[default]
    F16,
    /// About half of that, and a little less exact
    #[value(name = "q8_0")]
    Q8_0,
}

/// Where weights are packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pack {
    /// Nowhere: they are read from the file as they are
    #[default]
    Off,
    /// In memory, before the first token: answers come faster, and the model takes as much memory of its own
    Memory,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What a file holds, what memory it takes, and whether it runs
    Inspect {
        model: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// The token ids of standard input
    Tokenize {
        model: PathBuf,
        /// Do not begin with BOS even if the model wants it
        #[arg(long)]
        no_bos: bool,
        /// Recognise special tokens in the text, as in a prompt
        #[arg(long)]
        special: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Answers requests in OpenAI's JSON, one a line of standard input, with a line of JSON each
    Request {
        model: PathBuf,
        /// Most tokens of prompt and answer together [default: the model's, at most 4096]
        #[arg(short, long, value_name = "N")]
        context: Option<usize>,
        #[command(flatten)]
        machine: Machine,
    },
    /// Whether standard input keeps to a form, and how long a mask of it takes
    Constrain {
        /// File with the vocabulary of the masks
        model: Option<PathBuf>,
        #[command(flatten)]
        form: Form,
        /// How to print what was found; --json beside another form says json, too
        #[arg(long, value_name = "FORM", value_enum, default_value_t)]
        output: Print,
    },
    /// What standard input is about, as a vector of length 1 (embedding)
    Embed {
        model: PathBuf,
        /// These tokens instead
        #[arg(long, value_name = "ID,...", value_delimiter = ',')]
        ids: Option<Vec<u32>>,
        #[command(flatten)]
        machine: Machine,
        #[command(flatten)]
        output: Output,
    },
    /// The logits after some tokens
    Logits {
        model: PathBuf,
        /// The tokens
        #[arg(long, value_name = "ID,...", value_delimiter = ',', required = true)]
        ids: Vec<u32>,
        /// The positions wanted, from 0 [default: all]
        #[arg(long, value_name = "POSITION,...", value_delimiter = ',')]
        at: Vec<usize>,
        #[command(flatten)]
        machine: Machine,
        #[command(flatten)]
        output: Output,
    },
    /// How well a model predicts a text: the mean of -ln p(token)
    Perplexity {
        model: PathBuf,
        /// The text (UTF-8)
        text: PathBuf,
        #[command(flatten)]
        machine: Machine,
        #[command(flatten)]
        output: Output,
    },
    /// Tokens per second of prompt and answer: medians after a warm-up
    Bench(Bench),
    /// SHA-256 of all logits of a fixed text: the same on every machine
    Digest(Digest),
    /// The kernels this machine can run, best first
    Backends {
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    pub(crate) model: PathBuf,
    /// Tokens of the prompt
    #[arg(short, long, value_name = "N", default_value_t = 256)]
    pub(crate) prompt: usize,
    /// Tokens generated after it
    #[arg(short = 'n', long, value_name = "N", default_value_t = 64)]
    pub(crate) max_tokens: usize,
    /// Numbers of threads to measure
    #[arg(short = 'j', long, value_name = "N,...", value_delimiter = ',', default_value = "1,2", value_parser = THREADS())]
    pub(crate) threads: Vec<u16>,
    /// Measured runs
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) runs: u32,
    /// Tokens of a prompt taken through the layers at once: more are faster and take more memory
    #[arg(long, value_name = "N", default_value_t = memory::default_batch(), value_parser = batch)]
    pub(crate) batch: usize,
    /// Type of the KV cache
    #[arg(long, value_name = "TYPE", value_enum, default_value_t)]
    pub(crate) kv: Kv,
    /// Kernels to use: one of `picolm backends` [default: the best]
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: Option<String>,
    /// Where weights are put in the order in which kernels read them
    #[arg(long, value_name = "WHERE", value_enum, default_value_t)]
    pub(crate) pack: Pack,
    /// Make a run for each line of standard input and answer it with a line of JSON, so that another program can alternate with this one
    #[arg(long, conflicts_with_all = ["runs", "json"])]
    pub(crate) on_demand: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Digest {
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) machine: Machine,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// Print one JSON value
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a command prints whose `--json` means something else.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Print {
    /// For people
    #[default]
    Text,
    /// One JSON value
    Json,
}

impl Print {
    pub(crate) fn output(self) -> Output {
        Output { json: matches!(self, Print::Json) }
    }
}

impl Machine {
    pub(crate) fn threads(&self) -> usize {
        self.threads.into()
    }
}

impl From<Kv> for KvType {
    fn from(kv: Kv) -> Self {
        match kv {
            Kv::F16 => KvType::F16,
            Kv::Q8_0 => KvType::Q8_0,
        }
    }
}

impl Form {
    /// What is asked for.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn format(&self) -> Result<Format> {
        let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        Ok(match self {
            Form { schema: Some(schema), .. } => {
                let is_file = !schema.trim_start().starts_with('{') && !["true", "false"].contains(&schema.trim());
                Format::JsonSchema(if is_file { read(Path::new(schema))? } else { schema.clone() })
            }
            Form { grammar: Some(path), .. } => Format::Grammar(read(path)?),
            Form { regex: Some(pattern), .. } => Format::Regex(pattern.clone()),
            Form { json: true, .. } => Format::JsonObject,
            _ => Format::Text,
        })
    }

    /// Whether `--json` is not about the form, since another option says what it is.
    pub(crate) fn has_json_beside(&self) -> bool {
        self.json && (self.schema.is_some() || self.grammar.is_some() || self.regex.is_some())
    }
}

impl Generate {
    /// What every answer is asked for with.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn request(&self) -> Result<Request> {
        let s = &self.sampling;
        let sampling = Params {
            temperature: s.temperature,
            top_k: s.top_k,
            top_p: s.top_p,
            min_p: s.min_p,
            repetition_penalty: s.repeat_penalty,
            frequency_penalty: s.frequency_penalty,
            presence_penalty: s.presence_penalty,
            seed: s.seed,
            ..Params::PICOLM
        };
        let lookup = self.lookup.map_or(0, usize::from);
        let (max_tokens, min_tokens) = (self.max_tokens, self.min_tokens);
        let is_json = matches!(self.form, Form { json: true, grammar: None, regex: None, .. });
        ensure!(is_json || !self.form.json, "--json cannot be beside --grammar and --regex");
        let (format, stops) = (self.form.format()?, self.stop.clone());
        Ok(Request { sampling, stops, max_tokens, min_tokens, lookup, format, ..Request::picolm() })
    }
}

/// A number of columns: buffers grow with it.
fn batch(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=4096) => Ok(n),
        _ => Err("it must be 1 to 4096".to_string()),
    }
}
