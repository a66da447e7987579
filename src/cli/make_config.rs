//! `make-config`: writes a settings file.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::new_file;
use super::report::{Failure, Report};
use crate::config::{Inputs, Settings, make, reference_page, to_ini, to_toml};

#[derive(Args)]
pub(super) struct MakeConfigArgs {
    /// Settings as a JSON object; they go before the environment
    #[arg(short, long)]
    json: Option<String>,
    /// File to write instead of standard output; its ending gives the format. make-config makes secrets at random that
    /// are not given
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long, requires = "output")]
    force: bool,
    /// Format, whatever the file's ending
    #[arg(long)]
    format: Option<OutputFormat>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// A channelstream.toml
    Toml,
    /// An INI file, which the original reads too
    Ini,
    /// The reference page of all settings
    Markdown,
}

impl OutputFormat {
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

/// What a new file holds for secrets that no source gives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MissingSecrets {
    /// Random ones.
    Random,
    /// The well-known ones, as the original's command writes them.
    WellKnown,
}

impl MakeConfigArgs {
    /// Writes the file, or its text to standard output; `format` is used when nothing else names one.
    pub fn run(
        self,
        inputs: &Inputs,
        format: OutputFormat,
        missing: MissingSecrets,
    ) -> Result<Report, Failure> {
        let by_ending = self.output.as_deref().and_then(OutputFormat::of);
        let format = self.format.or(by_ending).unwrap_or(format);
        let mut made = make(inputs, self.json.as_deref(), &format.host())?;
        let mut report = Report::default().with_warnings(&made.warnings);
        let random = missing == MissingSecrets::Random && format != OutputFormat::Markdown;
        if random && self.output.is_some() {
            let random = made.make_secrets();
            if !random.is_empty() {
                report.notes.push(format!("made at random: {}", random.join(", ")));
            }
        }
        let text = match format {
            OutputFormat::Toml => to_toml(&made.settings),
            OutputFormat::Ini => to_ini(&made.settings)?,
            OutputFormat::Markdown => reference_page(),
        };
        match self.output {
            None => report.out = text,
            Some(path) => new_file::write(&path, &text, self.force).map_err(Failure::Other)?,
        }
        Ok(report)
    }
}
