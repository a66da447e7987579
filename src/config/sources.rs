//! Adds the values of each source to a draft: TOML, the original's INI, JSON, and variables named `CHANNELSTREAM_<KEY>`.

use std::ffi::OsString;
use std::path::Path;

use super::SettingsError;
use super::draft::{SettingsDraft, Unknown};
use super::ini::read_section;
use super::kind::{Given, YES};

/// Prefix of the server's variables.
pub(super) const PREFIX: &str = "CHANNELSTREAM_";
/// Variable that names the original's INI file.
pub(super) const INI: &str = "CHANNELSTREAM_INI";
/// Variable that names the TOML file.
pub(super) const CONFIG: &str = "CHANNELSTREAM_CONFIG";
const INI_SECTION: &str = "channelstream";

impl SettingsDraft {
    pub fn add_toml(&mut self, path: &Path, text: &str) -> Result<(), SettingsError> {
        let origin = path.display().to_string();
        let table: toml::Table = text.parse().map_err(|error| toml_problem(&origin, text, &error))?;
        self.refuse_two_names(table.keys().map(String::as_str), &origin);
        for (key, value) in &table {
            self.set(key, Given::Typed(value), &origin, Unknown::Refuse);
        }
        Ok(())
    }

    pub fn add_ini(&mut self, path: &Path, text: &str) -> Result<(), SettingsError> {
        let origin = path.display().to_string();
        let section = read_section(text, INI_SECTION)
            .map_err(|reason| SettingsError::new(format!("{origin}: {reason}")))?;
        self.settings.ini = Some(path.to_owned());
        // The original's default. Files without a host rely on it.
        self.settings.host = "0.0.0.0".into();
        self.sources.insert("host", "the default of INI files".into());
        let given = section.iter().filter(|(_, text)| !text.is_empty());
        self.refuse_two_names(given.map(|(key, _)| key.as_str()), &origin);
        for (key, text) in &section {
            match key.as_str() {
                "demo" => self.warn_of_demo(text, &origin),
                _ => self.set(key, Given::Ini(text), &origin, Unknown::Warn),
            }
        }
        Ok(())
    }

    fn warn_of_demo(&mut self, text: &str, origin: &str) {
        if YES.contains(&text.to_ascii_lowercase().as_str()) {
            let warning = format!("demo: ignored, an INI file cannot turn demo mode on (from {origin})");
            self.warnings.push(warning);
        }
    }

    pub fn add_json(&mut self, json: &str) -> Result<(), SettingsError> {
        let origin = "JSON";
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(json).map_err(|error| {
                SettingsError::new(format!("{origin}: not a JSON object: column {}", error.column()))
            })?;
        self.refuse_two_names(object.keys().map(String::as_str), origin);
        for (key, value) in &object {
            match value {
                serde_json::Value::Null => {}
                serde_json::Value::String(text) => self.set(key, Given::Text(text), origin, Unknown::Warn),
                other => self.set(key, Given::Typed(&typed(other)), origin, Unknown::Warn),
            }
        }
        Ok(())
    }

    pub fn add_environment(&mut self, environment: &[(String, OsString)]) {
        let ours =
            environment.iter().filter(|(name, _)| name.starts_with(PREFIX) && name != INI && name != CONFIG);
        let (links, ours): (Vec<_>, Vec<_>) = ours.partition(|(name, value)| is_service_link(name, value));
        if !links.is_empty() {
            let names = links.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
            self.warnings.push(format!(
                "{names}: ignored, Kubernetes sets these for a service named channelstream, they are no settings"
            ));
        }
        let keys = Vec::from_iter(ours.iter().map(|(name, _)| key_of(name)));
        self.refuse_two_names(keys.iter().map(String::as_str), "the environment");
        for ((name, value), key) in ours.into_iter().zip(&keys) {
            match value.to_str() {
                Some(text) => self.set(key, Given::Text(text), name, Unknown::Warn),
                None => self.problems.push(format!("{key}: it is not UTF-8 (from {name})")),
            }
        }
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

fn key_of(name: &str) -> String {
    name.strip_prefix(PREFIX).unwrap_or(name).to_ascii_lowercase()
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
}
