//! Lists, mappings and objects.

use super::members::{ObjectMembers, items};
use super::{
    FieldKind, FieldPresence, FieldTable, Fields, INPUT_TYPE, Property, Read, fault, reference, too_long,
};
use crate::api::body::RequestLimits;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// The limit that applies to a list or mapping.
#[derive(Clone, Copy)]
pub(crate) enum ListLimit {
    /// `max_list_items`.
    Items,
    /// `max_channels_per_request`.
    Channels,
}

impl ListLimit {
    /// The largest size that it allows.
    fn of(self, limits: &RequestLimits) -> usize {
        match self {
            Self::Items => limits.max_list_items,
            Self::Channels => limits.max_channels_per_request,
        }
    }
}

/// A list of values of one kind. Errors of items are reported by index.
#[derive(Clone, Copy)]
pub(crate) struct ListField<K> {
    item: K,
    bound: ListLimit,
    /// Whether an empty list is an error.
    some: bool,
}

impl<K: FieldKind> ListField<K> {
    /// A list that may be empty.
    pub(crate) const fn of(item: K, bound: ListLimit) -> Self {
        Self { item, bound, some: false }
    }

    /// A list of at least one item.
    pub(crate) const fn some(item: K, bound: ListLimit) -> Self {
        Self { item, bound, some: true }
    }
}

impl<K: FieldKind> FieldKind for ListField<K> {
    type Value = Vec<K::Value>;

    fn read(&self, raw: &RawValue, limits: &RequestLimits) -> Read<Self::Value> {
        let max = self.bound.of(limits);
        let items = items(raw, max).ok_or_else(|| fault("Not a valid list."))?;
        if items.len() > max {
            return Err(too_long(max));
        }
        if items.is_empty() && self.some {
            return Err(fault("Shorter than minimum length 1."));
        }
        let (mut values, mut faults) = (Vec::with_capacity(items.len()), Map::new());
        for (index, item) in items.into_iter().enumerate() {
            match self.item.take(item, limits) {
                Ok(value) => values.push(value),
                Err(fault) => drop(faults.insert(index.to_string(), fault)),
            }
        }
        if faults.is_empty() { Ok(values) } else { Err(Value::Object(faults)) }
    }

    fn schema(&self, limits: &RequestLimits) -> Value {
        let (items, max) = (self.item.schema(limits), self.bound.of(limits));
        let mut schema = json!({ "type": "array", "items": items, "maxItems": max });
        if self.some {
            schema["minItems"] = 1.into();
        }
        schema
    }
}

/// An object that maps strings to values of one kind. Errors of values are reported by key.
#[derive(Clone, Copy)]
pub(crate) struct Mapping<K> {
    value: K,
    bound: ListLimit,
}

impl<K: FieldKind> Mapping<K> {
    pub(crate) const fn to(value: K, bound: ListLimit) -> Self {
        Self { value, bound }
    }
}

impl<K: FieldKind> FieldKind for Mapping<K> {
    type Value = Vec<(String, K::Value)>;

    fn read(&self, raw: &RawValue, limits: &RequestLimits) -> Read<Self::Value> {
        let max = self.bound.of(limits);
        let members = ObjectMembers::of(raw, max).ok_or_else(|| fault("Not a valid mapping type."))?;
        if members.len() > max {
            return Err(too_long(max));
        }
        let unreadable = members.unreadable().iter();
        let mut faults: Map<String, Value> =
            unreadable.map(|key| (key.clone(), json!({"key": ["Not a valid string."]}))).collect();
        let mut values = Vec::with_capacity(members.len());
        for (key, value) in members.into_iter() {
            match self.value.take(value, limits) {
                Ok(value) => values.push((key, value)),
                Err(fault) => drop(faults.insert(key, json!({ "value": fault }))),
            }
        }
        if faults.is_empty() { Ok(values) } else { Err(Value::Object(faults)) }
    }

    fn schema(&self, limits: &RequestLimits) -> Value {
        let (values, max) = (self.value.schema(limits), self.bound.of(limits));
        json!({ "type": "object", "additionalProperties": values, "maxProperties": max })
    }
}

/// An object with a fixed table of fields.
pub(crate) struct ObjectField<T: 'static> {
    /// Its name in the API description.
    pub(crate) name: &'static str,
    pub(crate) fields: FieldTable,
    /// Converts the fields to a value. It is called once, and returns `None` only after it has recorded an error.
    pub(crate) read: fn(&mut Fields<'_>) -> Option<T>,
}

impl<T> Clone for ObjectField<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ObjectField<T> {}

impl<T> FieldKind for ObjectField<T> {
    type Value = T;

    fn read(&self, raw: &RawValue, limits: &RequestLimits) -> Read<T> {
        nested(raw, self.fields, limits, self.read)
    }

    fn schema(&self, _: &RequestLimits) -> Value {
        reference(self.name)
    }
}

/// Reads an object with these fields. Errors of fields and of the type are returned as a tree.
pub(crate) fn nested<'a, T>(
    raw: &'a RawValue,
    table: FieldTable,
    limits: &RequestLimits,
    read: impl FnOnce(&mut Fields<'a>) -> Option<T>,
) -> Read<T> {
    let fields = Fields::of(raw.get(), table, limits).ok_or_else(|| json!({ "_schema": [INPUT_TYPE] }))?;
    fields.read_all(read)
}

/// The JSON schema of an object with these fields.
pub(crate) fn object_schema(table: FieldTable, limits: &RequestLimits) -> Value {
    let properties: Map<String, Value> =
        table.iter().map(|field| (field.name().to_owned(), field.schema(limits))).collect();
    let mut schema = json!({ "type": "object", "properties": properties });
    let is_required =
        |field: &&&dyn Property| matches!(field.presence(), FieldPresence::Required | FieldPresence::Filled);
    let required: Vec<&str> = table.iter().filter(is_required).map(|field| field.name()).collect();
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}
