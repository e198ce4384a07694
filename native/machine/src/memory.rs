//! How much memory there is to work in, and how much is taken.

use std::fs;

/// Tokens of a prompt that are worth taking through the layers at once, where there is memory for their buffers.
const BATCH: usize = 256;

/// Where memory is scarce: a model of 1.1B parameters then has buffers of 3 MB instead of 25.
const SMALL_BATCH: usize = 32;

/// Less than this is scarce.
const SCARCE: u64 = 512 << 20;

/// How many tokens of a prompt to take through the layers at once on this machine.
pub fn default_batch() -> usize {
    if available().is_some_and(|bytes| bytes < SCARCE) { SMALL_BATCH } else { BATCH }
}

/// Bytes that can be had without swapping, where the system says: what Linux calls available, and what control groups allow.
fn available() -> Option<u64> {
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limits = limits.iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    let meminfo = fs::read_to_string("/proc/meminfo").ok();
    limits.chain(meminfo.and_then(|text| bytes_of("MemAvailable:", &text))).min()
}

/// Memory of this process that is backed by no file, in bytes: all it adds to the machine's load. Linux tells it.
pub fn anonymous() -> Option<u64> {
    bytes_of("RssAnon:", &fs::read_to_string("/proc/self/status").ok()?)
}

/// The line `MemAvailable:   123 kB` of a file in `/proc`, in bytes.
fn bytes_of(name: &str, text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_line_of_meminfo() {
        let text = "MemTotal:       24000 kB\nMemAvailable:     512 kB\nBuffers: 1 kB\n";
        assert_eq!(super::bytes_of("MemAvailable:", text), Some(512 << 10));
        assert_eq!(super::bytes_of("MemAvailable:", "MemTotal: 1 kB"), None);
    }
}
