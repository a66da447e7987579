//! The connections of a user: one, mostly; now and then as many as a crowd that shares a name.

use crate::protocol::ids::{ChannelId, ConnKey};
use rustc_hash::{FxHashMap, FxHashSet};

/// A set of connections that needs no memory of its own for one.
///
/// It knows in which channels more than one of them are: a change of the user is told to each channel once, and going
/// through a whole crowd for that would cost every newcomer as much as there are others.
#[derive(Debug, Default)]
pub enum UserConnections {
    /// None.
    #[default]
    Empty,
    /// One.
    One(ConnKey),
    /// More, or as many as are left of more.
    Many(Box<Many>),
}

/// Several connections of a user.
#[derive(Debug, Default)]
pub struct Many {
    connections: FxHashSet<ConnKey>,
    /// Channels, and how many of the connections subscribe to each.
    channels: FxHashMap<ChannelId, u32>,
}

impl UserConnections {
    /// Adds one that subscribes to nothing yet. `channels` tells what another one subscribes to.
    pub fn insert<'a>(&mut self, key: ConnKey, channels: impl FnOnce(ConnKey) -> &'a [ChannelId]) {
        match self {
            UserConnections::Empty => *self = UserConnections::One(key),
            UserConnections::One(first) => {
                let connections = [*first, key].into_iter().collect();
                let channels = channels(*first).iter().map(|channel| (*channel, 1)).collect();
                *self = UserConnections::Many(Box::new(Many { connections, channels }));
            }
            UserConnections::Many(crowd) => _ = crowd.connections.insert(key),
        }
    }

    /// Takes one out. What it subscribes to goes before, by [`UserConnections::leave`].
    pub fn remove(&mut self, key: ConnKey) {
        match self {
            UserConnections::One(only) if *only == key => *self = UserConnections::Empty,
            UserConnections::Many(crowd) => {
                crowd.connections.remove(&key);
                if crowd.connections.is_empty() {
                    *self = UserConnections::Empty;
                }
            }
            UserConnections::Empty | UserConnections::One(_) => {}
        }
    }

    /// One of them subscribes to a channel.
    pub fn join(&mut self, channel: ChannelId) {
        if let UserConnections::Many(crowd) = self {
            *crowd.channels.entry(channel).or_default() += 1;
        }
    }

    /// One of them no longer subscribes to a channel.
    pub fn leave(&mut self, channel: ChannelId) {
        let UserConnections::Many(crowd) = self else { return };
        if let Some(count) = crowd.channels.get_mut(&channel) {
            *count -= 1;
            if *count == 0 {
                crowd.channels.remove(&channel);
            }
        }
    }

    /// The channels that any of them subscribes to, each once, in no order. `channels` tells those of a single one.
    pub fn channels<'a>(&self, channels: impl FnOnce(ConnKey) -> &'a [ChannelId]) -> Vec<ChannelId> {
        match self {
            UserConnections::Empty => Vec::new(),
            UserConnections::One(key) => channels(*key).to_vec(),
            UserConnections::Many(crowd) => crowd.channels.keys().copied().collect(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            UserConnections::Empty => 0,
            UserConnections::One(_) => 1,
            UserConnections::Many(crowd) => crowd.connections.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        matches!(self, UserConnections::Empty)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = ConnKey> + '_ {
        let (one, many) = match self {
            UserConnections::Empty => (None, None),
            UserConnections::One(key) => (Some(*key), None),
            UserConnections::Many(crowd) => (None, Some(&crowd.connections)),
        };
        one.into_iter().chain(many.into_iter().flat_map(|set| set.iter().copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        #[test]
        fn it_follows_a_simple_model(steps in proptest::collection::vec((0u8..6, 0u32..6, 0u32..4), 0..80)) {
            let mut set = UserConnections::default();
            let mut model: BTreeMap<ConnKey, Vec<ChannelId>> = BTreeMap::new();
            for (what, index, channel) in steps {
                let (key, channel) = (ConnKey { index, generation: 1 }, ChannelId(channel));
                match (what, model.contains_key(&key)) {
                    (0..2, false) => {
                        set.insert(key, |other| &model[&other]);
                        model.insert(key, Vec::new());
                    }
                    (2, _) => {
                        model.remove(&key).into_iter().flatten().for_each(|channel| set.leave(channel));
                        set.remove(key);
                    }
                    (3.., true) => {
                        let theirs = model.get_mut(&key).unwrap();
                        if let Some(at) = theirs.iter().position(|known| *known == channel) {
                            theirs.remove(at);
                            set.leave(channel);
                        } else {
                            theirs.push(channel);
                            set.join(channel);
                        }
                    }
                    _ => {}
                }
                let found: BTreeSet<_> = set.iter().collect();
                prop_assert!(found.iter().eq(model.keys()));
                prop_assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
                let mut channels = set.channels(|only| &model[&only]);
                channels.sort();
                let expected: BTreeSet<_> = model.values().flatten().copied().collect();
                prop_assert!(channels.iter().eq(&expected));
            }
        }
    }
}
