//! The settings of channels.

use serde::{Deserialize, Serialize};
use std::io::Write;

/// The settings of a channel, as in `channel_configs`, `/channel_config` and channel infos.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChannelSettings {
    /// Notify members when users join and leave.
    pub notify_presence: bool,
    /// Store messages for `history`.
    pub store_history: bool,
    /// The maximum number of stored messages. 0 means no limit (behaviour of the original).
    pub history_size: u64,
    /// Include the list of users in presence events.
    pub broadcast_presence_with_user_lists: bool,
    /// Notify members when a user's state changes.
    pub notify_state: bool,
    /// Store frames for the catch-up of returning clients.
    pub store_frames: bool,
}

impl Default for ChannelSettings {
    fn default() -> Self {
        Self {
            notify_presence: false,
            store_history: false,
            history_size: 10,
            broadcast_presence_with_user_lists: false,
            notify_state: false,
            store_frames: true,
        }
    }
}

impl ChannelSettings {
    /// Appends the settings as a JSON object. Every answer of /connect and /subscribe contains settings; this costs a
    /// tenth of a serializer.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let flag = |out: &mut Vec<u8>, name: &[u8], value: bool| {
            out.extend_from_slice(name);
            out.extend_from_slice(if value { b"true" } else { b"false" });
        };
        flag(out, b"{\"notify_presence\":", self.notify_presence);
        flag(out, b",\"store_history\":", self.store_history);
        // Writing to a Vec cannot fail.
        let _ = write!(out, ",\"history_size\":{}", self.history_size);
        let lists = self.broadcast_presence_with_user_lists;
        flag(out, b",\"broadcast_presence_with_user_lists\":", lists);
        flag(out, b",\"notify_state\":", self.notify_state);
        flag(out, b",\"store_frames\":", self.store_frames);
        out.push(b'}');
    }
}

/// Settings that a request or an operator gives for a channel. The others keep the channel's defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_presence: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_history: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broadcast_presence_with_user_lists: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_state: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_frames: Option<bool>,
}

/// The name of a setting of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelSetting {
    NotifyPresence,
    StoreHistory,
    HistorySize,
    BroadcastPresenceWithUserLists,
    NotifyState,
    StoreFrames,
}

impl ChannelConfig {
    /// The settings of a channel with these defaults.
    pub fn or(&self, defaults: &ChannelSettings) -> ChannelSettings {
        ChannelSettings {
            notify_presence: self.notify_presence.unwrap_or(defaults.notify_presence),
            store_history: self.store_history.unwrap_or(defaults.store_history),
            history_size: self.history_size.unwrap_or(defaults.history_size),
            broadcast_presence_with_user_lists: self
                .broadcast_presence_with_user_lists
                .unwrap_or(defaults.broadcast_presence_with_user_lists),
            notify_state: self.notify_state.unwrap_or(defaults.notify_state),
            store_frames: self.store_frames.unwrap_or(defaults.store_frames),
        }
    }

    /// Removes one setting.
    pub fn remove(&mut self, setting: ChannelSetting) {
        match setting {
            ChannelSetting::NotifyPresence => self.notify_presence = None,
            ChannelSetting::StoreHistory => self.store_history = None,
            ChannelSetting::HistorySize => self.history_size = None,
            ChannelSetting::BroadcastPresenceWithUserLists => self.broadcast_presence_with_user_lists = None,
            ChannelSetting::NotifyState => self.notify_state = None,
            ChannelSetting::StoreFrames => self.store_frames = None,
        }
    }
}

/// All of these settings.
impl From<ChannelSettings> for ChannelConfig {
    fn from(settings: ChannelSettings) -> Self {
        Self {
            notify_presence: Some(settings.notify_presence),
            store_history: Some(settings.store_history),
            history_size: Some(settings.history_size),
            broadcast_presence_with_user_lists: Some(settings.broadcast_presence_with_user_lists),
            notify_state: Some(settings.notify_state),
            store_frames: Some(settings.store_frames),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_output_equals_that_of_a_serializer(flags in any::<[bool; 5]>(), history_size in any::<u64>()) {
            let [notify_presence, store_history, broadcast_presence_with_user_lists, notify_state, store_frames] =
                flags;
            let settings = ChannelSettings {
                notify_presence,
                store_history,
                history_size,
                broadcast_presence_with_user_lists,
                notify_state,
                store_frames,
            };
            let mut out = Vec::new();
            settings.write_json(&mut out);
            prop_assert_eq!(out, serde_json::to_vec(&settings).unwrap());
        }
    }
}
