//! Gathers the settings from where they stand: a TOML file, the environment and the command line in that order of
//! growing weight, or an INI file of the original and the command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::SettingsError;
use super::draft::{SettingsDraft, Unknown};
use super::environment::{self, CONFIG, INI, PREFIX};
use super::kind::Given;
use super::source::{self, Accepts};
use super::table::Settings;
use super::values::Secret;

const TOML_FILE: &str = "channelstream.toml";

/// A value from the command line.
#[derive(Clone, Debug)]
pub struct Override {
    /// The setting's key.
    pub key: String,
    /// Its value as text.
    pub value: String,
    /// The flag that gave it, for messages.
    pub flag: String,
}

/// Everything settings may come from. Variables and flags may hold secrets, so they are never printed.
#[derive(Clone, Default)]
pub struct Inputs {
    /// INI file named on the command line.
    pub ini: Option<PathBuf>,
    /// TOML file named on the command line.
    pub config: Option<PathBuf>,
    /// Values from the command line; the last one of a key counts.
    pub overrides: Vec<Override>,
    /// Variables of the environment; others than `CHANNELSTREAM_*` are not looked at.
    pub environment: Vec<(String, OsString)>,
    /// Directory where `channelstream.toml` is looked for and relative paths begin.
    pub directory: PathBuf,
}

impl std::fmt::Debug for Inputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inputs").field("ini", &self.ini).field("config", &self.config).finish_non_exhaustive()
    }
}

impl Inputs {
    /// Takes environment and working directory of this process.
    pub fn from_process() -> Self {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self { environment: variables.collect(), ..Self::default() }
    }
}

/// Settings ready to start with, and what is to be said about them. Only the settings and the inputs hold secrets.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// To be logged at the start, a line each.
    pub warnings: Vec<String>,
    /// To be logged at the start at debug level, a line each.
    pub notes: Vec<String>,
    /// Where each setting that was given came from; what is missing here has its default.
    pub sources: BTreeMap<&'static str, String>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// What was noted of its text.
    pub(super) text: TextNotes,
    /// What they were made from, for reading them again.
    pub inputs: Inputs,
}

/// What a reload compares to notice a file that was cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TextNotes {
    /// It holds nothing but blanks.
    pub is_empty: bool,
    /// Its last line has an end.
    pub ends_its_line: bool,
}

impl TextNotes {
    fn of(text: &str) -> Self {
        Self { is_empty: text.trim().is_empty(), ends_its_line: text.ends_with('\n') }
    }
}

/// How a file of settings is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// TOML, as `channelstream make-config` writes it.
    Toml,
    /// INI, as the original takes it.
    Ini,
}

/// Reads the text of a file, and nothing else, into settings. `path` is its name in messages.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, format: FileFormat, path: &Path) -> Result<Settings, SettingsError> {
    let mut draft = SettingsDraft::default();
    match format {
        FileFormat::Toml => draft.add_toml(path, text)?,
        FileFormat::Ini => draft.add_ini(path, text)?,
    }
    Ok(draft.finish()?.settings)
}

/// A file of settings with its text.
enum File {
    Ini(PathBuf, String),
    Toml(PathBuf, String),
    None,
}

/// Gathers the settings of a server. They are read and each value is checked; whether a server may start with them
/// is told by [`Settings::validate`].
///
/// # Errors
/// Lists every bad setting with its key, the reason and where it came from; or names the file that cannot be read.
pub fn load(inputs: &Inputs) -> Result<Loaded, SettingsError> {
    load_from(inputs, Accepts::FilesAndPipes)
}

/// The same, from sources that are what they should be.
pub(super) fn load_from(inputs: &Inputs, accepts: Accepts) -> Result<Loaded, SettingsError> {
    let file = choose(inputs, accepts)?;
    let mut draft = gather(inputs, &file)?;
    draft.add_overrides(inputs);
    let mut draft = draft.finish()?;
    draft.warn_of_risks();
    draft.warn_of_contradictions();
    if draft.settings.cookie_secret.expose().is_empty() {
        draft.settings.cookie_secret = random_secret();
        draft.sources.remove("cookie_secret");
    }
    let SettingsDraft { settings, sources, warnings, notes, .. } = draft;
    let (file, text) = match file {
        File::Ini(path, text) | File::Toml(path, text) => (Some(path), TextNotes::of(&text)),
        File::None => (None, TextNotes::default()),
    };
    Ok(Loaded { settings, warnings, notes, sources, file, text, inputs: inputs.clone() })
}

/// Gathers the settings for writing a file of them: those of a file named on the command line, the environment,
/// a JSON object and the command line. `host` is the address to listen on when nothing tells one.
///
/// # Errors
/// As [`load`]; also when the text is no JSON object.
pub fn make(inputs: &Inputs, json: Option<&str>, host: &str) -> Result<Loaded, SettingsError> {
    let accepts = Accepts::FilesAndPipes;
    let file = match (&inputs.ini, &inputs.config) {
        (Some(path), _) => File::Ini(path.clone(), read(inputs, path, accepts)?),
        (None, Some(path)) => File::Toml(path.clone(), read(inputs, path, accepts)?),
        (None, None) => File::None,
    };
    let mut draft = gather(inputs, &file)?;
    if !draft.sources.contains_key("host") {
        draft.settings.host = host.into();
    }
    if let Some(json) = json {
        draft.add_json(json)?;
    }
    draft.add_overrides(inputs);
    let SettingsDraft { settings, sources, warnings, notes, .. } = draft.finish()?;
    let text = TextNotes::default();
    Ok(Loaded { settings, warnings, notes, sources, file: None, text, inputs: inputs.clone() })
}

