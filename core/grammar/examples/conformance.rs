//! Schemas and texts that fit or do not: how many are told apart, what is refused, and how long masks take.
//!
//! ```sh
//! cargo run --release -p picolm-grammar --example conformance -- [--gguf FILE] [--list] FOLDER|FILE...
//! ```
//!
//! A file is one object `{"schema": …, "tests": [{"data": …, "valid": …}, …]}`, as MaskBench has them, or a list of such objects, as the
//! JSON-Schema-Test-Suite. The vocabulary is that of a model file, or one of 256 bytes.

use picolm_core::gguf::Gguf;
use picolm_core::text::{Encode, Tokenizer};
use picolm_grammar::{Error, Grammar, Limits, Matcher, Source, Token, Vocabulary};
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Default)]
struct Counts {
    schemas: usize,
    refused: usize,
    /// schemas all of whose texts were told apart
    passed: usize,
    right: usize,
    wrongly_accepted: usize,
    wrongly_refused: usize,
    by_keyword: BTreeMap<String, usize>,
    builds: Vec<Duration>,
    masks: Vec<Duration>,
}

struct Run {
    vocabulary: Arc<Vocabulary>,
    tokenizer: Option<Arc<Tokenizer>>,
    lists: bool,
    counts: Counts,
}

fn main() -> Result<(), Box<dyn StdError>> {
    let (mut gguf, mut lists, mut paths) = (None, false, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--gguf" => gguf = arguments.next(),
            "--list" => lists = true,
            path => files(Path::new(path), &mut paths)?,
        }
    }
    paths.sort();
    let tokenizer = match gguf {
        None => None,
        Some(path) => Some(Arc::new(Tokenizer::from_gguf(&Gguf::parse(&std::fs::read(path)?)?)?)),
    };
    let begun = Instant::now();
    let vocabulary = vocabulary(tokenizer.as_ref())?;
    println!("vocabulary of {} in {:?}", vocabulary.len(), begun.elapsed());
    let mut run = Run { vocabulary, tokenizer, lists, counts: Counts::default() };
    for path in &paths {
        run.file(path)?;
    }
    run.report();
    Ok(())
}

fn files(path: &Path, all: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            files(&entry?.path(), all)?;
        }
    } else if path.extension().is_some_and(|extension| extension == "json") {
        all.push(path.into());
    }
    Ok(())
}

fn vocabulary(tokenizer: Option<&Arc<Tokenizer>>) -> Result<Arc<Vocabulary>, Error> {
    let Some(tokenizer) = tokenizer else {
        let bytes: Vec<u8> = (0..=255).collect();
        return Vocabulary::new(bytes.chunks(1).map(Token::Text).chain([Token::End(b"</s>")]), None);
    };
    let tokens = (0..tokenizer.n_vocab() as u32).map(|id| match tokenizer.token_bytes(id) {
        bytes if tokenizer.is_end_of_generation(id) => Token::End(bytes),
        bytes if tokenizer.is_special(id) => Token::Special(bytes),
        bytes => Token::Text(bytes),
    });
    let tokenize = tokenizer.clone();
    Vocabulary::new(tokens, Some(Box::new(move |text| tokenize.encode(text, Encode::TEXT))))
}

impl Run {
    fn file(&mut self, path: &Path) -> Result<(), Box<dyn StdError>> {
        let content: Value = serde_json::from_slice(&std::fs::read(path)?)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        match &content {
            Value::Array(cases) => {
                cases.iter().for_each(|case| self.case(&format!("{name}: {}", case["description"]), case))
            }
            case => self.case(&name, case),
        }
        Ok(())
    }

