//! The command line: `picolm-host run`, `digest`, `bench`, `serve`, `check-config`, `install`.
//!
//! As with `picolm`, results go to stdout and everything for people to stderr; a failure is one line and exit status 1.

use crate::engine::{self, Engine, Kind, Options};
use crate::{Chat, Event, Format, KvType, Prompt, Reason, Request, Want};
use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use picolm_core::sampler::Params;
use picolm_core::session::digest_tokens;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Runs GGUF language models in a WebAssembly sandbox.
#[derive(Parser)]
#[command(name = "picolm-host", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answers a prompt
    Run(Run),
    /// Prints the hash of the logits of a fixed sequence of tokens, which is the same on every machine and in every engine
    Digest(Model),
    /// Measures tokens per second, of a prompt and after it; several engines take turns
    Bench(Bench),
    /// Serves the models in a folder over HTTP: OpenAI's API and Ollama's
    #[cfg(feature = "serve")]
    Serve(Serve),
    /// Checks what `serve` would be started with, and says what is wrong
    #[cfg(feature = "serve")]
    CheckConfig(Serve),
    /// Compiles the component of the sandbox for this machine, so that programs without a compiler can run it
    #[cfg(feature = "compiler")]
    Install {
        /// The component, picolm.wasm
        component: PathBuf,
        /// Where the machine code goes; picolm.cwasm beside this program is found by itself
        #[arg(short, long)]
        output: PathBuf,
    },
}

/// A model and how it is run.
#[derive(Args)]
struct Model {
    /// A GGUF file
    model: PathBuf,
    /// Where it runs
    #[arg(long, value_enum, default_value_t = Place::default())]
    engine: Place,
    #[command(flatten)]
    machine: Machine,
}

#[derive(Args)]
struct Machine {
    /// Threads, one for each core if not given (`sandbox` has one)
    #[arg(short = 'j', long, default_value_t = 0)]
    threads: usize,
    /// Tokens of a prompt taken through the layers at once
    #[arg(long, default_value_t = 0)]
    batch: usize,
    /// Most tokens of a session
    #[arg(short, long, default_value_t = 0)]
    context: usize,
    /// Keys and values in 8 bits instead of 16
    #[arg(long)]
    kv_q8: bool,
    /// The component of the sandbox, if not picolm.wasm (or .cwasm) beside this program
    #[arg(long, env = "PICOLM_COMPONENT")]
    component: Option<PathBuf>,
    /// Megabytes of memory a sandbox may take, the model file not counted
    #[arg(long, default_value_t = 1024)]
    memory: usize,
}

impl Machine {
    fn options(&self) -> Options {
        Options {
            context: self.context,
            batch: self.batch,
            threads: self.threads,
            kv: if self.kv_q8 { KvType::Q8_0 } else { KvType::F16 },
            component: self.component.clone(),
            memory: self.memory.saturating_mul(1 << 20),
            ..Options::default()
        }
    }
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    model: Model,
    /// The prompt
    #[arg(short)]
    prompt: String,
    /// The prompt is a message, in the form of the model's chat template
    #[arg(long)]
    chat: bool,
    /// Take control tokens written out in the message for such, and not for text
    #[arg(long, requires = "chat")]
    parse_special: bool,
    /// Most tokens of the answer
    #[arg(short = 'n', long, default_value_t = 256)]
    max_tokens: usize,
    /// 0 always takes the most probable token
    #[arg(short, long, default_value_t = Params::PICOLM.temperature)]
    temperature: f32,
    /// Picks a sequence of random numbers
    #[arg(long, default_value_t = Params::PICOLM.seed)]
    seed: u64,
    /// A text that ends the answer; can be given several times
    #[arg(long)]
    stop: Vec<String>,
    #[command(flatten)]
    form: Form,
}

/// What the answer has to be. Ask the model for it, too: it is only kept from anything else.
#[derive(Args)]
#[group(multiple = false)]
struct Form {
    /// One JSON object (RFC 8259), whole within -n
    #[arg(long)]
    json: bool,
    /// JSON that fits the schema in this file
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// A text of the grammar in this file: llama.cpp's GBNF, or Lark where it begins with %llguidance
    #[arg(long, value_name = "FILE")]
    grammar: Option<PathBuf>,
    /// A text that this regular expression matches as a whole
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true)]
    regex: Option<String>,
}

