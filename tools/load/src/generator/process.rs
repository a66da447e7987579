//! What the kernel reports about a server's process.

use super::failure;
use std::fs;
use std::io;

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Resident pages, including those of the program's file.
    pub rss: u64,
    /// Private pages: heap, stacks, changed data.
    pub anonymous: u64,
}

/// CPU time of all threads of a process so far, in ns.
pub fn cpu_ns(pid: u32) -> io::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let on_cpu = text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
        sum += on_cpu.ok_or_else(|| failure("schedstat has an unknown format"))?;
    }
    Ok(sum)
}

/// How often threads of a process went to sleep so far and had to be woken.
pub fn sleeps(pid: u32) -> io::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("status"))?;
        sum += number(&text, "voluntary_ctxt_switches:")?;
    }
    Ok(sum)
}

/// Memory of a process now.
pub fn memory(pid: u32) -> io::Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    Ok(Memory { rss: kilobytes(&text, "Rss:")?, anonymous: kilobytes(&text, "Pss_Anon:")? })
}

/// The peak of a process's resident memory, or the peak since [`reset_peak`].
pub fn peak(pid: u32) -> io::Result<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmHWM:")
}

/// Resets the peak to the current value.
pub fn reset_peak(pid: u32) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

fn kilobytes(text: &str, name: &str) -> io::Result<u64> {
    number(text, name).map(|number| number << 10)
}

/// The number after a name at the beginning of a line.
fn number(text: &str, name: &str) -> io::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number =
        line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse::<u64>().ok());
    number.ok_or_else(|| failure(format!("no {name} in /proc")))
}
