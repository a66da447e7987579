//! What the kernel knows about a server's process.

use super::failure;
use std::fs;
use std::io;

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Pages in memory, those of the program's file included.
    pub rss: u64,
    /// Pages of its own: heap, stacks, changed data.
    pub anonymous: u64,
}

/// CPU time of all threads of a process so far, in ns.
pub fn cpu_ns(pid: u32) -> io::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let on_cpu = text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
        sum += on_cpu.ok_or_else(|| failure("schedstat is not understood"))?;
    }
    Ok(sum)
}

/// How often threads of a process went to sleep so far, and so had to be woken.
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

/// The most memory (resident) a process ever had, or since [`forget_peak`].
pub fn peak(pid: u32) -> io::Result<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmHWM:")
}

/// Lets the peak begin anew.
pub fn forget_peak(pid: u32) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

fn kilobytes(text: &str, name: &str) -> io::Result<u64> {
    number(text, name).map(|number| number << 10)
}

/// The number behind a name at the beginning of a line.
fn number(text: &str, name: &str) -> io::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number =
        line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse::<u64>().ok());
    number.ok_or_else(|| failure(format!("no {name} in /proc")))
}
