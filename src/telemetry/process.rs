//! The operating system's data about this process.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// Processor time and memory, as far as the operating system reports them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Processor time used by all threads since the start, in µs.
    pub cpu_us: u64,
    /// Resident memory in bytes.
    pub memory_bytes: u64,
}

impl Process {
    /// The current values; unavailable ones are 0.
    pub fn now() -> Self {
        let cpu_us = getrusage(UsageWho::RUSAGE_SELF)
            .map_or(0, |usage| usage.user_time().num_microseconds() + usage.system_time().num_microseconds());
        let memory_bytes = size(&status(), "VmRSS:").unwrap_or(0);
        Self { cpu_us: u64::try_from(cpu_us).unwrap_or(0), memory_bytes }
    }
}

/// Size of the address space and the data segment (private writable memory), in bytes; 0 where the operating system
/// does not report them.
#[must_use]
pub fn memory_maps() -> (u64, u64) {
    let status = status();
    let in_use = |name: &str| size(&status, name).unwrap_or(0);
    (in_use("VmSize:"), in_use("VmData:"))
}

fn status() -> String {
    std::fs::read_to_string("/proc/self/status").unwrap_or_default()
}

/// A line like `VmRSS:   1234 kB` of `/proc/self/status`, in bytes.
fn size(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_uses_memory_and_time() {
        let first = Process::now();
        assert!(first.memory_bytes > 100_000, "{first:?}");
        let mut sum = 0_u64;
        while Process::now().cpu_us == first.cpu_us {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(Process::now().cpu_us > first.cpu_us);
    }

    #[test]
    fn missing_lines_give_no_size() {
        let status = "Name:\tx\nVmSize:\t 7 kB\nVmRSS:\t    1234 kB\nThreads:\t4\n";
        assert_eq!((size(status, "VmRSS:"), size(status, "VmSize:")), (Some(1_234 * 1_024), Some(7 * 1_024)));
        for status in ["", "VmRSS:\tmany kB", "VmRSS:\t5 MB", "VmRSS:\t99999999999999999999 kB"] {
            assert_eq!(size(status, "VmRSS:"), None, "{status}");
        }
    }
}
