//! `make-config` writes a settings file, `check-config` prints the settings in use, their sources and their problems.

use std::fs::{File, OpenOptions, canonicalize, remove_file, rename};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::engine_check::add_engine;
use super::report::{Failure, Report};
use crate::auth::tokens::TokenVerifier;
use crate::config::{
    Inputs, Loaded, Settings, SettingsError, load, make, reference_page, shown, to_ini, to_toml,
};

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
            Some(path) => write_file(&path, &text, self.force).map_err(Failure::Other)?,
        }
        Ok(report)
    }
}

/// Read and written by its owner only.
const MODE: u32 = 0o600;

/// Writes a temporary file next to the path and renames it. The file may contain secrets: it appears complete, and only its
/// owner can read it. With `replace` an existing file, or the target of a link, is replaced; otherwise none is overwritten.
///
/// # Errors
/// The path exists, and is not a file that may be replaced; or the file cannot be written. Nothing changes then.
fn write_file(path: &Path, text: &str, replace: bool) -> Result<(), String> {
    let written = match replace && path.symlink_metadata().is_ok() {
        true => replace_file(path, text),
        false => write_new(path, text),
    };
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            format!("{}: it exists already and is not overwritten; --force replaces a file", path.display())
        }
        _ => format!("{}: cannot be written: {error}", path.display()),
    })
}

/// Creates the name first, so that only one of two writers succeeds, and no reader sees half a file.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    create(path)?;
    write_and_rename(path, text).inspect_err(|_| drop(remove_file(path)))
}

fn replace_file(path: &Path, text: &str) -> io::Result<()> {
    let target = canonicalize(path)?;
    if !target.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    write_and_rename(&target, text)
}

fn write_and_rename(path: &Path, text: &str) -> io::Result<()> {
    let beside = beside(path)?;
    let mut file = create(&beside)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| rename(&beside, path)).inspect_err(|_| drop(remove_file(&beside)))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)
}

/// An unused name in the same directory.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{:016x}", rand::random::<u64>()));
    Ok(path.with_file_name(beside))
}

/// Prints the settings, or the rules that apply to a channel.
pub(super) fn check_config(inputs: &Inputs, channel: Option<&str>) -> Result<Report, SettingsError> {
    let loaded = load(inputs)?;
    let out = match channel {
        Some(name) => rules_of(&loaded.settings, name),
        None => described(&loaded),
    };
    let report = Report { out, ..Report::default() };
    // Warnings name a setting by its current name. The notes show which name the operator gave.
    let notes = if loaded.warnings.is_empty() { &[][..] } else { &loaded.notes };
    let report = report.with_notes(notes).with_warnings(&loaded.warnings);
    // The key files are read as at a start: what they lack would prevent one.
    Ok(match loaded.settings.validate().and_then(|()| TokenVerifier::load(&loaded.settings)) {
        Ok((_, ignored_keys)) => {
            let report = report.with_warnings(&ignored_keys);
            if channel.is_none() { add_engine(report, &loaded.settings) } else { report }
        }
        Err(error) => report.with_errors(&error),
    })
}

fn rules_of(settings: &Settings, channel: &str) -> String {
    let rules = settings.channels.rules(channel).resolved(settings.channel_frames);
    let note = if rules.pattern.is_empty() { "; no pattern matches it" } else { "" };
    format!("# channel: {channel}{note}\n{}", rules.to_toml())
}

fn described(loaded: &Loaded) -> String {
    let file = loaded.file.as_ref().map_or("none".into(), |path| path.display().to_string());
    let demo = if loaded.settings.demo_enabled() { "on" } else { "off" };
    let lines = shown(&loaded.settings).into_iter().map(|line| {
        let source = match (line.is_default, loaded.sources.get(line.key)) {
            // The value is masked and does not show it.
            (true, _) if line.is_secret => "  # the well-known default".into(),
            (true, _) => String::new(),
            (false, Some(source)) => format!("  # from {source}"),
            (false, None) if line.is_secret => "  # made at random".into(),
            (false, None) => "  # the default with engine = \"redis\"".into(),
        };
        format!("{} = {}{source}\n", line.key, line.value)
    });
    let known = loaded.settings.well_known_note().map(|note| format!("# {note}\n")).unwrap_or_default();
    let channels = loaded.settings.channels.to_toml();
    format!("# file: {file}\n{}{known}# demo mode: {demo}\n{channels}", lines.collect::<String>())
}
