//! Random commands to a channel, against a simple model.

use super::tests::{PART, all_events};
use super::*;
use crate::broker::channel::messages::Publication;
use crate::fixtures::{PLENTY, channel, conn, location, message, time, view};
use crate::protocol::frame::Audience;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

proptest! {
    #[test]
    fn counts_and_offsets_follow_a_simple_model(
        commands in proptest::collection::vec((0u8..9, 0u32..6), 0..120),
    ) {
        let mut state = channel(all_events(), PLENTY);
        // Whether each connection is present; each user has two connections.
        let mut members: BTreeMap<u32, bool> = BTreeMap::new();
        let mut stored = 0u128;
        let mut last = 0;
        for (command, index) in commands {
            let (key, user) = (conn(index), view(index / 2));
            let before: BTreeSet<u32> = members.iter().filter(|(_, present)| **present).map(|(i, _)| i / 2).collect();
            let mut effects = Vec::new();
            match command {
                0 | 1 => {
                    let location = (command == 1).then(|| location(0, index));
                    state.join(key, user, location.filter(|_| !members.contains_key(&index)), &time(0), &mut effects);
                    members.insert(index, true);
                }
                2 => {
                    state.leave(key, &time(0), &mut effects);
                    members.remove(&index);
                }
                3 => {
                    state.attach(key, user, location(0, index), Attaching { part: PART, resume: None }, &time(0), &mut effects);
                    members.entry(index).and_modify(|present| *present = true);
                }
                4 => state.detach(key, Some(last)),
                5 => {
                    state.part(key, &time(0), &mut effects);
                    members.entry(index).and_modify(|present| *present = false);
                }
                6 => {
                    state.return_present(key, user, &time(0), &mut effects);
                    members.entry(index).and_modify(|present| *present = true);
                }
                _ => {
                    stored += 1;
                    let post = Publication::Post(message(stored), Audience::all());
                    state.publish(post, None, &time(0), &mut effects);
                }
            }
            let after: BTreeSet<u32> = members.iter().filter(|(_, present)| **present).map(|(i, _)| i / 2).collect();
            let connections = members.values().filter(|present| **present).count() as u32;
            prop_assert_eq!(state.counts(), (connections, after.len() as u32, stored.min(10) as u32));
            let mut broadcasts = 0;
            for (_, message) in &effects {
                match message {
                    ToHub::Deliver(_, stamped) => {
                        prop_assert!(stamped.offset > last);
                        last = stamped.offset;
                        broadcasts += 1;
                    }
                    ToHub::Join(_, _, subscription) => {
                        prop_assert!(subscription.from <= subscription.through && subscription.through >= last);
                        prop_assert!(subscription.catchup.is_sorted_by_key(|stamped| stamped.offset));
                        prop_assert!(subscription.catchup.iter().all(|stamped| stamped.offset > subscription.from));
                        last = subscription.through;
                    }
                    _ => {}
                }
            }
            // A command causes at most one frame, and only if it is a message or changes the present users.
            prop_assert!(broadcasts <= usize::from(command > 6 || before != after));
        }
    }
}
