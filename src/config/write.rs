//! Writes settings: the sample file, the reference page, the lines of `check-config`, and the limits for the console.

use super::channel_docs::{PAGE, SAMPLE};
use super::table::{KEYS, Key, Settings};
use crate::telemetry::limits::Limit;

/// One setting for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownSetting {
    pub key: &'static str,
    /// Its value as in TOML; secrets are masked.
    pub value: String,
    pub is_default: bool,
    pub is_secret: bool,
}

/// All settings for people to read, with masked secrets.
pub fn shown(settings: &Settings) -> Vec<ShownSetting> {
    let default = Settings::default();
    let show = |key: &Key| ShownSetting {
        key: key.name,
        value: (key.for_people)(settings),
        is_default: key.is_equal(settings, &default),
        is_secret: (key.info)().is_secret,
    };
    KEYS.iter().map(show).collect()
}

/// A setting that limits something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingBound {
    pub key: &'static str,
    /// The sentence about it, which names the unit.
    pub about: &'static str,
    /// Its value; none means that there is no limit.
    pub value: Option<u64>,
}

/// The section of the settings that limit something.
const LIMITS: &str = "Limits";
/// Settings of that section where 0 is a limit like any other.
const ZERO_IS_A_BOUND: [&str; 3] = ["keep_alive_ms", "recorder_bytes", "max_history_size"];

/// All settings of the section of limits, in its order.
pub fn bounds(settings: &Settings) -> impl Iterator<Item = SettingBound> {
    KEYS.iter().filter(|key| key.group == LIMITS).map(|key| {
        let value =
            limit_of(key, settings).filter(|number| *number > 0 || ZERO_IS_A_BOUND.contains(&key.name));
        SettingBound { key: key.name, about: key.doc.trim(), value }
    })
}

fn limit_of(key: &Key, settings: &Settings) -> Option<u64> {
    key.number(settings)?.try_into().ok()
}

impl Settings {
    /// The value of the setting behind a limit, in the setting's unit; 0 where it is off. None for a limit that stands
    /// for several settings.
    #[must_use]
    pub fn bound(&self, limit: Limit) -> Option<u64> {
        limit_of(Key::find(limit.setting())?, self)
    }
}

/// Writes a heading where a group begins, and a piece of text for each setting.
fn by_group(text: &mut String, heading: fn(&str) -> String, entry: impl Fn(&Key) -> String) {
    let mut group = "";
    for key in KEYS {
        if key.group != group {
            group = key.group;
            text.push_str(&heading(group));
        }
        text.push_str(&entry(key));
    }
}

/// A complete `channelstream.toml` with these settings, each with its sentence. It contains the secrets.
pub fn to_toml(settings: &Settings) -> String {
    let mut text = String::from(
        "# Settings of channelstream. Environment variables CHANNELSTREAM_<KEY> override this file, flags of the command\n\
         # line override both. Times and sizes may have a unit, such as \"10s\" or \"8MiB\". Made by\n\
         # `channelstream make-config`; `channelstream check-config` checks it.\n",
    );
    by_group(
        &mut text,
        |group| format!("\n# --- {group} ---\n"),
        |key| format!("\n# {}\n{} = {}\n", key.doc.trim(), key.name, (key.show)(settings)),
    );
    let tables = if settings.channels.is_empty() { SAMPLE.into() } else { settings.channels.to_toml() };
    format!("{text}\n# --- Channels by pattern ---\n\n{tables}")
}

const PAGE_HEAD: &str = "\
# Settings

Settings come from a TOML file, from environment variables and from the command line; later sources override earlier ones.

* The file is the one named by `--config`, else by `CHANNELSTREAM_CONFIG`, else `channelstream.toml` in the working
  directory. Its keys are those below; an unknown key is an error. `secret = TEXT` is short for `secrets` with one item.
* You can give each setting as `CHANNELSTREAM_<KEY>`, such as `CHANNELSTREAM_MAX_BODY_BYTES`. Lists have commas or newlines
  between their items. `CHANNELSTREAM_SECRET` is exactly one secret; `CHANNELSTREAM_SECRETS` contains one on each line, or a
  JSON list. An empty value counts as not given; for a list it means an empty list.
* On the command line, `--set KEY=VALUE` gives any setting.
* Times and sizes are numbers in the unit that the table names, or have a unit of their own: `250ms`, `10s`, `5min`, `2h`;
  `64KiB`, `8MiB`, `1GiB` (`kB`, `MB` and `GB` are powers of 1000). In TOML, a value with a unit is in quotes.
* Every source also accepts the old name of a setting that was renamed. At debug level the log reports each old name in use
  with the new one. A source that gives both names is an error.
* The server removes blanks and line ends around a secret, a password or `admin_user`, with a warning. The sign-in form does
  the same with what you type, and your applications have to sign without them.
* A file has at most 1 MiB and is read within 5 s. Only if nothing has the name `channelstream.toml` does the server start
  without a file: a directory, a link that leads nowhere or a file that cannot be read is an error. At a reload (SIGHUP) no
  setting falls back to its default: the server refuses the reload if the file is gone, empty, cut off or not a regular one,
  or no longer gives a secret.
* `-i FILE.ini` or `CHANNELSTREAM_INI` reads an INI file of channelstream 0.7.1. The server then ignores `CHANNELSTREAM_*`
  variables, listens on 0.0.0.0 unless the file gives another address, and has no demo mode.

`channelstream check-config` prints all values and their sources. `channelstream make-config --format markdown` makes this
page, and `channelstream make-config` the sample file.
";

