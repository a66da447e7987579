//! A description of the machine and of the commit.

use std::fs;
use std::process::Command;

/// Cores, processor, kernel, load, the limit of open files, and the commit.
pub fn describe(open_files: u64) -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{cores} cores, {}, Linux {}, load {}, at most {open_files} open files, commit {}",
        processor(),
        kernel.trim(),
        load.split(' ').next().unwrap_or_default(),
        commit()
    )
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name"));
    model.map_or("unknown processor", |model| model.trim_start_matches(['\t', ' ', ':'])).to_owned()
}

/// The commit of the working tree, with a mark for later changes.
fn commit() -> String {
    let mut git = Command::new("git");
    git.args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"]);
    let answer = git.output().ok().filter(|output| output.status.success());
    let text = answer.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
