//! Tokens in, an answer out, piece by piece.

use crate::cache::Cache;
use crate::cli::Generate;
use crate::model_file::{self, ModelFile};
use crate::stats::{Stats, anonymous_memory, size};
use crate::{chat, say};
use anyhow::{Context, Result, bail, ensure};
use picolm_core::sampler::{Sampler, StopMatcher};
use picolm_core::session::{Engine, Feed, Lookup, Session, Want};
use picolm_core::text::{Encode, Tokenizer, Utf8Stream};
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
    let file = ModelFile::open(path)?;
    let mut generator = Generator::new(&file, args)?;
    let load_time = start.elapsed();
    if args.chat {
        chat::run(&file, &mut generator, args)?;
    } else {
        let prompt = match &args.prompt {
            Some(prompt) => prompt.clone(),
            None => read_prompt()?,
        };
        let tokens = generator.tokenizer.encode(&prompt, Encode::PROMPT);
        ensure!(!tokens.is_empty(), "the prompt is empty: give one with -p or on standard input");
        generator.check_room(0, tokens.len())?;
        let known = generator.known(&tokens);
        generator.truncate(known);
        let mut reply = Reply::new();
        let answer = generator.answer(&tokens[known..], &AtomicBool::new(false), &mut |text| reply.write(text))?;
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
    pub(crate) tokenizer: Tokenizer,
    /// The tokens in the session.
    pub(crate) fed: Vec<u32>,
    engine: Engine,
    session: Session,
    cache: Option<Cache>,
    sampler: Sampler,
    lookup: Lookup,
    stops: Vec<String>,
    max_tokens: usize,
    stats: Stats,
}

/// What was generated.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The text shown.
    pub(crate) text: String,
    /// The tokens, without an end token. All but perhaps the last are in the session.
    pub(crate) tokens: Vec<u32>,
    /// Why there is no more.
    pub(crate) end: End,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The model said so.
    Token,
    /// A stop string.
    Stop,
    /// `-n` tokens.
    Length,
    /// No room for another token.
    Context,
    /// Ctrl-C.
    Interrupted,
}

impl Generator {
    fn new(file: &ModelFile, args: &Generate) -> Result<Self> {
        let (model, tokenizer) = (file.model()?, file.tokenizer()?);
        let machine = &args.machine;
        let engine = model_file::engine(&model, machine.backend.as_deref(), machine.threads(), machine.batch)?;
        let context = args.context.unwrap_or(model.config.context.min(DEFAULT_CONTEXT));
        let mut session = Session::new(&model, context, machine.kv.into()).context("-c")?;
        let sampler = Sampler::new(args.sampling.params(), model.config.vocab)?;
        StopMatcher::new(args.stop.iter().map(String::as_str)).context("--stop")?;
        let lookup = Lookup::new(args.lookup.map_or(0, usize::from));
        let (stops, max_tokens) = (args.stop.clone(), args.max_tokens);
        let mut cache = args.cache.as_deref().map(Cache::new).transpose()?;
        if let Some(cache) = &mut cache {
            cache.load(&model, &mut session);
        }
        Ok(Generator {
            tokenizer,
            fed: session.tokens().to_vec(),
            engine,
            session,
            cache,
            sampler,
            lookup,
            stops,
            max_tokens,
            stats: Stats::default(),
        })
    }

    /// Whether `tokens` fit behind the first `kept` of the session, or else an error that says what to do.
    pub(crate) fn check_room(&self, kept: usize, tokens: usize) -> Result<()> {
        let context = self.session.context();
        if tokens <= context - kept {
            return Ok(());
        }
        let before = if kept > 0 { format!(" and {kept} are used") } else { String::new() };
        let allowed = self.engine.model().config.context;
        let more = format!(", or allow more with -c (this model: up to {allowed})");
        let more = if allowed > context { &more } else { "" };
        bail!("the prompt has {tokens} tokens, the context is {context}{before}: shorten it{more}")
    }

    /// How many of these tokens are in the session already, in their places. The last is fed in any case: its logits are wanted.
    pub(crate) fn known(&self, tokens: &[u32]) -> usize {
        let same = self.fed.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        same.min(tokens.len().saturating_sub(1))
    }

    /// Keeps the session for the next run, if that is wanted.
    fn save_cache(&self) {
        if let Some(cache) = &self.cache {
            cache.save(self.engine.model(), &self.session);
        }
    }

