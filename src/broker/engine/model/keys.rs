//! The model in the form of the keys that Redis stores.

use super::streams::is_channel;
use super::{Mark, Member, Model, Row, Stream, TOTALS, Term, field};
use crate::broker::engine::call::NodeNumber;
use std::collections::{BTreeMap, BTreeSet};

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    Text(Vec<u8>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
    List(Vec<Vec<u8>>),
    Set(BTreeSet<Vec<u8>>),
    /// A sorted set.
    Scores(BTreeMap<Vec<u8>, u64>),
}

/// All keys without the prefix of the partition. There are none without contents.
pub type Keys = BTreeMap<String, Stored>;

/// Whether Redis itself removes a key after a while.
pub fn is_temporary(key: &str) -> bool {
    ["seq:", "key:", "mark:", "mark_before:", "tally:", "once:", "sign_outs"]
        .iter()
        .any(|kind| key.starts_with(kind))
}

fn hash<F: Into<Vec<u8>>, V: Into<Vec<u8>>>(fields: impl IntoIterator<Item = (F, V)>) -> Stored {
    Stored::Hash(fields.into_iter().map(|(field, value)| (field.into(), value.into())).collect())
}

fn set<M: ToString>(members: impl IntoIterator<Item = M>) -> Stored {
    Stored::Set(members.into_iter().map(|member| member.to_string().into()).collect())
}

/// The field of a node's own hash with the connections of a user in a stream.
pub(super) fn count_field(stream: &str, user: &str) -> String {
    format!("m{}:{stream}{user}", stream.len())
}

impl Member {
    pub(super) fn stored(&self) -> Vec<u8> {
        [&self.connections.to_le_bytes()[..], &self.version.to_le_bytes(), &self.view].concat()
    }
}

impl Term {
    fn stored(&self) -> Stored {
        let last_beat = self.last_beat.map(|beat| ("last_beat", beat.to_string()));
        let fields = [
            ("run", self.run.clone()),
            ("term", self.term.to_string()),
            ("base", self.base.to_string()),
            ("stamp", self.stamp.to_string()),
            ("retire", self.retire.to_string()),
            ("store", self.store.clone()),
            ("unreported", self.unreported.to_string()),
            ("resumed", self.resumed.to_string()),
        ];
        let totals = TOTALS.into_iter().zip(self.totals);
        let totals = totals.filter_map(|(field, total)| Some((field, total?.to_string())));
        hash(fields.into_iter().chain(last_beat).chain(totals))
    }
}

impl Stream {
    fn fields(&self) -> Stored {
        let interested: Vec<String> = self.interested.iter().map(NodeNumber::to_string).collect();
        let channel = self.channel.clone();
        let channel = channel.map(|(uuid, text)| [("uuid", uuid.to_string()), ("settings", text)]);
        let channel =
            channel.into_iter().flatten().map(|(field, text): (&str, String)| (field, text.into_bytes()));
        let counters = [
            self.previous.1,
            self.offset,
            self.first,
            self.floor,
            self.stamp,
            self.term,
            self.settings.flags().into(),
            self.settings.history_size.into(),
            self.connections.into(),
            self.users.into(),
            self.numbers,
            self.announced,
            self.present,
            self.settings.frames_or_default(),
        ];
        let fields = [
            ("epoch", self.epoch.clone().into_bytes()),
            ("interested", interested.join(" ").into_bytes()),
            ("previous_epoch", self.previous.0.clone().into_bytes()),
            ("counters", counters.map(u64::to_le_bytes).concat()),
        ];
        hash(fields.into_iter().chain(channel))
    }

    fn keys(&self, name: &str) -> [(String, Stored); 4] {
        let entry = |(offset, stamp, record): &(u64, u64, Vec<u8>)| {
            [&offset.to_le_bytes()[..], &stamp.to_le_bytes(), record].concat()
        };
        let members = self.members.iter().map(|(user, member)| (user.as_str(), member.stored()));
        [
            (format!("s:{name}"), self.fields()),
            (format!("log:{name}"), Stored::List(self.log.iter().map(entry).collect())),
            (format!("hist:{name}"), Stored::List(self.history.iter().cloned().collect())),
            (format!("members:{name}"), hash(members)),
        ]
    }
}

impl Row {
    fn stored(&self) -> Stored {
        let last_owner = self.last_owner.map(|owner| ("last_owner", owner.to_string().into_bytes()));
        let fields = [
            ("owner", self.owner.to_string().into_bytes()),
            ("generation", self.generation.to_string().into_bytes()),
            ("user", self.user.clone().into_bytes()),
            ("data", self.data.clone()),
        ];
        hash(fields.into_iter().chain(last_owner))
    }
}

impl Mark {
    fn stored(&self) -> Stored {
        let laggards = self.laggards.iter().map(|(conn, received)| (format!("k{conn}"), received.clone()));
        let delivered = ("delivered".to_owned(), self.delivered.to_string().into_bytes());
        hash(laggards.chain([delivered]))
    }
}

