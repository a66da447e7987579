//! Lists, mappings and objects.

use super::field::{Fields, Presence, Table};
use super::members::{Members, items};
use super::{INPUT_TYPE, Kind, Read, fault, too_long};
use crate::api::limits::Limits;
use crate::protocol::schema::{self, Book, Keys, Shape};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use utoipa::openapi::schema::{ArrayBuilder, Type};

/// The limit that a list or mapping keeps to.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    /// `max_list_items`.
    Items,
    /// `max_channels_per_request`.
    Channels,
}

impl Bound {
    /// The most it allows.
    pub(crate) fn of(self, limits: &Limits) -> usize {
        match self {
            Self::Items => limits.max_list_items,
            Self::Channels => limits.max_channels_per_request,
        }
    }
}

/// A list of values of one kind; wrong items come back by their index.
#[derive(Clone, Copy)]
pub(crate) struct List<K> {
    item: K,
    bound: Bound,
    /// Whether an empty list is an error.
    some: bool,
}

impl<K: Kind> List<K> {
    /// A list that may be empty.
    pub(crate) const fn of(item: K, bound: Bound) -> Self {
        Self { item, bound, some: false }
    }

    /// A list of at least one item.
    pub(crate) const fn some(item: K, bound: Bound) -> Self {
        Self { item, bound, some: true }
    }
}

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn read(&self, raw: &RawValue, limits: &Limits) -> Read<Self::Value> {
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

    fn shape(&self, limits: &Limits, book: &mut Book) -> Shape {
        let list = ArrayBuilder::new().items(self.item.shape(limits, book));
        list.min_items(self.some.then_some(1)).max_items(Some(self.bound.of(limits))).into()
    }
}

/// An object as a mapping to values of one kind; wrong values come back by their key.
#[derive(Clone, Copy)]
pub(crate) struct Mapping<K> {
    value: K,
    bound: Bound,
}

impl<K: Kind> Mapping<K> {
    /// A mapping from any text.
    pub(crate) const fn to(value: K, bound: Bound) -> Self {
        Self { value, bound }
    }
}

impl<K: Kind> Kind for Mapping<K> {
    type Value = Vec<(String, K::Value)>;

    fn read(&self, raw: &RawValue, limits: &Limits) -> Read<Self::Value> {
        let max = self.bound.of(limits);
        let members = Members::of(raw, max).ok_or_else(|| fault("Not a valid mapping type."))?;
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

    fn shape(&self, limits: &Limits, book: &mut Book) -> Shape {
        mapping_shape(self.value.shape(limits, book), self.bound.of(limits))
    }
}

/// An object of any names, at most `max` of them.
pub(crate) fn mapping_shape(values: Shape, max: usize) -> Shape {
    let mapping = schema::of_type(Type::Object).additional_properties(Some(values));
    mapping.max_properties(Some(max)).into()
}

/// An object with fields of its own.
pub(crate) struct Object<T: 'static> {
    /// Its name in the description.
    pub(crate) name: &'static str,
    /// Its fields.
    pub(crate) fields: Table,
    /// Makes the value of them; called once, and `None` only when it has noted a fault.
    pub(crate) read: fn(&mut Fields<'_>) -> Option<T>,
}

impl<T> Clone for Object<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Object<T> {}

impl<T> Kind for Object<T> {
    type Value = T;

    fn read(&self, raw: &RawValue, limits: &Limits) -> Read<T> {
        nested(raw, self.fields, limits, self.read)
    }

    fn shape(&self, limits: &Limits, book: &mut Book) -> Shape {
        object_shape(self.name, self.fields, limits, book)
    }
}

/// Reads an object that has these fields; wrong fields and wrong types come back as a tree.
pub(crate) fn nested<'a, T>(
    raw: &'a RawValue,
    table: Table,
    limits: &Limits,
    read: impl FnOnce(&mut Fields<'a>) -> Option<T>,
) -> Read<T> {
    let fields = Fields::of(raw.get(), table, limits).ok_or_else(|| json!({ "_schema": [INPUT_TYPE] }))?;
    fields.made(read)
}

/// The shape of an object that has these fields.
pub(crate) fn object_shape(name: &str, table: Table, limits: &Limits, book: &mut Book) -> Shape {
    book.named(name, |book| {
        let keys = table.iter().fold(Keys::new(), |keys, field| {
            let shape = field.shape(limits, book);
            let required = matches!(field.presence(), Presence::Required | Presence::Filled);
            keys.described(field.name(), shape, required)
        });
        keys.shape()
    })
}
