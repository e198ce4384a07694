//! Tokens in, an answer out, piece by piece.

use crate::cache::Cache;
use crate::cli::Generate;
use crate::engine::{self, checked};
use crate::stats::{Stats, size};
use crate::{chat, say};
use anyhow::{Context, Result, bail, ensure};
use picolm_core::generation::{End, Generation, Options};
use picolm_core::sampler::{Sampler, StopMatcher};
use picolm_core::session::{Engine, Session};
use picolm_core::text::{Encode, Tokenizer};
use picolm_machine::{ModelFile, memory};
use std::io::{self, Read, StdoutLock, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The context if nobody asks for another: enough for most, and no surprise in memory.
const DEFAULT_CONTEXT: usize = 4096;

/// Tokens of a prompt fed between two looks at Ctrl-C.
const PROMPT_STEP: usize = 256;

/// `picolm MODEL`: a raw prompt, or the conversation in `chat.rs`.
pub(crate) fn run(args: &Generate) -> Result<()> {
    ensure!(!args.json, "--json is not there yet for answers: leave it out, and ask for JSON in the prompt");
    ensure!(args.max_tokens > 0, "-n 0 leaves no room for an answer: give 1 or more");
    let Some(path) = &args.model else { bail!("which model? See picolm --help") };
    let start = Instant::now();
    let mut generator = Generator::new(ModelFile::open(path)?, args)?;
    let load_time = start.elapsed();
    if args.chat {
        chat::run(&mut generator, args)?;
    } else {
        let prompt = match &args.prompt {
            Some(prompt) => prompt.clone(),
            None => read_prompt()?,
        };
        let tokens = generator.tokenizer.encode(&prompt, Encode::PROMPT);
        ensure!(!tokens.is_empty(), "the prompt is empty: give one with -p or on standard input");
        generator.check_room(0, &tokens)?;
        let mut reply = Reply::new();
        let answer = generator.answer(tokens, &AtomicBool::new(false), &mut |text| reply.write(text))?;
        reply.finish()?;
        generator.say_how_it_ended(answer.end);
    }
    generator.save_cache();
    generator.say_stats(load_time);
    Ok(())
}

/// All of standard input.
fn read_prompt() -> Result<String> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).context("cannot read the prompt from standard input")?;
    utf8(bytes, "standard input")
}

/// Text from outside.
pub(crate) fn utf8(bytes: Vec<u8>, whose: &str) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        anyhow::anyhow!("{whose} is not UTF-8 text, from byte {at} on: convert it first")
    })
}

/// A model with one session, and what it takes to write text with them.
pub(crate) struct Generator {
    pub(crate) file: ModelFile,
    pub(crate) tokenizer: Tokenizer,
    engine: Engine,
    session: Session,
    cache: Option<Cache>,
    options: Options,
    stats: Stats,
}

/// What was generated.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The text shown.
    pub(crate) text: String,
    /// Number of tokens, without an end token.
    pub(crate) tokens: usize,
    /// The last token, if nothing has been computed from it yet.
    pub(crate) unfed: Option<u32>,
    /// Why there is no more; `None`: Ctrl-C.
    pub(crate) end: Option<End>,
}

impl Generator {
    fn new(file: ModelFile, args: &Generate) -> Result<Self> {
        let (model, tokenizer) = (engine::model(&file)?, engine::tokenizer(&file)?);
        let machine = &args.machine;
        let engine = engine::engine(&model, machine.backend.as_deref(), machine.threads(), machine.batch)?;
        let context = args.context.unwrap_or(model.config.context.min(DEFAULT_CONTEXT));
        let mut session = Session::new(&model, context, machine.kv.into()).context("-c")?;
        let options = Options {
            sampling: args.sampling.params(),
            stops: args.stop.clone(),
            max_tokens: args.max_tokens,
            lookup: args.lookup.map_or(0, usize::from),
        };
        Sampler::new(options.sampling.clone(), model.config.vocab)?;
        StopMatcher::new(args.stop.iter().map(String::as_str)).context("--stop")?;
        let mut cache = args.cache.as_deref().map(Cache::new).transpose()?;
        if let Some(cache) = &mut cache {
            cache.load(&model, &mut session);
        }
        Ok(Generator { file, tokenizer, engine, session, cache, options, stats: Stats::default() })
    }

