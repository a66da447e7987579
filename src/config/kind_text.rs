//! Settings that are one text, and their types.

use std::net::{IpAddr, Ipv6Addr};

use super::kind::{Given, Kind, quoted, yes_or_no};

/// The note about blanks that were removed.
pub(super) const BLANKS: &str =
    "blanks at its ends are removed; every application and person that uses it must do the same";

fn show_optional(value: &Option<String>) -> toml::Value {
    value.as_deref().unwrap_or_default().into()
}

pub(super) const HOST: Kind<String> =
    Kind::new("name, IPv4 or IPv6 address", read_host, |host| host.as_str().into());

pub(super) const OPTIONAL_HOST: Kind<Option<String>> =
    Kind::new("name, IPv4 or IPv6 address or empty", read_optional_host, show_optional);

fn read_host(given: Given<'_>, _: &mut Vec<String>) -> Result<String, String> {
    let text = given.expect_text()?.trim();
    // Brackets come from URLs; they are not part of the address.
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = inner.filter(|inner| inner.parse::<Ipv6Addr>().is_ok()).unwrap_or(text);
    match host.parse::<IpAddr>().is_ok() || is_host_name(host) {
        true => Ok(host.to_owned()),
        false => Err(format!("{} is neither an IP address nor a host name", quoted(host))),
    }
}

fn read_optional_host(given: Given<'_>, notes: &mut Vec<String>) -> Result<Option<String>, String> {
    match given.expect_text()?.trim() {
        "" => Ok(None),
        _ => read_host(given, notes).map(Some),
    }
}

fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&bytes.len()) && bytes.iter().all(allowed) && !label.starts_with('-')
    };
    // Digits and dots alone are a mistyped address, which a resolver would read in surprising ways.
    let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.len() <= 253 && !numeric && text.split('.').all(label)
}

/// Whether only this machine can reach a host to listen on. The only name that counts is `localhost`.
pub fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
    }
}

const LEVELS: &str = "error, warn, info, debug, trace";

/// The lowest level that is logged. Python's names are accepted too.
pub(super) const LOG_LEVEL: Kind<String> = Kind::new(LEVELS, read_level, |level| level.as_str().into());

fn read_level(given: Given<'_>, _: &mut Vec<String>) -> Result<String, String> {
    let text = given.expect_text()?;
    let level = match text.trim().to_ascii_lowercase().as_str() {
        "error" | "critical" | "fatal" => "error",
        "warn" | "warning" => "warn",
        "info" => "info",
        "debug" => "debug",
        "trace" | "notset" => "trace",
        _ => return Err(format!("{} is not one of {LEVELS}", quoted(text))),
    };
    Ok(level.into())
}

pub(super) const SCHEME: Kind<Option<String>> = Kind::new("http, https or empty", read_scheme, show_optional);

fn read_scheme(given: Given<'_>, notes: &mut Vec<String>) -> Result<Option<String>, String> {
    let text = given.expect_text()?;
    match (text.trim().to_ascii_lowercase().as_str(), given) {
        ("", _) => Ok(None),
        (scheme @ ("http" | "https"), _) => Ok(Some(scheme.into())),
        // The original treated every other text as empty, and its files must still start a server.
        (_, Given::Ini(_)) => {
            notes.push(format!("{} is neither http nor https and counts as empty", quoted(text)));
            Ok(None)
        }
        _ => Err(format!("{} is neither http nor https nor empty", quoted(text))),
    }
}

/// When demo mode is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DemoSetting {
    /// On for requests from this machine, while no setting suggests a deployment; see [`super::Settings::demo_enabled`].
    Auto,
    /// On, except for a server started from an INI file.
    On,
    /// Never on.
    Off,
}

pub(super) const DEMO_MODE: Kind<DemoSetting> = Kind::new("auto, on, off", read_demo, |demo| match demo {
    DemoSetting::Auto => "auto".into(),
    DemoSetting::On => "on".into(),
    DemoSetting::Off => "off".into(),
});

fn read_demo(given: Given<'_>, _: &mut Vec<String>) -> Result<DemoSetting, String> {
    let text = match given {
        Given::Typed(toml::Value::Boolean(true)) => "on",
        Given::Typed(toml::Value::Boolean(false)) => "off",
        _ => given.expect_text()?.trim(),
    };
    match yes_or_no(text) {
        Some(true) => Ok(DemoSetting::On),
        Some(false) => Ok(DemoSetting::Off),
        None if text.eq_ignore_ascii_case("auto") => Ok(DemoSetting::Auto),
        None => Err(format!("{} is not one of auto, on, off", quoted(text))),
    }
}

/// A secret. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for computations; it must not be printed.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// 256 random bits in hexadecimal digits.
    pub fn random() -> Self {
        Self(rand::random::<[u64; 4]>().map(|part| format!("{part:016x}")).concat())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Removes the blanks around a text that is compared with what a client sends: they come from the end of a line, and the
/// sign-in form removes them too.
pub(super) fn trimmed<'a>(text: &'a str, notes: &mut Vec<String>) -> &'a str {
    let inner = text.trim();
    if inner.len() < text.len() {
        notes.push(BLANKS.into());
    }
    inner
}

