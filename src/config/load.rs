//! Collects the settings from a TOML file, the environment and the command line, where later sources override earlier
//! ones, or from an INI file of the original and the command line. [`renew`] reads them again for a running server.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::SettingsError;
use super::draft::SettingsDraft;
use super::engine::EngineSetting;
use super::kind_text::Secret;
use super::sources::{Accepts, CHANNELS, CONFIG, FileFormat, INI, PREFIX, read_file};
use super::table::{KEYS, Settings};
use super::warnings::warnings;

/// A value from the command line.
#[derive(Clone, Debug)]
pub struct Override {
    pub key: String,
    pub value: String,
    /// The flag that gave it, for messages.
    pub flag: String,
}

/// All sources of settings. Variables and flags may hold secrets, so they are never printed.
#[derive(Clone, Default)]
pub struct Inputs {
    /// Files named on the command line.
    pub ini: Option<PathBuf>,
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
    pub settings: Settings,
    pub warnings: Vec<String>,
    /// Lines to log at the start at debug level.
    pub notes: Vec<String>,
    /// The source of each setting that was given; a setting that is missing here has its default.
    pub sources: BTreeMap<&'static str, String>,
    pub file: Option<PathBuf>,
    /// Whether the file has nothing but blanks. By this and the next one a reload detects a file that was cut off.
    is_blank: bool,
    ends_with_newline: bool,
    /// The sources, for a reload.
    pub inputs: Inputs,
}

/// Reads the text of a file, and nothing else, into settings. `path` is its name in messages.
pub fn parse(text: &str, format: FileFormat, path: &Path) -> Result<Settings, SettingsError> {
    let mut draft = SettingsDraft::default();
    draft.add_file(format, path, text)?;
    Ok(draft.finish()?.settings)
}

struct SettingsFile {
    format: FileFormat,
    path: PathBuf,
    text: String,
}

impl SettingsFile {
    /// The named file, which must exist, or else the `channelstream.toml` in the working directory, if it exists.
    fn read(
        inputs: &Inputs,
        named: Option<(FileFormat, PathBuf)>,
        accepts: Accepts,
    ) -> Result<Option<Self>, SettingsError> {
        let must_exist = named.is_some();
        let (format, path) = named.unwrap_or_else(|| (FileFormat::Toml, "channelstream.toml".into()));
        match read_file(&inputs.directory, &path, accepts)? {
            None if must_exist => {
                Err(SettingsError::new(format!("{}: cannot be read: it does not exist", path.display())))
            }
            text => Ok(text.map(|text| Self { format, path, text })),
        }
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

fn load_from(inputs: &Inputs, accepts: Accepts) -> Result<Loaded, SettingsError> {
    let file = SettingsFile::read(inputs, inputs.named_file(), accepts)?;
    let mut draft = SettingsDraft::collect(inputs, file.as_ref())?;
    draft.add_overrides(&inputs.overrides);
    let mut draft = draft.finish()?;
    draft.warnings.extend(warnings(&draft.settings));
    if draft.settings.cookie_secret.expose().is_empty() {
        // Several nodes agree on one.
        if draft.settings.engine == EngineSetting::Embedded {
            draft.settings.cookie_secret = Secret::random();
        }
        draft.sources.remove("cookie_secret");
    }
    Ok(draft.loaded(inputs, file))
}

/// Collects the settings for writing a file of them, from a file named on the command line, the environment, a JSON
/// object and the command line. `host` is the address to listen on when no source gives one.
pub fn make(inputs: &Inputs, json: Option<&str>, host: &str) -> Result<Loaded, SettingsError> {
    let is_named = inputs.ini.is_some() || inputs.config.is_some();
    let read = || SettingsFile::read(inputs, inputs.named_file(), Accepts::FilesAndPipes);
    let file = if is_named { read()? } else { None };
    let mut draft = SettingsDraft::collect(inputs, file.as_ref())?;
    if !draft.sources.contains_key("host") {
        draft.settings.host = host.into();
    }
    if let Some(json) = json {
        draft.add_json(json)?;
    }
    draft.add_overrides(&inputs.overrides);
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
                "secrets" => settings.secrets = vec![Secret::random()],
                "admin_secret" => settings.admin_secret = Secret::random(),
                _ => settings.cookie_secret = Secret::random(),
            }
        }
        missing
    }
}

