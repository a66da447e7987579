//! The value of the setting behind each limit.

use super::Settings;
use super::table::KEYS;
use crate::observe::limits::Limit;

impl Settings {
    /// The bound that a limit has here, in the setting's unit; 0 where it is off. None for a limit that stands for
    /// several settings.
    #[must_use]
    pub fn bound(&self, limit: Limit) -> Option<u64> {
        let key = KEYS.iter().find(|key| key.name == limit.setting())?;
        u64::try_from((key.show)(self).as_integer()?).ok()
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
}
