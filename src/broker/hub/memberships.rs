//! The channels that a session listens to, each with the index of its entry there. Pure.
//!
//! Mostly one or two, which lie in the slot itself. Finding one of thousands costs no more than finding one of two: a
//! session in 10,000 channels comes and goes as fast as 10,000 sessions in one.

use crate::protocol::ids::ChannelId;
use rustc_hash::FxHashMap;

/// Up to so many are looked through.
const FEW: usize = 16;

/// See the module's description.
#[derive(Debug)]
#[allow(clippy::box_collection, reason = "a list in place would make every slot larger")]
pub enum Memberships {
    /// At most two.
    Two([Option<(ChannelId, u32)>; 2]),
    /// At most [`FEW`].
    Few(Box<Vec<(ChannelId, u32)>>),
    /// More.
    Many(Box<FxHashMap<ChannelId, u32>>),
}

impl Default for Memberships {
    fn default() -> Self {
        Self::Two([None; 2])
    }
}

impl Memberships {
    /// The index of the entry in a channel, if the session listens to it.
    pub fn get(&self, channel: ChannelId) -> Option<u32> {
        let find = |(id, index): &(ChannelId, u32)| (*id == channel).then_some(*index);
        match self {
            Self::Two(two) => two.iter().flatten().find_map(find),
            Self::Few(few) => few.iter().find_map(find),
            Self::Many(many) => many.get(&channel).copied(),
        }
    }

    /// Notes that the session listens to another channel.
    pub fn insert(&mut self, channel: ChannelId, index: u32) {
        match self {
            Self::Two(two) => match two.iter_mut().find(|place| place.is_none()) {
                Some(place) => *place = Some((channel, index)),
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

    /// Notes that the entry in a channel has moved.
    pub fn set(&mut self, channel: ChannelId, index: u32) {
        let of = |(id, _): &&mut (ChannelId, u32)| *id == channel;
        let place = match self {
            Self::Two(two) => two.iter_mut().flatten().find(of).map(|(_, place)| place),
            Self::Few(few) => few.iter_mut().find(of).map(|(_, place)| place),
            Self::Many(many) => many.get_mut(&channel),
        };
        if let Some(place) = place {
            *place = index;
        }
    }

    /// Takes a channel out, and returns the index of the entry there.
    pub fn remove(&mut self, channel: ChannelId) -> Option<u32> {
        match self {
            Self::Two(two) => {
                let place = two.iter_mut().find(|place| place.is_some_and(|(id, _)| id == channel))?;
                place.take().map(|(_, index)| index)
            }
            Self::Few(few) => {
                let at = few.iter().position(|(id, _)| *id == channel)?;
                Some(few.swap_remove(at).1)
            }
            Self::Many(many) => many.remove(&channel),
        }
    }

    /// All of them, in no order.
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
    fn they_take_no_more_room_than_two_of_them() {
        assert_eq!(size_of::<Memberships>(), 24);
    }

    proptest! {
        #[test]
        fn they_follow_a_plain_map(steps in proptest::collection::vec((0u8..3, 0u32..40, any::<u32>()), 0..200)) {
            let (mut memberships, mut model) = (Memberships::default(), BTreeMap::new());
            for (what, id, index) in steps {
                let channel = ChannelId(id);
                match what {
                    0 if !model.contains_key(&channel) => {
                        memberships.insert(channel, index);
                        model.insert(channel, index);
                    }
                    0 => prop_assert_eq!(memberships.get(channel), model.get(&channel).copied()),
                    1 => {
                        memberships.set(channel, index);
                        model.entry(channel).and_modify(|place| *place = index);
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
