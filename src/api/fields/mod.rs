//! Fields of request bodies: how they are read, and how the API description presents them.
//!
//! A [`FieldKind`] reads a value with the original's tolerance, reports errors in the original's wording, and provides
//! its schema. A [`Field`] is a name, a kind and a description. Endpoints read and describe their fields from the same
//! constants, so that the description always matches the reader.
//!
//! Readers work on raw values. A value is decoded only where it is needed, numbers keep all their digits, and text that
//! the original accepts but Rust strings cannot hold (half a surrogate pair) invalidates one field, not the request.

mod collections;
mod members;
mod numbers;
mod values;

pub(crate) use collections::{ListField, ListLimit, Mapping, ObjectField, nested, object_schema};
pub(crate) use members::{ObjectMembers, items};
pub(crate) use numbers::{FlagField, Size, flag_words};
pub(crate) use values::{
    CHANNEL_NAME, CloseText, Id, Json, Name, STATE_KEY, State, Text, Time, USER_NAME, text, uuid_text,
};

use super::body::RequestLimits;
use members::named;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

const MISSING: &str = "Missing data for required field.";
pub(super) const NULL: &str = "Field may not be null.";
pub(super) const INPUT_TYPE: &str = "Invalid input type.";

/// The errors of one value: a list of texts, or a tree of such lists.
pub(crate) type Fault = Value;
/// A value, or its errors.
pub(crate) type Read<T> = Result<T, Fault>;

/// An error with one text.
pub(super) fn fault(text: impl Into<String>) -> Fault {
    Value::Array(vec![Value::String(text.into())])
}

/// The error of a list or mapping with more items than allowed.
pub(super) fn too_long(max: usize) -> Fault {
    fault(format!("Longer than maximum length {max}."))
}

/// The JSON schema with this name in the API description.
pub(crate) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// A kind of value.
pub(crate) trait FieldKind: Copy + Sync {
    type Value;

    /// Whether null is a value of this kind.
    const TAKES_NULL: bool = false;

    fn read(&self, raw: &RawValue, limits: &RequestLimits) -> Read<Self::Value>;

    /// The JSON schema of the values that can be read.
    fn schema(&self, limits: &RequestLimits) -> Value;

    /// Reads a value. Null is an error unless the kind accepts it.
    fn take(&self, raw: &RawValue, limits: &RequestLimits) -> Read<Self::Value> {
        if !Self::TAKES_NULL && raw.get() == "null" { Err(fault(NULL)) } else { self.read(raw, limits) }
    }
}

/// Whether a field may be left out or null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldPresence {
    /// It must be present.
    Required,
    /// It must be present. A missing field counts as null and is refused as such, as in the original.
    Filled,
    /// The same, unless the query contains it.
    OrInQuery,
    /// It may be left out.
    Optional,
    /// It may be left out or null.
    Nullable,
}

/// A field: its name, the kind of its values, and its description.
#[derive(Clone, Copy)]
pub(crate) struct Field<K> {
    name: &'static str,
    kind: K,
    presence: FieldPresence,
    about: &'static str,
    /// The value used when it is left out, as JSON.
    default: Option<&'static str>,
}

impl<K: FieldKind> Field<K> {
    const fn new(name: &'static str, kind: K, presence: FieldPresence, about: &'static str) -> Self {
        Self { name, kind, presence, about, default: None }
    }

    /// A field that must be present.
    pub(crate) const fn required(name: &'static str, kind: K, about: &'static str) -> Self {
        Self::new(name, kind, FieldPresence::Required, about)
    }

    /// A field that must be present, and counts as null if it is not.
    pub(crate) const fn filled(name: &'static str, kind: K, about: &'static str) -> Self {
        Self::new(name, kind, FieldPresence::Filled, about)
    }

    /// The same, unless the query contains it.
    pub(crate) const fn or_in_query(name: &'static str, kind: K, about: &'static str) -> Self {
        Self::new(name, kind, FieldPresence::OrInQuery, about)
    }

