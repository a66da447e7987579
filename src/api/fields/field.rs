//! One field of an object, and all fields of one on their way into a request.

use super::members::named;
use super::{Fault, FieldKind, NULL, Read, fault};
use crate::api::limits::RequestLimits;
use crate::protocol::schema::{self, SchemaRegistry, ValueSchema};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

const MISSING: &str = "Missing data for required field.";

/// Whether a field may be left out, or null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldPresence {
    /// It must be there.
    Required,
    /// It must be there; where it is missing null counts, and is refused, as in the original.
    Filled,
    /// The same, unless the query has it.
    OrInQuery,
    /// It may be left out.
    Optional,
    /// It may be left out or null.
    Nullable,
}

/// A field: its name, what its values are, and what it means.
#[derive(Clone, Copy)]
pub(crate) struct Field<K> {
    name: &'static str,
    kind: K,
    presence: FieldPresence,
    about: &'static str,
    /// What counts when it is left out, as JSON.
    default: Option<&'static str>,
}

impl<K: FieldKind> Field<K> {
    const fn new(name: &'static str, kind: K, presence: FieldPresence, about: &'static str) -> Self {
        Self { name, kind, presence, about, default: None }
    }

    /// A field that must be there.
    pub(crate) const fn required(name: &'static str, kind: K, about: &'static str) -> Self {
        Self::new(name, kind, FieldPresence::Required, about)
    }

    /// A field that must be there and counts as null where it is not.
    pub(crate) const fn filled(name: &'static str, kind: K, about: &'static str) -> Self {
        Self::new(name, kind, FieldPresence::Filled, about)
    }

    /// The same, unless the query has it.
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

    /// What counts when the field is left out, as JSON.
    pub(crate) const fn default(self, json: &'static str) -> Self {
        Self { default: Some(json), ..self }
    }
}

/// A field as its object knows it, whatever its kind.
pub(crate) trait Property: Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Whether it may be left out.
    fn presence(&self) -> FieldPresence;

    /// Its shape, with what it means and what counts without it.
    fn shape(&self, limits: &RequestLimits, book: &mut SchemaRegistry) -> ValueSchema;
}

impl<K: FieldKind> Property for Field<K> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn presence(&self) -> FieldPresence {
        self.presence
    }

    fn shape(&self, limits: &RequestLimits, book: &mut SchemaRegistry) -> ValueSchema {
        let shape = self.kind.shape(limits, book);
        let shape = if self.presence == FieldPresence::Nullable { schema::or_null(shape) } else { shape };
        let shape = schema::about(shape, self.about);
        match self.default.and_then(|json| serde_json::from_str(json).ok()) {
            Some(default) => schema::by_default(shape, default),
            None => shape,
        }
    }
}

/// All fields of an object.
pub(crate) type FieldTable = &'static [&'static dyn Property];

/// The fields of one object on their way into a request, and the faults found so far.
///
/// Fields nobody asks for are dropped in silence, as in the original.
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

    /// Makes a value of the fields; wrong ones come back as a tree.
    pub(crate) fn made<T>(mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Read<T> {
        let value = read(&mut self);
        self.finish(value)
    }

    /// What may be, beyond what its kind says of a value.
    pub(crate) fn limits(&self) -> &RequestLimits {
        &self.limits
    }

    /// The value of a field, unread.
    pub(crate) fn raw<K>(&self, field: &Field<K>) -> Option<&'a RawValue> {
        let place = self.table.iter().position(|known| known.name() == field.name);
        debug_assert!(place.is_some(), "{} is not among the fields of its object", field.name);
        place.and_then(|place| self.values.get(place).copied().flatten())
    }

    /// Reads a field; `None` when it is left out, and when it is wrong.
    pub(crate) fn read<K: FieldKind>(&mut self, field: &Field<K>) -> Option<K::Value> {
        match (self.raw(field), field.presence) {
            (None, FieldPresence::Required) => self.keep(field, Err(fault(MISSING))),
            (None, FieldPresence::Filled | FieldPresence::OrInQuery) => self.keep(field, Err(fault(NULL))),
            (None, FieldPresence::Optional | FieldPresence::Nullable) => None,
            (Some(raw), FieldPresence::Nullable) if raw.get() == "null" => None,
            (Some(raw), _) => self.keep(field, field.kind.take(raw, &self.limits)),
        }
    }

    /// Keeps a value that was found elsewhere, or notes what is wrong with it.
    pub(crate) fn keep<K, T>(&mut self, field: &Field<K>, value: Read<T>) -> Option<T> {
        value.map_err(|fault| self.fault(field, fault)).ok()
    }

    /// Notes what is wrong with a field.
    pub(crate) fn fault<K>(&mut self, field: &Field<K>, fault: Fault) {
        self.faults.insert(field.name.into(), fault);
    }

    /// The value that was made of them, unless something is wrong.
    fn finish<T>(self, value: Option<T>) -> Read<T> {
        value.filter(|_| self.faults.is_empty()).ok_or(Value::Object(self.faults))
    }
}
