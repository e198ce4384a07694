//! A conversation, kept in the KV cache: of each turn only what is new is fed.
//!
//! ```text
//!   messages ──template──► the whole conversation as text
//!                            = what the cache holds + what is new ──encode──► fed ──► answer
//! ```
//! A template may write the past in another way than it was (some leave out old reasoning, some trim). Then the conversation is encoded
//! anew, and fed from the first token that differs.

use crate::cli::Generate;
use crate::generator::{Generator, Reply};
use crate::input::utf8;
use crate::say;
use anyhow::{Context, Result};
use picolm_core::text::Encode;
use picolm_engine::{Call, Chat as Conversation, Prompt as Asked, Reason, ToolChoice};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

/// What follows text that is in the cache already.
const CONTINUED: Encode = Encode { bos: false, ..Encode::PROMPT };

/// `picolm MODEL --chat`: one question with `-p`, else one a line of standard input.
pub(crate) fn run(generator: &mut Generator, args: &Generate) -> Result<()> {
    let mut chat = Chat::new(generator, args)?;
    match &args.prompt {
        Some(question) => {
            let prompt = chat.prepare(question)?;
            chat.answer(prompt, &AtomicBool::new(false))
        }
        None => chat.talk(),
    }
}

struct Chat<'a> {
    generator: &'a mut Generator,
    /// Seconds since 1970. One time for the whole conversation: a date in the prompt must not change under the cache.
    now: Option<i64>,
    parse_special: bool,
    /// A JSON list, and whether one of them has to be called.
    tools: Option<String>,
    tool_choice: ToolChoice,
    system: Option<Value>,
    messages: Vec<Value>,
    /// The text so far, and its tokens; empty if nobody knows.
    written: String,
    tokens: Vec<u32>,
}

/// A conversation that ends in a question.
struct Prompt {
    text: String,
    /// All of it: what is in the session already begins it.
    tokens: Vec<u32>,
}

/// Whether an answer is being written.
static ANSWERING: AtomicBool = AtomicBool::new(false);
/// Whether it should stop.
static INTERRUPT: AtomicBool = AtomicBool::new(false);

fn on_ctrl_c() {
    if ANSWERING.load(Ordering::Relaxed) {
        INTERRUPT.store(true, Ordering::Relaxed);
    } else {
        say("\n(/quit or the end of input leaves, /reset forgets the conversation)");
    }
}

impl<'a> Chat<'a> {
    fn new(generator: &'a mut Generator, args: &Generate) -> Result<Self> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|time| time.as_secs() as i64);
        let system = args.system.as_deref().map(|text| message("system", text));
        let read = |path: &PathBuf| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        Ok(Chat {
            generator,
            now,
            parse_special: args.parse_special,
            tools: args.tools.as_ref().map(read).transpose()?,
            tool_choice: match &args.must_call {
                None => ToolChoice::Auto,
                Some(None) => ToolChoice::Required,
                Some(Some(name)) => ToolChoice::Named(name.clone()),
            },
            messages: system.iter().cloned().collect(),
            system,
            written: String::new(),
            tokens: Vec::new(),
        })
    }

    /// A question a line, to the end of input.
    fn talk(&mut self) -> Result<()> {
        ctrlc::set_handler(on_ctrl_c).context("cannot listen to Ctrl-C")?;
        let (mut input, by_hand) = (io::stdin().lock(), io::stdin().is_terminal());
        loop {
            if by_hand {
                let _ = write!(io::stderr(), "> ");
            }
            let mut line = Vec::new();
            if input.read_until(b'\n', &mut line).context("cannot read standard input")? == 0 {
                return Ok(());
            }
            let line = utf8(line, "this line");
            match line.as_deref().map(str::trim) {
                Ok("") => {}
                Ok("/quit") => return Ok(()),
                Ok("/reset") => self.reset(),
                Ok(question) => match self.prepare(question) {
                    Ok(prompt) => self.answer(prompt, &INTERRUPT)?,
                    Err(error) => say(&format!("picolm: {error:#} (/reset forgets the conversation)")),
                },
                Err(error) => say(&format!("picolm: {error}")),
            }
        }
    }

