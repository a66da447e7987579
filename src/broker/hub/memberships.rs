//! The channels that a session subscribes to, each with the index of its member entry. Pure.
//!
//! Most sessions have one or two, which are stored in the slot itself. Finding one of thousands costs no more than
//! finding one of two: a session in 10,000 channels joins and leaves as fast as 10,000 sessions in one.

use crate::protocol::ids::ChannelId;
use rustc_hash::FxHashMap;

/// Up to this many are searched linearly.
const FEW: usize = 16;

/// See the module's description.
#[derive(Debug)]
#[allow(clippy::box_collection, reason = "a list in place would make every slot larger")]
pub enum Memberships {
    Two([Option<(ChannelId, u32)>; 2]),
    Few(Box<Vec<(ChannelId, u32)>>),
    Many(Box<FxHashMap<ChannelId, u32>>),
}

impl Default for Memberships {
    fn default() -> Self {
        Self::Two([None; 2])
    }
}

impl Memberships {
    /// The index of the entry in a channel, if the session subscribes to it.
    pub fn get(&self, channel: ChannelId) -> Option<u32> {
        let find = |(id, index): &(ChannelId, u32)| (*id == channel).then_some(*index);
        match self {
            Self::Two(two) => two.iter().flatten().find_map(find),
            Self::Few(few) => few.iter().find_map(find),
            Self::Many(many) => many.get(&channel).copied(),
        }
    }

    /// Adds a channel.
    pub fn insert(&mut self, channel: ChannelId, index: u32) {
        match self {
            Self::Two(two) => match two.iter_mut().find(|entry| entry.is_none()) {
                Some(entry) => *entry = Some((channel, index)),
                None => {
                    let few = two.iter().flatten().copied().chain([(channel, index)]).collect();
                    *self = Self::Few(Box::new(few));
                }
            },
            Self::Few(few) if few.len() < FEW => few.push((channel, index)),
            Self::Few(few) => {
                let many = few.iter().copied().chain([(channel, index)]).collect();
                *self = Self::Many(Box::new(many));
            }
            Self::Many(many) => _ = many.insert(channel, index),
        }
    }

    /// Changes the index of a channel, because its entry has moved.
    pub fn set(&mut self, channel: ChannelId, index: u32) {
        let of = |(id, _): &&mut (ChannelId, u32)| *id == channel;
        let entry = match self {
            Self::Two(two) => two.iter_mut().flatten().find(of).map(|(_, entry)| entry),
            Self::Few(few) => few.iter_mut().find(of).map(|(_, entry)| entry),
            Self::Many(many) => many.get_mut(&channel),
        };
        if let Some(entry) = entry {
            *entry = index;
        }
    }

    /// Removes a channel, and returns the index of its entry.
    pub fn remove(&mut self, channel: ChannelId) -> Option<u32> {
        match self {
            Self::Two(two) => {
                let entry = two.iter_mut().find(|entry| entry.is_some_and(|(id, _)| id == channel))?;
                entry.take().map(|(_, index)| index)
            }
            Self::Few(few) => {
                let at = few.iter().position(|(id, _)| *id == channel)?;
                Some(few.swap_remove(at).1)
            }
            Self::Many(many) => many.remove(&channel),
        }
    }

    /// All channels, in no particular order.
    pub fn to_vec(&self) -> Vec<(ChannelId, u32)> {
        match self {
            Self::Two(two) => two.iter().flatten().copied().collect(),
            Self::Few(few) => few.to_vec(),
            Self::Many(many) => many.iter().map(|(channel, index)| (*channel, *index)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn memberships_are_no_larger_than_two_entries() {
        assert_eq!(size_of::<Memberships>(), 24);
    }

    proptest! {
        #[test]
        fn memberships_follow_a_plain_map(steps in proptest::collection::vec((0u8..3, 0u32..40, any::<u32>()), 0..200)) {
            let (mut memberships, mut model) = (Memberships::default(), BTreeMap::new());
            for (action, id, index) in steps {
                let channel = ChannelId(id);
                match action {
                    0 if !model.contains_key(&channel) => {
                        memberships.insert(channel, index);
                        model.insert(channel, index);
                    }
                    0 => prop_assert_eq!(memberships.get(channel), model.get(&channel).copied()),
                    1 => {
                        memberships.set(channel, index);
                        model.entry(channel).and_modify(|entry| *entry = index);
                    }
                    _ => prop_assert_eq!(memberships.remove(channel), model.remove(&channel)),
                }
                let mut all = memberships.to_vec();
                all.sort_unstable();
                prop_assert_eq!(all, model.clone().into_iter().collect::<Vec<_>>());
            }
        }
    }
}
