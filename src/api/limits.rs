//! Limits on the content of a request body, in addition to its size in bytes.

use crate::config::Settings;

/// Limits on the content of a body. Exceeding one is an error of the field concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Maximum nesting of lists and objects.
    pub max_json_depth: usize,
    /// Maximum number of items of a list or mapping.
    pub max_list_items: usize,
    /// Maximum number of channels named in one list or mapping.
    pub max_channels_per_request: usize,
    /// Maximum size of the frame made of a message or edit, in bytes.
    pub max_frame_bytes: usize,
    /// Maximum length of a channel name, in characters.
    pub max_channel_name: usize,
    /// Maximum length of a user name, in characters.
    pub max_user_name: usize,
    /// Maximum length of a public state key, in characters.
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
