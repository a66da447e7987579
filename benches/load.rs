//! The load generator against the release binary; see docs/reports/benchmarks.md. Its code is in tools/load. It is
//! started from here because Cargo builds the server before a benchmark of the server's package, and passes the
//! binary's path.

use std::process::ExitCode;

fn main() -> ExitCode {
    channelstream_load::main(env!("CARGO_BIN_EXE_channelstream"))
}
