//! Flags that give settings, the same for every command.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Inputs, Override, SettingsError};

#[derive(Args)]
pub(super) struct SettingsArgs {
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
