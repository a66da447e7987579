//! Rules for channels by pattern: the `[[channels]]` tables of a TOML file. The first pattern that matches a channel's name
//! applies to it.

use std::sync::Arc;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use wildmatch::WildMatch;

use super::kind::{Given, NumberKind, duration, number};
use crate::protocol::settings::{ChannelConfig, ChannelSetting, ChannelSettings};

/// Maximum number of patterns. Each new channel is compared with all of them.
const MAX_PATTERNS: usize = 1_000;
/// Longest pattern, in characters.
const MAX_PATTERN_LENGTH: usize = 1_024;
const YEAR_S: i64 = 366 * 86_400;

/// What the operator decides about the channels of one pattern. The default applies to channels that no pattern matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelRules {
    /// The names of the channels: `*` stands for any characters, `?` for one.
    #[serde(rename = "match")]
    pub pattern: String,
    /// The settings of a channel as long as no backend gives others.
    pub defaults: ChannelConfig,
    /// Settings that backends do not change.
    pub fixed: Vec<ChannelSetting>,
    /// Frames that a channel stores for catch-up, instead of `channel_frames`.
    #[serde(deserialize_with = "frames")]
    pub frames: Option<usize>,
    /// Frames older than this are not stored any longer, in seconds; 0 means any age.
    #[serde(deserialize_with = "frames_age")]
    pub frames_age_s: u64,
    pub replay: Replay,
    pub presence: PresenceMode,
    /// Interval of diffs and counts, in ms.
    #[serde(deserialize_with = "presence_interval")]
    pub presence_ms: u64,
    /// Presence events contain lists of at most this many users; 0 means of any number.
    #[serde(deserialize_with = "list_length")]
    pub lists_up_to: usize,
    /// A user that returns within this time has not left, in ms.
    #[serde(deserialize_with = "flap")]
    pub flap_ms: u64,
}

/// Which of the stored frames a connection receives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replay {
    /// Those that were published while it was subscribed, and that its client has not received.
    #[default]
    Absence,
    /// A new member receives all stored frames.
    Members,
}

/// How the members of a channel with `notify_presence` learn of users that join and part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceMode {
    /// An event for each user, for all other users (behaviour of the original).
    #[default]
    Events,
    /// The changes of an interval in one frame.
    Diffs,
    /// The numbers of users and connections, once in an interval in which they changed.
    Counts,
    /// Not at all.
    None,
}

impl Default for ChannelRules {
    fn default() -> Self {
        Self {
            pattern: String::new(),
            defaults: ChannelConfig::default(),
            fixed: Vec::new(),
            frames: None,
            frames_age_s: 0,
            replay: Replay::Absence,
            presence: PresenceMode::Events,
            presence_ms: 500,
            lists_up_to: 0,
            flap_ms: 0,
        }
    }
}

impl ChannelRules {
    /// The settings of a channel for which a backend gave these ones.
    pub fn settings(&self, given: &ChannelConfig) -> ChannelSettings {
        let mut given = given.clone();
        self.fixed.iter().for_each(|setting| given.remove(*setting));
        given.or(&self.defaults.or(&ChannelSettings::default()))
    }

    /// These rules with all values that apply to a channel: all default settings, and the number of frames.
    pub fn resolved(&self, channel_frames: usize) -> Self {
        let defaults = self.settings(&ChannelConfig::default()).into();
        Self { defaults, frames: self.frames.or(Some(channel_frames)), ..self.clone() }
    }

    /// Whether presence events contain a list of this many users.
    pub fn allows_list(&self, users: usize) -> bool {
        self.lists_up_to == 0 || users <= self.lists_up_to
    }

    /// All keys and values.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }
}

/// The rules of all patterns, in the order in which they apply.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChannelPatterns {
    patterns: Vec<(WildMatch, Arc<ChannelRules>)>,
    /// The rules of all other channels.
    others: Arc<ChannelRules>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct ChannelTables {
    channels: Vec<ChannelRules>,
}

