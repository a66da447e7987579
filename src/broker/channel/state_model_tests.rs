//! Random commands to a channel, against a simple model.

use super::tests::{PART, noisy};
use super::*;
use crate::fixtures::{PLENTY, channel, conn, message, place, time, view};
use crate::protocol::frame::Audience;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

proptest! {
    #[test]
    fn counts_and_offsets_follow_a_simple_model(
        commands in proptest::collection::vec((0u8..9, 0u32..6), 0..120),
    ) {
        let mut state = channel(noisy(), PLENTY);
        // Connection → present; two connections of each user.
        let mut members: BTreeMap<u32, bool> = BTreeMap::new();
        let mut kept = 0u128;
        let mut last = 0;
        for (command, index) in commands {
            let (key, user) = (conn(index), view(index / 2));
            let before: BTreeSet<u32> = members.iter().filter(|(_, here)| **here).map(|(i, _)| i / 2).collect();
            let mut effects = Vec::new();
            match command {
                0 | 1 => {
                    let place = (command == 1).then(|| place(0, index));
                    state.join(key, user, place.filter(|_| !members.contains_key(&index)), &time(0), &mut effects);
                    members.insert(index, true);
                }
                2 => {
                    state.leave(key, &time(0), &mut effects);
                    members.remove(&index);
                }
                3 => {
                    state.attach(key, user, place(0, index), PART, &time(0), &mut effects);
                    members.entry(index).and_modify(|here| *here = true);
                }
                4 => state.detach(key, Some(last)),
                5 => {
                    state.part(key, &time(0), &mut effects);
                    members.entry(index).and_modify(|here| *here = false);
                }
                6 => {
                    state.return_present(key, user, &time(0), &mut effects);
                    members.entry(index).and_modify(|here| *here = true);
                }
                _ => {
                    kept += 1;
                    let post = Publication::Post(message(kept), Audience::all());
                    state.publish(post, None, &time(0), &mut effects);
                }
            }
            let after: BTreeSet<u32> = members.iter().filter(|(_, here)| **here).map(|(i, _)| i / 2).collect();
            let connections = members.values().filter(|here| **here).count() as u32;
            prop_assert_eq!(state.counts(), (connections, after.len() as u32, kept.min(10) as u32));
            let mut told = 0;
            for (_, message) in &effects {
                match message {
                    ToHub::Deliver(_, stamped) => {
                        prop_assert!(stamped.offset > last);
                        last = stamped.offset;
                        told += 1;
                    }
                    ToHub::Join(_, _, listen) => {
                        prop_assert!(listen.from <= listen.through && listen.through >= last);
                        prop_assert!(listen.catchup.is_sorted_by_key(|stamped| stamped.offset));
                        prop_assert!(listen.catchup.iter().all(|stamped| stamped.offset > listen.from));
                        last = listen.through;
                    }
                    _ => {}
                }
            }
            // At most one frame a command, and none but for a message or a change of who is here.
            prop_assert!(told <= usize::from(command > 6 || before != after));
        }
    }
}
