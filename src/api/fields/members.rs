//! Splits objects and lists into raw values, up to a limit.

use super::FieldTable;
use indexmap::IndexMap;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The members of an object. The last of duplicate keys provides the value, the first one the position.
#[derive(Default)]
pub(crate) struct ObjectMembers<'a> {
    readable: IndexMap<String, &'a RawValue>,
    unreadable: Vec<String>,
}

impl<'a> ObjectMembers<'a> {
    /// Splits an object; `None` for any other value. At most `max + 1` members are kept.
    pub(crate) fn of(raw: &'a RawValue, max: usize) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(raw.get());
        Collect { max, into: Self::default() }.deserialize(&mut deserializer).ok()
    }

    /// The number of members, capped at one over the limit.
    pub(crate) fn len(&self) -> usize {
        self.readable.len() + self.unreadable.len()
    }

    /// Names that contain half a surrogate pair, in a readable form.
    pub(crate) fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    /// All readable names with their values, in order.
    pub(crate) fn into_iter(self) -> impl Iterator<Item = (String, &'a RawValue)> {
        self.readable.into_iter()
    }
}

/// The values of the fields of an object, the last one of duplicates; `None` for any other text. Other members are
/// skipped without storing them, because they are ignored and must not cost memory.
pub(super) fn named(text: &str, fields: FieldTable) -> Option<Vec<Option<&RawValue>>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let values = Named(fields).deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(values)
}

/// The items of a list; `None` for any other value. At most `max + 1` items are kept.
pub(crate) fn items(raw: &RawValue, max: usize) -> Option<Vec<&RawValue>> {
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    Collect { max, into: Vec::new() }.deserialize(&mut deserializer).ok()
}

/// Fills a collection and skips what exceeds the limit, so that a hostile body costs no memory.
struct Collect<C> {
    max: usize,
    into: C,
}

impl<'de> DeserializeSeed<'de> for Collect<Vec<&'de RawValue>> {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Collect<Vec<&'de RawValue>> {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Self::Value, A::Error> {
        while self.into.len() <= self.max {
            let Some(item) = list.next_element()? else {
                return Ok(self.into);
            };
            self.into.push(item);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.into)
    }
}

impl<'de> DeserializeSeed<'de> for Collect<ObjectMembers<'de>> {
    type Value = ObjectMembers<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Collect<ObjectMembers<'de>> {
    type Value = ObjectMembers<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<Self::Value, A::Error> {
        while self.into.len() <= self.max {
            let Some((key, value)) = object.next_entry::<Key, &'de RawValue>()? else {
                return Ok(self.into);
            };
            match key {
                Key::Readable(key) => drop(self.into.readable.insert(key, value)),
                Key::Unreadable(key) => self.into.unreadable.push(key),
            }
        }
        while object.next_entry::<Key, IgnoredAny>()?.is_some() {}
        Ok(self.into)
    }
}

struct Named(FieldTable);

impl<'de> DeserializeSeed<'de> for Named {
    type Value = Vec<Option<&'de RawValue>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Named {
    type Value = Vec<Option<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut values = vec![None; self.0.len()];
        while let Some(place) = object.next_key_seed(PlaceOf(self.0))? {
            match place.and_then(|place| values.get_mut(place)) {
                Some(value) => *value = Some(object.next_value()?),
                None => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(values)
    }
}

/// The index of a key in the table of fields.
struct PlaceOf(FieldTable);

impl<'de> DeserializeSeed<'de> for PlaceOf {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for PlaceOf {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|field| field.name().as_bytes() == bytes))
    }
}

/// A key, requested as bytes: serde_json then returns half a surrogate pair instead of failing the whole object.
enum Key {
    Readable(String),
    Unreadable(String),
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Key, E> {
        Ok(match std::str::from_utf8(bytes) {
            Ok(text) => Key::Readable(text.into()),
            Err(_) => Key::Unreadable(String::from_utf8_lossy(bytes).into_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Field, FlagField};
    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_last_duplicate_wins_at_the_first_position() {
        let members = ObjectMembers::of(raw(r#"{"a": 1, "b": 2, "\u0061": 3}"#), 9).unwrap();
        let texts: Vec<_> = members.into_iter().map(|(key, value)| format!("{key}{value}")).collect();
        assert_eq!(texts, ["a3", "b2"]);
    }

    #[test]
    fn half_a_surrogate_pair_invalidates_one_key() {
        let text = r#"{"x\ud800": 1, "\u006fk": 2}"#;
        let members = ObjectMembers::of(raw(text), 9).unwrap();
        assert_eq!((members.unreadable().len(), members.len()), (1, 2));
        const FIELDS: FieldTable =
            &[&Field::optional("no", FlagField, ""), &Field::optional("ok", FlagField, "")];
        let values = named(text, FIELDS).unwrap();
        assert_eq!(
            values.iter().map(|value| value.map(RawValue::get)).collect::<Vec<_>>(),
            [None, Some("2")]
        );
    }

    #[test]
    fn at_most_one_item_over_the_limit_is_kept() {
        assert_eq!(items(raw("[1,2,3,4,5,[6]]"), 2).unwrap().len(), 3);
        assert_eq!(ObjectMembers::of(raw(r#"{"a":1,"b":2,"c":3,"d":{}}"#), 2).unwrap().len(), 3);
        assert_eq!(items(raw("[1,2]"), 2).unwrap().len(), 2);
    }

    #[test]
    fn other_types_give_none() {
        for text in ["1", "null", "\"x\"", "true"] {
            assert!(ObjectMembers::of(raw(text), 9).is_none() && items(raw(text), 9).is_none(), "{text}");
        }
        assert!(ObjectMembers::of(raw("[]"), 9).is_none());
        assert!(items(raw("{}"), 9).is_none());
    }
}