impl ChannelPatterns {
    /// Reads the tables of a TOML text; other keys are ignored.
    pub(super) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        let ChannelTables { channels } = toml::from_str(text)?;
        Self::new(channels).map_err(toml::de::Error::custom)
    }

    /// Checks what one key alone does not show.
    pub fn new(channels: Vec<ChannelRules>) -> Result<Self, String> {
        if channels.len() > MAX_PATTERNS {
            return Err(format!("channels: there are more than {MAX_PATTERNS} patterns"));
        }
        let compile = |(index, rules): (usize, ChannelRules)| match rules.pattern.chars().count() {
            0 => Err(format!("channels: pattern {}: match is missing or empty", index + 1)),
            length if length > MAX_PATTERN_LENGTH => Err(format!(
                "channels: pattern {}: match is longer than {MAX_PATTERN_LENGTH} characters",
                index + 1
            )),
            _ => Ok((WildMatch::new(&rules.pattern), Arc::new(rules))),
        };
        let patterns = channels.into_iter().enumerate().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { patterns, ..Self::default() })
    }

    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The rules of a channel. They are shared by all channels of a pattern.
    pub fn rules(&self, name: &str) -> &Arc<ChannelRules> {
        let matching = self.patterns.iter().find(|(pattern, _)| pattern.matches(name));
        matching.map_or(&self.others, |(_, rules)| rules)
    }

    /// The tables from which these patterns are read; empty without patterns.
    pub fn to_toml(&self) -> String {
        if self.is_empty() {
            return String::new();
        }
        let channels = self.patterns.iter().map(|(_, rules)| ChannelRules::clone(rules)).collect();
        toml::to_string(&ChannelTables { channels }).unwrap_or_default()
    }
}

/// Reads a number of a rule, with the same messages as a setting.
fn read<'de, D: Deserializer<'de>, T: TryFrom<i64>>(
    key: &str,
    kind: &NumberKind,
    deserializer: D,
) -> Result<T, D::Error> {
    let value = toml::Value::deserialize(deserializer)?;
    let number = kind.read(Given::Typed(&value), &mut Vec::new());
    number.map_err(|reason| D::Error::custom(format!("{key}: {reason}")))
}

fn frames<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    read("frames", &number(0, 1_000_000), deserializer).map(Some)
}

fn frames_age<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    read("frames_age_s", &number(0, YEAR_S), deserializer)
}

fn presence_interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    read("presence_ms", &duration(10, 60_000), deserializer)
}

fn list_length<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    read("lists_up_to", &number(0, 1 << 32), deserializer)
}

