//! Steps side by side: a process each, as many that compute at once as there are processors.
//!
//! What a step prints goes into a file of its own and is shown when it ends; the last one's is shown as it comes.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write, stdout};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Step;
use crate::process::{Counts, build_dir};

/// More at once would disturb tests that look at the clock.
const MOST: usize = 4;

/// Runs all of them, in order as far as their needs allow; prints a summary, and `N passed, N failed` last.
pub(super) fn run(steps: Vec<Step>, full: bool) -> Result<()> {
    let start = Instant::now();
    let logs = build_dir("logs");
    fs::create_dir_all(&logs)?;
    let processors = available_parallelism().map_or(1, |n| n.get()).min(MOST);
    let mut waiting = steps;
    let mut running: Vec<Running> = Vec::new();
    let mut ended: HashMap<&str, Outcome> = HashMap::new();
    let mut summary = Vec::new();
    while !waiting.is_empty() || !running.is_empty() {
        let busy = running.iter().filter(|running| !running.step.waits).count();
        match waiting.iter().position(|step| can_start(step, busy < processors, &ended)) {
            Some(at) => {
                let step = waiting.remove(at);
                let lacking = step.needs.iter().find(|need| !ended[*need].ok());
                let outcome = match lacking {
                    _ if !(step.possible)() => Outcome::Skipped,
                    Some(need) => Outcome::Lacks(need),
                    None => {
                        running.push(Running::start(step, full, &logs)?);
                        continue;
                    }
                };
                let line = format!("{:18} {outcome}", step.name);
                println!("\n=== {}\n--- {line}", step.name);
                summary.push(line);
                ended.insert(step.name, outcome);
            }
            None => {
                if let ([only], []) = (&mut running[..], &waiting[..]) {
                    only.show()?;
                }
                let mut done = None;
                for (at, running) in running.iter_mut().enumerate() {
                    if running.child.try_wait()?.is_some() {
                        done = Some(at);
                    }
                }
                let Some(at) = done else {
                    sleep(Duration::from_millis(50));
                    continue;
                };
                let step = running.remove(at);
                let (name, seconds) = (step.step.name, step.start.elapsed().as_secs_f64());
                let (outcome, failures) = step.end()?;
                let line = format!("{name:18} {seconds:6.1} s  {outcome}");
                println!("--- {line}");
                summary.push(line);
                summary.extend(failures);
                ended.insert(name, outcome);
            }
        }
    }
    println!("\n=== summary\n{}", summary.join("\n"));
    println!("{:18} {:6.1} s\n", "all", start.elapsed().as_secs_f64());
    let (mut total, mut skipped) = (Counts::default(), 0);
    for outcome in ended.into_values() {
        match outcome {
            Outcome::Ran(counts, _) => total += counts,
            Outcome::Lacks(_) => total += Counts { passed: 0, failed: 1 },
            Outcome::Skipped => skipped += 1,
        }
    }
    let skips = if skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
    println!("{} passed, {} failed{skips}", total.passed, total.failed);
    match total.failed {
        0 => Ok(()),
        _ => bail!("the tests failed"),
    }
}

/// Whether what it needs has ended (well or not), and there is a processor for it.
fn can_start(step: &Step, idle: bool, ended: &HashMap<&str, Outcome>) -> bool {
    (idle || step.waits) && step.needs.iter().all(|need| ended.contains_key(need))
}

enum Outcome {
    /// With the seconds of processor time it took, where they are known.
    Ran(Counts, Option<f64>),
    /// What it needs is not there, since that step failed.
    Lacks(&'static str),
    Skipped,
}

impl Outcome {
    fn ok(&self) -> bool {
        matches!(self, Outcome::Ran(Counts { failed: 0, .. }, _))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Outcome::Ran(counts, time) => {
                write!(f, "{} passed, {} failed", counts.passed, counts.failed)?;
                time.map_or(Ok(()), |time| write!(f, "; {time:.1} s of processor time"))
            }
            Outcome::Lacks(need) => write!(f, "not run, since {need} failed"),
            Outcome::Skipped => {
                write!(f, "skipped: not possible on {} {}", std::env::consts::OS, std::env::consts::ARCH)
            }
        }
    }
}

