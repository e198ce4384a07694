//! A process that makes a run whenever it is sent a line, and answers with a line of JSON (native/src/commands/bench.rs).

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// One run: tokens per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) prefill: f64,
    pub(crate) decode: f64,
    /// Bytes of the process that are backed by no file, after the run; nothing is given back in between, so this is the most.
    pub(crate) own_memory: Option<u64>,
}

/// A running engine, warmed up.
pub(crate) struct Engine {
    name: &'static str,
    child: Child,
    /// Taken on drop: its end ends the engine.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// Its first line.
    pub(crate) about: Value,
}

impl Engine {
    /// Starts it and waits for its first line.
    pub(crate) fn start(name: &'static str, command: &mut Command) -> Result<Engine> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", command.get_program().display()))?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("piped above"));
        let mut engine = Engine { name, child, stdin, stdout, about: Value::Null };
        engine.about = engine.answer()?;
        Ok(engine)
    }

    /// Makes it do one run.
    pub(crate) fn run(&mut self) -> Result<Run> {
        // If it is gone, the missing answer says so.
        let _ = self.stdin.as_mut().expect("only taken on drop").write_all(b"\n");
        let answer = self.answer()?;
        let rate = |key: &str| answer[key].as_f64().with_context(|| format!("{} gives no {key}: {answer}", self.name));
        Ok(Run { prefill: rate("prefill")?, decode: rate("decode")?, own_memory: answer["own_memory"].as_u64() })
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// A text of its first line.
    pub(crate) fn about(&self, key: &str) -> String {
        self.about[key].as_str().unwrap_or("?").to_string()
    }

    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            bail!("{} has ended; if it said why, it stands above", self.name);
        }
        serde_json::from_str(&line).with_context(|| format!("{} says {line:?}", self.name))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

impl Run {
    pub(crate) fn json(&self) -> Value {
        json!({ "prefill": self.prefill, "decode": self.decode, "own_memory": self.own_memory })
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<Engine> {
        Engine::start("it", Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn each_line_is_answered_by_a_run() {
        let script = r#"echo '{"backend": "x"}'; n=0; while read line; do n=$((n+1)); echo "{\"prefill\": $n.5, \"decode\": 2, \"own_memory\": null}"; done"#;
        let mut engine = shell(script).unwrap();
        assert_eq!(engine.about("backend"), "x");
        assert_eq!(engine.run().unwrap(), Run { prefill: 1.5, decode: 2.0, own_memory: None });
        assert_eq!(engine.run().unwrap().prefill, 2.5);
    }

    #[test]
    fn one_that_dies_or_talks_nonsense_is_named() {
        let fails = |result: Result<()>, says: &str| {
            let error = format!("{:#}", result.unwrap_err());
            assert!(error.contains(says), "{error}");
        };
        fails(shell("exit 1").map(drop), "it has ended");
        fails(shell("echo '{}'").unwrap().run().map(drop), "it has ended");
        fails(shell("echo hello").map(drop), "it says \"hello");
        fails(shell("echo '{}'; read line; echo '{\"prefill\": 1}'").unwrap().run().map(drop), "it gives no decode");
    }
}
