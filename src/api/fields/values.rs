//! Values that are passed through: payloads, and the values of a user's state.

use super::strings::text;
use super::{FieldKind, Read, fault, reference};
use crate::api::limits::RequestLimits;
use crate::protocol::value::{Payload, StateValue};
use serde_json::value::RawValue;
use serde_json::{Value, json};

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
    use crate::config::Settings;

    #[test]
    fn states_refuse_trees_and_half_surrogate_pairs() {
        let limits = RequestLimits::from(&Settings::default());
        let read = |text: &str| State.take(serde_json::from_str(text).unwrap(), &limits);
        assert_eq!(read("null"), Ok(StateValue::Null));
        assert_eq!(read(r#""\ud800""#), Err(json!(["Not a valid string."])));
        for tree in ["[1]", "{}"] {
            assert_eq!(read(tree), Err(json!(["Value is not type of string, integer, boolean or float."])));
        }
    }
}