impl Loaded {
    /// Makes the secrets at random that no source gives. Returns their keys.
    pub fn make_secrets(&mut self) -> Vec<&'static str> {
        let settings = &mut self.settings;
        let mut missing = vec!["secrets", "admin_secret", "cookie_secret"];
        missing.retain(|key| !self.sources.contains_key(key));
        if missing.contains(&"secrets") {
            settings.secrets = vec![random_secret()];
        }
        if missing.contains(&"admin_secret") {
            settings.admin_secret = random_secret();
        }
        if missing.contains(&"cookie_secret") {
            settings.cookie_secret = random_secret();
        }
        missing
    }
}

/// The command line names the file before the environment does.
fn choose(inputs: &Inputs, accepts: Accepts) -> Result<File, SettingsError> {
    let variable = |name| environment::value(&inputs.environment, name).map(PathBuf::from);
    let ini = |path: PathBuf| read(inputs, &path, accepts).map(|text| File::Ini(path, text));
    let toml = |path: PathBuf| read(inputs, &path, accepts).map(|text| File::Toml(path, text));
    match (&inputs.ini, &inputs.config, variable(INI), variable(CONFIG)) {
        (Some(path), ..) => ini(path.clone()),
        (None, Some(path), ..) => toml(path.clone()),
        (None, None, Some(path), _) => ini(path),
        (None, None, None, Some(path)) => toml(path),
        (None, None, None, None) => {
            let path = PathBuf::from(TOML_FILE);
            let text = source::read(&inputs.directory, &path, accepts)?;
            Ok(text.map_or(File::None, |text| File::Toml(path, text)))
        }
    }
}

/// File and environment.
fn gather(inputs: &Inputs, file: &File) -> Result<SettingsDraft, SettingsError> {
    let mut draft = SettingsDraft::default();
    match file {
        File::Ini(path, text) => {
            draft.add_ini(path, text)?;
            draft.warn_of_ignored_environment(inputs);
            return Ok(draft);
        }
        File::Toml(path, text) => {
            draft.warn_of_empty_file(path, text);
            draft.add_toml(path, text)?;
        }
        File::None => {}
    }
    if inputs.config.is_some() && environment::value(&inputs.environment, INI).is_some() {
        draft.warnings.push(format!("{INI}: ignored, because the command line names another file"));
    }
    draft.add_environment(&inputs.environment);
    Ok(draft)
}

/// The text of a file that must be there.
fn read(inputs: &Inputs, path: &Path, accepts: Accepts) -> Result<String, SettingsError> {
    let text = source::read(&inputs.directory, path, accepts)?;
    text.ok_or_else(|| SettingsError::new(format!("{}: cannot be read: it is not there", path.display())))
}

fn random_secret() -> Secret {
    Secret::new(rand::random::<[u64; 4]>().map(|part| format!("{part:016x}")).concat())
}

impl SettingsDraft {
    fn add_overrides(&mut self, inputs: &Inputs) {
        self.refuse_both(inputs.overrides.iter().map(|given| given.key.as_str()), "the command line");
        for given in &inputs.overrides {
            self.set(&given.key, Given::Text(&given.value), &given.flag, Unknown::Refuse);
        }
        if self.settings.ini.is_some() && inputs.overrides.iter().any(|given| given.key == "demo") {
            self.warnings.push("demo: ignored, there is no demo mode with an INI file".into());
        }
    }

    fn warn_of_ignored_environment(&mut self, inputs: &Inputs) {
        let mut names = environment::names(&inputs.environment);
        names.retain(|name| *name != INI || inputs.ini.is_some());
        if !names.is_empty() {
            let names = names.join(", ");
            self.warnings
                .push(format!("{names}: ignored, because with an INI file {PREFIX}* variables do not count"));
        }
    }

    fn warn_of_risks(&mut self) {
        let settings = &self.settings;
        if settings.ini.is_some() && settings.exposes_default_secrets() && !settings.allow_default_secrets {
            let keys = settings.default_secrets().join(" and ");
            let host = settings.exposed_host().unwrap_or(&settings.host);
            self.warnings.push(format!(
                "SECURITY: {keys} still at the well-known default while listening on {host}: whoever reaches this \
                 port can do everything. Set your own!"
            ));
        }
        if settings.ini.is_some() && settings.trusted_proxies.is_empty() {
            self.warnings.push(
                "trusted_proxies: empty, so the headers X-Script-Name, X-Scheme and X-Url-Scheme count from every client, \
                 as in 0.7.1. Name the addresses of your proxies, or 127.0.0.1 if there is none."
                    .into(),
            );
        }
        self.warnings.extend(settings.half_default_warning());
    }

    /// An empty file is no error at the start, but seldom what the operator meant.
    fn warn_of_empty_file(&mut self, path: &Path, text: &str) {
        if text.trim().is_empty() {
            self.warnings.push(format!("{}: the file is empty and gives no setting", path.display()));
        }
    }
}