impl Form {
    /// What is asked for.
    ///
    /// # Errors
    /// A file that cannot be read.
    fn format(&self) -> Result<Format> {
        let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        Ok(match self {
            Form { json: true, .. } => Format::JsonObject,
            Form { schema: Some(path), .. } => Format::JsonSchema(read(path)?),
            Form { grammar: Some(path), .. } => Format::Grammar(read(path)?),
            Form { regex: Some(pattern), .. } => Format::Regex(pattern.clone()),
            _ => Format::Text,
        })
    }
}

/// Flags count more than the environment, and that more than the file; all have the same names.
#[cfg(feature = "serve")]
#[derive(Args)]
struct Serve {
    /// A TOML file with any of the settings below: `idle = "5m"`
    #[arg(long, env = "PICOLM_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: picolm_server::Settings,
}

#[cfg(feature = "serve")]
impl Serve {
    fn config(self) -> Result<picolm_server::Config> {
        let file = self.config.as_deref().map(picolm_server::Settings::from_file).transpose()?;
        let engines: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        picolm_server::Config::new(self.settings.or(file.unwrap_or_default()), &engines)
    }
}

#[cfg(feature = "serve")]
fn serve(config: picolm_server::Config) -> Result<()> {
    let kind = *Kind::ALL.iter().find(|kind| kind.name() == config.engine).context("engine")?;
    let open = move |path: &std::path::Path, config: &picolm_server::Config| {
        let options = Options {
            context: config.context,
            threads: config.threads,
            kv: if config.kv_q8 { KvType::Q8_0 } else { KvType::F16 },
            sessions: config.sessions,
            session_bytes: Some(config.session_bytes),
            memory: config.memory,
            component: config.component.clone(),
            ..Options::default()
        };
        engine::open(kind, path, &options)
    };
    picolm_server::run(config, std::sync::Arc::new(open))
}

#[derive(Args)]
struct Bench {
    /// A GGUF file
    model: PathBuf,
    /// Engines to be measured, in turn
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Place::all())]
    engines: Vec<Place>,
    /// Tokens of the prompt
    #[arg(short, default_value_t = 256)]
    prompt: usize,
    /// Tokens after it
    #[arg(short = 'n', default_value_t = 64)]
    tokens: usize,
    /// Runs of each engine; the best counts
    #[arg(short, long, default_value_t = 5)]
    runs: usize,
    #[command(flatten)]
    machine: Machine,
}

/// [`Kind`], as clap knows it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place(Kind);

impl Default for Place {
    fn default() -> Self {
        Place(Kind::ALL[0])
    }
}

impl Place {
    fn all() -> Vec<Place> {
        Kind::ALL.iter().map(|kind| Place(*kind)).collect()
    }
}

impl ValueEnum for Place {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: std::sync::OnceLock<Vec<Place>> = std::sync::OnceLock::new();
        ALL.get_or_init(Place::all)
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.name()))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name())
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run(&args),
        Command::Digest(args) => digest(&args),
        Command::Bench(args) => bench(&args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => args.config().and_then(serve),
        #[cfg(feature = "serve")]
        Command::CheckConfig(args) => args.config().and_then(|config| print(&config.to_string())),
        #[cfg(feature = "compiler")]
        Command::Install { component, output } => install(&component, &output),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("picolm-host: {}", format!("{error:#}").replace(['\n', '\r'], " ")));
            ExitCode::FAILURE
        }
    }
}

/// A line on stderr. `eprintln!` would panic where stderr is closed.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A line on stdout.
fn print(line: &str) -> Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

