//! Collects the settings from a TOML file, the environment and the command line, where later sources override earlier
//! ones, or from an INI file of the original and the command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::SettingsError;
use super::draft::{SettingsDraft, Unknown};
use super::file::{self, Accepts};
use super::kind::Given;
use super::sources::{CONFIG, INI, PREFIX};
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

/// All sources of settings. Variables and flags may hold secrets, so they are never printed.
#[derive(Clone, Default)]
pub struct Inputs {
    /// INI file named on the command line.
    pub ini: Option<PathBuf>,
    /// TOML file named on the command line.
    pub config: Option<PathBuf>,
    /// Values from the command line; the last value of a key counts.
    pub overrides: Vec<Override>,
    /// Variables of the environment; only `CHANNELSTREAM_*` are read.
    pub environment: Vec<(String, OsString)>,
    /// Directory of `channelstream.toml` and of relative paths.
    pub directory: PathBuf,
}

impl std::fmt::Debug for Inputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inputs").field("ini", &self.ini).field("config", &self.config).finish_non_exhaustive()
    }
}

impl Inputs {
    /// The environment and the working directory of this process.
    pub fn from_process() -> Self {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self { environment: variables.collect(), ..Self::default() }
    }

    /// A path in a variable, unless it is missing or empty.
    fn path_in(&self, variable: &str) -> Option<PathBuf> {
        let (_, value) = self.environment.iter().find(|(name, _)| name == variable)?;
        Some(value).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// The file that the command line names, else the one that the environment names.
    fn named_file(&self) -> Option<(FileFormat, PathBuf)> {
        let files = [
            (FileFormat::Ini, self.ini.clone()),
            (FileFormat::Toml, self.config.clone()),
            (FileFormat::Ini, self.path_in(INI)),
            (FileFormat::Toml, self.path_in(CONFIG)),
        ];
        files.into_iter().find_map(|(format, path)| Some((format, path?)))
    }
}

/// Settings that were read, and the messages about them. Only the settings and the inputs hold secrets.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Lines to log at the start.
    pub warnings: Vec<String>,
    /// Lines to log at the start at debug level.
    pub notes: Vec<String>,
    /// The source of each setting that was given; a setting that is missing here has its default.
    pub sources: BTreeMap<&'static str, String>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// Two properties of its text.
    pub(super) text: TextNotes,
    /// The sources, for a reload.
    pub inputs: Inputs,
}

/// Properties of a text by which a reload detects a file that was cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TextNotes {
    /// It contains nothing but blanks.
    pub is_empty: bool,
    /// Its last line has an end.
    pub ends_its_line: bool,
}

impl TextNotes {
    fn of(text: &str) -> Self {
        Self { is_empty: text.trim().is_empty(), ends_its_line: text.ends_with('\n') }
    }
}

/// The format of a settings file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// TOML, as `channelstream make-config` writes it.
    Toml,
    /// INI, as the original reads it.
    Ini,
}

/// Reads the text of a file, and nothing else, into settings. `path` is its name in messages.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, format: FileFormat, path: &Path) -> Result<Settings, SettingsError> {
    let mut draft = SettingsDraft::default();
    draft.add_file(&SettingsFile { format, path: path.to_owned(), text: text.to_owned() })?;
    Ok(draft.finish()?.settings)
}

/// A settings file that was read.
struct SettingsFile {
    format: FileFormat,
    path: PathBuf,
    text: String,
}

impl SettingsFile {
    /// A file that must exist.
    fn read(
        inputs: &Inputs,
        (format, path): (FileFormat, PathBuf),
        accepts: Accepts,
    ) -> Result<Self, SettingsError> {
        let missing = || SettingsError::new(format!("{}: cannot be read: it does not exist", path.display()));
        let text = file::read(&inputs.directory, &path, accepts)?.ok_or_else(missing)?;
        Ok(Self { format, path, text })
    }

    /// The `channelstream.toml` in the working directory, if it exists.
    fn read_default(inputs: &Inputs, accepts: Accepts) -> Result<Option<Self>, SettingsError> {
        let (format, path) = (FileFormat::Toml, PathBuf::from(TOML_FILE));
        let text = file::read(&inputs.directory, &path, accepts)?;
        Ok(text.map(|text| Self { format, path, text }))
    }
}

/// Collects the settings of a server. Each value is checked; [`Settings::validate`] decides whether a server may start
/// with them.
///
/// # Errors
/// Lists every bad setting with its key, the reason and its source; or names the file that cannot be read.
pub fn load(inputs: &Inputs) -> Result<Loaded, SettingsError> {
    load_from(inputs, Accepts::FilesAndPipes)
}

/// The same, where a file must be of a kind that is accepted.
pub(super) fn load_from(inputs: &Inputs, accepts: Accepts) -> Result<Loaded, SettingsError> {
    let file = match inputs.named_file() {
        Some(named) => Some(SettingsFile::read(inputs, named, accepts)?),
        None => SettingsFile::read_default(inputs, accepts)?,
    };
    let mut draft = SettingsDraft::collect(inputs, file.as_ref())?;
    draft.add_overrides(inputs);
    let mut draft = draft.finish()?;
    draft.warn_of_risks();
    draft.warn_of_contradictions();
    if draft.settings.cookie_secret.expose().is_empty() {
        draft.settings.cookie_secret = random_secret();
        draft.sources.remove("cookie_secret");
    }
    Ok(draft.loaded(inputs, file))
}

