//! Writes settings: the sample file, INI files, the reference page and the lines of `check-config`.

use super::SettingsError;
use super::ini::read_section;
use super::key::Key;
use super::table::{KEYS, Settings};

/// Keys an INI file always holds, those of the original; of the others it holds what differs from the default.
const ORIGINAL: [&str; 13] = [
    "host",
    "port",
    "log_level",
    "debug",
    "secrets",
    "validate_requests",
    "allow_posting_from",
    "allow_cors",
    "admin_user",
    "admin_secret",
    "cookie_secret",
    "enforce_https",
    "http_scheme",
];

/// One setting for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownSetting {
    /// Its key.
    pub key: &'static str,
    /// Its value as in TOML; secrets are masked.
    pub value: String,
    /// Whether it has its default.
    pub is_default: bool,
    /// Whether its value was masked.
    pub is_secret: bool,
}

/// All settings for people to read, secrets masked.
pub fn shown(settings: &Settings) -> Vec<ShownSetting> {
    let default = Settings::default();
    let show = |key: &Key| ShownSetting {
        key: key.name,
        value: if (key.is_secret)() { "********".into() } else { (key.show)(settings).to_string() },
        is_default: (key.show)(settings) == (key.show)(&default),
        is_secret: (key.is_secret)(),
    };
    KEYS.iter().map(show).collect()
}

/// A whole `channelstream.toml` with these settings, each with its sentence. Secrets stand in it.
pub fn to_toml(settings: &Settings) -> String {
    let mut text = String::from(
        "# Settings of channelstream. Environment variables CHANNELSTREAM_<KEY> go before this file, flags of the\n\
         # command line before both. Made by `channelstream make-config`; `channelstream check-config` checks it.\n",
    );
    let mut group = "";
    for key in KEYS {
        if key.group != group {
            group = key.group;
            text.push_str(&format!("\n# --- {group} ---\n"));
        }
        text.push_str(&format!("\n# {}\n{} = {}\n", key.doc.trim(), key.name, (key.show)(settings)));
    }
    text
}

/// An INI file with these settings, which the original reads too. Secrets stand in it. Demo mode is left out, since
/// it does not count there.
///
/// # Errors
/// Names each key whose value such a file cannot hold, like a text with blanks at its ends.
pub fn to_ini(settings: &Settings) -> Result<String, SettingsError> {
    let default = Settings::default();
    let mut text = String::from("[channelstream]\n");
    let mut problems = Vec::new();
    for key in KEYS.iter().filter(|key| key.name != "demo") {
        if original_name(key).is_some() || (key.show)(settings) != (key.show)(&default) {
            match ini_entry(key, settings) {
                Some(entry) => text.push_str(&format!("# {}\n{entry}", key.doc.trim())),
                None => problems.push(format!("{}: an INI file cannot hold its value", key.name)),
            }
        }
    }
    if problems.is_empty() { Ok(text) } else { Err(SettingsError { problems }) }
}

/// The name that the original has for a setting, which may be an old name here.
fn original_name(key: &Key) -> Option<&'static str> {
    ORIGINAL.into_iter().find(|name| *name == key.name || Some(*name) == key.old_name)
}

fn ini_entry(key: &Key, settings: &Settings) -> Option<String> {
    match settings.secrets.as_slice() {
        [one] if key.name == "secrets" => {
            ini_line("secret", one.expose()).or_else(|| ini_line("secrets", &ini_text(key, settings)))
        }
        _ => ini_line(original_name(key).unwrap_or(key.name), &ini_text(key, settings)),
    }
}

/// A line that is read as it was meant, or none.
fn ini_line(name: &str, value: &str) -> Option<String> {
    let line = format!("{name} = {}\n", value.replace('%', "%%"));
    let section = read_section(&format!("[x]\n{line}"), "x").ok()?;
    (section.len() == 1 && section.get(name)? == value).then_some(line)
}