/// The reference page of all settings, in Markdown.
pub fn reference_page() -> String {
    let default = Settings::default();
    let mut text = String::from(PAGE_HEAD);
    by_group(
        &mut text,
        |group| format!("\n## {group}\n\n| key | default | values | meaning |\n| --- | --- | --- | --- |\n"),
        |key| {
            let (name, value, doc) = (key.name, (key.show)(&default), key.doc.trim());
            let old = key.old_name.map(|old| format!(" Old name: `{old}`.")).unwrap_or_default();
            format!("| `{name}` | `{value}` | {} | {doc}{old} |\n", (key.info)().expects)
        },
    );
    format!("{text}\n## Channels by pattern\n{PAGE}")
}

#[cfg(test)]
mod tests {
    use super::super::kind::Given;
    use super::super::{DemoSetting, FileFormat, Secret, parse, to_ini};
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

    fn read(text: &str, format: FileFormat) -> Settings {
        parse(text, format, "file".as_ref()).unwrap()
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
            check_signature_age: false,
            date_in_frames: false,
            ..Settings::default()
        }
    }

    #[test]
    fn secrets_are_masked_for_people() {
        let text = format!("{:?}", shown(&unusual()));
        assert!(!text.contains("100%") && !text.contains("%(x)s") && text.contains("********"));
        assert!(shown(&Settings::default()).iter().all(|line| line.is_default));
    }

    /// Numbers of any size, with and without a unit.
    fn number_text() -> impl Strategy<Value = String> {
        let units = vec!["", "ms", "s", "min", "h", "B", "KiB", "MiB", "GiB"];
        (0..40_u32, any::<u64>(), prop::sample::select(units))
            .prop_map(|(bits, number, unit)| format!("{}{unit}", number >> (63 - bits)))
    }

    /// Settings of which some are changed; a text that a setting refuses leaves its default.
    fn settings() -> impl Strategy<Value = Settings> {
        let text =
            || prop_oneof![number_text(), "[ -~éß]{1,12}", "(on|off|https|debug|::1|10\\.0\\.0\\.0/8)"];
        prop::collection::vec(text(), KEYS.len()).prop_map(|texts| {
            let mut settings = unusual();
            for (key, text) in KEYS.iter().zip(&texts) {
                let _ = (key.read)(&mut settings, Given::Text(text), &mut Vec::new());
            }
            settings
        })
    }

    proptest! {
        #[test]
        fn written_settings_are_read_back_equal(settings in settings()) {
            prop_assert_eq!(settings.validate().map_err(|error| error.problems).err().unwrap_or_default().iter()
                .filter(|problem| !problem.contains("well-known")).count(), 0);
            prop_assert_eq!(dump(&read(&to_toml(&settings), FileFormat::Toml)), dump(&settings));
            if let Ok(ini) = to_ini(&settings) {
                let without_demo = Settings { demo: DemoSetting::Auto, ..settings.clone() };
                prop_assert_eq!(dump(&read(&ini, FileFormat::Ini)), dump(&without_demo));
            }
            let open = shown(&settings).into_iter().filter(|line| !line.is_secret);
            let lines = open.map(|line| format!("{} = {}\n", line.key, line.value)).collect::<String>();
            for line in dump(&read(&lines, FileFormat::Toml)).iter().filter(|line| !line.contains("secret")) {
                prop_assert!(dump(&settings).contains(line), "{}", line);
            }
        }
    }

    #[test]
    fn patterns_of_channels_are_written_and_read_back() {
        let text = "port = 7\n[[channels]]\nmatch = 'a*'\ndefaults = {history_size = 7}\n[[channels]]\nmatch = 'b'\n";
        let settings = read(text, FileFormat::Toml);
        let again = read(&to_toml(&settings), FileFormat::Toml);
        assert!(again.channels == settings.channels && again.port == 7);
        assert!(again.channels.rules("ab").defaults.history_size == Some(7));
        let problems = to_ini(&settings).unwrap_err().problems;
        assert_eq!(problems, ["channels: an INI file cannot hold patterns of channels"]);
    }

    #[test]
    fn the_defaults_and_unusual_values_are_read_back_equal() {
        for settings in [Settings::default(), unusual()] {
            assert_eq!(dump(&read(&to_toml(&settings), FileFormat::Toml)), dump(&settings));
            assert_eq!(dump(&read(&to_ini(&settings).unwrap(), FileFormat::Ini)), dump(&settings));
        }
    }

    #[test]
    fn the_bound_of_a_limit_is_the_value_of_its_setting() {
        let settings = Settings { max_channels: 77, header_timeout_ms: 78, ..Settings::default() };
        assert_eq!(settings.bound(Limit::Channels), Some(77));
        assert_eq!(settings.bound(Limit::HeaderTime), Some(78));
        for limit in Limit::ALL {
            assert_eq!(settings.bound(*limit).is_none(), *limit == Limit::Fields, "{limit:?}");
        }
    }

    #[test]
    fn bounds_are_numbers_and_zero_is_none_where_the_sentence_says_so() {
        for bound in bounds(&Settings::default()) {
            let says_none =
                ["; 0 means no limit", "; 0 means as many as"].iter().any(|text| bound.about.contains(text));
            assert!(bound.value.is_some() || says_none, "{bound:?}");
            assert!(!ZERO_IS_A_BOUND.contains(&bound.key) || !says_none, "{bound:?}");
        }
        let settings =
            Settings { max_sessions: 7, max_channels: 0, recorder_bytes: 0, ..Settings::default() };
        let of = |name| bounds(&settings).find(|bound| bound.key == name).unwrap().value;
        assert_eq!(["max_sessions", "max_channels", "recorder_bytes"].map(of), [Some(7), None, Some(0)]);
    }
}