fn flap<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    read("flap_ms", &duration(0, 3_600_000), deserializer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> ChannelPatterns {
        ChannelPatterns::parse(text).unwrap()
    }

    const EXAMPLE: &str = r#"
        port = 1
        [[channels]]
        match = "repo$*"
        defaults = {notify_presence = true, history_size = 100}
        fixed = ["store_frames", "notify_presence"]
        frames = 500
        presence_ms = "3s"
        [[channels]]
        match = "room-?"
        presence = "counts"
        [[channels]]
        match = "*"
        lists_up_to = 7
    "#;

    #[test]
    fn the_first_pattern_that_matches_applies() {
        let patterns = read(EXAMPLE);
        let of = |name: &str| patterns.rules(name).pattern.as_str();
        assert_eq!(
            ["repo$", "repo$a$b", "room-1", "room-é"].map(of),
            ["repo$*", "repo$*", "room-?", "room-?"]
        );
        assert_eq!(["repo", "room-", "room-12", "Room-1", ""].map(of), ["*"; 5]);
        let rules = patterns.rules("repo$1");
        assert_eq!(
            (rules.frames, rules.presence, rules.presence_ms),
            (Some(500), PresenceMode::Events, 3_000)
        );
        assert!(Arc::ptr_eq(rules, patterns.rules("repo$2")), "channels of one pattern share its rules");
        let none = read("[[channels]]\nmatch = 'a'\n");
        assert_eq!(**none.rules("b"), ChannelRules::default());
        assert_eq!(none.rules("b").settings(&ChannelConfig::default()), ChannelSettings::default());
    }

    #[test]
    fn defaults_apply_where_a_backend_gives_nothing_and_fixed_settings_always() {
        let patterns = read(EXAMPLE);
        let given = ChannelConfig {
            notify_presence: Some(false),
            store_history: Some(true),
            store_frames: Some(false),
            ..ChannelConfig::default()
        };
        let expected = ChannelSettings {
            notify_presence: true,
            store_history: true,
            history_size: 100,
            ..ChannelSettings::default()
        };
        assert_eq!(patterns.rules("repo$1").settings(&given), expected);
        let unfixed = given.or(&ChannelSettings::default());
        assert_eq!(patterns.rules("room-1").settings(&given), unfixed);
    }

    #[test]
    fn mistakes_are_reported_with_their_reason() {
        for (text, reason) in [
            ("mtach = 'a'", "unknown field `mtach`, expected one of `match`, `defaults`"),
            ("frames = 5", "pattern 1: match is missing or empty"),
            ("match = ''", "pattern 1: match is missing or empty"),
            ("match = 5", "invalid type: integer `5`, expected a string"),
            (
                "match = 'a'\nfixed = ['frames']",
                "unknown variant `frames`, expected one of `notify_presence`",
            ),
            ("match = 'a'\ndefaults = {x = 1}", "unknown field `x`, expected one of `notify_presence`"),
            ("match = 'a'\ndefaults = {notify_state = 1}", "invalid type: integer `1`, expected a boolean"),
            ("match = 'a'\ndefaults = {history_size = -1}", "invalid value: integer `-1`, expected u64"),
            ("match = 'a'\nframes = -1", "frames: -1 is not a number (0-1000000)"),
            ("match = 'a'\npresence = 'all'", "unknown variant `all`, expected one of `events`, `diffs`"),
            ("match = 'a'\nreplay = 'all'", "unknown variant `all`, expected `absence` or `members`"),
            ("match = 'a'\nframes_age_s = '1s'", "frames_age_s: \"1s\" is not a number (0-31622400)"),
            ("match = 'a'\nflap_ms = '2h'", "flap_ms: \"2h\" is not a duration (0-3600000 ms"),
            ("match = 'a'\npresence_ms = 9", "presence_ms: 9 is not a duration (10-60000 ms"),
            ("match = 'a'\n[[channels]]\nframes = 1", "pattern 2: match is missing or empty"),
        ] {
            let error = ChannelPatterns::parse(&format!("[[channels]]\n{text}\n")).unwrap_err();
            assert!(error.message().contains(reason), "{text}: {error}");
        }
        assert!(ChannelPatterns::parse("channels = 1").is_err());
        let long = format!("[[channels]]\nmatch = '{}'\n", "x".repeat(MAX_PATTERN_LENGTH + 1));
        assert!(ChannelPatterns::parse(&long).unwrap_err().message().contains("longer than 1024"));
        let many = "[[channels]]\nmatch = 'a'\n".repeat(MAX_PATTERNS + 1);
        assert!(ChannelPatterns::parse(&many).unwrap_err().message().contains("more than 1000 patterns"));
    }

    #[test]
    fn written_patterns_are_read_back_equal() {
        let patterns = read(EXAMPLE);
        assert_eq!(read(&patterns.to_toml()), patterns);
        assert_eq!(ChannelPatterns::default().to_toml(), "");
    }

    #[test]
    fn resolved_rules_show_every_value() {
        let text = read(EXAMPLE).rules("repo$1").resolved(100).to_toml();
        assert!(text.starts_with(
            "match = \"repo$*\"\nfixed = [\"store_frames\", \"notify_presence\"]\nframes = 500\n"
        ));
        assert!(
            text.contains("\nhistory_size = 100\n") && text.contains("\nstore_frames = true\n"),
            "{text}"
        );
        assert!(ChannelRules::default().resolved(100).to_toml().contains("\nframes = 100\n"));
    }

    /// The same rule as a recursive definition.
    fn matches(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], _) => name.is_empty(),
            (['*', rest @ ..], _) => (0..=name.len()).any(|skipped| matches(rest, &name[skipped..])),
            (['?', rest @ ..], [_, name @ ..]) => matches(rest, name),
            ([one, rest @ ..], [other, name @ ..]) => one == other && matches(rest, name),
            (_, []) => false,
        }
    }

    proptest! {
        #[test]
        fn patterns_match_as_defined(pattern in "[ab*?]{1,7}", name in "[ab]{0,9}") {
            let patterns = read(&format!("[[channels]]\nmatch = '{pattern}'\n"));
            let expected = matches(&Vec::from_iter(pattern.chars()), &Vec::from_iter(name.chars()));
            prop_assert_eq!(patterns.rules(&name).pattern == pattern, expected);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,60}") {
            let _ = ChannelPatterns::parse(&text);
            let _ = ChannelPatterns::parse(&format!("[[channels]]\nmatch = {text}"));
        }
    }
}
