//! Readers of lists, mappings and nested objects.

use super::members::{Members, items};
use super::scalars::string;
use super::{Fields, INPUT_TYPE, Read, fault, not_null, too_long};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::ops::RangeInclusive;

/// Reads an object that has these fields; wrong fields and wrong types come back as a tree.
pub(in crate::api) fn nested<'a, T>(
    raw: &'a RawValue,
    names: &'static [&'static str],
    read: impl FnOnce(&mut Fields<'a>) -> Option<T>,
) -> Read<T> {
    Fields::of(raw.get(), names).ok_or_else(|| json!({ "_schema": [INPUT_TYPE] }))?.read(read)
}

/// Reads a list of at most `max` items; wrong items come back by their index.
fn list<'a, T>(raw: &'a RawValue, max: usize, mut read: impl FnMut(&'a RawValue) -> Read<T>) -> Read<Vec<T>> {
    let items = items(raw, max).ok_or_else(|| fault("Not a valid list."))?;
    if items.len() > max {
        return Err(too_long(max));
    }
    let (mut values, mut faults) = (Vec::with_capacity(items.len()), Map::new());
    for (index, item) in items.into_iter().enumerate() {
        match not_null(item, &mut read) {
            Ok(value) => values.push(value),
            Err(fault) => drop(faults.insert(index.to_string(), fault)),
        }
    }
    if faults.is_empty() { Ok(values) } else { Err(Value::Object(faults)) }
}

/// Reads a list of names of a given length.
pub(in crate::api) fn names(raw: &RawValue, length: &RangeInclusive<usize>, max: usize) -> Read<Vec<String>> {
    list(raw, max, |item| string(item, length))
}

/// The same when an empty list is an error.
pub(in crate::api) fn some_names(
    raw: &RawValue,
    length: &RangeInclusive<usize>,
    max: usize,
) -> Read<Vec<String>> {
    let names = names(raw, length, max)?;
    if names.is_empty() { Err(fault("Shorter than minimum length 1.")) } else { Ok(names) }
}

/// Reads an object as a mapping of at most `max` keys; wrong values come back by their key.
pub(in crate::api) fn mapping<'a, T>(
    raw: &'a RawValue,
    max: usize,
    mut read: impl FnMut(&'a RawValue) -> Read<T>,
) -> Read<Vec<(String, T)>> {
    let members = Members::of(raw, max).ok_or_else(|| fault("Not a valid mapping type."))?;
    if members.len() > max {
        return Err(too_long(max));
    }
    let unreadable = members.unreadable().iter();
    let mut faults: Map<String, Value> =
        unreadable.map(|key| (key.clone(), json!({"key": ["Not a valid string."]}))).collect();
    let mut values = Vec::with_capacity(members.len());
    for (key, value) in members.into_iter() {
        match read(value) {
            Ok(value) => values.push((key, value)),
            Err(fault) => drop(faults.insert(key, json!({ "value": fault }))),
        }
    }
    if faults.is_empty() { Ok(values) } else { Err(Value::Object(faults)) }
}
