//! What the nodes of a cluster must agree on: secrets, of which they state fingerprints, and settings. Pure.

use crate::config::{EngineSetting, Settings, shown};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The settings that must be equal at all nodes, because each node applies them to what all nodes share.
const SHARED: [&str; 24] = [
    "channel_frames",
    "user_frames",
    "max_history_size",
    "publish_window_ms",
    "max_channels",
    "max_blocks",
    "max_connections_per_user",
    "max_channels_per_connection",
    "max_user_state_keys",
    "max_user_state_bytes",
    "max_frame_bytes",
    "publish_rate_per_secret",
    "unattached_timeout",
    "leave_delay",
    "grace_time_ms",
    "user_idle_timeout_ms",
    "engine_channel_idle_ms",
    "engine_beat_ms",
    "engine_dead_ms",
    "require_bound_signatures",
    "require_tokens",
    "token_audience",
    "token_issuer",
    "date_in_frames",
];
/// Longer values are stated as digests.
const MOST_CHARS: usize = 40;

/// The settings that nodes compare, as texts.
pub fn shared_settings(settings: &Settings) -> BTreeMap<String, String> {
    if settings.engine == EngineSetting::Embedded {
        return BTreeMap::new();
    }
    let shown = shown(settings).into_iter().filter(|shown| SHARED.contains(&shown.key));
    let mut texts: BTreeMap<_, _> = shown.map(|shown| (shown.key.to_owned(), short(shown.value))).collect();
    texts.insert("channels".to_owned(), short(format!("{:?}", settings.channels)));
    texts
}

fn short(value: String) -> String {
    match value.len() {
        0..=MOST_CHARS => value,
        _ => Sha256::digest(value).iter().take(4).map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// For each node the names in which it differs from what more than half of the nodes state; without such a majority, all
/// nodes differ. `stated` has for each node its texts by name. A name that a node does not state is left out.
pub fn differences(stated: &[BTreeMap<&str, &str>]) -> Vec<Vec<String>> {
    let names: BTreeSet<&str> = stated.iter().flat_map(BTreeMap::keys).copied().collect();
    let mut differing = vec![Vec::new(); stated.len()];
    for name in names {
        let texts = || stated.iter().filter_map(|texts| texts.get(name));
        let is_common = |text: &str| 2 * texts().filter(|other| **other == text).count() > texts().count();
        for (texts, differing) in stated.iter().zip(&mut differing) {
            if texts.get(name).is_some_and(|text| !is_common(text)) {
                differing.push(name.to_owned());
            }
        }
    }
    differing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differing(nodes: &[&[(&'static str, &'static str)]]) -> Vec<Vec<String>> {
        differences(&nodes.iter().map(|texts| texts.iter().copied().collect()).collect::<Vec<_>>())
    }

    #[test]
    fn the_minority_differs() {
        let [none, a]: [Vec<String>; 2] = [vec![], vec!["a".into()]];
        assert_eq!(
            differing(&[&[("a", "1")], &[("a", "2")], &[("a", "1")]]),
            [none.clone(), a.clone(), none.clone()]
        );
        assert_eq!(differing(&[&[("a", "1")], &[("a", "2")]]), [a.clone(), a.clone()]);
        assert_eq!(
            differing(&[&[("a", "1")], &[("b", "2")], &[]]),
            [none.clone(), none.clone(), none.clone()]
        );
        assert_eq!(differing(&[&[("a", "1"), ("b", "1")][..]; 3]), [none.clone(), none.clone(), none]);
    }

    #[test]
    fn every_shared_setting_exists_and_no_value_is_long() {
        let settings =
            Settings { engine: EngineSetting::Redis, token_audience: "x".repeat(100), ..Settings::default() };
        let texts = shared_settings(&settings);
        assert_eq!(texts.len(), SHARED.len() + 1, "{texts:?}");
        assert!(texts.values().all(|text| text.len() <= MOST_CHARS));
        let other = shared_settings(&Settings { channel_frames: 7, ..settings });
        assert_eq!(texts.iter().filter(|(name, text)| other[*name] != **text).count(), 1);
        assert!(shared_settings(&Settings::default()).is_empty(), "one server agrees with itself");
    }
}
