//! Strings, values written as strings (names, ids, times), and values that are passed through: payloads, and the values
//! of a user's state.

use super::{FieldKind, Read, fault, reference};
use crate::api::body::RequestLimits;
use crate::broker::requests::MAX_ENDING_TEXT;
use crate::protocol::time::Timestamp;
use crate::protocol::value::{Payload, StateValue};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

/// A string that is not empty and has at most a given number of characters.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    most: fn(&RequestLimits) -> usize,
}

pub(crate) const CHANNEL_NAME: Name = Name { most: |limits| limits.max_channel_name };
/// A public key of a state.
pub(crate) const STATE_KEY: Name = Name { most: |limits| limits.max_state_key };
pub(crate) const USER_NAME: Name = Name { most: |limits| limits.max_user_name };

impl Name {
    /// Whether a text is within the limit. Characters are counted only where the number of bytes does not decide.
    pub(crate) fn fits(self, text: &str, limits: &RequestLimits) -> bool {
        let most = (self.most)(limits);
        !text.is_empty() && (text.len() <= most || text.chars().count() <= most)
    }
}

impl FieldKind for Name {
    type Value = String;

    fn read(&self, raw: &RawValue, limits: &RequestLimits) -> Read<String> {
        let text = text(raw)?;
        if self.fits(&text, limits) {
            return Ok(text);
        }
        Err(fault(format!("Length must be between 1 and {}.", (self.most)(limits))))
    }

    fn schema(&self, limits: &RequestLimits) -> Value {
        json!({ "type": "string", "minLength": 1, "maxLength": (self.most)(limits) })
    }
}

/// A string of any length.
pub(crate) fn text(raw: &RawValue) -> Read<String> {
    decoded(raw).ok_or_else(|| fault("Not a valid string."))
}

