//! The `channelstream` command.

use std::process::ExitCode;

/// What is left of a crowd that has gone goes back to the system; see `docs/reports/benchmarks.md`.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    channelstream::cli::main(channelstream::server::run)
}