    /// A field that may be left out.
    pub(crate) const fn optional(name: &'static str, kind: K, about: &'static str) -> Self {
        Self::new(name, kind, FieldPresence::Optional, about)
    }

    /// A field that may be left out or null.
    pub(crate) const fn nullable(name: &'static str, kind: K, about: &'static str) -> Self {
        Self::new(name, kind, FieldPresence::Nullable, about)
    }

    /// Sets the value used when the field is left out, as JSON.
    pub(crate) const fn default(self, json: &'static str) -> Self {
        Self { default: Some(json), ..self }
    }
}

/// A field without the type of its values, as a table of fields stores it.
pub(crate) trait Property: Sync {
    fn name(&self) -> &'static str;

    fn presence(&self) -> FieldPresence;

    /// Its JSON schema, with its description and default.
    fn schema(&self, limits: &RequestLimits) -> Value;
}

impl<K: FieldKind> Property for Field<K> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn presence(&self) -> FieldPresence {
        self.presence
    }

    fn schema(&self, limits: &RequestLimits) -> Value {
        let mut schema = self.kind.schema(limits);
        if self.presence == FieldPresence::Nullable {
            schema = json!({ "anyOf": [schema, { "type": "null" }] });
        }
        schema["description"] = self.about.into();
        if let Some(default) = self.default.and_then(|json| serde_json::from_str(json).ok()) {
            schema["default"] = default;
        }
        schema
    }
}

pub(crate) type FieldTable = &'static [&'static dyn Property];

/// The fields of one object while a request is read from them, and the errors found so far.
pub(crate) struct Fields<'a> {
    table: FieldTable,
    limits: RequestLimits,
    values: Vec<Option<&'a RawValue>>,
    faults: Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The fields of a text that is an object; `None` for every other text.
    pub(crate) fn of(text: &'a str, table: FieldTable, limits: &RequestLimits) -> Option<Self> {
        Some(Self { table, limits: *limits, values: named(text, table)?, faults: Map::new() })
    }

    /// Converts the fields to a value. Errors are returned as a tree.
    pub(crate) fn read_all<T>(mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Read<T> {
        let value = read(&mut self);
        self.finish(value)
    }

    /// The limits that apply in addition to those of each kind.
    pub(crate) fn limits(&self) -> &RequestLimits {
        &self.limits
    }

    /// The raw value of a field.
    pub(crate) fn raw<K>(&self, field: &Field<K>) -> Option<&'a RawValue> {
        let place = self.table.iter().position(|known| known.name() == field.name);
        debug_assert!(place.is_some(), "{} is not among the fields of its object", field.name);
        place.and_then(|place| self.values.get(place).copied().flatten())
    }

    /// Reads a field. Returns `None` when it is left out or wrong.
    pub(crate) fn read<K: FieldKind>(&mut self, field: &Field<K>) -> Option<K::Value> {
        match (self.raw(field), field.presence) {
            (None, FieldPresence::Required) => self.keep(field, Err(fault(MISSING))),
            (None, FieldPresence::Filled | FieldPresence::OrInQuery) => self.keep(field, Err(fault(NULL))),
            (None, FieldPresence::Optional | FieldPresence::Nullable) => None,
            (Some(raw), FieldPresence::Nullable) if raw.get() == "null" => None,
            (Some(raw), _) => self.keep(field, field.kind.take(raw, &self.limits)),
        }
    }

    /// Returns a value that was read elsewhere, or records its error on this field.
    pub(crate) fn keep<K, T>(&mut self, field: &Field<K>, value: Read<T>) -> Option<T> {
        value.map_err(|fault| self.fault(field, fault)).ok()
    }

    /// Records an error on a field.
    pub(crate) fn fault<K>(&mut self, field: &Field<K>, fault: Fault) {
        self.faults.insert(field.name.into(), fault);
    }

    /// The value, unless an error was recorded.
    fn finish<T>(self, value: Option<T>) -> Read<T> {
        value.filter(|_| self.faults.is_empty()).ok_or(Value::Object(self.faults))
    }
}
