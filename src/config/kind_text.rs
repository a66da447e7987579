//! Settings that are one text.

use std::net::{IpAddr, Ipv6Addr};

use super::kind::{Given, ValueKind, quoted, yes_or_no};
use super::values::{DemoSetting, Secret};

fn text_of<'a>(given: Given<'a>) -> Result<&'a str, String> {
    given.text().ok_or_else(|| "a text is expected".into())
}

/// An address or name to listen on.
pub(super) struct Host;

impl ValueKind<String> for Host {
    fn read(&self, given: Given<'_>, _: &mut Vec<String>) -> Result<String, String> {
        let text = text_of(given)?.trim();
        // Brackets come from URLs; they are no part of the address.
        let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = inner.filter(|inner| inner.parse::<Ipv6Addr>().is_ok()).unwrap_or(text);
        self.check(&host.to_owned()).map(|()| host.to_owned())
    }

    fn check(&self, value: &String) -> Result<(), String> {
        match value.parse::<IpAddr>().is_ok() || is_host_name(value) {
            true => Ok(()),
            false => Err(format!("{} is neither an IP address nor a host name", quoted(value))),
        }
    }

    fn show(&self, value: &String) -> toml::Value {
        value.as_str().into()
    }

    fn expects(&self) -> String {
        "name, IPv4 or IPv6 address".into()
    }
}

/// An address or name to listen on, or none.
pub(super) struct MaybeHost;

impl ValueKind<Option<String>> for MaybeHost {
    fn read(&self, given: Given<'_>, notes: &mut Vec<String>) -> Result<Option<String>, String> {
        match text_of(given)?.trim() {
            "" => Ok(None),
            _ => Host.read(given, notes).map(Some),
        }
    }

    fn check(&self, value: &Option<String>) -> Result<(), String> {
        value.as_ref().map_or(Ok(()), |host| Host.check(host))
    }

    fn show(&self, value: &Option<String>) -> toml::Value {
        value.as_deref().unwrap_or_default().into()
    }

    fn expects(&self) -> String {
        format!("{} or empty", Host.expects())
    }
}

fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&bytes.len()) && bytes.iter().all(allowed) && !label.starts_with('-')
    };
    // All digits and dots is an address with a slip, which a resolver would read in surprising ways.
    let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.len() <= 253 && !numeric && text.split('.').all(label)
}

/// How much is logged; Python's names are understood.
pub(super) struct LogLevel;

impl ValueKind<String> for LogLevel {
    fn read(&self, given: Given<'_>, _: &mut Vec<String>) -> Result<String, String> {
        let text = text_of(given)?;
        let level = match text.trim().to_ascii_lowercase().as_str() {
            "error" | "critical" | "fatal" => "error",
            "warn" | "warning" => "warn",
            "info" => "info",
            "debug" => "debug",
            "trace" | "notset" => "trace",
            _ => return Err(format!("{} is not one of {}", quoted(text), self.expects())),
        };
        Ok(level.into())
    }

    fn check(&self, value: &String) -> Result<(), String> {
        self.read(Given::Text(value), &mut Vec::new()).map(|_| ())
    }

    fn show(&self, value: &String) -> toml::Value {
        value.as_str().into()
    }

    fn expects(&self) -> String {
        "error, warn, info, debug, trace".into()
    }
}

/// The scheme forced into generated URLs, or none.
pub(super) struct Scheme;

impl ValueKind<Option<String>> for Scheme {
    fn read(&self, given: Given<'_>, notes: &mut Vec<String>) -> Result<Option<String>, String> {
        let text = text_of(given)?;
        match (text.trim().to_ascii_lowercase().as_str(), given) {
            ("", _) => Ok(None),
            (scheme @ ("http" | "https"), _) => Ok(Some(scheme.into())),
            // The original took anything else for empty; what started there must start here.
            (_, Given::Ini(_)) => {
                notes.push(format!("{} is neither http nor https and counts as empty", quoted(text)));
                Ok(None)
            }
            _ => Err(format!("{} is neither http nor https nor empty", quoted(text))),
        }
    }

