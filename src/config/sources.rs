//! The sources of settings, and how each adds its values to a draft: a TOML file, an INI file of the original, JSON, and
//! variables named `CHANNELSTREAM_<KEY>`.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, LazyLock};
use std::thread::Builder;
use std::time::Duration;

use super::SettingsError;
use super::channel_rules::ChannelPatterns;
use super::draft::{SettingsDraft, Unknown};
use super::ini::read_section;
use super::kind::{Given, yes_or_no};
use super::load::Override;

/// Prefix of the server's variables.
pub(super) const PREFIX: &str = "CHANNELSTREAM_";
/// Variable that names the original's INI file.
pub(super) const INI: &str = "CHANNELSTREAM_INI";
/// Variable that names the TOML file.
pub(super) const CONFIG: &str = "CHANNELSTREAM_CONFIG";
/// Key of the rules for channels in a TOML file. The other sources cannot hold them.
pub(super) const CHANNELS: &str = "channels";
/// Largest settings file, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Longest time for reading it: a disk may hang, and a named pipe may have no writer.
const LIMIT: Duration = Duration::from_secs(5);
/// Maximum number of concurrent reads, including those that still wait for their file after the time limit.
const MAX_READS: usize = 16;

/// Each read in flight has a clone: a thread that waits for a disk cannot be ended, so they are counted.
static READS: LazyLock<Arc<()>> = LazyLock::new(Arc::default);

/// The format of a settings file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// TOML, as `channelstream make-config` writes it.
    Toml,
    /// INI, as the original reads it.
    Ini,
}

/// Kinds of files that are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepts {
    /// Also a pipe, which gives its text only once.
    FilesAndPipes,
    /// Only a regular file, which can be read again.
    Files,
}

/// The text of the file with this name in the directory, or none if nothing has this name.
///
/// # Errors
/// Something has this name and cannot be read within 5 s as UTF-8 text of at most 1 MiB. The message names the file.
pub(super) fn read_file(
    directory: &Path,
    name: &Path,
    accepts: Accepts,
) -> Result<Option<String>, SettingsError> {
    let path = directory.join(name);
    within_limit(&READS, move || read_path(&path, accepts))
        .map_err(|reason| SettingsError::new(format!("{}: cannot be read: {reason}", name.display())))
}

/// Reads on a separate thread that is not joined: neither a reload nor the end of the process waits for it.
fn within_limit<T: Send + 'static>(
    reads: &Arc<()>,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let permit = Arc::clone(reads);
    let earlier = Arc::strong_count(reads) - 2;
    if earlier >= MAX_READS {
        return Err(format!("{earlier} earlier reads still wait for their file"));
    }
    let (sender, result) = sync_channel(1);
    let run = move || {
        let answer = work();
        drop(permit);
        let _ = sender.send(answer);
    };
    Builder::new().name("cs-settings".into()).spawn(run).map_err(|error| error.to_string())?;
    result.recv_timeout(LIMIT).unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs())))
}

fn read_path(path: &Path, accepts: Accepts) -> Result<Option<String>, String> {
    // The link itself: a link that leads nowhere does not count as a missing file.
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
        Ok(_) => {}
    }
    let text = |error: std::io::Error| error.to_string();
    refuse_kind(&path.metadata().map_err(text)?, accepts)?;
    let file = File::open(path).map_err(text)?;
    // Another file may have replaced it meanwhile.
    refuse_kind(&file.metadata().map_err(text)?, accepts)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(text)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("it is larger than {} MiB", MAX_BYTES >> 20));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| "it is not UTF-8 text".into())
}

fn refuse_kind(metadata: &Metadata, accepts: Accepts) -> Result<(), String> {
    match accepts {
        _ if metadata.is_dir() => Err("it is a directory".into()),
        Accepts::Files if !metadata.is_file() => {
            Err("it is not a regular file, which could be read again".into())
        }
        _ => Ok(()),
    }
}

