//! The original's second command, kept for its `make_config`.

use std::process::ExitCode;

fn main() -> ExitCode {
    channelstream::cli::utils_main()
}
