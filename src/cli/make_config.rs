//! `make-config`: writes a settings file.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::new_file;
use super::report::{Failure, Report};
use crate::config::{Inputs, Settings, make, reference_page, to_ini, to_toml};

#[derive(Args)]
pub(super) struct MakeConfigArgs {
    /// Settings as a JSON object; they override the environment
    #[arg(short, long)]
    json: Option<String>,
    /// File to write instead of standard output; its extension selects the format. make-config makes random secrets
    /// where none are given
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long, requires = "output")]
    force: bool,
    /// Format, whatever the file's extension is
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

    /// The address to listen on if no source gives one. An INI file has always meant all interfaces.
    fn host(self) -> String {
        match self {
            Self::Ini => "0.0.0.0".into(),
            Self::Toml | Self::Markdown => Settings::default().host,
        }
    }
}

/// The secrets in a new file that no source gives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MissingSecrets {
    Random,
    /// The original's command writes these.
    WellKnown,
}

impl MakeConfigArgs {
    /// Writes the file, or its text to standard output. `format` is used if neither a flag nor the file's extension names one.
    pub fn run(
        self,
        inputs: &Inputs,
        format: OutputFormat,
        missing: MissingSecrets,
    ) -> Result<Report, Failure> {
        let by_extension = self.output.as_deref().and_then(OutputFormat::of);
        let format = self.format.or(by_extension).unwrap_or(format);
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
