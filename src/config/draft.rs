//! Settings while they are being gathered: what each source gives is laid over what is there.

use std::collections::BTreeMap;

use super::SettingsError;
use super::key::Key;
use super::kind::{Given, quoted};
use super::table::{KEYS, Settings};

/// The one value `signature_checker` could have: the original's default, a class of its own.
const ORIGINAL_CHECKER: &str = "channelstream.utils.DefaultSigner";

/// What to do about a name that is no setting.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// A mistake in our own file or on the command line.
    Refuse,
    /// Others use the same place for their names.
    Warn,
}

/// Settings, where they came from and what was found on the way.
#[derive(Default)]
pub(super) struct SettingsDraft {
    pub settings: Settings,
    pub sources: BTreeMap<&'static str, String>,
    pub warnings: Vec<String>,
    pub notes: Vec<String>,
    pub problems: Vec<String>,
}

impl SettingsDraft {
    /// Takes one value. A blank text means "not given", except for lists, which it empties.
    pub fn set(&mut self, name: &str, given: Given<'_>, origin: &str, unknown: Unknown) {
        match (name, Key::find(name)) {
            ("secret", _) => self.set_single_secret(given, origin),
            ("signature_checker", _) => self.check_signature_checker(given, origin),
            (_, Some(key)) => {
                if name != key.name {
                    self.notes.push(format!("{name}: this is the old name of {} (from {origin})", key.name));
                }
                self.read(key, name, given, origin);
            }
            (_, None) => self.unknown(name, origin, unknown),
        }
    }

    /// Refuses a source that gives one setting under two names, since one value would hide the other.
    pub fn refuse_both<'a>(&mut self, names: impl Iterator<Item = &'a str>, origin: &str) {
        let names = names.collect::<std::collections::HashSet<_>>();
        let pairs = KEYS.iter().filter_map(|key| Some((key.old_name?, key.name)));
        for (one, other) in pairs.chain([("secret", "secrets")]) {
            if names.contains(one) && names.contains(other) {
                self.problems.push(format!(
                    "{one}: {other} is given too and means the same setting, give one of the two (from {origin})"
                ));
            }
        }
    }

    /// The draft itself if nothing is wrong with it.
    pub fn finish(self) -> Result<Self, SettingsError> {
        match self.problems.is_empty() {
            true => Ok(self),
            false => Err(SettingsError { problems: self.problems }),
        }
    }

    fn read(&mut self, key: &Key, name: &str, given: Given<'_>, origin: &str) {
        if given.is_blank() && !(key.takes_blank)() {
            return self.warn_of_blank(key, name, origin);
        }
        let mut notes = Vec::new();
        match (key.read)(&mut self.settings, given, &mut notes) {
            Ok(()) => drop(self.sources.insert(key.name, origin.to_owned())),
            Err(reason) => self.problems.push(format!("{name}: {reason} (from {origin})")),
        }
        self.warnings.extend(notes.into_iter().map(|note| format!("{name}: {note} (from {origin})")));
    }

    /// A secret that is given as nothing is seldom meant: a variable was not set where it was to be filled in.
    fn warn_of_blank(&mut self, key: &Key, name: &str, origin: &str) {
        if (key.is_secret)() && key.name != "cookie_secret" {
            self.warnings.push(format!("{name}: it is empty and counts as not given (from {origin})"));
        }
    }

    fn set_single_secret(&mut self, given: Given<'_>, origin: &str) {
        let Some(key) = KEYS.iter().find(|key| key.name == "secrets") else { return };
        match given.text() {
            Some(_) if given.is_blank() => self.warn_of_blank(key, "secret", origin),
            Some(text) => self.read(key, "secret", Given::Typed(&vec![text].into()), origin),
            None => self.problems.push(format!("secret: a text is expected (from {origin})")),
        }
    }

    fn check_signature_checker(&mut self, given: Given<'_>, origin: &str) {
        let text = given.text().map(str::trim);
        if text.is_none_or(|text| !text.is_empty() && text != ORIGINAL_CHECKER) {
            let given = text.map(quoted).unwrap_or_else(|| "this".into());
            self.problems.push(format!(
                "signature_checker: {given} cannot be used, Python classes cannot be loaded here; the signatures of \
                 {ORIGINAL_CHECKER} are always checked (from {origin})"
            ));
        }
    }

    fn unknown(&mut self, name: &str, origin: &str, unknown: Unknown) {
        let near = near_match(name).map(|near| format!(", did you mean {near}?")).unwrap_or_default();
        let name = name.chars().take(100).collect::<String>();
        match unknown {
            Unknown::Refuse => self.problems.push(format!("{name}: unknown setting{near} (from {origin})")),
            Unknown::Warn => {
                self.warnings.push(format!("{name}: unknown setting, ignored{near} (from {origin})"))
            }
        }
    }
}

