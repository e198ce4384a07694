//! Tokens in, an answer out, piece by piece.

use crate::cache::Cache;
use crate::cli::Generate;
use crate::engine;
use crate::say;
use crate::stats::{Stats, size};
use anyhow::{Context, Result, bail, ensure};
use picolm_core::sampler::{Sampler, StopMatcher};
use picolm_core::text::{Tokenizer, Traced};
use picolm_engine::{Batch, Call, Chat, Event, Local, Prompt, Reason, Request, SessionId};
use picolm_machine::{ModelFile, memory};
use std::io::{self, StdoutLock, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A model with one session, and what it takes to write text with it.
pub(crate) struct Generator {
    file: ModelFile,
    batch: Batch<Local>,
    /// what every answer is asked for with
    request: Request,
    /// the session that came last, which may be kept
    last: Option<SessionId>,
    cache: Option<Cache>,
    stats: Stats,
}

/// What was generated.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    /// The text shown.
    pub(crate) text: String,
    /// The tools that it calls.
    pub(crate) calls: Vec<Call>,
    /// Its tokens, without an end token.
    pub(crate) tokens: Vec<u32>,
    /// Why there is no more; `None`: Ctrl-C.
    pub(crate) end: Option<Reason>,
}

impl Answer {
    fn add(&mut self, text: &str, show: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()> {
        self.text.push_str(text);
        if text.is_empty() { Ok(()) } else { show(text) }
    }
}

impl Generator {
    pub(crate) fn new(file: ModelFile, args: &Generate) -> Result<Self> {
        let mut batch = engine::batch(&file, &args.machine, args.context)?;
        ensure!(
            !args.chat || batch.has_template(),
            "this model has no chat template: leave out --chat, and write the prompt in its own form"
        );
        let request = args.request()?;
        // Said before anything is computed.
        let vocabulary = batch.settings().vocabulary;
        Sampler::new(request.sampling.clone(), vocabulary)?;
        StopMatcher::new(request.stops.iter().map(String::as_str)).context("--stop")?;
        let mut cache = args.cache.as_deref().map(Cache::new).transpose()?;
        let last = cache.as_mut().and_then(|cache| cache.load(&mut batch));
        Ok(Generator { file, batch, request, last, cache, stats: Stats::default() })
    }

    /// The model's tokenizer.
    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        self.batch.tokenizer()
    }

    /// What the model's chat template makes of a conversation.
    pub(crate) fn trace(&self, chat: &Chat) -> Result<Traced> {
        Ok(self.batch.trace(chat)?)
    }

    /// Whether a prompt fits, `kept` of it from the turns before, or else an error that says what to do.
    pub(crate) fn check_room(&mut self, kept: usize, prompt: &[u32]) -> Result<()> {
        let context = self.batch.settings().context;
        if prompt.len() <= context {
            return Ok(());
        }
        let tokens = prompt.len() - kept;
        let before = if kept > 0 { format!(" and {kept} are used") } else { String::new() };
        let allowed = self.batch.arithmetic().executor().model().config.context;
        let more = format!(", or allow more with -c (this model: up to {allowed})");
        let more = if allowed > context { &more } else { "" };
        bail!("the prompt has {tokens} tokens, the context is {context}{before}: shorten it{more}")
    }

    /// Keeps the session for the next run, if that is wanted.
    pub(crate) fn save_cache(&mut self) {
        if let (Some(cache), Some(last)) = (&self.cache, self.last) {
            cache.save(&mut self.batch, last);
        }
    }

    /// Writes what the model has to say to a prompt: all of it, also what is in the session already, and with room for it.
    ///
    /// # Errors
    /// The weights are broken, or `show` fails.
    pub(crate) fn answer(
        &mut self,
        prompt: Prompt,
        interrupt: &AtomicBool,
        show: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<Answer> {
        let id = self.batch.open(&Request { prompt, ..self.request.clone() })?;
        self.last = Some(id);
        let reused = self.batch.held(id)?.len();
        let (mut answer, mut start) = (Answer::default(), Instant::now());
        while !self.batch.is_idle() && !interrupt.load(Ordering::Relaxed) {
            let events = self.batch.step();
            self.file.check()?;
            for event in events {
                match event {
                    Event::Prompt { done, of, .. } if done == of => {
                        self.stats.prompt.add(of - reused, start.elapsed());
                        start = Instant::now();
                    }
                    Event::Piece { piece, .. } => {
                        answer.tokens.extend(piece.token);
                        answer.calls.extend(piece.calls);
                        answer.add(&piece.text, show)?;
                    }
                    Event::Finished { reason, usage, .. } => {
                        answer.end = Some(reason);
                        self.stats.lookup.add(usage.drafted, usage.accepted);
                    }
                    Event::Failed { error, .. } => return Err(error.into()),
                    Event::Prompt { .. } | Event::Embedded { .. } => {}
                }
            }
        }
        self.stats.answer.add(answer.tokens.len().saturating_sub(1), start.elapsed());
        let held_back = self.batch.close(id)?;
        answer.add(&held_back, show)?;
        Ok(answer)
    }

    /// Says why an answer stops in the middle, where that is not what was asked for.
    pub(crate) fn say_how_it_ended(&self, end: Option<Reason>) {
        match end {
            Some(Reason::Token | Reason::Stop | Reason::Calls) => {}
            None => say("picolm: stopped by Ctrl-C"),
            Some(Reason::Length) => {
                say(&format!("picolm: stopped after {} tokens (more: -n)", self.request.max_tokens))
            }
            Some(Reason::Context) => {
                say(&format!(
                    "picolm: stopped: the context of {} tokens is full (more: -c)",
                    self.batch.settings().context
                ));
            }
        }
    }

    pub(crate) fn say_stats(&mut self, load_time: Duration) {
        let Stats { prompt, answer, lookup } = self.stats;
        let tokenizer = self.tokenizer().memory_bytes();
        let local = self.batch.arithmetic();
        let (kv, executor) = (local.kv_bytes(), local.executor());
        say(&format!(
            "picolm: loaded in {:.0} ms; prompt {} tokens, {:.1} tokens/s; answer {} tokens, {:.1} tokens/s ({})",
            1e3 * load_time.as_secs_f64(),
            prompt.tokens,
            prompt.per_second(),
            answer.tokens,
            answer.per_second(),
            executor.backend().name(),
        ));
        if lookup.proposed > 0 {
            let (right, all, percent) = (lookup.accepted, lookup.proposed, lookup.percent());
            say(&format!("picolm: lookup: {all} tokens proposed, {right} accepted ({percent:.0} %)"));
        }
        let all = memory::anonymous().map_or(String::new(), |bytes| format!("; anonymous in all {}", size(bytes)));
        say(&format!(
            "picolm: memory: KV cache {}, buffers {}, tokenizer {}, model {}{all}; weights mapped {}",
            size(kv as u64),
            size(executor.memory_bytes() as u64),
            size(tokenizer as u64),
            size(executor.model().memory_bytes() as u64),
            size(executor.model().weight_bytes()),
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