pub(super) fn decoded(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// A text of any length.
#[derive(Clone, Copy)]
pub(crate) struct Text;

impl FieldKind for Text {
    type Value = String;

    fn read(&self, raw: &RawValue, _: &RequestLimits) -> Read<String> {
        text(raw)
    }

    fn schema(&self, _: &RequestLimits) -> Value {
        json!({ "type": "string" })
    }
}

/// A text for a close frame: at most [`MAX_ENDING_TEXT`] bytes in UTF-8.
#[derive(Clone, Copy)]
pub(crate) struct CloseText;

impl FieldKind for CloseText {
    type Value = String;

    fn read(&self, raw: &RawValue, _: &RequestLimits) -> Read<String> {
        let text = text(raw)?;
        match text.len() {
            ..=MAX_ENDING_TEXT => Ok(text),
            _ => Err(fault(format!("Longer than {MAX_ENDING_TEXT} bytes."))),
        }
    }

    fn schema(&self, _: &RequestLimits) -> Value {
        json!({ "type": "string", "maxLength": MAX_ENDING_TEXT })
    }
}

/// A UUID in each form that the original accepts.
#[derive(Clone, Copy)]
pub(crate) struct Id;

const NO_UUID: &str = "Not a valid UUID.";

impl FieldKind for Id {
    type Value = Uuid;

    fn read(&self, raw: &RawValue, _: &RequestLimits) -> Read<Uuid> {
        decoded(raw).as_deref().map_or_else(|| Err(fault(NO_UUID)), uuid_text)
    }

    fn schema(&self, _: &RequestLimits) -> Value {
        json!({ "type": "string", "format": "uuid" })
    }
}

/// The same from plain text, as in a query: any case, dashes anywhere or none, braces, `urn:uuid:`.
pub(crate) fn uuid_text(text: &str) -> Read<Uuid> {
    if let Ok(uuid) = Uuid::try_parse(text) {
        return Ok(uuid);
    }
    let bare = text.replace("urn:", "").replace("uuid:", "").replace('-', "");
    let bare = bare.trim_matches(['{', '}']);
    // Exactly 32 digits: the library would accept dashes and braces a second time.
    let digits = bare.len() == 32 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
    let uuid = if digits { Uuid::try_parse(bare).ok() } else { None };
    uuid.ok_or_else(|| fault(NO_UUID))
}

/// A date and time, with or without a zone.
#[derive(Clone, Copy)]
pub(crate) struct Time;

impl FieldKind for Time {
    type Value = Timestamp;

    fn read(&self, raw: &RawValue, _: &RequestLimits) -> Read<Timestamp> {
        decoded(raw).as_deref().and_then(Timestamp::parse).ok_or_else(|| fault("Not a valid datetime."))
    }

    fn schema(&self, _: &RequestLimits) -> Value {
        reference("Time")
    }
}

/// A JSON object with arbitrary keys.
#[derive(Clone, Copy)]
pub(crate) struct Json;

impl FieldKind for Json {
    type Value = Payload;

    fn read(&self, raw: &RawValue, _: &RequestLimits) -> Read<Payload> {
        Payload::compact(raw.get()).ok_or_else(|| fault("Not a valid mapping type."))
    }

    fn schema(&self, _: &RequestLimits) -> Value {
        json!({ "type": "object" })
    }
}

/// A value of a user's state: any JSON value except lists and objects.
#[derive(Clone, Copy)]
pub(crate) struct State;

impl FieldKind for State {
    type Value = StateValue;

    const TAKES_NULL: bool = true;

    fn read(&self, raw: &RawValue, _: &RequestLimits) -> Read<StateValue> {
        if raw.get().starts_with('"') {
            return text(raw).map(|text| StateValue::Text(text.into()));
        }
        let wrong = || fault("Value is not type of string, integer, boolean or float.");
        StateValue::from_json(raw.get()).ok_or_else(wrong)
    }

    fn schema(&self, _: &RequestLimits) -> Value {
        reference("StateValue")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn uuids_are_read_in_all_forms_of_the_original() {
        let id = Uuid::try_parse("0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9").unwrap();
        for text in [
            "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
            "0A1B2C3D-4E5F-6071-8293-A4B5C6D7E8F9",
            "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
            "{0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9}",
            "{0a1b2c3d4e5f60718293a4b5c6d7e8f9",
            "urn:uuid:0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
            "urn:uuid:0a1b2c3d4e5f60718293a4b5c6d7e8f9",
            "0a1b-2c3d-4e5f-6071-8293-a4b5-c6d7-e8f9",
        ] {
            assert_eq!(uuid_text(text), Ok(id), "{text}");
        }
        for text in ["", "zz", "0a1b2c3d4e5f60718293a4b5c6d7e8f", "0x1b2c3d4e5f60718293a4b5c6d7e8f9", "é"] {
            assert_eq!(uuid_text(text), Err(json!([NO_UUID])), "{text}");
        }
        let limits = RequestLimits::from(&crate::config::Settings::default());
        assert_eq!(Id.read(raw("7"), &limits), Err(json!([NO_UUID])));
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        let long = "😀".repeat(256);
        let limits = RequestLimits::from(&crate::config::Settings::default());
        assert!(CHANNEL_NAME.fits(&long, &limits));
        assert!(!CHANNEL_NAME.fits(&format!("{long}x"), &limits));
        assert!(!CHANNEL_NAME.fits("", &limits));
    }

    #[test]
    fn half_a_surrogate_pair_is_not_a_string() {
        assert_eq!(text(raw(r#""x\ud800""#)), Err(json!(["Not a valid string."])));
    }

    #[test]
    fn states_refuse_trees_and_half_surrogate_pairs() {
        let limits = RequestLimits::from(&crate::config::Settings::default());
        let read = |text: &str| State.take(serde_json::from_str(text).unwrap(), &limits);
        assert_eq!(read("null"), Ok(StateValue::Null));
        assert_eq!(read(r#""\ud800""#), Err(json!(["Not a valid string."])));
        for tree in ["[1]", "{}"] {
            assert_eq!(read(tree), Err(json!(["Value is not type of string, integer, boolean or float."])));
        }
    }
}
