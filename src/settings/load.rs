//! Gathers the settings from where they stand: a TOML file, the environment and the command line in that order of
//! growing weight, or an INI file of the original and the command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::SettingsError;
use super::draft::{Draft, Unknown};
use super::environment::{self, CONFIG, INI, PREFIX};
use super::kind::Given;
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
    /// Where each setting that was given came from; what is missing here has its default.
    pub sources: BTreeMap<&'static str, String>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// What they were made from, for reading them again.
    pub inputs: Inputs,
}

/// How a file of settings is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// TOML, as `channelstream make-config` writes it.
    Toml,
    /// INI, as the original takes it.
    Ini,
}

/// Reads the text of a file, and nothing else, into settings. `path` is its name in messages.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, format: Format, path: &Path) -> Result<Settings, SettingsError> {
    let mut draft = Draft::default();
    match format {
        Format::Toml => draft.add_toml(path, text)?,
        Format::Ini => draft.add_ini(path, text)?,
    }
    Ok(draft.finish()?.settings)
}

enum File {
    Ini(PathBuf),
    Toml(PathBuf),
    None,
}

/// Gathers the settings of a server. They are read and each value is checked; whether a server may start with them
/// is told by [`Settings::validate`].
///
/// # Errors
/// Lists every bad setting with its key, the reason and where it came from.
pub fn load(inputs: &Inputs) -> Result<Loaded, SettingsError> {
    let file = choose(inputs);
    let mut draft = gather(inputs, &file)?;
    draft.add_overrides(inputs);
    let mut draft = draft.finish()?;
    draft.warn_of_risks();
    if draft.settings.cookie_secret.expose().is_empty() {
        draft.settings.cookie_secret = random_secret();
        draft.sources.remove("cookie_secret");
    }
    let Draft { settings, sources, warnings, .. } = draft;
    let file = match file {
        File::Ini(path) | File::Toml(path) => Some(path),
        File::None => None,
    };
    Ok(Loaded { settings, warnings, sources, file, inputs: inputs.clone() })
}

/// Gathers the settings for writing a file of them: those of a file named on the command line, the environment,
/// a JSON object and the command line. `host` is the address to listen on when nothing tells one.
///
/// # Errors
/// As [`load`]; also when the text is no JSON object.
pub fn make(inputs: &Inputs, json: Option<&str>, host: &str) -> Result<Loaded, SettingsError> {
    let file = match (&inputs.ini, &inputs.config) {
        (Some(path), _) => File::Ini(path.clone()),
        (None, Some(path)) => File::Toml(path.clone()),
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
    let Draft { settings, sources, warnings, .. } = draft.finish()?;
    Ok(Loaded { settings, warnings, sources, file: None, inputs: inputs.clone() })
}

/// The command line names the file before the environment does.
fn choose(inputs: &Inputs) -> File {
    let variable = |name| environment::value(&inputs.environment, name).map(PathBuf::from);
    match (&inputs.ini, &inputs.config, variable(INI), variable(CONFIG)) {
        (Some(path), ..) => File::Ini(path.clone()),
        (None, Some(path), ..) => File::Toml(path.clone()),
        (None, None, Some(path), _) => File::Ini(path),
        (None, None, None, Some(path)) => File::Toml(path),
        _ if inputs.directory.join(TOML_FILE).is_file() => File::Toml(TOML_FILE.into()),
        _ => File::None,
    }
}

/// File and environment.
fn gather(inputs: &Inputs, file: &File) -> Result<Draft, SettingsError> {
    let mut draft = Draft::default();
    match file {
        File::Ini(path) => {
            draft.add_ini(path, &read(inputs, path)?)?;
            draft.warn_of_ignored_environment(inputs);
            return Ok(draft);
        }
        File::Toml(path) => draft.add_toml(path, &read(inputs, path)?)?,
        File::None => {}
    }
    if inputs.config.is_some() && environment::value(&inputs.environment, INI).is_some() {
        draft.warnings.push(format!("{INI}: ignored, because the command line names another file"));
    }
    draft.add_environment(&inputs.environment);
    Ok(draft)
}

fn read(inputs: &Inputs, path: &Path) -> Result<String, SettingsError> {
    std::fs::read_to_string(inputs.directory.join(path))
        .map_err(|error| SettingsError::new(format!("{}: cannot be read: {error}", path.display())))
}

fn random_secret() -> Secret {
    Secret::new(rand::random::<[u64; 4]>().map(|part| format!("{part:016x}")).concat())
}

impl Draft {
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
        let (idle, ping) = (settings.socket_idle_timeout_ms, settings.ping_interval_ms);
        if idle != 0 && ping >= idle {
            self.warnings.push(format!(
                "socket_idle_timeout_ms: {idle} is not longer than ping_interval_ms ({ping}), so quiet clients will be \
                 closed"
            ));
        }
    }
}