/// Collects the settings for writing a file of them, from a file named on the command line, the environment, a JSON
/// object and the command line. `host` is the address to listen on when no source gives one.
///
/// # Errors
/// As [`load`]; also when the text is not a JSON object.
pub fn make(inputs: &Inputs, json: Option<&str>, host: &str) -> Result<Loaded, SettingsError> {
    let named = inputs.named_file().filter(|_| inputs.ini.is_some() || inputs.config.is_some());
    let file = named.map(|named| SettingsFile::read(inputs, named, Accepts::FilesAndPipes)).transpose()?;
    let mut draft = SettingsDraft::collect(inputs, file.as_ref())?;
    if !draft.sources.contains_key("host") {
        draft.settings.host = host.into();
    }
    if let Some(json) = json {
        draft.add_json(json)?;
    }
    draft.add_overrides(inputs);
    Ok(draft.finish()?.loaded(inputs, None))
}

impl Loaded {
    /// Makes random secrets where no source gives one. Returns their keys.
    pub fn make_secrets(&mut self) -> Vec<&'static str> {
        let settings = &mut self.settings;
        let mut missing = vec!["secrets", "admin_secret", "cookie_secret"];
        missing.retain(|key| !self.sources.contains_key(key));
        for key in &missing {
            match *key {
                "secrets" => settings.secrets = vec![random_secret()],
                "admin_secret" => settings.admin_secret = random_secret(),
                _ => settings.cookie_secret = random_secret(),
            }
        }
        missing
    }
}

fn random_secret() -> Secret {
    Secret::new(rand::random::<[u64; 4]>().map(|part| format!("{part:016x}")).concat())
}

impl SettingsDraft {
    /// The values of the file and the environment.
    fn collect(inputs: &Inputs, file: Option<&SettingsFile>) -> Result<Self, SettingsError> {
        let mut draft = Self::default();
        if let Some(file) = file {
            draft.add_file(file)?;
        }
        if draft.settings.ini.is_some() {
            draft.warn_of_ignored_environment(inputs);
            return Ok(draft);
        }
        if inputs.config.is_some() && inputs.path_in(INI).is_some() {
            draft.warnings.push(format!("{INI}: ignored, because the command line names another file"));
        }
        draft.add_environment(&inputs.environment);
        Ok(draft)
    }

    fn add_file(&mut self, SettingsFile { format, path, text }: &SettingsFile) -> Result<(), SettingsError> {
        match format {
            FileFormat::Ini => return self.add_ini(path, text),
            // An empty file is not an error at the start, but probably a mistake.
            FileFormat::Toml if text.trim().is_empty() => {
                self.warnings.push(format!("{}: the file is empty and gives no setting", path.display()));
            }
            FileFormat::Toml => {}
        }
        self.add_toml(path, text)
    }

    fn loaded(self, inputs: &Inputs, file: Option<SettingsFile>) -> Loaded {
        let Self { settings, sources, warnings, notes, .. } = self;
        let text = file.as_ref().map(|file| TextNotes::of(&file.text)).unwrap_or_default();
        let file = file.map(|file| file.path);
        Loaded { settings, warnings, notes, sources, file, text, inputs: inputs.clone() }
    }

    fn add_overrides(&mut self, inputs: &Inputs) {
        self.refuse_two_names(inputs.overrides.iter().map(|given| given.key.as_str()), "the command line");
        for given in &inputs.overrides {
            self.set(&given.key, Given::Text(&given.value), &given.flag, Unknown::Refuse);
        }
        if self.settings.ini.is_some() && inputs.overrides.iter().any(|given| given.key == "demo") {
            self.warnings.push("demo: ignored, there is no demo mode with an INI file".into());
        }
    }

    fn warn_of_ignored_environment(&mut self, inputs: &Inputs) {
        let ours = inputs.environment.iter().map(|(name, _)| name.as_str());
        let ignored = ours.filter(|name| name.starts_with(PREFIX) && (*name != INI || inputs.ini.is_some()));
        let names = Vec::from_iter(ignored).join(", ");
        if !names.is_empty() {
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
                "SECURITY: {keys} still at the well-known default while the server listens on {host}: every client that \
                 reaches this port can do everything. Set your own secrets!"
            ));
        }
        if settings.ini.is_some() && settings.trusted_proxies.is_empty() {
            self.warnings.push(
                "trusted_proxies: empty, so the server uses the headers X-Script-Name, X-Scheme and X-Url-Scheme of every \
                 client, as 0.7.1 does. Name the addresses of your proxies, or 127.0.0.1 if there is none."
                    .into(),
            );
        }
        self.warnings.extend(settings.half_default_warning());
    }
}
