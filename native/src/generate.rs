//! `picolm MODEL`: a prompt from the command line, or a conversation.

use crate::chat;
use crate::cli::Generate;
use crate::generator::{Generator, Reply};
use crate::input::read_text;
use anyhow::{Result, bail, ensure};
use picolm_core::text::Encode;
use picolm_engine::Prompt;
use picolm_machine::ModelFile;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// `picolm MODEL`: a raw prompt, or the conversation in `chat.rs`.
pub(crate) fn run(args: &Generate) -> Result<()> {
    ensure!(args.max_tokens > 0, "-n 0 leaves no room for an answer: give 1 or more");
    let Some(path) = &args.model else { bail!("which model? See picolm --help") };
    let start = Instant::now();
    let file = ModelFile::open(path)?;
    let mut generator = Generator::new(file, args)?;
    let load_time = start.elapsed();
    if args.chat {
        chat::run(&mut generator, args)?;
    } else {
        let prompt = match &args.prompt {
            Some(prompt) => prompt.clone(),
            None => read_text("the prompt")?,
        };
        let tokens = generator.tokenizer().encode(&prompt, Encode::PROMPT);
        ensure!(!tokens.is_empty(), "the prompt is empty: give one with -p or on standard input");
        generator.check_room(0, &tokens)?;
        let mut reply = Reply::new();
        let answer =
            generator.answer(Prompt::Tokens(tokens), &AtomicBool::new(false), &mut |text| reply.write(text))?;
        reply.finish()?;
        generator.say_how_it_ended(answer.end);
    }
    generator.save_cache();
    generator.say_stats(load_time);
    Ok(())
}
