//! Reads the outermost JSON value of a body, within limits on its content.

use super::answer::Invalid;
use super::fields::{FieldTable, Fields, nested};
use crate::config::Settings;
use crate::protocol::json::{self, MalformedJson};
use serde_json::value::RawValue;

/// Limits on the content of a body, in addition to its size. Exceeding one is an error of the field concerned.
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

/// The whole body as one well-formed value within the limit of nesting.
pub(super) fn root<'a>(body: &'a [u8], limits: &RequestLimits) -> Result<&'a RawValue, Invalid> {
    parsed(text(body, limits)?)
}

/// The body as text that is safe to parse.
pub(super) fn text<'a>(body: &'a [u8], limits: &RequestLimits) -> Result<&'a str, Invalid> {
    json::check(body, limits.max_json_depth).map_err(|malformed| Invalid::schema(malformed.to_string()))
}

/// The outermost value of a text.
pub(super) fn parsed(text: &str) -> Result<&RawValue, Invalid> {
    serde_json::from_str(text).map_err(|error| Invalid::schema(MalformedJson::from_serde(&error).to_string()))
}

/// Reads a body that must be an object, with these fields.
pub(crate) fn object<'a, T>(
    body: &'a [u8],
    limits: &RequestLimits,
    fields: FieldTable,
    read: impl FnOnce(&mut Fields<'a>) -> Option<T>,
) -> Result<T, Invalid> {
    let text = text(body, limits)?;
    let read = match Fields::of(text, fields, limits) {
        Some(fields) => fields.read_all(read),
        // The text is no object or no JSON at all: the slower parser reports which.
        None => nested(parsed(text)?, fields, limits, read),
    };
    read.map_err(Invalid::from)
}
