//! Settings from variables named `CHANNELSTREAM_<KEY>`.

use std::ffi::OsString;

use super::draft::{SettingsDraft, Unknown};
use super::kind::Given;

/// What the names of our variables begin with.
pub(super) const PREFIX: &str = "CHANNELSTREAM_";
/// Names the original's INI file.
pub(super) const INI: &str = "CHANNELSTREAM_INI";
/// Names the TOML file.
pub(super) const CONFIG: &str = "CHANNELSTREAM_CONFIG";

impl SettingsDraft {
    /// Lays the environment over what is there.
    pub fn add_environment(&mut self, environment: &[(String, OsString)]) {
        let ours =
            environment.iter().filter(|(name, _)| name.starts_with(PREFIX) && name != INI && name != CONFIG);
        let (links, ours): (Vec<_>, Vec<_>) = ours.partition(|(name, value)| is_service_link(name, value));
        self.warn_of_service_links(&links);
        let keys = ours.iter().map(|(name, _)| key_of(name)).collect::<Vec<_>>();
        self.refuse_both(keys.iter().map(String::as_str), "the environment");
        for ((name, value), key) in ours.into_iter().zip(&keys) {
            match value.to_str() {
                Some(text) => self.set(key, Given::Text(text), name, Unknown::Warn),
                None => self.problems.push(format!("{key}: it is not UTF-8 (from {name})")),
            }
        }
    }

    fn warn_of_service_links(&mut self, links: &[&(String, OsString)]) {
        if !links.is_empty() {
            let names = links.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
            self.warnings.push(format!(
                "{names}: ignored, these are what Kubernetes tells of a service named channelstream, not settings"
            ));
        }
    }
}

fn key_of(name: &str) -> String {
    name.strip_prefix(PREFIX).unwrap_or(name).to_ascii_lowercase()
}

/// Kubernetes and Docker links describe a service named `channelstream` in variables that look like ours.
fn is_service_link(name: &str, value: &OsString) -> bool {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    let numbered =
        name.strip_prefix("PORT_").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let address = name == "PORT" && value.to_str().is_some_and(|text| text.contains("://"));
    numbered
        || address
        || name == "SERVICE_HOST"
        || name == "SERVICE_PORT"
        || name.starts_with("SERVICE_PORT_")
}

/// The names of all variables that look like ours, for saying that they are ignored.
pub(super) fn names(environment: &[(String, OsString)]) -> Vec<&str> {
    environment.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with(PREFIX)).collect()
}

/// A variable's text, unless it is missing or blank.
pub(super) fn value<'a>(environment: &'a [(String, OsString)], name: &str) -> Option<&'a OsString> {
    let (_, value) = environment.iter().find(|(other, _)| other == name)?;
    Some(value).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(variables: &[(&str, &str)]) -> SettingsDraft {
        let mut draft = SettingsDraft::default();
        let owned: Vec<_> = variables.iter().map(|(name, value)| (name.to_string(), value.into())).collect();
        draft.add_environment(&owned);
        draft
    }

    #[test]
    fn every_name_of_the_original_is_known() {
        let draft = draft(&[
            ("CHANNELSTREAM_DEBUG", "yes"),
            ("CHANNELSTREAM_LOG_LEVEL", "WARNING"),
            ("CHANNELSTREAM_PORT", "8001"),
            ("CHANNELSTREAM_HOST", "::1"),
            ("CHANNELSTREAM_SECRET", "s"),
            ("CHANNELSTREAM_ADMIN_USER", "u"),
            ("CHANNELSTREAM_ADMIN_SECRET", "a"),
            ("CHANNELSTREAM_COOKIE_SECRET", "c"),
            ("CHANNELSTREAM_ALLOW_POSTING_FROM", "0.0.0.0"),
            ("CHANNELSTREAM_ALLOW_CORS", "example.org"),
            ("CHANNELSTREAM_VALIDATE_REQUESTS", "0"),
            ("CHANNELSTREAM_ENFORCE_HTTPS", "1"),
            ("CHANNELSTREAM_HTTP_SCHEME", "https"),
            ("CHANNELSTREAM_SIGNATURE_CHECKER", "channelstream.utils.DefaultSigner"),
            ("CHANNELSTREAM_WORKERS", "2"),
            ("CHANNELSTREAM_DEMO", "off"),
            ("OTHER", "x"),
        ]);
        assert_eq!((draft.warnings, draft.problems), (Vec::new(), Vec::new()));
        assert_eq!(draft.sources.len(), 15);
        assert_eq!(draft.sources["secrets"], "CHANNELSTREAM_SECRET");
        assert!(draft.settings.debug && !draft.settings.check_signature_age);
    }

    #[test]
    fn kubernetes_variables_are_left_alone() {
        let draft = draft(&[
            ("CHANNELSTREAM_SERVICE_HOST", "10.0.0.1"),
            ("CHANNELSTREAM_SERVICE_PORT", "8000"),
            ("CHANNELSTREAM_SERVICE_PORT_HTTP", "8000"),
            ("CHANNELSTREAM_PORT", "tcp://10.0.0.1:8000"),
            ("CHANNELSTREAM_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
            ("CHANNELSTREAM_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ]);
        assert_eq!(draft.problems, Vec::<String>::new());
        assert_eq!(draft.settings.port, 8000);
        assert!(draft.sources.is_empty());
        assert_eq!(draft.warnings.len(), 1);
        assert!(
            draft.warnings[0].starts_with("CHANNELSTREAM_SERVICE_HOST, ")
                && draft.warnings[0].contains("Kubernetes")
        );
    }

    #[test]
    fn bad_values_stop_and_unknown_names_warn() {
        let draft = draft(&[("CHANNELSTREAM_PORT", "tcp"), ("CHANNELSTREAM_PROT", "1")]);
        assert_eq!(draft.problems, ["port: \"tcp\" is not a port (0-65535) (from CHANNELSTREAM_PORT)"]);
        let warning = "prot: unknown setting, ignored, did you mean port? (from CHANNELSTREAM_PROT)";
        assert_eq!(draft.warnings, [warning]);
    }

    #[test]
    fn secret_and_secrets_exclude_each_other() {
        let draft = draft(&[("CHANNELSTREAM_SECRET", "a"), ("CHANNELSTREAM_SECRETS", "b")]);
        assert_eq!(draft.problems.len(), 1);
    }
}