/// The same for a text that must not be empty and that an operator types into the sign-in form. Browsers remove control
/// characters from typed text.
fn read_typed<'a>(given: Given<'a>, notes: &mut Vec<String>) -> Result<&'a str, String> {
    let inner = trimmed(given.expect_text()?, notes);
    if inner.contains(char::is_control) {
        notes.push("it contains a line end or another control character, which browsers do not send from the sign-in form".into());
    }
    Some(inner).filter(|inner| !inner.is_empty()).ok_or_else(|| "it must not be empty".into())
}

/// Any text except an empty one.
pub(super) const TEXT: Kind<String> = Kind::new(
    "text",
    |given, notes| read_typed(given, notes).map(str::to_owned),
    |text| text.as_str().into(),
);

/// Any text; an empty one counts as none.
pub(super) const OPTIONAL_TEXT: Kind<Option<String>> = Kind::new(
    "text, may be empty",
    |given, notes| {
        let text = trimmed(given.expect_text()?, notes);
        Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
    },
    show_optional,
);

pub(super) const PASSWORD: Kind<Secret> = Kind {
    expects: "text",
    read: |given, notes| read_typed(given, notes).map(Secret::new),
    show: |secret| secret.expose().into(),
    for_people: None,
    is_secret: true,
    takes_blank: false,
};

/// A key that is made at random when it is empty.
pub(super) const OPTIONAL_SECRET: Kind<Secret> = Kind {
    expects: "text, may be empty",
    read: |given, notes| Ok(Secret::new(trimmed(given.expect_text()?, notes))),
    ..PASSWORD
};

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(kind: Kind<T>, text: &str) -> Result<T, String> {
        kind.read(Given::Text(text), &mut Vec::new())
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        for host in ["127.0.0.1", "0.0.0.0", "::", "::1", "localhost", "push.example.org", "a_b-c", "host."] {
            assert_eq!(read(HOST, host), Ok(host.to_owned()), "{host}");
        }
        assert_eq!(read(HOST, " [::1] "), Ok("::1".into()));
        for host in ["*", "1.2.3", "256.1.1.1", "http://x", "a b", "[x]", "-x", "x..y", "127.0.0.1:8000", "é"]
        {
            assert!(read(HOST, host).is_err(), "{host}");
        }
    }

    #[test]
    fn log_levels_have_python_names_too() {
        let names = [("WARNING", "warn"), ("Critical", "error"), ("INFO", "info"), ("TRACE", "trace")];
        for (given, level) in names {
            assert_eq!(read(LOG_LEVEL, given), Ok(level.into()));
        }
        assert!(read(LOG_LEVEL, "loud").is_err());
    }

    #[test]
    fn schemes_are_http_https_or_none() {
        assert_eq!(read(SCHEME, "HTTPS"), Ok(Some("https".into())));
        assert_eq!(read(SCHEME, ""), Ok(None));
        assert!(read(SCHEME, "ftp").is_err());
        let mut notes = Vec::new();
        assert_eq!(SCHEME.read(Given::Ini("ftp"), &mut notes), Ok(None));
        assert_eq!(notes, ["\"ftp\" is neither http nor https and counts as empty"]);
    }

    #[test]
    fn demo_is_auto_on_or_off() {
        assert_eq!(read(DEMO_MODE, "Auto"), Ok(DemoSetting::Auto));
        assert_eq!(read(DEMO_MODE, "yes"), Ok(DemoSetting::On));
        assert_eq!(DEMO_MODE.read(Given::Typed(&false.into()), &mut Vec::new()), Ok(DemoSetting::Off));
        assert!(read(DEMO_MODE, "perhaps").is_err());
    }

    #[test]
    fn texts_have_no_blanks_at_their_ends_and_are_not_empty() {
        for blanks in [" a b", "a b\n", "a b\r", "\ta b\r\n", "\u{a0}a b "] {
            let mut notes = Vec::new();
            assert_eq!(TEXT.read(Given::Text(blanks), &mut notes), Ok("a b".into()), "{blanks:?}");
            for secret in [PASSWORD, OPTIONAL_SECRET] {
                assert_eq!(secret.read(Given::Typed(&blanks.into()), &mut notes), Ok(Secret::new("a b")));
            }
            assert_eq!(notes, [BLANKS; 3], "{blanks:?}");
        }
        let mut notes = Vec::new();
        assert_eq!((TEXT.read(Given::Ini("a b"), &mut notes), notes.len()), (Ok("a b".into()), 0));
        for empty in ["", " \n"] {
            assert!(read(TEXT, empty).is_err() && read(PASSWORD, empty).is_err(), "{empty:?}");
        }
        assert!(read(OPTIONAL_SECRET, "").is_ok());
        assert!(TEXT.read(Given::Typed(&1.into()), &mut Vec::new()).is_err());
    }

    #[test]
    fn control_characters_are_reported_where_a_text_is_typed() {
        for inner in ["a\nb", "a\u{1b}b"] {
            let mut notes = Vec::new();
            assert!(TEXT.read(Given::Text(inner), &mut notes).is_ok(), "{inner:?}");
            assert!(PASSWORD.read(Given::Text(inner), &mut notes).is_ok(), "{inner:?}");
            assert_eq!(notes.iter().filter(|note| note.contains("sign-in form")).count(), 2, "{inner:?}");
            notes.clear();
            assert!(OPTIONAL_SECRET.read(Given::Text(inner), &mut notes).is_ok() && notes.is_empty());
        }
    }

    #[test]
    fn secrets_are_never_printed() {
        assert_eq!(format!("{:?}", Secret::new("hush")), "Secret(…)");
    }
}