impl SettingsDraft {
    /// Adds the text of a file. `path` is its name in messages.
    pub fn add_file(&mut self, format: FileFormat, path: &Path, text: &str) -> Result<(), SettingsError> {
        let origin = path.display().to_string();
        if format == FileFormat::Ini {
            self.settings.ini = Some(path.to_owned());
            return self.add_ini(&origin, text);
        }
        // An empty file is not an error at the start, but probably a mistake.
        if text.trim().is_empty() {
            self.warnings.push(format!("{origin}: the file is empty and gives no setting"));
        }
        let mut table: toml::Table = text.parse().map_err(|error| toml_problem(&origin, text, &error))?;
        if table.remove(CHANNELS).is_some() {
            match ChannelPatterns::parse(text) {
                Ok(patterns) => self.settings.channels = patterns,
                Err(error) => self.problems.extend(toml_problem(&origin, text, &error).problems),
            }
        }
        let values = table.iter().map(|(key, value)| (key.as_str(), Given::Typed(value), origin.as_str()));
        self.add(&origin, Unknown::Refuse, &Vec::from_iter(values));
        Ok(())
    }

    fn add_ini(&mut self, origin: &str, text: &str) -> Result<(), SettingsError> {
        let section = read_section(text, "channelstream")
            .map_err(|reason| SettingsError::new(format!("{origin}: {reason}")))?;
        // The original's default. Files without a host rely on it.
        self.settings.host = "0.0.0.0".into();
        self.sources.insert("host", "the default of INI files".into());
        if section.get("demo").is_some_and(|text| yes_or_no(text) == Some(true)) {
            let warning = format!("demo: ignored, an INI file cannot turn demo mode on (from {origin})");
            self.warnings.push(warning);
        }
        let values = section.iter().filter(|(key, _)| *key != "demo");
        let values = values.map(|(key, text)| (key.as_str(), Given::Ini(text), origin));
        self.add(origin, Unknown::Warn, &Vec::from_iter(values));
        Ok(())
    }

    pub fn add_json(&mut self, json: &str) -> Result<(), SettingsError> {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(json).map_err(|error| {
                SettingsError::new(format!("JSON: not a JSON object: column {}", error.column()))
            })?;
        let given = object.iter().filter(|(_, value)| !value.is_null());
        let typed = Vec::from_iter(given.map(|(key, value)| (key, value.as_str(), typed(value))));
        let values = typed
            .iter()
            .map(|(key, text, value)| (key.as_str(), text.map_or(Given::Typed(value), Given::Text), "JSON"));
        self.add("JSON", Unknown::Warn, &Vec::from_iter(values));
        Ok(())
    }

    pub fn add_overrides(&mut self, overrides: &[Override]) {
        let values = overrides.iter();
        let values =
            values.map(|Override { key, value, flag }| (key.as_str(), Given::Text(value), flag.as_str()));
        self.add("the command line", Unknown::Refuse, &Vec::from_iter(values));
        if self.settings.ini.is_some() && overrides.iter().any(|given| given.key == "demo") {
            self.warnings.push("demo: ignored, there is no demo mode with an INI file".into());
        }
    }

    pub fn add_environment(&mut self, environment: &[(String, OsString)]) {
        let ours =
            environment.iter().filter(|(name, _)| name.starts_with(PREFIX) && name != INI && name != CONFIG);
        let (links, ours): (Vec<_>, Vec<_>) = ours.partition(|(name, value)| is_service_link(name, value));
        if !links.is_empty() {
            let names = Vec::from_iter(links.iter().map(|(name, _)| name.as_str())).join(", ");
            self.warnings.push(format!(
                "{names}: ignored, Kubernetes sets these for a service named channelstream, they are no settings"
            ));
        }
        let mut texts = Vec::new();
        for (name, value) in ours {
            let key = name[PREFIX.len()..].to_ascii_lowercase();
            match value.to_str() {
                Some(text) => texts.push((key, text, name)),
                None => self.problems.push(format!("{key}: it is not UTF-8 (from {name})")),
            }
        }
        let values = texts.iter().map(|(key, text, name)| (key.as_str(), Given::Text(text), name.as_str()));
        self.add("the environment", Unknown::Warn, &Vec::from_iter(values));
    }
}

/// The parser's own message would repeat the line, which may contain a secret.
fn toml_problem(origin: &str, text: &str, error: &toml::de::Error) -> SettingsError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    SettingsError::new(format!("{origin}: line {line}: {}", error.message()))
}