    /// Forgets the tokens from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.session.truncate(len);
        self.fed.truncate(len);
        self.sampler.reset();
        self.fed.iter().for_each(|&token| self.sampler.accept(token));
    }

    /// Feeds a prompt (at least one token, and with room for it) and writes what the model has to say.
    ///
    /// # Errors
    /// The weights are broken, or `show` fails.
    pub(crate) fn answer(
        &mut self,
        prompt: &[u32],
        interrupt: &AtomicBool,
        show: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<Answer> {
        let mut writing = Writing {
            text: AnswerText::new(&self.stops)?,
            tokens: Vec::new(),
            end: Ok(None),
            max_tokens: self.max_tokens,
            context: self.session.context(),
            interrupt,
            show,
        };
        let start = Instant::now();
        let before = self.fed.len();
        self.feed_prompt(prompt, &mut writing)?;
        self.stats.prompt.add(self.fed.len() - before, start.elapsed());

        let start = Instant::now();
        while let Some(token) = writing.last() {
            self.feed(token, &mut writing)?;
        }
        let Writing { text, tokens, end, show, .. } = writing;
        let end = end?.context("no logits")?;
        self.stats.answer.add(tokens.len().saturating_sub(1), start.elapsed());
        Ok(Answer { text: text.finish(show)?, tokens, end })
    }

    /// Feeds a prompt, and chooses the first token of the answer.
    fn feed_prompt(&mut self, prompt: &[u32], writing: &mut Writing<'_>) -> Result<()> {
        for tokens in prompt.chunks(PROMPT_STEP) {
            if writing.interrupt.load(Ordering::Relaxed) {
                writing.end = Ok(Some(End::Interrupted));
                return Ok(());
            }
            tokens.iter().for_each(|&token| self.sampler.accept(token));
            let last = tokens.as_ptr_range().end == prompt.as_ptr_range().end;
            let want = if last { Want::Last } else { Want::Nothing };
            let feed = Feed { session: &mut self.session, tokens, want };
            self.engine.forward(&mut [feed], &mut |_, position, logits| {
                writing.choose(&mut self.sampler, &self.tokenizer, position + 1, logits);
            })?;
            self.fed.extend(tokens);
        }
        Ok(())
    }

    /// Feeds a token and what may follow it, and chooses what does.
    fn feed(&mut self, token: u32, writing: &mut Writing<'_>) -> Result<()> {
        self.fed.push(token);
        let tokens = self.lookup.propose(&self.fed, writing.room(self.fed.len()));
        let right = self.engine.forward_draft(&mut self.session, tokens, &mut |position, logits| {
            writing.choose(&mut self.sampler, &self.tokenizer, position, logits)
        })?;
        self.fed.extend(&tokens[1..=right]);
        self.stats.lookup.add(tokens.len() - 1, right);
        self.lookup.learn(right);
        Ok(())
    }

    /// Says why an answer stops in the middle, where that is not what was asked for.
    pub(crate) fn say_how_it_ended(&self, end: End) {
        match end {
            End::Token | End::Stop => {}
            End::Interrupted => say("picolm: stopped by Ctrl-C"),
            End::Length => say(&format!("picolm: stopped after {} tokens (more: -n)", self.max_tokens)),
            End::Context => {
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
        let all = anonymous_memory().map_or(String::new(), |bytes| format!("; anonymous in all {}", size(bytes)));
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

/// An answer on its way: tokens are chosen, and become text, until there is an end.
struct Writing<'a> {
    text: AnswerText,
    tokens: Vec<u32>,
    /// An error has no other way out of the engine than to wait here.
    end: Result<Option<End>>,
    max_tokens: usize,
    context: usize,
    interrupt: &'a AtomicBool,
    show: &'a mut dyn FnMut(&str) -> io::Result<()>,
}

impl Writing<'_> {
    /// The token to go on with, if this is not the end.
    fn last(&self) -> Option<u32> {
        self.tokens.last().copied().filter(|_| matches!(self.end, Ok(None)))
    }

    /// Tokens of a draft behind `fed` others that there is room and use for: one more is chosen in any case.
    fn room(&self, fed: usize) -> usize {
        (self.context - fed).min(self.max_tokens - self.tokens.len() - 1)
    }

    /// Chooses the token for a position, and shows its text. `None` at the end.
    fn choose(&mut self, sampler: &mut Sampler, tokenizer: &Tokenizer, position: usize, logits: &[f32]) -> Option<u32> {
        self.end = self.try_choose(sampler, tokenizer, position, logits);
        self.last()
    }

    fn try_choose(
        &mut self,
        sampler: &mut Sampler,
        tokenizer: &Tokenizer,
        position: usize,
        logits: &[f32],
    ) -> Result<Option<End>> {
        let token = sampler.sample(logits, position as u64)?;
        if tokenizer.is_end_of_generation(token) {
            return Ok(Some(End::Token));
        }
        sampler.accept(token);
        self.tokens.push(token);
        // Structure that is no end of the answer, such as a stray start of turn, is no text either.
        let bytes = if tokenizer.is_special(token) { &[] } else { tokenizer.token_bytes(token) };
        Ok(if self.text.push(bytes, self.show)? {
            Some(End::Stop)
        } else if self.tokens.len() >= self.max_tokens {
            Some(End::Length)
        } else if position == self.context {
            Some(End::Context)
        } else if self.interrupt.load(Ordering::Relaxed) {
            Some(End::Interrupted)
        } else {
            None
        })
    }
}

/// The text of an answer: bytes of tokens become characters, and stop strings end it.
struct AnswerText {
    characters: Utf8Stream,
    stops: StopMatcher,
    shown: String,
}

impl AnswerText {
    fn new(stops: &[String]) -> Result<Self> {
        let stops = StopMatcher::new(stops.iter().map(String::as_str))?;
        Ok(AnswerText { characters: Utf8Stream::new(), stops, shown: String::new() })
    }

    /// Shows what can be shown; whether a stop string ends the answer.
    fn push(&mut self, bytes: &[u8], show: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<bool> {
        let released = self.stops.push(self.characters.push(bytes));
        self.shown.push_str(released.text);
        if !released.text.is_empty() {
            show(released.text)?;
        }
        Ok(released.stop.is_some())
    }

    /// Shows what was held back; returns all of it.
    fn finish(mut self, show: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<String> {
        let released = self.stops.push(self.characters.finish()).text.to_string();
        let rest = released + &self.stops.finish();
        if !rest.is_empty() {
            show(&rest)?;
        }
        self.shown.push_str(&rest);
        Ok(self.shown)
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