    fn case(&mut self, name: &str, case: &Value) {
        self.counts.schemas += 1;
        let begun = Instant::now();
        let schema = case["schema"].to_string();
        let grammar = Grammar::new(Source::JsonSchema(&schema), &self.vocabulary, &Limits::default());
        self.counts.builds.push(begun.elapsed());
        let grammar = match grammar {
            Ok(grammar) => grammar,
            Err(error) => return self.refused(name, case, &error),
        };
        let mut all_right = true;
        for test in case["tests"].as_array().into_iter().flatten() {
            let valid = test["valid"] == Value::Bool(true);
            let fits = self.walk(grammar.matcher(), &test["data"].to_string());
            match (valid, &fits) {
                (true, Ok(())) | (false, Err(_)) => self.counts.right += 1,
                (false, Ok(())) => self.counts.wrongly_accepted += 1,
                (true, Err(_)) => self.counts.wrongly_refused += 1,
            }
            if valid != fits.is_ok() {
                all_right = false;
                if self.lists {
                    let what = fits.err().map_or("wrongly accepted".into(), |why| format!("wrongly refused ({why})"));
                    println!("{name}: {what}: {}", shortened(&test["data"].to_string()));
                }
            }
        }
        self.counts.passed += usize::from(all_right);
    }

    fn refused(&mut self, name: &str, case: &Value, error: &Error) {
        // That nothing fits is right, where no text does.
        let fits_nothing = matches!(error, Error::Impossible { .. })
            && case["tests"]
                .as_array()
                .is_some_and(|tests| tests.iter().all(|test| test["valid"] == Value::Bool(false)));
        if fits_nothing {
            self.counts.passed += 1;
            return;
        }
        self.counts.refused += 1;
        let keyword = match error {
            Error::Schema { pointer, .. } => {
                pointer.rsplit('/').find(|part| part.parse::<usize>().is_err()).unwrap_or("").into()
            }
            Error::Impossible { .. } => "nothing fits".into(),
            _ => "limit".to_string(),
        };
        *self.counts.by_keyword.entry(keyword).or_default() += 1;
        if self.lists {
            println!("{name}: refused: {error}");
        }
    }

    fn walk(&mut self, mut matcher: Matcher, text: &str) -> Result<(), String> {
        let tokens = match &self.tokenizer {
            Some(tokenizer) => tokenizer.encode(text, Encode::TEXT),
            None => text.bytes().map(u32::from).collect(),
        };
        for (at, &token) in tokens.iter().enumerate() {
            let begun = Instant::now();
            let mask = matcher.mask(&tokens[..at]).map_err(|error| error.to_string())?;
            let is_allowed = mask[token as usize / 32] >> (token % 32) & 1 == 1;
            self.counts.masks.push(begun.elapsed());
            if !is_allowed {
                let before = match &self.tokenizer {
                    Some(tokenizer) => tokenizer.decode(&tokens[..at], true),
                    None => text.get(..at).unwrap_or_default().into(),
                };
                return Err(format!("after {}", shortened_end(&before)));
            }
        }
        match matcher.may_end(&tokens) {
            Ok(true) => Ok(()),
            Ok(false) => Err("at its end".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn report(&mut self) {
        let counts = &mut self.counts;
        println!("{} schemas, {} refused, {} with all texts told apart", counts.schemas, counts.refused, counts.passed);
        println!(
            "texts: {} right, {} wrongly accepted, {} wrongly refused",
            counts.right, counts.wrongly_accepted, counts.wrongly_refused
        );
        let mut keywords: Vec<_> = counts.by_keyword.iter().collect();
        keywords.sort_by_key(|(_, count)| usize::MAX - **count);
        keywords.iter().for_each(|(keyword, count)| println!("  {count:4} {keyword}"));
        times("grammars", &mut counts.builds);
        times("masks", &mut counts.masks);
    }
}

fn times(what: &str, all: &mut [Duration]) {
    all.sort();
    if all.is_empty() {
        return;
    }
    let mean = all.iter().sum::<Duration>() / all.len() as u32;
    let part = |share: f64| all[((all.len() - 1) as f64 * share) as usize];
    println!(
        "{what}: {} of {mean:?} on average, median {:?}, 99 of 100 below {:?}, longest {:?}",
        all.len(),
        part(0.5),
        part(0.99),
        part(1.0)
    );
}

fn shortened(text: &str) -> String {
    text.chars().take(160).collect()
}

fn shortened_end(text: &str) -> String {
    let skipped = text.chars().count().saturating_sub(60);
    text.chars().skip(skipped).collect()
}
