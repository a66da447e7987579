//! How large a request may be beyond its number of bytes.

use crate::config::Settings;

/// Bounds on what a body holds; over a bound is an error on the field concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Deepest nesting of lists and objects.
    pub max_json_depth: usize,
    /// Most items of any list or mapping.
    pub max_list_items: usize,
    /// Most channels named in one list or mapping.
    pub max_channels_per_request: usize,
    /// Largest frame a message or edit may become, in bytes.
    pub max_frame_bytes: usize,
    /// Longest name of a channel, in characters.
    pub max_channel_name: usize,
    /// Longest name of a user, in characters.
    pub max_user_name: usize,
    /// Longest public state key, in characters.
    pub max_state_key: usize,
}

impl From<&Settings> for RequestLimits {
    fn from(settings: &Settings) -> Self {
        Self {
            max_json_depth: settings.max_json_depth,
            max_list_items: settings.max_list_items,
            max_channels_per_request: settings.max_channels_per_request,
            max_frame_bytes: settings.max_frame_bytes,
            max_channel_name: settings.max_channel_name_length,
            max_user_name: settings.max_user_name_length,
            max_state_key: settings.max_state_key_length,
        }
    }
}
