//! The program `channelstream-replay FILE URL`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use channelstream_replay::{Deliberate, Options, Target, play_file};
use clap::Parser;

/// Plays recorded exchanges against a server and prints the differences.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The recordings: one case per line, as JSON.
    file: PathBuf,
    /// Address of the server. Start a new one: recordings begin on a server that knows none of their names.
    url: String,
    /// The secret that signs requests.
    #[arg(long, default_value = "secret")]
    secret: String,
    /// Name of the administrator.
    #[arg(long, default_value = "admin")]
    admin_user: String,
    /// Password of the administrator.
    #[arg(long, default_value = "admin_secret")]
    admin_secret: String,
    /// Play only this case. Repeat the option for several cases.
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// A list of deliberate differences, which the server must then show.
    #[arg(long, value_name = "FILE")]
    differences: Option<PathBuf>,
    /// How many cases run at the same time.
    #[arg(long, default_value_t = 8, value_name = "N")]
    jobs: usize,
}

/// The exit code is 1 if a step differed or could not be played.
fn main() -> ExitCode {
    let args = Arguments::parse();
    let deliberate = match args.differences.as_deref().map(read_differences).transpose() {
        Ok(deliberate) => deliberate.unwrap_or_default(),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let target = Target {
        secret: args.secret,
        admin_user: args.admin_user,
        admin_secret: args.admin_secret,
        ..Target::new(args.url)
    };
    let options = Options { cases: args.cases, jobs: args.jobs, deliberate, ..Options::default() };
    let report = actix_rt::System::new().block_on(play_file(&args.file, &target, &options));
    println!("{report}");
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read_differences(path: &Path) -> Result<Deliberate, String> {
    let describe = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| describe(&error))?;
    Deliberate::read(&text).map_err(|error| describe(&error))
}