fn ini_text(key: &Key, settings: &Settings) -> String {
    match (key.show)(settings) {
        toml::Value::String(text) => text,
        toml::Value::Array(items) if (key.is_secret)() => serde_json::json!(items).to_string(),
        toml::Value::Array(items) => {
            items.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

const PAGE_HEAD: &str = "\
# Settings

Settings come from a TOML file, from environment variables and from the command line; the later goes before the earlier.

* The file is the one named by `--config`, else by `CHANNELSTREAM_CONFIG`, else `channelstream.toml` in the working
  directory. Its keys are those below; an unknown key is an error. `secret = TEXT` is short for `secrets` with one item.
* Each setting can be given as `CHANNELSTREAM_<KEY>`, such as `CHANNELSTREAM_MAX_BODY_BYTES`. Lists hold commas or
  newlines between their items. `CHANNELSTREAM_SECRET` is exactly one secret; `CHANNELSTREAM_SECRETS` holds one on each
  line, or a JSON list. An empty value counts as not given; an empty list is a list of nothing.
* On the command line `--set KEY=VALUE` gives any setting.
* Blanks and line ends around a secret, a password or `admin_user` are left out, with a warning: the sign-in form does the
  same to what is typed, and your applications have to sign without them.
* A file has at most 1 MiB and is read within 5 s. Only a name that does not exist counts as no `channelstream.toml`:
  a directory, a link that leads nowhere or a file that cannot be read is an error. At a reload (SIGHUP) no setting falls back to its
  default: the reload is refused if the file is gone, empty, cut off or not a regular one, or no longer gives a secret.
* `-i FILE.ini` or `CHANNELSTREAM_INI` reads an INI file of channelstream 0.7.1. `CHANNELSTREAM_*` variables are then
  ignored, the server listens on 0.0.0.0 unless the file says otherwise, and there is no demo mode.

`channelstream check-config` prints what is in force and where it came from. This page and the sample file are made by
`channelstream make-config --format markdown` and `channelstream make-config`.
";

/// The reference page of all settings, in Markdown.
pub fn reference_page() -> String {
    let default = Settings::default();
    let mut text = String::from(PAGE_HEAD);
    let mut group = "";
    for key in KEYS {
        if key.group != group {
            group = key.group;
            text.push_str(&format!(
                "\n## {group}\n\n| key | default | values | meaning |\n| --- | --- | --- | --- |\n"
            ));
        }
        let (name, value) = (key.name, (key.show)(&default));
        text.push_str(&format!("| `{name}` | `{value}` | {} | {} |\n", (key.expects)(), key.doc.trim()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::DemoSetting;
    use super::super::Inputs;
    use super::super::Secret;
    use super::super::load;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_files_in_the_repository_are_up_to_date() {
        assert!(
            to_toml(&Settings::default()) == include_str!("../../channelstream.toml"),
            "make-config > channelstream.toml"
        );
        assert!(reference_page() == include_str!("../../docs/settings.md"), "make-config --format markdown");
    }

    fn dump(settings: &Settings) -> Vec<String> {
        KEYS.iter().map(|key| format!("{} = {}", key.name, (key.show)(settings))).collect()
    }

    fn reload(name: &str, text: &str) -> Settings {
        let directory =
            std::env::temp_dir().join(format!("channelstream-write-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        let ini = Some(path.clone()).filter(|_| name.ends_with("ini"));
        let config = Some(path).filter(|_| ini.is_none());
        let loaded = load(&Inputs { ini, config, ..Inputs::default() }).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        loaded.settings
    }

    fn unusual() -> Settings {
        Settings {
            host: "::".into(),
            workers: 3,
            secrets: vec![Secret::new("100% [a]\n\""), Secret::new("b")],
            admin_secret: Secret::new("; # %(x)s = é"),
            cookie_secret: Secret::new("c"),
            allow_cors: vec!["a.example".into(), "b.example".into()],
            http_scheme: Some("https".into()),
            date_in_frames: false,
            ..Settings::default()
        }
    }

    #[test]
    fn the_sample_yields_the_defaults() {
        let default = Settings { cookie_secret: Secret::new("c"), ..Settings::default() };
        assert_eq!(dump(&reload("default.toml", &to_toml(&default))), dump(&default));
        assert_eq!(dump(&reload("default.ini", &to_ini(&default).unwrap())), dump(&default));
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(dump(&reload("unusual.toml", &to_toml(&unusual()))), dump(&unusual()));
        assert_eq!(dump(&reload("unusual.ini", &to_ini(&unusual()).unwrap())), dump(&unusual()));
    }

    #[test]
    fn an_ini_has_the_keys_of_the_original_and_no_demo() {
        let text = to_ini(&Settings { demo: DemoSetting::On, ..Settings::default() }).unwrap();
        for key in ["host", "port", "debug", "allow_cors", "validate_requests", "secret", "admin_secret"] {
            assert!(text.lines().any(|line| line.starts_with(&format!("{key} ="))), "{key}");
        }
        assert!(!text.contains("demo =") && !text.contains("workers"));
    }

    #[test]
    fn what_an_ini_cannot_hold_is_named() {
        let error = to_ini(&Settings { admin_user: " a".into(), ..Settings::default() }).unwrap_err();
        assert_eq!(error.problems, ["admin_user: an INI file cannot hold its value"]);
    }

    #[test]
    fn secrets_are_masked_for_people() {
        let text = format!("{:?}", shown(&unusual()));
        assert!(!text.contains("100%") && !text.contains("%(x)s") && text.contains("********"));
        assert!(shown(&Settings::default()).iter().all(|line| line.is_default));
    }

    proptest! {
        #[test]
        fn an_ini_line_says_what_was_meant_or_nothing(value in any::<String>()) {
            if let Some(line) = ini_line("key", &value) {
                let section = read_section(&format!("[channelstream]\na = 1\n{line}b = 2\n"), "channelstream").unwrap();
                prop_assert_eq!(&section["key"], &value);
                prop_assert_eq!(section.len(), 3);
            }
        }
    }
}