impl SettingsDraft {
    /// The values of the file and the environment.
    fn collect(inputs: &Inputs, file: Option<&SettingsFile>) -> Result<Self, SettingsError> {
        let mut draft = Self::default();
        if let Some(file) = file {
            draft.add_file(file.format, &file.path, &file.text)?;
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

    fn loaded(self, inputs: &Inputs, file: Option<SettingsFile>) -> Loaded {
        let Self { settings, sources, warnings, notes, .. } = self;
        let text = file.as_ref().map(|file| file.text.as_str()).unwrap_or_default();
        let (is_blank, ends_with_newline) = (text.trim().is_empty(), text.ends_with('\n'));
        let file = file.map(|file| file.path);
        Loaded {
            settings,
            warnings,
            notes,
            sources,
            file,
            is_blank,
            ends_with_newline,
            inputs: inputs.clone(),
        }
    }

    fn warn_of_ignored_environment(&mut self, inputs: &Inputs) {
        let ours = inputs.environment.iter().map(|(name, _)| name.as_str());
        let ignored = ours.filter(|name| name.starts_with(PREFIX) && (*name != INI || inputs.ini.is_some()));
        let names = Vec::from_iter(ignored).join(", ");
        if !names.is_empty() {
            let warning =
                format!("{names}: ignored, because with an INI file {PREFIX}* variables do not count");
            self.warnings.push(warning);
        }
    }
}

/// The settings that a running server can replace.
const RENEWABLE: [&str; 10] = [
    "secrets",
    "admin_user",
    "admin_secret",
    "cookie_secret",
    "token_algorithms",
    "token_public_key",
    "token_jwks",
    "token_audience",
    "token_issuer",
    "max_token_bytes",
];

/// The result of reading the settings again.
#[derive(Clone, Debug)]
pub struct RenewedSecrets {
    /// The settings that the server was started with, with the current secrets and the current sources.
    pub loaded: Loaded,
    pub changed: Vec<&'static str>,
    /// Other settings that changed, and that take effect after a restart.
    pub needs_restart: Vec<&'static str>,
}

/// Reads the settings again from the sources of `before`, for a running server: it replaces the secrets and reports the
/// other changes. `host` is where the server listens. A cookie secret that no
/// source ever gave stays the one that was made at the start.
///
/// # Errors
/// As [`load`], and: the file is not a regular one, or was cut off; no source gives a setting that had a
/// source before; a well-known secret replaces another one; or [`Settings::validate`] refuses the secrets for the address
/// where the server listens. Nothing changes then.
pub fn renew(before: &Loaded, host: &str) -> Result<RenewedSecrets, SettingsError> {
    let mut loaded = load_from(&before.inputs, Accepts::Files)?;
    loaded.settings.validate()?;
    refuse_losses(before, &loaded)?;
    if !loaded.sources.contains_key("cookie_secret") {
        loaded.settings.cookie_secret = before.settings.cookie_secret.clone();
    }
    let read = &loaded.settings;
    let (changed, mut needs_restart): (Vec<_>, Vec<_>) = KEYS
        .iter()
        .filter(|key| !key.is_equal(&before.settings, read))
        .map(|key| key.name)
        .partition(|name| RENEWABLE.contains(name));
    if read.channels != before.settings.channels {
        needs_restart.push(CHANNELS);
    }
    let settings = Settings {
        secrets: read.secrets.clone(),
        admin_user: read.admin_user.clone(),
        admin_secret: read.admin_secret.clone(),
        cookie_secret: read.cookie_secret.clone(),
        token_algorithms: read.token_algorithms.clone(),
        token_public_key: read.token_public_key.clone(),
        token_jwks: read.token_jwks.clone(),
        token_audience: read.token_audience.clone(),
        token_issuer: read.token_issuer.clone(),
        max_token_bytes: read.max_token_bytes,
        ..before.settings.clone()
    };
    // The address is the running server's, even if the file names another one now.
    Settings { host: host.into(), ..settings.clone() }.validate()?;
    Ok(RenewedSecrets { loaded: Loaded { settings, ..loaded }, changed, needs_restart })
}

fn refuse_losses(before: &Loaded, now: &Loaded) -> Result<(), SettingsError> {
    if let Some(problem) = lost_file(before, now) {
        return Err(SettingsError::new(problem));
    }
    let lost = RENEWABLE.iter().filter_map(|key| {
        let source = before.sources.get(key).filter(|_| !now.sources.contains_key(key))?;
        Some(format!("{key}: {source} gave a value before, and no source gives one now"))
    });
    let before_known = before.settings.default_secrets();
    let known = now.settings.default_secrets().into_iter();
    let replaced = known.filter(|key| !before_known.contains(key) && now.sources.contains_key(key));
    let weakened = replaced
        .map(|key| format!("{key}: the well-known default is refused as the replacement of your own secret"));
    SettingsError::unless_empty(lost.chain(weakened).collect())
}

/// Why the file as a whole is refused.
fn lost_file(before: &Loaded, now: &Loaded) -> Option<String> {
    let path = before.file.as_ref()?.display();
    let reason = match &now.file {
        None => "the file does not exist any more",
        Some(_) if now.is_blank && !before.is_blank => "the file is empty, and was not before",
        // TOML has quotes around texts, so a text that is cut off is an error by itself.
        Some(_) if now.settings.ini.is_some() && before.ends_with_newline && !now.ends_with_newline => {
            "the file ends in the middle of a line, and did not before"
        }
        Some(_) => return None,
    };
    Some(format!("{path}: {reason}"))
}
