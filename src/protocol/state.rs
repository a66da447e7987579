//! A user's state: an ordered map of small values, partly public.

use super::json;
use super::value::StateValue;
use indexmap::IndexMap;

/// A key of a state and its new value.
#[derive(Clone, Debug, PartialEq)]
pub struct StateEntry {
    pub key: String,
    pub value: StateValue,
}

impl StateEntry {
    /// Appends `{"key":…,"value":…}`, the format of changes in answers and events.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"key\":");
        json::write_string(&self.key, out);
        out.extend_from_slice(b",\"value\":");
        self.value.write_json(out);
        out.push(b'}');
    }

    /// The length of key and value in bytes.
    pub fn size(&self) -> usize {
        self.key.len() + self.value.size()
    }
}

/// A state, in the order in which its keys were first set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StateMap(IndexMap<Box<str>, StateValue>);

impl StateMap {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The length of all keys and values in bytes.
    pub fn size(&self) -> usize {
        self.iter().map(|(key, value)| key.len() + value.size()).sum()
    }

    pub fn get(&self, key: &str) -> Option<&StateValue> {
        self.0.get(key)
    }

    /// All keys and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &StateValue)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// Sets an entry, also to null.
    pub fn insert(&mut self, key: &str, value: StateValue) {
        self.0.insert(key.into(), value);
    }

    /// Sets these values and returns the entries that changed something, in the given order.
    ///
    /// As in the original, a missing key counts as null, so that null is not stored for it, and a value that equals the
    /// old one (`true` equals `1`) does not replace it.
    pub fn merge(&mut self, entries: impl IntoIterator<Item = StateEntry>) -> Vec<StateEntry> {
        entries.into_iter().filter(|entry| self.set(entry)).collect()
    }

    fn set(&mut self, entry: &StateEntry) -> bool {
        let old = self.get(&entry.key).unwrap_or(&StateValue::Null);
        let changed = *old != entry.value;
        if changed {
            self.0.insert(entry.key.as_str().into(), entry.value.clone());
        }
        changed
    }

    /// The part of the state under these keys, in the order of the state.
    pub fn public(&self, keys: &[String]) -> PublicState<'_> {
        let mut indexes: Vec<usize> =
            keys.iter().filter_map(|key| self.0.get_index_of(key.as_str())).collect();
        indexes.sort_unstable();
        indexes.dedup();
        PublicState { state: self, indexes }
    }

    /// Appends the state as a JSON object.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        write_object(self.iter(), out);
    }
}

/// The public part of a state.
#[derive(Clone, Debug)]
pub struct PublicState<'a> {
    state: &'a StateMap,
    indexes: Vec<usize>,
}

impl<'a> PublicState<'a> {
    /// The public keys that are set, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a StateValue)> {
        let entries = &self.state.0;
        self.indexes.iter().filter_map(|index| entries.get_index(*index)).map(|(key, value)| (&**key, value))
    }

    /// Appends this part of the state as a JSON object.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        write_object(self.iter(), out);
    }
}

/// Appends changes as a JSON list of `{"key", "value"}`.
pub fn write_changes<'a>(changes: impl IntoIterator<Item = &'a StateEntry>, out: &mut Vec<u8>) {
    json::write_list(changes, out, StateEntry::write_json);
}

fn write_object<'a>(entries: impl Iterator<Item = (&'a str, &'a StateValue)>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (key, value)) in entries.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json::write_string(key, out);
        out.push(b':');
        value.write_json(out);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(pairs: &[(&str, &str)]) -> Vec<StateEntry> {
        let entry = |(key, raw): &(&str, &str)| StateEntry {
            key: key.to_string(),
            value: StateValue::from_json(raw).unwrap(),
        };
        pairs.iter().map(entry).collect()
    }

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn merging_returns_the_changes() {
        let mut state = StateMap::default();
        state.merge(entries(&[("key", "\"foo\""), ("bar", "\"baz\"")]));
        let changed = state.merge(entries(&[("bar", "2"), ("private", "\"im_private\"")]));
        assert_eq!(
            text(|out| write_changes(&changed, out)),
            r#"[{"key":"bar","value":2},{"key":"private","value":"im_private"}]"#
        );
        assert!(state.merge(entries(&[("bar", "2.0")])).is_empty());
        assert_eq!(state.merge(entries(&[("bar", "null"), ("never", "null")])), entries(&[("bar", "null")]));
        state.merge(entries(&[("one", "1")]));
        assert!(state.merge(entries(&[("one", "true")])).is_empty());
        assert_eq!(
            text(|out| state.write_json(out)),
            r#"{"key":"foo","bar":null,"private":"im_private","one":1}"#
        );
    }

    #[test]
    fn only_public_keys_that_are_set_are_visible() {
        let mut state = StateMap::default();
        state.merge(entries(&[("s", "\"x\""), ("i", "1"), ("u", "\"ž😀\"")]));
        let keys = ["u", "missing", "s", "u"].map(String::from);
        assert_eq!(text(|out| state.public(&keys).write_json(out)), r#"{"s":"x","u":"ž😀"}"#);
        assert_eq!(text(|out| state.public(&[]).write_json(out)), "{}");
    }
}
