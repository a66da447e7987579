//! The `channelstream` command.

use std::process::ExitCode;

/// jemalloc returns memory to the system after many clients have disconnected; see `docs/reports/benchmarks.md`.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    channelstream::cli::main(channelstream::server::run)
}