    /// Whether a prompt fits, `kept` of it from the turns before, or else an error that says what to do.
    pub(crate) fn check_room(&self, kept: usize, prompt: &[u32]) -> Result<()> {
        let context = self.session.context();
        if prompt.len() <= context {
            return Ok(());
        }
        let tokens = prompt.len() - kept;
        let before = if kept > 0 { format!(" and {kept} are used") } else { String::new() };
        let allowed = self.engine.model().config.context;
        let more = format!(", or allow more with -c (this model: up to {allowed})");
        let more = if allowed > context { &more } else { "" };
        bail!("the prompt has {tokens} tokens, the context is {context}{before}: shorten it{more}")
    }

    /// The tokens in the session.
    pub(crate) fn fed(&self) -> &[u32] {
        self.session.tokens()
    }

    /// Keeps the session for the next run, if that is wanted.
    fn save_cache(&self) {
        if let Some(cache) = &self.cache {
            cache.save(self.engine.model(), &self.session);
        }
    }

    /// Writes what the model has to say to a prompt: all of it, also what is in the session already, and with room for it.
    ///
    /// # Errors
    /// The weights are broken, or `show` fails.
    pub(crate) fn answer(
        &mut self,
        prompt: Vec<u32>,
        interrupt: &AtomicBool,
        show: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<Answer> {
        let (session, vocab) = (&mut self.session, self.engine.model().config.vocab);
        let mut generation = Generation::begin(prompt, session, vocab, self.options.clone())?;
        let (mut text, mut start) = (String::new(), Instant::now());
        while generation.end().is_none() && !interrupt.load(Ordering::Relaxed) {
            let in_prompt = generation.tokens().is_empty();
            let new = generation.step(&mut self.engine, session, &self.tokenizer, PROMPT_STEP);
            let new = checked(&self.file, new)?;
            text.push_str(new);
            if !new.is_empty() {
                show(new)?;
            }
            if in_prompt && session.len() == generation.prompt().len() {
                self.stats.prompt.add(session.len() - generation.reused(), start.elapsed());
                start = Instant::now();
            }
        }
        let tokens = generation.tokens().len();
        self.stats.answer.add(tokens.saturating_sub(1), start.elapsed());
        let (proposed, right) = generation.drafts();
        self.stats.lookup.add(proposed, right);
        let all_fed = session.len() == generation.prompt().len() + tokens;
        let unfed = generation.tokens().last().copied().filter(|_| !all_fed);
        if generation.end().is_none() {
            let held_back = generation.stop();
            show(held_back)?;
            text.push_str(held_back);
        }
        Ok(Answer { text, tokens, unfed, end: generation.end() })
    }

    /// Says why an answer stops in the middle, where that is not what was asked for.
    pub(crate) fn say_how_it_ended(&self, end: Option<End>) {
        match end {
            Some(End::Token | End::Stop) => {}
            None => say("picolm: stopped by Ctrl-C"),
            Some(End::Length) => say(&format!("picolm: stopped after {} tokens (more: -n)", self.options.max_tokens)),
            Some(End::Context) => {
                say(&format!("picolm: stopped: the context of {} tokens is full (more: -c)", self.session.context()));
            }
        }
    }

    fn say_stats(&self, load_time: Duration) {
        let (Stats { prompt, answer, lookup }, model) = (self.stats, self.engine.model());
        say(&format!(
            "picolm: loaded in {:.0} ms; prompt {} tokens, {:.1} tokens/s; answer {} tokens, {:.1} tokens/s ({})",
            1e3 * load_time.as_secs_f64(),
            prompt.tokens,
            prompt.per_second(),
            answer.tokens,
            answer.per_second(),
            self.engine.backend().name(),
        ));
        if lookup.proposed > 0 {
            let (right, all, percent) = (lookup.accepted, lookup.proposed, lookup.percent());
            say(&format!("picolm: lookup: {all} tokens proposed, {right} accepted ({percent:.0} %)"));
        }
        let all = memory::anonymous().map_or(String::new(), |bytes| format!("; anonymous in all {}", size(bytes)));
        say(&format!(
            "picolm: memory: KV cache {}, buffers {}, tokenizer {}, model {}{all}; weights mapped {}",
            size(self.session.memory_bytes() as u64),
            size(self.engine.memory_bytes() as u64),
            size(self.tokenizer.memory_bytes() as u64),
            size(model.memory_bytes() as u64),
            size(model.weight_bytes()),
        ));
    }
}

/// Standard output, which gets the answer as it comes.
pub(crate) struct Reply {
    out: StdoutLock<'static>,
    in_line: bool,
}

impl Reply {
    pub(crate) fn new() -> Self {
        Reply { out: io::stdout().lock(), in_line: true }
    }

    pub(crate) fn write(&mut self, text: &str) -> io::Result<()> {
        self.in_line = !text.ends_with('\n');
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Ends the last line, if the text has not.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.in_line { self.write("\n") } else { Ok(()) }
    }
}