fn run(args: &Run) -> Result<()> {
    let start = Instant::now();
    let mut engine = engine::open(args.model.engine.0, &args.model.model, &args.model.machine.options())?;
    let loaded = start.elapsed();
    let prompt = match args.chat {
        true => {
            let messages = json!([{ "role": "user", "content": args.prompt }]).to_string();
            Prompt::Chat(Chat { parse_special: args.parse_special, reasoning_apart: false, ..Chat::new(messages) })
        }
        false => Prompt::Text(args.prompt.clone()),
    };
    let sampling = Params { temperature: args.temperature, seed: args.seed, ..Params::PICOLM };
    let (stops, max_tokens) = (args.stop.clone(), args.max_tokens);
    let format = args.form.format()?;
    engine.begin(&Request { prompt, sampling, stops, max_tokens, format, ..Request::picolm() })?;
    let start = Instant::now();
    let mut out = io::stdout().lock();
    while !engine.is_idle() {
        for event in engine.step()? {
            match event {
                Event::Prompt { .. } | Event::Embedded { .. } => {}
                Event::Piece { piece, .. } => {
                    out.write_all(piece.text.as_bytes())?;
                    out.flush()?;
                }
                Event::Finished { reason, usage, .. } => {
                    writeln!(out)?;
                    say(&format!(
                        "picolm-host: {} ({}) loaded in {:.0} ms; {} tokens of prompt and {} of answer in {:.2} s{}",
                        args.model.engine,
                        engine.info().backend,
                        1e3 * loaded.as_secs_f64(),
                        usage.prompt,
                        usage.answer,
                        start.elapsed().as_secs_f64(),
                        if reason == Reason::Length { "; stopped at -n" } else { "" },
                    ));
                }
                Event::Failed { error, .. } => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn digest(args: &Model) -> Result<()> {
    let options = args.machine.options();
    let mut engine = engine::open(args.engine.0, &args.model, &options)?;
    // As `picolm digest`: some models encode positions in another way where a context is longer.
    let context = engine.info().trained_context;
    if engine.info().context != context {
        engine = engine::open(args.engine.0, &args.model, &Options { context, ..options })?;
    }
    let tokens: Vec<u32> = digest_tokens(engine.info().vocabulary, engine.info().trained_context).collect();
    let mut hash = Sha256::new();
    engine.feed(&tokens, Want::All, &mut |row| row.iter().for_each(|x| hash.update(x.to_le_bytes())))?;
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    print(&format!("{digest} {} ({}), {} tokens", args.engine, engine.info().backend, tokens.len()))
}

/// What one engine did.
struct Measured {
    name: &'static str,
    ready: Duration,
    engine: Box<dyn Engine>,
    prefill: f64,
    decode: f64,
}

fn bench(args: &Bench) -> Result<()> {
    ensure!(args.prompt > 0 && args.tokens > 0 && args.runs > 0, "-p, -n and --runs must be 1 or more");
    let options = Options { context: args.prompt + args.tokens, ..args.machine.options() };
    let mut all = Vec::new();
    for place in &args.engines {
        let start = Instant::now();
        let engine = engine::open(place.0, &args.model, &options).with_context(|| place.to_string())?;
        all.push(Measured { name: place.0.name(), ready: start.elapsed(), engine, prefill: 0.0, decode: 0.0 });
    }
    // One run more, to get warm; engines take turns, since machines drift.
    for round in 0..=args.runs {
        for measured in &mut all {
            let (prefill, decode) = measure(&mut *measured.engine, args.prompt, args.tokens)?;
            if round > 0 {
                measured.prefill = measured.prefill.max(prefill);
                measured.decode = measured.decode.max(decode);
            }
        }
    }
    print("engine            ready ms  prefill t/s   decode t/s")?;
    for m in &all {
        let ready = 1e3 * m.ready.as_secs_f64();
        print(&format!("{:16}  {ready:8.1}  {:11.1}  {:11.1}", m.name, m.prefill, m.decode))?;
    }
    Ok(())
}

/// Tokens per second of a prompt, and of tokens one by one after it.
fn measure(engine: &mut dyn Engine, prompt: usize, tokens: usize) -> Result<(f64, f64)> {
    let vocabulary = engine.info().vocabulary as u64;
    let prompt: Vec<u32> = (0..prompt as u64).map(|i| ((300 + (i * 7919) % 20000) % vocabulary) as u32).collect();
    engine.rewind()?;
    let start = Instant::now();
    engine.feed(&prompt, Want::Last, &mut |_| {})?;
    let prefill = prompt.len() as f64 / start.elapsed().as_secs_f64();
    let start = Instant::now();
    for _ in 0..tokens {
        engine.feed(&[(500 % vocabulary) as u32], Want::Last, &mut |_| {})?;
    }
    Ok((prefill, tokens as f64 / start.elapsed().as_secs_f64()))
}

#[cfg(feature = "compiler")]
fn install(component: &std::path::Path, output: &std::path::Path) -> Result<()> {
    let code = crate::sandbox::compile(component)?;
    std::fs::write(output, &code).with_context(|| format!("cannot write {}", output.display()))?;
    print(&format!("{} ({} bytes)", output.display(), code.len()))
}
