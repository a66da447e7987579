//! The record of a user as Redis stores it: a JSON object with the user's id for clients, state and public keys.

use crate::broker::engine::record::MemberView;
use crate::protocol::json;
use crate::protocol::state::{StateEntry, StateMap};
use crate::protocol::value::StateValue;
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

/// See the module's description.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserRecord {
    /// The id for clients.
    pub uuid: Uuid,
    pub state: StateMap,
    /// The keys of the state that all clients may see.
    pub public_keys: Vec<String>,
}

#[derive(Deserialize)]
struct Text {
    uuid: Uuid,
    state: Map<String, Value>,
    public_keys: Vec<String>,
}

/// A record with a change, for Redis.
#[derive(Debug)]
pub struct ChangedRecord {
    pub record: UserRecord,
    /// The entries of the state that have changed.
    pub changed: Vec<StateEntry>,
    /// Whether anything has changed.
    pub is_new: bool,
}

impl UserRecord {
    /// Reads what [`UserRecord::write`] wrote. `None` if it is malformed.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let text: Text = serde_json::from_slice(bytes).ok()?;
        let mut state = StateMap::default();
        for (key, value) in text.state {
            state.insert(&key, StateValue::from_json(&value.to_string())?);
        }
        Some(Self { uuid: text.uuid, state, public_keys: text.public_keys })
    }

    pub fn write(&self) -> Vec<u8> {
        let mut out = b"{\"uuid\":\"".to_vec();
        out.extend_from_slice(self.uuid.hyphenated().to_string().as_bytes());
        out.extend_from_slice(b"\",\"state\":");
        self.state.write_json(&mut out);
        out.extend_from_slice(b",\"public_keys\":");
        json::write_list(&self.public_keys, &mut out, |key, out| json::write_string(key, out));
        out.push(b'}');
        out
    }

    /// What streams show of the user.
    pub fn view(&self) -> MemberView {
        let text = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).unwrap_or_else(|_| "{}".into())
        };
        let public = self.state.public(&self.public_keys);
        MemberView {
            state: text(&|out| self.state.write_json(out)),
            public_state: text(&|out| public.write_json(out)),
        }
    }

    /// Merges entries into the state, and replaces the public keys if there are new ones.
    pub fn merge(
        &self,
        entries: impl IntoIterator<Item = StateEntry>,
        public_keys: Option<Vec<String>>,
    ) -> ChangedRecord {
        let mut record = self.clone();
        let changed = record.state.merge(entries);
        if let Some(keys) = public_keys {
            record.public_keys = keys;
        }
        let is_new = record != *self;
        ChangedRecord { record, changed, is_new }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(key: &str, raw: &str) -> StateEntry {
        StateEntry { key: key.into(), value: StateValue::from_json(raw).unwrap() }
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(
            id in any::<u128>(),
            entries in prop::collection::vec((".{0,5}", prop::sample::select(vec!["1", "2.50", "null", "true", "\"a\\\"b\""])), 0..6),
            public_keys in prop::collection::vec(".{0,5}", 0..4),
        ) {
            let empty = UserRecord { uuid: Uuid::from_u128(id), ..UserRecord::default() };
            let entries: Vec<_> = entries.iter().map(|(key, raw)| entry(key, raw)).collect();
            let ChangedRecord { record, .. } = empty.merge(entries, Some(public_keys));
            prop_assert_eq!(UserRecord::read(&record.write()), Some(record));
        }

        #[test]
        fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
            let _ = UserRecord::read(&bytes);
        }
    }

    #[test]
    fn a_merge_reports_what_is_new() {
        let record = UserRecord::default();
        let merged = record.merge([entry("a", "1"), entry("b", "2")], Some(vec!["b".into()]));
        assert_eq!((merged.changed.len(), merged.is_new), (2, true));
        let (state, public_state) = (r#"{"a":1,"b":2}"#.into(), r#"{"b":2}"#.into());
        assert_eq!(merged.record.view(), MemberView { state, public_state });
        assert!(!merged.record.merge([entry("a", "1")], None).is_new);
        assert!(merged.record.merge([], Some(vec![])).is_new);
    }
}