/// JSON in the types of TOML. A number that TOML cannot hold becomes a text, which no number setting accepts.
fn typed(json: &serde_json::Value) -> toml::Value {
    match json {
        serde_json::Value::Null => toml::Value::String(String::new()),
        serde_json::Value::Bool(flag) => (*flag).into(),
        serde_json::Value::Number(number) => {
            number.as_i64().map_or_else(|| number.to_string().into(), toml::Value::from)
        }
        serde_json::Value::String(text) => text.as_str().into(),
        serde_json::Value::Array(items) => items.iter().map(typed).collect::<Vec<_>>().into(),
        serde_json::Value::Object(items) => {
            items.iter().map(|(key, value)| (key.clone(), typed(value))).collect::<toml::Table>().into()
        }
    }
}

/// Kubernetes and Docker links describe a service named `channelstream` in variables with the same prefix.
fn is_service_link(name: &str, value: &OsString) -> bool {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    let is_numbered =
        name.strip_prefix("PORT_").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let is_url = name == "PORT" && value.to_str().is_some_and(|text| text.contains("://"));
    let is_service = ["SERVICE_HOST", "SERVICE_PORT"].contains(&name) || name.starts_with("SERVICE_PORT_");
    is_numbered || is_url || is_service
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds variables, given as `NAME=value` without the prefix and with blanks in between.
    fn draft(variables: &str) -> SettingsDraft {
        let mut draft = SettingsDraft::default();
        let pairs = variables.split_whitespace().filter_map(|variable| variable.split_once('='));
        let owned = pairs.map(|(name, value)| (format!("{PREFIX}{name}"), value.into()));
        draft.add_environment(&Vec::from_iter(owned.chain([("OTHER".into(), "x".into())])));
        draft
    }

    #[test]
    fn every_name_of_the_original_is_accepted() {
        let draft = draft(
            "DEBUG=yes LOG_LEVEL=WARNING PORT=8001 HOST=::1 SECRET=s ADMIN_USER=u ADMIN_SECRET=a COOKIE_SECRET=c \
             ALLOW_POSTING_FROM=0.0.0.0 ALLOW_CORS=example.org VALIDATE_REQUESTS=0 ENFORCE_HTTPS=1 HTTP_SCHEME=https \
             SIGNATURE_CHECKER=channelstream.utils.DefaultSigner DEMO=off",
        );
        assert_eq!((draft.warnings, draft.problems), (Vec::new(), Vec::new()));
        assert_eq!(draft.sources.len(), 14);
        assert_eq!(draft.sources["secrets"], "CHANNELSTREAM_SECRET");
        assert!(draft.settings.debug && !draft.settings.check_signature_age);
    }

    #[test]
    fn variables_of_kubernetes_are_ignored() {
        let draft = draft(
            "SERVICE_HOST=10.0.0.1 SERVICE_PORT=8000 SERVICE_PORT_HTTP=8000 PORT=tcp://10.0.0.1:8000 \
             PORT_8000_TCP=tcp://10.0.0.1:8000 PORT_8000_TCP_ADDR=10.0.0.1",
        );
        assert_eq!(draft.problems, Vec::<String>::new());
        assert!(draft.settings.port == 8000 && draft.sources.is_empty());
        let [warning] = draft.warnings.as_slice() else { panic!("{:?}", draft.warnings) };
        assert!(warning.starts_with("CHANNELSTREAM_SERVICE_HOST, ") && warning.contains("Kubernetes"));
    }

    #[test]
    fn bad_values_are_problems_and_unknown_names_are_warnings() {
        let draft = draft("PORT=tcp PROT=1");
        assert_eq!(draft.problems, ["port: \"tcp\" is not a port (0-65535) (from CHANNELSTREAM_PORT)"]);
        let warning = "prot: unknown setting, ignored, did you mean port? (from CHANNELSTREAM_PROT)";
        assert_eq!(draft.warnings, [warning]);
    }

    #[test]
    fn the_number_of_reads_that_hang_is_limited() {
        let reads = Arc::default();
        let hanging = [(); MAX_READS].map(|()| Arc::clone(&reads));
        assert_eq!(
            within_limit(&reads, || Ok("text")),
            Err("16 earlier reads still wait for their file".into())
        );
        drop(hanging);
        assert_eq!(within_limit(&reads, || Ok("text")), Ok("text"));
    }
}
