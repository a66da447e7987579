//! The `channelstream` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    channelstream::cli::main(channelstream::app::run)
}
