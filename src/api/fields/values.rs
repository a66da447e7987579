//! Values that pass through: payloads, and what a user's state holds.

use super::strings::text;
use super::{Kind, Read, fault};
use crate::api::limits::Limits;
use crate::protocol::schema::{self, Book, Shape};
use crate::protocol::value::{Payload, StateValue};
use serde_json::value::RawValue;

/// A JSON object of any keys.
#[derive(Clone, Copy)]
pub(crate) struct Json;

impl Kind for Json {
    type Value = Payload;

    fn read(&self, raw: &RawValue, _: &Limits) -> Read<Payload> {
        Payload::compact(raw.get()).ok_or_else(|| fault("Not a valid mapping type."))
    }

    fn shape(&self, _: &Limits, _: &mut Book) -> Shape {
        schema::any_object()
    }
}

/// A value of a user's state: no list and no object.
#[derive(Clone, Copy)]
pub(crate) struct State;

impl Kind for State {
    type Value = StateValue;

    const TAKES_NULL: bool = true;

    fn read(&self, raw: &RawValue, _: &Limits) -> Read<StateValue> {
        if raw.get().starts_with('"') {
            return text(raw).map(|text| StateValue::Text(text.into()));
        }
        let wrong = || fault("Value is not type of string, integer, boolean or float.");
        StateValue::from_json(raw.get()).ok_or_else(wrong)
    }

    fn shape(&self, _: &Limits, book: &mut Book) -> Shape {
        StateValue::shape(book)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use serde_json::json;

    #[test]
    fn states_hold_no_trees_and_no_half_characters() {
        let limits = Limits::from(&Settings::default());
        let read = |text: &str| State.take(serde_json::from_str(text).unwrap(), &limits);
        assert_eq!(read("null"), Ok(StateValue::Null));
        assert_eq!(read(r#""\ud800""#), Err(json!(["Not a valid string."])));
        for tree in ["[1]", "{}"] {
            assert_eq!(read(tree), Err(json!(["Value is not type of string, integer, boolean or float."])));
        }
    }
}
