//! The connections of a user: usually one; sometimes very many, when clients share a user name.

use crate::protocol::ids::{ChannelId, ConnKey};
use rustc_hash::{FxHashMap, FxHashSet};

/// A set of connections that allocates no memory for a single one.
///
/// With several connections it counts the subscriptions to each channel. A change of the user goes to each channel
/// once, and without the counts each new connection would cost as much as there are other connections.
#[derive(Debug, Default)]
pub enum UserConnections {
    #[default]
    Empty,
    One(ConnKey),
    /// Several, or what remains of several.
    Many(Box<Many>),
}

/// Several connections of a user.
#[derive(Debug, Default)]
pub struct Many {
    connections: FxHashSet<ConnKey>,
    /// Channels, and the number of connections that subscribe to each.
    channels: FxHashMap<ChannelId, u32>,
}

impl UserConnections {
    /// Adds a connection without subscriptions. `channels` returns the subscriptions of an existing one.
    pub fn insert<'a>(&mut self, key: ConnKey, channels: impl FnOnce(ConnKey) -> &'a [ChannelId]) {
        match self {
            UserConnections::Empty => *self = UserConnections::One(key),
            UserConnections::One(first) => {
                let connections = [*first, key].into_iter().collect();
                let channels = channels(*first).iter().map(|channel| (*channel, 1)).collect();
                *self = UserConnections::Many(Box::new(Many { connections, channels }));
            }
            UserConnections::Many(many) => _ = many.connections.insert(key),
        }
    }

    /// Removes a connection. The caller removes its subscriptions first, by [`UserConnections::leave`].
    pub fn remove(&mut self, key: ConnKey) {
        match self {
            UserConnections::One(only) if *only == key => *self = UserConnections::Empty,
            UserConnections::Many(many) => {
                many.connections.remove(&key);
                if many.connections.is_empty() {
                    *self = UserConnections::Empty;
                }
            }
            UserConnections::Empty | UserConnections::One(_) => {}
        }
    }

    /// A connection subscribes to a channel.
    pub fn join(&mut self, channel: ChannelId) {
        if let UserConnections::Many(many) = self {
            *many.channels.entry(channel).or_default() += 1;
        }
    }

    /// A connection unsubscribes from a channel.
    pub fn leave(&mut self, channel: ChannelId) {
        let UserConnections::Many(many) = self else { return };
        if let Some(count) = many.channels.get_mut(&channel) {
            *count -= 1;
            if *count == 0 {
                many.channels.remove(&channel);
            }
        }
    }

    /// The channels of all connections, each once, in no particular order. `channels` returns those of a single
    /// connection.
    pub fn channels<'a>(&self, channels: impl FnOnce(ConnKey) -> &'a [ChannelId]) -> Vec<ChannelId> {
        match self {
            UserConnections::Empty => Vec::new(),
            UserConnections::One(key) => channels(*key).to_vec(),
            UserConnections::Many(many) => many.channels.keys().copied().collect(),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            UserConnections::Empty => 0,
            UserConnections::One(_) => 1,
            UserConnections::Many(many) => many.connections.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, UserConnections::Empty)
    }

    /// All connections, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = ConnKey> + '_ {
        let (one, many) = match self {
            UserConnections::Empty => (None, None),
            UserConnections::One(key) => (Some(*key), None),
            UserConnections::Many(many) => (None, Some(&many.connections)),
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
            for (action, index, channel) in steps {
                let (key, channel) = (ConnKey { index, generation: 1 }, ChannelId(channel));
                match (action, model.contains_key(&key)) {
                    (0..2, false) => {
                        set.insert(key, |other| &model[&other]);
                        model.insert(key, Vec::new());
                    }
                    (2, _) => {
                        model.remove(&key).into_iter().flatten().for_each(|channel| set.leave(channel));
                        set.remove(key);
                    }
                    (3.., true) => {
                        let channels_of_key = model.get_mut(&key).unwrap();
                        if let Some(at) = channels_of_key.iter().position(|known| *known == channel) {
                            channels_of_key.remove(at);
                            set.leave(channel);
                        } else {
                            channels_of_key.push(channel);
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
