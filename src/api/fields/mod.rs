//! Readers of JSON values that say what is wrong in the original's words.
//!
//! They work on raw values: a value is decoded only where it is wanted, numbers keep all their digits, and text the
//! original takes but Rust strings cannot hold (half a surrogate pair) costs one field, not the request.

mod collections;
mod members;
mod scalars;

pub(super) use collections::{mapping, names, nested, some_names};
pub(super) use members::{Members, items};
pub(super) use scalars::{
    CHANNEL_NAME, STATE_KEY, USER_NAME, boolean, length_fits, payload, size, state_value, string, text,
    timestamp, uuid, uuid_text,
};

use members::named;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

pub(super) const MISSING: &str = "Missing data for required field.";
pub(super) const NULL: &str = "Field may not be null.";
pub(super) const INPUT_TYPE: &str = "Invalid input type.";

/// What is wrong with one value: a list of texts, or a tree of such lists.
pub(super) type Fault = Value;
/// A value read, or what is wrong with it.
pub(super) type Read<T> = Result<T, Fault>;

/// A fault of one text.
pub(super) fn fault(text: impl Into<String>) -> Fault {
    Value::Array(vec![Value::String(text.into())])
}

/// A list or mapping of more items than allowed.
pub(super) fn too_long(max: usize) -> Fault {
    fault(format!("Longer than maximum length {max}."))
}

/// Reads a value that is not null.
pub(super) fn not_null<'a, T>(raw: &'a RawValue, read: impl FnOnce(&'a RawValue) -> Read<T>) -> Read<T> {
    if raw.get() == "null" { Err(fault(NULL)) } else { read(raw) }
}

/// The fields of one object on their way into a request, and the faults found so far.
///
/// Fields nobody asks for are dropped in silence, as in the original.
pub(super) struct Fields<'a> {
    names: &'static [&'static str],
    values: Vec<Option<&'a RawValue>>,
    faults: Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The fields of these names in a text that is an object; `None` for every other text.
    pub(super) fn of(text: &'a str, names: &'static [&'static str]) -> Option<Self> {
        Some(Self { names, values: named(text, names)?, faults: Map::new() })
    }

    /// Reads the fields; wrong ones come back as a tree.
    pub(super) fn read<T>(mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Read<T> {
        let value = read(&mut self);
        value.filter(|_| self.faults.is_empty()).ok_or(Value::Object(self.faults))
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        let place = self.names.iter().position(|known| *known == name);
        debug_assert!(place.is_some(), "{name} is not among the names of its object");
        place.and_then(|place| self.values.get(place).copied().flatten())
    }

    /// A field that may be left out; `None` also when it is wrong.
    pub(super) fn given<T>(&mut self, name: &str, read: impl FnOnce(&'a RawValue) -> Read<T>) -> Option<T> {
        let raw = self.get(name)?;
        self.keep(name, not_null(raw, read))
    }

    /// A field that must be there.
    pub(super) fn required<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&'a RawValue) -> Read<T>,
    ) -> Option<T> {
        if self.get(name).is_none() {
            self.fault(name, fault(MISSING));
        }
        self.given(name, read)
    }

    /// A field that may be left out or null.
    pub(super) fn nullable<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&'a RawValue) -> Read<T>,
    ) -> Option<T> {
        let raw = self.get(name).filter(|raw| raw.get() != "null")?;
        self.keep(name, read(raw))
    }

    /// Whether the field is there, null or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Keeps a value or notes what is wrong with it.
    pub(super) fn keep<T>(&mut self, name: &str, value: Read<T>) -> Option<T> {
        value.map_err(|fault| self.fault(name, fault)).ok()
    }

    /// Notes what is wrong with a field.
    pub(super) fn fault(&mut self, name: &str, fault: Fault) {
        self.faults.insert(name.into(), fault);
    }
}