    fn check(&self, value: &Option<String>) -> Result<(), String> {
        let text = value.as_deref().unwrap_or_default();
        self.read(Given::Text(text), &mut Vec::new()).map(|_| ())
    }

    fn show(&self, value: &Option<String>) -> toml::Value {
        value.as_deref().unwrap_or_default().into()
    }

    fn expects(&self) -> String {
        "http, https or empty".into()
    }
}

/// When demo mode is on.
pub(super) struct DemoMode;

impl ValueKind<DemoSetting> for DemoMode {
    fn read(&self, given: Given<'_>, _: &mut Vec<String>) -> Result<DemoSetting, String> {
        let on_or_off = |on| if on { DemoSetting::On } else { DemoSetting::Off };
        if let Given::Typed(toml::Value::Boolean(on)) = given {
            return Ok(on_or_off(*on));
        }
        let text = text_of(given)?;
        match (text.trim().eq_ignore_ascii_case("auto"), yes_or_no(text)) {
            (true, _) => Ok(DemoSetting::Auto),
            (_, Some(on)) => Ok(on_or_off(on)),
            _ => Err(format!("{} is not one of {}", quoted(text), self.expects())),
        }
    }

    fn show(&self, value: &DemoSetting) -> toml::Value {
        let text = match value {
            DemoSetting::Auto => "auto",
            DemoSetting::On => "on",
            DemoSetting::Off => "off",
        };
        text.into()
    }

    fn expects(&self) -> String {
        "auto, on, off".into()
    }
}

/// A text that is compared with what somebody sends, without the blanks around it: they come from the end of a line, and
/// the sign-in form leaves them out of what is typed.
pub(super) fn trimmed<'a>(text: &'a str, notes: &mut Vec<String>) -> &'a str {
    let inner = text.trim();
    if inner.len() < text.len() {
        notes.push("blanks at its ends are left out; all who use it must leave them out".into());
    }
    inner
}

/// The same for a text that people type into the sign-in form. Browsers leave control characters out of what is typed.
fn typed<'a>(text: &'a str, notes: &mut Vec<String>) -> &'a str {
    let inner = trimmed(text, notes);
    if inner.contains(char::is_control) {
        notes.push("it holds a line end or another control character, which browsers do not send from the sign-in form".into());
    }
    inner
}

/// The same for a value that was set in code.
pub(super) fn check_trimmed(text: &str) -> Result<(), String> {
    match text.trim().len() == text.len() {
        true => Ok(()),
        false => Err("it must not have blanks at its ends".into()),
    }
}

/// Any text but an empty one.
pub(super) struct Text;

impl ValueKind<String> for Text {
    fn read(&self, given: Given<'_>, notes: &mut Vec<String>) -> Result<String, String> {
        let text = typed(text_of(given)?, notes).to_owned();
        self.check(&text).map(|()| text)
    }

    fn check(&self, value: &String) -> Result<(), String> {
        match value.is_empty() {
            true => Err("it must not be empty".into()),
            false => check_trimmed(value),
        }
    }

    fn show(&self, value: &String) -> toml::Value {
        value.as_str().into()
    }

    fn expects(&self) -> String {
        "text".into()
    }
}

/// One secret.
pub(super) struct SecretText {
    /// Whether there may be none.
    pub optional: bool,
}

impl ValueKind<Secret> for SecretText {
    fn read(&self, given: Given<'_>, notes: &mut Vec<String>) -> Result<Secret, String> {
        let text = text_of(given)?;
        let secret = Secret::new(if self.optional { trimmed(text, notes) } else { typed(text, notes) });
        self.check(&secret).map(|()| secret)
    }

    fn check(&self, value: &Secret) -> Result<(), String> {
        match value.expose().is_empty() && !self.optional {
            true => Err("it must not be empty".into()),
            false => check_trimmed(value.expose()),
        }
    }

    fn show(&self, value: &Secret) -> toml::Value {
        value.expose().into()
    }

    fn expects(&self) -> String {
        if self.optional { "text, may be empty".into() } else { "text".into() }
    }

