//! The settings that limit something, and the setting behind each limit.

use super::table::{KEYS, Key, Settings};
use crate::telemetry::limits::Limit;

/// A setting that limits something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingBound {
    /// Its key.
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

#[cfg(test)]
mod tests {
    use super::*;

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