    /// Forgets all but the system message. What is in the cache is used as far as it fits.
    fn reset(&mut self) {
        self.messages = self.system.iter().cloned().collect();
        self.forget();
    }

    /// The next prompt is encoded anew.
    fn forget(&mut self) {
        self.written.clear();
        self.tokens.clear();
    }

    /// Adds a question and makes room for it in the session.
    ///
    /// # Errors
    /// The template refuses it, or it does not fit; the conversation is then as it was.
    fn prepare(&mut self, question: &str) -> Result<Prompt> {
        self.messages.push(message("user", question));
        let prompt = self.try_prepare();
        if prompt.is_err() {
            self.messages.pop();
        }
        prompt
    }

    /// All that was said, for the model's chat template.
    fn conversation(&self) -> Conversation {
        Conversation {
            now: self.now,
            parse_special: self.parse_special,
            tools: self.tools.clone(),
            tool_choice: self.tool_choice.clone(),
            // What the model thinks is shown as it comes.
            reasoning_apart: false,
            ..Conversation::new(Value::from(self.messages.clone()).to_string())
        }
    }

    fn try_prepare(&mut self) -> Result<Prompt> {
        let mut new = self.generator.trace(&self.conversation())?;
        let (text, tokenizer) = (new.text().to_string(), self.generator.tokenizer());
        let goes_on = !self.written.is_empty() && text.starts_with(&self.written);
        let (kept, tokens) = if goes_on {
            let new = tokenizer.encode_traced(&new.split_off(self.written.len()), CONTINUED);
            (self.tokens.len(), [&self.tokens[..], &new].concat())
        } else {
            (0, tokenizer.encode_traced(&new, Encode::PROMPT))
        };
        self.generator.check_room(kept, &tokens)?;
        Ok(Prompt { text, tokens })
    }

    /// Writes the answer, and keeps it in the conversation.
    fn answer(&mut self, prompt: Prompt, interrupt: &AtomicBool) -> Result<()> {
        let mut reply = Reply::new();
        interrupt.store(false, Ordering::Relaxed);
        ANSWERING.store(true, Ordering::Relaxed);
        // Calls are read, and kept to, by the conversation they come in.
        let asked = match &self.tools {
            Some(_) => Asked::Chat(self.conversation()),
            None => Asked::Tokens(prompt.tokens.clone()),
        };
        let answer = self.generator.answer(asked, interrupt, &mut |text| reply.write(text));
        ANSWERING.store(false, Ordering::Relaxed);
        let answer = answer?;
        if !answer.calls.is_empty() {
            reply.write(if answer.text.is_empty() { "" } else { "\n" })?;
            reply.write(&json!({ "tool_calls": calls(&answer.calls) }).to_string())?;
        }
        reply.finish()?;
        self.generator.say_how_it_ended(answer.end);

        self.forget();
        if answer.end.is_none() && answer.tokens.is_empty() {
            // In the middle of the question, which is then as if it had not been asked.
            self.messages.pop();
            return Ok(());
        }
        if !answer.calls.is_empty() {
            let message = json!({ "role": "assistant", "content": answer.text, "tool_calls": calls(&answer.calls) });
            self.messages.push(message);
            return Ok(());
        }
        // The tokens of a stop string are not in the text.
        if answer.end != Some(Reason::Stop) {
            self.written = prompt.text + &answer.text;
            self.tokens = [prompt.tokens, answer.tokens].concat();
        }
        self.messages.push(message("assistant", &answer.text));
        Ok(())
    }
}

/// As OpenAI has them.
fn calls(calls: &[Call]) -> Value {
    let call = |Call { id, name, arguments, .. }: &Call| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
    calls.iter().map(call).collect()
}

fn message(role: &str, text: &str) -> Value {
    json!({ "role": role, "content": text })
}
