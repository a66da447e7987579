//! Lays what stands in files over a draft: TOML, the original's INI, and JSON from the command line.

use std::path::Path;

use super::SettingsError;
use super::draft::{SettingsDraft, Unknown};
use super::ini::read_section;
use super::kind::{Given, YES};

const INI_SECTION: &str = "channelstream";

impl SettingsDraft {
    pub fn add_toml(&mut self, path: &Path, text: &str) -> Result<(), SettingsError> {
        let origin = path.display().to_string();
        let table: toml::Table = text.parse().map_err(|error| toml_problem(&origin, text, &error))?;
        self.refuse_both(table.keys().map(String::as_str), &origin);
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
        // The original's own default, on which those who name no host rely.
        self.settings.host = "0.0.0.0".into();
        self.sources.insert("host", "the default of INI files".into());
        self.refuse_both(
            section.iter().filter(|(_, text)| !text.is_empty()).map(|(key, _)| key.as_str()),
            &origin,
        );
        for (key, text) in &section {
            match key.as_str() {
                "demo" => self.warn_of_demo(text, &origin),
                _ => self.set(key, Given::Ini(text), &origin, Unknown::Warn),
            }
        }
        Ok(())
    }

    pub fn add_json(&mut self, json: &str) -> Result<(), SettingsError> {
        let origin = "JSON";
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(json).map_err(|error| {
                SettingsError::new(format!("{origin}: not a JSON object: column {}", error.column()))
            })?;
        self.refuse_both(object.keys().map(String::as_str), origin);
        for (key, value) in &object {
            match value {
                serde_json::Value::Null => {}
                serde_json::Value::String(text) => self.set(key, Given::Text(text), origin, Unknown::Warn),
                other => self.set(key, Given::Typed(&typed(other)), origin, Unknown::Warn),
            }
        }
        Ok(())
    }

    fn warn_of_demo(&mut self, text: &str, origin: &str) {
        if YES.contains(&text.to_ascii_lowercase().as_str()) {
            self.warnings
                .push(format!("demo: ignored, an INI file cannot turn demo mode on (from {origin})"));
        }
    }
}

/// The parser's own display would repeat the line, and with it perhaps a secret.
fn toml_problem(origin: &str, text: &str, error: &toml::de::Error) -> SettingsError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    SettingsError::new(format!("{origin}: line {line}: {}", error.message()))
}

/// JSON in the types of TOML. Numbers are read from their text: what TOML cannot hold becomes a text, which no
/// number setting takes.
fn typed(json: &serde_json::Value) -> toml::Value {
    match json {
        serde_json::Value::Null => toml::Value::String(String::new()),
        serde_json::Value::Bool(flag) => (*flag).into(),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => number.to_string().into(),
        },
        serde_json::Value::String(text) => text.as_str().into(),
        serde_json::Value::Array(items) => items.iter().map(typed).collect::<Vec<_>>().into(),
        serde_json::Value::Object(items) => {
            items.iter().map(|(key, value)| (key.clone(), typed(value))).collect::<toml::Table>().into()
        }
    }
}