/// The last line of a step's process.
pub(super) fn result_line(counts: Counts, processor_time: Option<f64>) -> String {
    Outcome::Ran(counts, processor_time).to_string()
}

/// What [`result_line`] wrote.
fn parse(line: &str) -> Option<Outcome> {
    let (counts, time) = line.split_once("; ").map_or((line, None), |(counts, time)| (counts, Some(time)));
    let (passed, failed) = counts.strip_suffix(" failed")?.split_once(" passed, ")?;
    let time = time.map(|time| time.strip_suffix(" s of processor time")?.parse().ok());
    Some(Outcome::Ran(Counts { passed: passed.parse().ok()?, failed: failed.parse().ok()? }, time.flatten()))
}

struct Running {
    step: Step,
    child: Child,
    start: Instant,
    log: File,
    /// How many bytes of the log were shown.
    shown: u64,
}

impl Running {
    fn start(step: Step, full: bool, logs: &Path) -> Result<Self> {
        let path = logs.join(format!("{}.log", step.name));
        let output = File::create(&path).with_context(|| path.display().to_string())?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("step").arg(step.name).args(full.then_some("--full"));
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("cannot start {}", step.name))?;
        Ok(Running { step, child, start: Instant::now(), log: File::open(path)?, shown: 0 })
    }

    /// Shows what has come.
    fn show(&mut self) -> Result<()> {
        if self.shown == 0 {
            println!("\n=== {}", self.step.name);
        }
        self.log.seek(SeekFrom::Start(self.shown))?;
        self.shown += std::io::copy(&mut self.log, &mut stdout())?;
        Ok(stdout().flush()?)
    }

    /// Shows the rest; what came of it, and the lines that name its failures.
    fn end(mut self) -> Result<(Outcome, Vec<String>)> {
        self.show()?;
        let mut log = Vec::new();
        self.log.seek(SeekFrom::Start(0))?;
        self.log.read_to_end(&mut log)?;
        let log = String::from_utf8_lossy(&log);
        let died = || Outcome::Ran(Counts { passed: 0, failed: 1 }, None);
        // The error of a step that failed stands behind its result.
        let outcome = log.lines().rev().find_map(parse).unwrap_or_else(died);
        let failures = if outcome.ok() { Vec::new() } else { failures(&log) };
        Ok((outcome, failures))
    }
}

/// The first lines of a log that name what failed: of Rust's tests, of Node's, of compilers.
fn failures(log: &str) -> Vec<String> {
    let names = |line: &&str| {
        let word = line.trim_start();
        (word.starts_with("test ") && word.ends_with("FAILED"))
            || word.starts_with("not ok ")
            || word.starts_with("error")
    };
    log.lines().filter(names).take(20).map(|line| format!("    {}", line.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_read_as_it_was_written() {
        for time in [None, Some(1.5)] {
            let line = result_line(Counts { passed: 12, failed: 3 }, time);
            let Some(Outcome::Ran(counts, read)) = parse(&line) else { panic!("{line}") };
            assert_eq!((counts, read), (Counts { passed: 12, failed: 3 }, time));
        }
        assert!(parse("test result: ok. 12 passed; 3 failed").is_none());
    }

    #[test]
    fn failures_are_found_in_what_steps_print() {
        let log = "test a ... ok\ntest b ... FAILED\n    not ok 3 - c\nok 4 - d\nerror[E0308]: mismatched types\n";
        let found = ["    test b ... FAILED", "    not ok 3 - c", "    error[E0308]: mismatched types"];
        assert_eq!(failures(log), found);
    }
}
