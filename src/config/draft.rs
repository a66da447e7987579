//! Settings while they are collected: the values of each source override those of the sources before it.

use std::collections::{BTreeMap, BTreeSet};

use super::SettingsError;
use super::engine::{EngineSetting, FRAME_BYTES_WITH_REDIS};
use super::kind::{Given, quoted};
use super::sources::CHANNELS;
use super::table::{KEYS, Key, Settings};

/// The one value that `signature_checker` could have: the original's default, a class of its own.
const ORIGINAL_CHECKER: &str = "channelstream.utils.DefaultSigner";

/// How an unknown name is treated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// In a TOML file and on the command line it is a mistake.
    Refuse,
    /// In the other sources other programs may use the same name.
    Warn,
}

/// Settings, their sources, and the messages about them.
#[derive(Default)]
pub(super) struct SettingsDraft {
    pub settings: Settings,
    pub sources: BTreeMap<&'static str, String>,
    pub problems: Vec<String>,
    pub warnings: Vec<String>,
    pub notes: Vec<String>,
}

impl SettingsDraft {
    /// Adds the values of one source, each with its own origin for messages.
    pub fn add(&mut self, source: &str, unknown: Unknown, values: &[(&str, Given<'_>, &str)]) {
        self.refuse_two_names(values, source);
        for (name, given, origin) in values {
            self.set(name, *given, origin, unknown);
        }
    }

    /// Adds one value. A blank text means "not given", except for lists, which it empties.
    fn set(&mut self, name: &str, given: Given<'_>, origin: &str, unknown: Unknown) {
        match (name, Key::find(name)) {
            ("secret", _) => self.set_single_secret(given, origin),
            ("signature_checker", _) => self.check_signature_checker(given, origin),
            (_, Some(key)) => {
                if name != key.name {
                    self.notes.push(format!("{name}: this is the old name of {} (from {origin})", key.name));
                }
                self.read(key, name, given, origin);
            }
            (_, None) => self.report_unknown(name, origin, unknown),
        }
    }

    /// Refuses a source that gives one setting under two names, since one value would hide the other. An empty line of an
    /// INI file gives none.
    fn refuse_two_names(&mut self, values: &[(&str, Given<'_>, &str)], source: &str) {
        let given = values.iter().filter(|(_, given, _)| !matches!(given, Given::Ini("")));
        let names = BTreeSet::from_iter(given.map(|(name, ..)| *name));
        let pairs =
            KEYS.iter().filter_map(|key| Some((key.old_name?, key.name))).chain([("secret", "secrets")]);
        for (one, other) in pairs.filter(|(one, other)| names.contains(one) && names.contains(other)) {
            self.problems.push(format!(
                "{one}: {other} is given too and means the same setting, give one of the two (from {source})"
            ));
        }
    }

    pub fn finish(mut self) -> Result<Self, SettingsError> {
        if self.settings.engine == EngineSetting::Redis && !self.sources.contains_key("max_frame_bytes") {
            self.settings.max_frame_bytes = FRAME_BYTES_WITH_REDIS;
        }
        SettingsError::unless_empty(self.problems).map(|()| Self { problems: Vec::new(), ..self })
    }

    fn read(&mut self, key: &Key, name: &str, given: Given<'_>, origin: &str) {
        if given.is_blank() && !(key.info)().takes_blank {
            return self.warn_of_blank(key, name, origin);
        }
        let mut notes = Vec::new();
        match (key.read)(&mut self.settings, given, &mut notes) {
            Ok(()) => drop(self.sources.insert(key.name, origin.to_owned())),
            Err(reason) => self.problems.push(format!("{name}: {reason} (from {origin})")),
        }
        self.warnings.extend(notes.into_iter().map(|note| format!("{name}: {note} (from {origin})")));
    }

    /// An empty secret is probably a mistake: a variable that should have filled it in was not set.
    fn warn_of_blank(&mut self, key: &Key, name: &str, origin: &str) {
        if (key.info)().is_secret && key.name != "cookie_secret" {
            self.warnings.push(format!("{name}: it is empty and counts as not given (from {origin})"));
        }
    }

    fn set_single_secret(&mut self, given: Given<'_>, origin: &str) {
        let Some(key) = Key::find("secrets") else { return };
        match given.expect_text() {
            Ok(_) if given.is_blank() => self.warn_of_blank(key, "secret", origin),
            Ok(text) => self.read(key, "secret", Given::Typed(&vec![text].into()), origin),
            Err(reason) => self.problems.push(format!("secret: {reason} (from {origin})")),
        }
    }

    fn check_signature_checker(&mut self, given: Given<'_>, origin: &str) {
        let text = given.text().map(str::trim);
        if text.is_none_or(|text| !text.is_empty() && text != ORIGINAL_CHECKER) {
            let given = text.map(quoted).unwrap_or_else(|| "this".into());
            self.problems.push(format!(
                "signature_checker: {given} cannot be used, because this server cannot load Python classes; it always \
                 checks the signatures of {ORIGINAL_CHECKER} (from {origin})"
            ));
        }
    }

    fn report_unknown(&mut self, name: &str, origin: &str, unknown: Unknown) {
        let near = match name {
            CHANNELS => Some(", patterns of channels are tables [[channels]] of a TOML file".into()),
            _ => near_match(name).map(|near| format!(", did you mean {near}?")),
        };
        let near = near.unwrap_or_default();
        let name = name.chars().take(100).collect::<String>();
        match unknown {
            Unknown::Refuse => self.problems.push(format!("{name}: unknown setting{near} (from {origin})")),
            Unknown::Warn => {
                self.warnings.push(format!("{name}: unknown setting, ignored{near} (from {origin})"))
            }
        }
    }
}

/// The known name that is most similar to this one; an old name is followed by the new one.
fn near_match(name: &str) -> Option<String> {
    let name = name.to_lowercase().replace('-', "_");
    let old = |key: &Key| key.old_name.map(|old| (old, format!("{old}, now {}", key.name)));
    let current = KEYS.iter().map(|key| key.name).chain(["secret"]).map(|name| (name, name.to_owned()));
    let names = current.chain(KEYS.iter().filter_map(old));
    let scored = names.map(|(known, text)| (strsim::normalized_damerau_levenshtein(&name, known), text));
    scored.filter(|(score, _)| *score >= 0.6).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::super::AllowedPeers;
    use super::*;

    fn draft(name: &str, given: Given<'_>) -> SettingsDraft {
        let mut draft = SettingsDraft::default();
        draft.set(name, given, "here", Unknown::Refuse);
        draft
    }

    #[test]
    fn values_keep_their_source_and_problems_name_it() {
        let good = draft("port", Given::Text("9000"));
        assert_eq!((good.settings.port, good.sources["port"].as_str()), (9000, "here"));
        let bad = draft("port", Given::Text("70000"));
        assert_eq!(bad.problems, ["port: 70000 is not a port (0-65535) (from here)"]);
        assert!(bad.finish().is_err());
    }

    #[test]
    fn unknown_names_get_a_suggestion() {
        let problems = draft("prot", Given::Text("1")).problems;
        assert_eq!(problems, ["prot: unknown setting, did you mean port? (from here)"]);
        for (name, suggestion) in [
            ("grace_time", Some("grace_time_ms")),
            ("LOG-LEVEL", Some("log_level")),
            ("pong_timout", Some("pong_timeout")),
            ("socket_idle_timout_ms", Some("socket_idle_timeout_ms, now pong_timeout")),
            ("zzz", None),
        ] {
            assert_eq!(near_match(name).as_deref(), suggestion);
        }
    }

    #[test]
    fn frames_through_redis_are_small_unless_a_size_is_given() {
        let size = |settings: &[(&str, &str)]| {
            let mut draft = SettingsDraft::default();
            for (name, text) in settings {
                draft.set(name, Given::Text(text), "here", Unknown::Refuse);
            }
            draft.finish().unwrap().settings.max_frame_bytes
        };
        assert_eq!(size(&[("engine", "redis")]), 256 << 10);
        assert_eq!(size(&[("max_frame_bytes", "4MiB"), ("engine", "redis")]), 4 << 20);
        assert_eq!(size(&[("engine", "embedded")]), 4 << 20);
    }

    #[test]
    fn blank_texts_mean_not_given_except_for_lists() {
        let mut draft = SettingsDraft::default();
        for name in
            ["port", "debug", "secret", "secrets", "admin_secret", "http_scheme", "allow_posting_from"]
        {
            draft.set(name, Given::Text(" "), "here", Unknown::Refuse);
        }
        let draft = draft.finish().ok().unwrap();
        let warned = ["secret", "secrets", "admin_secret"]
            .map(|name| format!("{name}: it is empty and counts as not given (from here)"));
        assert_eq!(draft.warnings, warned);
        assert_eq!(draft.sources.into_keys().collect::<Vec<_>>(), ["allow_posting_from"]);
        assert_eq!(draft.settings.allow_posting_from, AllowedPeers::Only(Vec::new()));
    }

    #[test]
    fn only_the_original_signature_checker_is_accepted() {
        for good in ["", " ", ORIGINAL_CHECKER] {
            assert!(draft("signature_checker", Given::Text(good)).finish().is_ok());
        }
        let problems = draft("signature_checker", Given::Text("my.Signer")).problems;
        assert!(problems[0].contains("\"my.Signer\" cannot"), "{problems:?}");
        assert!(draft("signature_checker", Given::Typed(&1.into())).finish().is_err());
    }
}
