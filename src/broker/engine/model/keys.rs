//! The model in the form of the keys that Redis stores.

use super::{Member, Model, Stream};
use std::collections::{BTreeMap, BTreeSet};

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    Text(Vec<u8>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
    List(Vec<Vec<u8>>),
    Set(BTreeSet<Vec<u8>>),
}

/// All keys without the prefix of the partition. There are none without contents.
pub type Keys = BTreeMap<String, Stored>;

fn hash<F: Into<Vec<u8>>>(fields: impl IntoIterator<Item = (F, String)>) -> Stored {
    Stored::Hash(fields.into_iter().map(|(field, value)| (field.into(), value.into_bytes())).collect())
}

impl Member {
    /// The number of connections, the version of the state, the state.
    pub(super) fn stored(&self) -> Vec<u8> {
        [&self.connections.to_le_bytes()[..], &[0; 8], self.view.as_bytes()].concat()
    }
}

impl Stream {
    fn fields(&self) -> Stored {
        let interested: Vec<String> = self.interested.iter().map(u32::to_string).collect();
        hash([
            ("epoch", self.epoch.clone()),
            ("offset", self.offset.to_string()),
            ("first", self.first.to_string()),
            ("floor", self.floor.to_string()),
            ("stamp", self.stamp.to_string()),
            ("term", self.term.to_string()),
            ("flags", self.settings.flags().to_string()),
            ("history", self.settings.history_size.to_string()),
            ("connections", self.connections.to_string()),
            ("users", self.users.to_string()),
            ("roster", self.roster.to_string()),
            ("interested", interested.join(" ")),
            ("previous_epoch", self.previous.0.clone()),
            ("previous_offset", self.previous.1.to_string()),
        ])
    }

    fn keys(&self, name: &str) -> [(String, Stored); 4] {
        let entry = |(offset, stamp, record): &(u64, u64, Vec<u8>)| {
            [&offset.to_le_bytes()[..], &stamp.to_le_bytes(), record].concat()
        };
        let members = self.members.iter().map(|(user, member)| (user.clone().into_bytes(), member.stored()));
        [
            (format!("s:{name}"), self.fields()),
            (format!("log:{name}"), Stored::List(self.log.iter().map(entry).collect())),
            (format!("hist:{name}"), Stored::List(self.history.iter().cloned().collect())),
            (format!("members:{name}"), Stored::Hash(members.collect())),
        ]
    }
}

impl Model {
    pub fn keys(&self) -> Keys {
        let mut keys = Keys::new();
        if let Some(term) = &self.term {
            let retire = term.retire.map(|retire| ("retire", retire.to_string()));
            let fields = [
                ("run", term.run.clone()),
                ("term", term.term.to_string()),
                ("base", term.base.to_string()),
                ("stamp", term.stamp.to_string()),
                ("store", term.store.clone()),
                ("unreported", term.unreported.to_string()),
            ];
            keys.insert("term".into(), hash(fields.into_iter().chain(retire)));
        }
        let states = self.nodes.iter().map(|(node, state)| (node.to_string(), state.to_string()));
        keys.insert("nodes".into(), hash(states));
        keys.insert(
            "streams".into(),
            Stored::Set(self.streams.keys().map(|name| name.clone().into()).collect()),
        );
        keys.extend(self.streams.iter().flat_map(|(name, stream)| stream.keys(name)));
        for (node, own) in &self.own {
            let counts = own.counts.iter();
            let counts =
                counts.map(|((stream, user), count)| (format!("m{stream}\0{user}"), count.to_string()));
            let interests = own.interests.iter().map(|stream| (format!("i{stream}"), "1".to_owned()));
            keys.insert(format!("own:{node}"), hash(counts.chain(interests)));
        }
        for (boot, (number, reply)) in &self.last_calls {
            keys.insert(format!("seq:{boot}"), Stored::Text([&number.to_le_bytes(), &reply[..]].concat()));
        }
        for (key, answer) in &self.idempotency_keys {
            keys.insert(format!("key:{key}"), Stored::Text(answer.clone()));
        }
        keys.retain(|_, stored| match stored {
            Stored::Text(_) => true,
            Stored::Hash(fields) => !fields.is_empty(),
            Stored::List(items) => !items.is_empty(),
            Stored::Set(items) => !items.is_empty(),
        });
        keys
    }
}