impl Model {
    pub fn keys(&self) -> Keys {
        let mut keys = self.node_keys();
        keys.insert("channels".into(), set(self.streams.keys().filter(|name| is_channel(name))));
        keys.extend(self.streams.iter().flat_map(|(name, stream)| stream.keys(name)));
        keys.extend(self.channels_of_users());
        for (name, user) in &self.users {
            let stored = [&user.version.to_le_bytes()[..], &field(&user.view), &user.record].concat();
            keys.insert(format!("user:{name}"), Stored::Text(stored));
        }
        let due = self.expiry.iter().map(|(item, due)| (item.clone().into_bytes(), *due));
        keys.insert("expiry".into(), Stored::Scores(due.collect()));
        keys.extend(self.rows.iter().map(|(conn, row)| (format!("conn:{conn}"), row.stored())));
        for (node, marks) in &self.marks {
            let named = [("mark", &marks.last), ("mark_before", &marks.before)].into_iter();
            let stored = named.filter_map(|(name, mark)| Some((name, mark.as_ref()?.stored())));
            keys.extend(stored.map(|(name, stored)| (format!("{name}:{node}"), stored)));
        }
        keys.insert(
            "blocks".into(),
            hash(self.blocks.iter().map(|(user, block)| (user.as_str(), block.clone()))),
        );
        let mut rows: BTreeMap<&str, u32> = BTreeMap::new();
        self.rows.values().for_each(|row| *rows.entry(&row.user).or_default() += 1);
        keys.insert("rows".into(), hash(rows.into_iter().map(|(user, count)| (user, count.to_string()))));
        let secret = self.cookie_secret.iter().map(|secret| ("cookie_secret", secret.as_str()));
        keys.insert("meta".into(), hash(secret));
        keys.extend(self.used.iter().map(|name| (format!("once:{name}"), Stored::Text(b"1".to_vec()))));
        let sign_outs = self.sign_outs.iter().map(|(id, at)| (id.clone().into_bytes(), *at));
        keys.insert("sign_outs".into(), Stored::Scores(sign_outs.collect()));
        keys.extend(self.calls());
        for (boot, counted) in &self.tallies {
            let stored = counted.map(u64::to_le_bytes).concat();
            keys.insert(format!("tally:{}", boot.as_simple()), Stored::Text(stored));
        }
        for (key, (first, answers)) in &self.keyed {
            let request =
                [&first.fingerprint.to_le_bytes()[..], &first.time.unix_micros().to_le_bytes()].concat();
            let answers =
                answers.iter().map(|(number, answer)| (number.to_le_bytes().to_vec(), answer.clone()));
            let fields = [(b"request".to_vec(), request)].into_iter().chain(answers);
            keys.insert(format!("key:{key:032x}"), hash(fields));
        }
        keys.retain(|_, stored| match stored {
            Stored::Text(_) => true,
            Stored::Hash(fields) => !fields.is_empty(),
            Stored::List(items) => !items.is_empty(),
            Stored::Set(items) => !items.is_empty(),
            Stored::Scores(items) => !items.is_empty(),
        });
        keys
    }

    fn node_keys(&self) -> Keys {
        let mut keys = Keys::new();
        keys.extend(self.term.as_ref().map(|term| ("term".to_owned(), term.stored())));
        let states = self.nodes.iter().map(|(node, state)| (node.to_string(), state.to_string()));
        keys.insert("nodes".into(), hash(states));
        let beats = self.beats.iter().map(|(node, beat)| (node.to_string().into_bytes(), *beat));
        keys.insert("beats".into(), Stored::Scores(beats.collect()));
        keys.insert(
            "info".into(),
            hash(self.info.iter().map(|(node, info)| (node.to_string(), info.as_str()))),
        );
        keys.insert("dead".into(), set(&self.dead));
        for (node, own) in &self.own {
            let counts = own.counts.iter();
            let counts = counts.map(|((stream, user), (connections, present))| {
                let stated = u64::from(*connections) + (u64::from(*present) << 24);
                (count_field(stream, user), stated.to_string())
            });
            let interests = own.interests.iter().map(|stream| (format!("i{stream}"), "1".to_owned()));
            let rows = own.rows.iter().map(|conn| (format!("k{conn}"), "1".to_owned()));
            keys.insert(format!("own:{node}"), hash(counts.chain(interests).chain(rows)));
        }
        keys
    }

    /// For each user the connections in each channel.
    fn channels_of_users(&self) -> Keys {
        let mut channels: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
        for (name, stream) in self.streams.iter().filter(|(name, _)| is_channel(name)) {
            for (user, member) in &stream.members {
                channels.entry(user).or_default().insert(name, member.connections.to_string());
            }
        }
        channels.into_iter().map(|(user, channels)| (format!("in:{user}"), hash(channels))).collect()
    }

    fn calls(&self) -> Keys {
        let mut calls: BTreeMap<String, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
        for ((boot, slot), (number, reply)) in &self.last_calls {
            let stored = [&number.to_le_bytes(), &reply[..]].concat();
            calls.entry(format!("seq:{}", boot.as_simple())).or_default().insert(slot.to_string(), stored);
        }
        calls.into_iter().map(|(key, slots)| (key, hash(slots))).collect()
    }
}
