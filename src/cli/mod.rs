//! The command line: flags become settings, and each command returns a report.

pub(crate) mod logging;
mod report;
mod config_commands;
mod engine_check;
mod engine_server;
mod sign;
mod tokens;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::auth::guard::now_unix;
use crate::config::{Inputs, Loaded, Override, SettingsError, load};
use crate::server::signals;
use crate::telemetry::log_queue::LOG_QUEUE;
use config_commands::{MakeConfigArgs, MissingSecrets, OutputFormat, check_config};
use report::{Failure, Report};

const EXIT_CODES: &str = "Exit codes: 0 success; 78 the settings are wrong or cannot be read, so another try will fail too \
                          (systemd: RestartPreventExitStatus=78); 2 wrong usage of the command line; 1 any other failure.";

/// Realtime push server: a signed REST API in front, websocket and long-poll clients behind.
#[derive(Parser)]
#[command(name = "channelstream", version, disable_version_flag = true, after_help = EXIT_CODES)]
struct Cli {
    /// Print the version
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server; the default
    Run,
    /// Write a settings file from the environment, a JSON object and the flags given
    MakeConfig(MakeConfigArgs),
    /// Print the settings in use, their sources and their problems
    CheckConfig {
        /// Print the rules that apply to this channel instead
        #[arg(long, value_name = "NAME")]
        channel: Option<String>,
    },
    /// Sign a request, or make a connection token; the last line of the output is the header or the token
    Sign(sign::SignArgs),
    /// Check whether a signature or a connection token is accepted, and report why not
    Verify(verify::VerifyArgs),
}

/// The original's second command, kept for its `make_config`
#[derive(Parser)]
#[command(name = "channelstream_utils", version)]
struct Utils {
    /// The operation
    #[arg(value_parser = ["make_config"])]
    operation: String,
    #[command(flatten)]
    make_config: MakeConfigArgs,
}

/// The `channelstream` command; `run` starts the server.
pub fn main(run: fn(Loaded) -> ExitCode) -> ExitCode {
    signals::block_file_size();
    let cli = Cli::parse();
    if matches!(cli.command, None | Some(Command::Run)) {
        signals::block_handled();
        // From here on nothing waits for the reader of standard error.
        if let Err(error) = logging::start_writing() {
            return Report::failure(&Failure::Other(error.to_string())).print();
        }
    }
    let inputs = match cli.settings.inputs() {
        Ok(inputs) => inputs,
        Err(error) => return Report::failure(&error.into()).print(),
    };
    let report = match cli.command.unwrap_or(Command::Run) {
        Command::Run => match load(&inputs).and_then(startable) {
            Ok(loaded) => return start(loaded, run),
            Err(error) => Err(Failure::from(error)),
        },
        Command::MakeConfig(args) => args.run(&inputs, OutputFormat::Toml, MissingSecrets::Random),
        Command::CheckConfig { channel } => check_config(&inputs, channel.as_deref()).map_err(Failure::from),
        Command::Sign(args) => args.run(&inputs, now_unix()),
        Command::Verify(args) => args.run(&inputs, now_unix()),
    };
    report.unwrap_or_else(|error| Report::failure(&error)).print()
}

/// The `channelstream_utils` command.
pub fn utils_main() -> ExitCode {
    signals::block_file_size();
    let utils = Utils::parse();
    let inputs = crate::config::Inputs::from_process();
    let report = utils.make_config.run(&inputs, OutputFormat::Ini, MissingSecrets::WellKnown);
    report.unwrap_or_else(|error| Report::failure(&error)).print()
}

fn startable(loaded: Loaded) -> Result<Loaded, SettingsError> {
    loaded.settings.validate().map(|()| loaded)
}

fn start(loaded: Loaded, run: fn(Loaded) -> ExitCode) -> ExitCode {
    logging::start(&loaded.settings);
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    for note in &loaded.notes {
        log::debug!("{note}");
    }
    let code = run(loaded);
    LOG_QUEUE.drain();
    code
}

/// The secret to sign or verify with instead of those in the settings.
#[derive(Args)]
struct SecretArgs {
    /// Use this secret instead of those in the settings
    #[arg(long)]
    secret: Option<String>,
}

#[derive(Args)]
struct SettingsArgs {
    /// INI file of channelstream 0.7.1; CHANNELSTREAM_* variables are then ignored
    #[arg(short, long, value_name = "FILE", global = true)]
    ini: Option<PathBuf>,
    /// TOML file with settings
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, global = true)]
    host: Option<String>,
    /// TCP port to listen on
    #[arg(long, global = true, allow_hyphen_values = true)]
    port: Option<String>,
    /// Worker threads; 0 means one per core
    #[arg(long, global = true)]
    workers: Option<String>,
    /// error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", global = true)]
    log_level: Option<String>,
    /// Demo mode: on, off or auto
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true, default_missing_value = "on", global = true)]
    demo: Option<String>,
    /// Any setting; may be given several times
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    set: Vec<String>,
}

impl SettingsArgs {
    /// The flags, the environment and the working directory.
    pub fn inputs(self) -> Result<Inputs, SettingsError> {
        if self.ini.is_some() && self.config.is_some() {
            return Err(problem("--ini and --config exclude each other"));
        }
        let mut overrides = self.set.iter().map(|text| pair(text)).collect::<Result<Vec<_>, _>>()?;
        let flags = [
            ("host", "--host", self.host),
            ("port", "--port", self.port),
            ("workers", "--workers", self.workers),
            ("log_level", "--log-level", self.log_level),
            ("demo", "--demo", self.demo),
        ];
        let given = flags.into_iter().filter_map(|(key, flag, value)| {
            Some(Override { key: key.into(), value: value?, flag: flag.into() })
        });
        overrides.extend(given);
        Ok(Inputs { ini: self.ini, config: self.config, overrides, ..Inputs::from_process() })
    }
}

fn pair(text: &str) -> Result<Override, SettingsError> {
    // The text itself may be a secret, so it is not repeated.
    let (key, value) = text.split_once('=').ok_or_else(|| problem("--set expects KEY=VALUE"))?;
    Ok(Override { key: key.trim().into(), value: value.into(), flag: format!("--set {}", key.trim()) })
}

fn problem(text: &str) -> SettingsError {
    SettingsError { problems: vec![text.into()] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
        Utils::command().debug_assert();
    }
}
