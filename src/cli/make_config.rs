//! `make-config`: writes a settings file.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::report::Report;
use crate::settings::{Inputs, Settings, SettingsError, make, reference_page, to_ini, to_toml};

#[derive(Args)]
pub(super) struct MakeConfigArgs {
    /// Settings as a JSON object; they go before the environment
    #[arg(short, long)]
    json: Option<String>,
    /// File to write instead of standard output; its ending tells the format
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Format, whatever the file's ending
    #[arg(long)]
    format: Option<Format>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Format {
    /// A channelstream.toml
    Toml,
    /// An INI file, which the original reads too
    Ini,
    /// The reference page of all settings
    Markdown,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "toml" => Some(Self::Toml),
            "ini" | "cfg" | "conf" => Some(Self::Ini),
            "md" => Some(Self::Markdown),
            _ => None,
        }
    }

    /// Where a server listens that was not told: an INI file has always meant all interfaces.
    fn host(self) -> String {
        match self {
            Self::Ini => "0.0.0.0".into(),
            Self::Toml | Self::Markdown => Settings::default().host,
        }
    }
}

impl MakeConfigArgs {
    /// Writes the file, or its text to standard output; `format` is used when nothing else tells one.
    pub fn run(self, inputs: &Inputs, format: Format) -> Result<Report, SettingsError> {
        let by_ending = self.output.as_deref().and_then(Format::of);
        let format = self.format.or(by_ending).unwrap_or(format);
        let made = make(inputs, self.json.as_deref(), &format.host())?;
        let text = match format {
            Format::Toml => to_toml(&made.settings),
            Format::Ini => to_ini(&made.settings)?,
            Format::Markdown => reference_page(),
        };
        let report = Report::default().with_warnings(&made.warnings);
        match self.output {
            None => Ok(Report { out: text, ..report }),
            Some(path) => write(&path, &text).map(|()| report),
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), SettingsError> {
    std::fs::write(path, text).map_err(|error| SettingsError {
        problems: vec![format!("{}: cannot be written: {error}", path.display())],
    })
}