/// The known name that is most similar to this one; with an old name comes the new one.
fn near_match(name: &str) -> Option<String> {
    let name = name.to_lowercase().replace('-', "_");
    let old =
        KEYS.iter().filter_map(|key| Some((key.old_name?, format!("{}, now {}", key.old_name?, key.name))));
    let names =
        KEYS.iter().map(|key| key.name).chain(["secret"]).map(|name| (name, name.to_owned())).chain(old);
    let scored = names.map(|(known, text)| (strsim::normalized_damerau_levenshtein(&name, known), text));
    scored.filter(|(score, _)| *score >= 0.6).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(name: &str, given: Given<'_>) -> SettingsDraft {
        let mut draft = SettingsDraft::default();
        draft.set(name, given, "here", Unknown::Refuse);
        draft
    }

    #[test]
    fn values_remember_where_they_came_from() {
        let draft = draft("port", Given::Text("9000"));
        assert_eq!((draft.settings.port, draft.sources["port"].as_str()), (9000, "here"));
    }

    #[test]
    fn problems_name_key_reason_and_source() {
        let bad = draft("port", Given::Text("70000"));
        assert_eq!(bad.problems, ["port: 70000 is not a port (0-65535) (from here)"]);
        assert!(bad.finish().is_err());
    }

    #[test]
    fn unknown_names_get_a_near_match() {
        assert_eq!(
            draft("prot", Given::Text("1")).problems,
            ["prot: unknown setting, did you mean port? (from here)"]
        );
        let near = |name: &str| near_match(name);
        assert_eq!(near("grace_time").as_deref(), Some("grace_time_ms"));
        assert_eq!(near("LOG-LEVEL").as_deref(), Some("log_level"));
        assert_eq!(near("zzz"), None);
        assert_eq!(near("pong_timout").as_deref(), Some("pong_timeout"));
        assert_eq!(
            near("socket_idle_timout_ms").as_deref(),
            Some("socket_idle_timeout_ms, now pong_timeout")
        );
    }

    #[test]
    fn blank_texts_are_not_given_except_for_lists() {
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
        assert_eq!(draft.settings.allow_posting_from, crate::config::AllowedPeers::Only(Vec::new()));
    }

    #[test]
    fn a_single_secret_is_no_list() {
        let draft = draft("secret", Given::Text("[\"a\"],\nb \n"));
        assert_eq!(draft.settings.secrets, [crate::config::Secret::new("[\"a\"],\nb")]);
        assert!(draft.warnings[0].starts_with("secret: blanks at its ends"), "{:?}", draft.warnings);
        let mut both = SettingsDraft::default();
        both.refuse_both(["secret", "port", "secrets"].into_iter(), "here");
        assert_eq!(both.problems.len(), 1);
    }

    #[test]
    fn only_the_original_signature_checker_is_accepted() {
        for good in ["", " ", ORIGINAL_CHECKER] {
            assert!(draft("signature_checker", Given::Text(good)).finish().is_ok());
        }
        assert!(
            draft("signature_checker", Given::Text("my.Signer")).problems[0].contains("\"my.Signer\" cannot")
        );
        assert!(draft("signature_checker", Given::Typed(&1.into())).finish().is_err());
    }
}
