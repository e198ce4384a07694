//! The machine, and what else it was doing. Linux tells; elsewhere there is less to say.
//!
//! llama.cpp's threads wait for each other by spinning, so one processor that is taken away slows it far more than picolm. Ratios of a
//! busy machine are wrong, not only its figures: so the table says how busy it was.

use std::fs;

use super::engine::Engine;

/// The processor, or what it is a kind of, and how many.
pub(crate) fn name() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
    let kind = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    format!("{}, {processors} processors", name.map_or(kind, |(_, name)| name.trim().to_string()))
}

/// Times of processors, in ticks.
pub(crate) struct Ticks {
    /// Of one processor: the time that passed.
    passed: u64,
    /// Of all processors, working for whomever; stolen by the hypervisor counts.
    busy: u64,
    /// Of all processors, working for the engines.
    engines: u64,
}

impl Ticks {
    /// Until now.
    pub(crate) fn now<'a>(engines: impl IntoIterator<Item = &'a Engine>) -> Option<Ticks> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let (passed, busy) = all(&stat)?;
        let engines =
            engines.into_iter().map(|engine| own(&fs::read_to_string(format!("/proc/{}/stat", engine.id())).ok()?));
        Some(Ticks { passed, busy, engines: engines.sum::<Option<u64>>()? })
    }

    /// How many processors others kept busy since `before`.
    pub(crate) fn others_since(&self, before: &Ticks) -> f64 {
        let others = (self.busy - before.busy).saturating_sub(self.engines - before.engines);
        others as f64 / (self.passed - before.passed).max(1) as f64
    }
}

/// (passed, busy) of /proc/stat: `cpu  user nice system idle iowait irq softirq steal …`, and a line for each processor.
fn all(stat: &str) -> Option<(u64, u64)> {
    let (cpu, rest) = stat.split_once('\n')?;
    let times: Vec<u64> = cpu.split_whitespace().skip(1).take(8).map(|n| n.parse().ok()).collect::<Option<_>>()?;
    let idle = times.get(3)? + times.get(4)?;
    let processors = rest.lines().filter(|line| line.starts_with("cpu")).count() as u64;
    let total: u64 = times.iter().sum();
    Some((total.checked_div(processors)?, total - idle))
}

/// utime + stime of /proc/PID/stat: `PID (name) state …`, fields 14 and 15; the name may hold anything.
fn own(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read_as_proc_5_says() {
        let stat = "cpu  100 20 30 1000 50 1 2 3 7 7\ncpu0 …\ncpu1 …\nintr 5\n";
        assert_eq!(all(stat), Some((1206 / 2, 156)));
        assert_eq!(all("nothing"), None);
        let fields = "4 (a) b) S 1 4 4 0 -1 4194304 100 0 0 0 250 17 0 0 20 0 1 0 1";
        assert_eq!(own(fields), Some(267));
    }

    #[test]
    fn others_are_what_the_engines_did_not_do() {
        let ticks = |passed, busy, engines| Ticks { passed, busy, engines };
        let (before, after) = (ticks(1000, 500, 100), ticks(1100, 700, 250));
        assert_eq!(after.others_since(&before), 0.5);
        assert_eq!(before.others_since(&before), 0.0);
    }
}
