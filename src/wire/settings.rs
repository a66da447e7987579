//! What a channel does with what passes through it.

use serde::Serialize;

/// Settings of a channel, as `channel_configs` and `/channel_config` give them and channel infos show them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChannelSettings {
    /// Tell members when users come and go.
    pub notify_presence: bool,
    /// Keep messages for `history`.
    pub store_history: bool,
    /// Messages kept; 0 never cuts (behaviour of the original).
    pub history_size: u64,
    /// Presence events carry the list of users.
    pub broadcast_presence_with_user_lists: bool,
    /// Tell members when a user's state changes.
    pub notify_state: bool,
    /// Keep frames for clients that come back.
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