    fn is_secret(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(kind: impl ValueKind<T>, text: &str) -> Result<T, String> {
        kind.read(Given::Text(text), &mut Vec::new())
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        for host in ["127.0.0.1", "0.0.0.0", "::", "::1", "localhost", "push.example.org", "a_b-c", "host."] {
            assert_eq!(read(Host, host), Ok(host.to_owned()), "{host}");
        }
        assert_eq!(read(Host, " [::1] "), Ok("::1".into()));
        for host in ["*", "1.2.3", "256.1.1.1", "http://x", "a b", "[x]", "-x", "x..y", "127.0.0.1:8000", "é"]
        {
            assert!(read(Host, host).is_err(), "{host}");
        }
    }

    #[test]
    fn log_levels_have_python_names_too() {
        for (given, level) in [
            ("WARNING", "warn"),
            ("Critical", "error"),
            ("INFO", "info"),
            ("debug", "debug"),
            ("TRACE", "trace"),
        ] {
            assert_eq!(read(LogLevel, given), Ok(level.into()));
        }
        assert!(read(LogLevel, "loud").is_err());
        assert!(LogLevel.check(&"loud".to_owned()).is_err());
    }

    #[test]
    fn schemes_are_http_https_or_none() {
        assert_eq!(read(Scheme, "HTTPS"), Ok(Some("https".into())));
        assert_eq!(read(Scheme, ""), Ok(None));
        assert!(read(Scheme, "ftp").is_err());
        let mut notes = Vec::new();
        assert_eq!(Scheme.read(Given::Ini("ftp"), &mut notes), Ok(None));
        assert_eq!(notes, ["\"ftp\" is neither http nor https and counts as empty"]);
    }

    #[test]
    fn demo_is_auto_on_or_off() {
        assert_eq!(read(DemoMode, "Auto"), Ok(DemoSetting::Auto));
        assert_eq!(read(DemoMode, "yes"), Ok(DemoSetting::On));
        assert_eq!(DemoMode.read(Given::Typed(&false.into()), &mut Vec::new()), Ok(DemoSetting::Off));
        assert!(read(DemoMode, "perhaps").is_err());
    }

    #[test]
    fn texts_have_no_blanks_at_their_ends_and_are_not_empty() {
        for blanks in [" a b", "a b\n", "a b\r", "\ta b\r\n", "\u{a0}a b "] {
            let mut notes = Vec::new();
            assert_eq!(Text.read(Given::Text(blanks), &mut notes), Ok("a b".into()), "{blanks:?}");
            let secret = SecretText { optional: false }.read(Given::Typed(&blanks.into()), &mut notes);
            assert_eq!((secret, notes.len()), (Ok(Secret::new("a b")), 2), "{blanks:?}");
            assert!(Text.check(&blanks.to_owned()).is_err(), "{blanks:?}");
            assert!(SecretText { optional: true }.check(&Secret::new(blanks)).is_err(), "{blanks:?}");
        }
        let mut notes = Vec::new();
        assert_eq!((Text.read(Given::Ini("a b"), &mut notes), notes.len()), (Ok("a b".into()), 0));
        for inner in ["a\nb", "a\u{1b}b"] {
            let mut notes = Vec::new();
            assert!(Text.read(Given::Text(inner), &mut notes).is_ok(), "{inner:?}");
            assert!(SecretText { optional: false }.read(Given::Text(inner), &mut notes).is_ok(), "{inner:?}");
            assert_eq!(notes.iter().filter(|note| note.contains("sign-in form")).count(), 2, "{inner:?}");
            notes.clear();
            assert!(SecretText { optional: true }.read(Given::Text(inner), &mut notes).is_ok());
            assert!(notes.is_empty(), "a cookie secret is not typed");
        }
        assert!(read(Text, " \n").is_err() && read(SecretText { optional: false }, " ").is_err());
        assert!(read(Text, "").is_err());
        assert!(read(SecretText { optional: false }, "").is_err());
        assert!(read(SecretText { optional: true }, "").is_ok());
        assert!(Text.read(Given::Typed(&1.into()), &mut Vec::new()).is_err());
    }
}
