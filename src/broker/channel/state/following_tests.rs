//! A channel that follows has what the channel has that decides: frames, members, history. It may begin to follow at any
//! time, with a copy of what is stored.

use super::tests::{PART, all_events};
use super::*;
use crate::broker::channel::decisions::{Change, ChannelCopy, ClusterNumbers, Decision};
use crate::broker::channel::messages::{Publication, StoredMessage};
use crate::broker::channel::presence_changes::PresenceReport;
use crate::config::{ChannelRules, PresenceMode};
use crate::fixtures::{channel, conn, delete, edit, location, message, only, time, view};
use crate::protocol::ids::Stamp;
use proptest::prelude::*;
use std::collections::BTreeMap;

const RETENTION: Retention = Retention { frames: 6, history: 3 };
const USERS: u32 = 3;

#[derive(Clone, Copy, Debug)]
enum Step {
    Join(u32),
    Leave(u32),
    Post(Option<u32>),
    Edit(u128),
    Delete(u128),
    State(u32, u32),
    /// Another node loads what is stored.
    Load,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..5_u32).prop_map(Step::Join),
        2 => (0..5_u32).prop_map(Step::Leave),
        5 => prop::option::of(0..USERS).prop_map(Step::Post),
        2 => (0..6_u128).prop_map(Step::Edit),
        1 => (0..6_u128).prop_map(Step::Delete),
        1 => (0..USERS, 0..9_u32).prop_map(|(user, version)| Step::State(user, version)),
        1 => Just(Step::Load),
    ]
}

fn with_state(user: u32, version: u32) -> Arc<UserView> {
    let state = format!("{{\"v\":{version}}}");
    Arc::new(UserView::new(UserId(user), view(user).name.clone(), &state, &state))
}

/// The channel that decides, and what Redis would store of it.
struct Decider {
    state: ChannelState,
    log: Vec<Decision>,
    floor: Place,
    posted: u128,
    version: u64,
    /// The current views of users with a state.
    views: BTreeMap<u32, Arc<UserView>>,
}

impl Decider {
    fn user_of(conn_index: u32) -> u32 {
        conn_index % USERS
    }

    /// Runs an operation. Returns the decision that describes it.
    fn decide(&mut self, step: Step) -> Option<Decision> {
        let (offset, users) = (self.state.position.offset, self.state.present_users.list());
        let (now, effects) = (time(1_000 * (offset as i64 + 1)), &mut Vec::new());
        let change = match step {
            Step::Join(index) => {
                let user = Self::user_of(index);
                let view = self.views.get(&user).cloned().unwrap_or_else(|| view(user));
                self.state.join(conn(index), view, None, &now, effects);
                Change::Nothing
            }
            Step::Leave(index) => {
                self.state.leave(conn(index), &now, effects);
                Change::Nothing
            }
            Step::Post(user) => {
                self.posted += 1;
                let audience = user.map_or_else(Audience::all, |user| only(&[user]));
                let publication = Publication::Post(message(self.posted), audience);
                self.state.publish(publication.clone(), None, &now, effects);
                Change::Publish(publication, None)
            }
            Step::Edit(back) => {
                let edit = edit(self.posted.checked_sub(back)?, "{\"text\":\"edited\"}");
                let publication = Publication::Edit(edit, Audience::all());
                self.state.publish(publication.clone(), None, &now, effects);
                Change::Publish(publication, None)
            }
            Step::Delete(back) => {
                let publication =
                    Publication::Delete(delete(self.posted.checked_sub(back)?), Audience::all());
                self.state.publish(publication.clone(), None, &now, effects);
                Change::Publish(publication, None)
            }
            Step::State(user, version) => {
                let view = with_state(user, version);
                self.views.insert(user, view.clone());
                self.state.user_changed(view.clone(), Some("[]"), &now, effects);
                Change::State(Uuid::nil(), view, Some("[]".into()))
            }
            Step::Load => return None,
        };
        let change = match (change, self.changed_user(&users)) {
            (Change::Nothing, Some((user, presence))) => Change::Presence(Uuid::nil(), user, presence),
            (change, _) => change,
        };
        self.version += 1;
        let has_place = self.state.position.offset > offset;
        if !has_place && matches!(change, Change::State(..)) {
            return None;
        }
        let place = self.last_place();
        let decision =
            Decision { place: has_place.then_some(place), numbers: self.numbers(), time: now, change };
        self.store(&decision);
        Some(decision)
    }

    fn changed_user(&mut self, before: &UserList) -> Option<(Arc<UserView>, Presence)> {
        let after = self.state.present_users.list();
        let joined = after.iter().find(|user| !before.contains(&user.name));
        let parted = before.iter().find(|user| !after.contains(&user.name));
        joined
            .map(|user| (user.clone(), Presence::Joined))
            .or(parted.map(|user| (user.clone(), Presence::Parted)))
    }

    fn numbers(&self) -> ClusterNumbers {
        let (connections, users, _) = self.state.counts();
        ClusterNumbers { connections, users, version: self.version }
    }

    fn last_place(&self) -> Place {
        Place { offset: self.state.position.offset, stamp: self.state.stamps.latest() }
    }

    /// Stores a decision as the scripts do: messages as they were edited, without those that were deleted.
    fn store(&mut self, decision: &Decision) {
        if let Change::Publish(Publication::Edit(edit, _), _) = &decision.change {
            for stored in &mut self.log {
                if let Change::Publish(Publication::Post(message, audience), _) = &stored.change
                    && message.uuid == edit.uuid
                {
                    let message = StoredMessage { message: message.clone(), edited: None };
                    let edited = super::super::buffer::edited(&message, edit);
                    stored.change = Change::Edited(edited, audience.clone());
                }
            }
        }
        if let Change::Publish(Publication::Delete(delete, _), _) = &decision.change {
            for stored in &mut self.log {
                let uuid = match &stored.change {
                    Change::Publish(Publication::Post(message, _), _) => message.uuid,
                    Change::Edited(stored, _) => stored.message.uuid,
                    _ => continue,
                };
                if uuid == delete.uuid {
                    stored.change = Change::Nothing;
                }
            }
        }
        if decision.place.is_some() {
            self.log.push(decision.clone());
        }
        while self.log.len() > RETENTION.frames {
            self.floor = self.log.remove(0).place.unwrap();
        }
    }

    fn copy(&mut self) -> ChannelCopy {
        ChannelCopy {
            uuid: self.state.identity.uuid,
            settings: self.state.settings.clone(),
            position: self.state.position,
            stamp: self.state.stamps.latest(),
            floor: self.floor,
            kept: self.log.clone(),
            history: self.state.history.iter().cloned().collect(),
            roster: self.state.present_users.list().iter().cloned().collect(),
            numbers: self.numbers(),
            reported: 0,
        }
    }
}

/// What a client sees of the frames after an offset. Events have ids of their own on each side.
fn frames_after(
    state: &mut ChannelState,
    user: u32,
    cursor: Offset,
) -> Vec<(Offset, Stamp, serde_json::Value)> {
    let stamped = state.frames.since(cursor, UserId(user), state.encoder);
    let seen = |stamped: Stamped| {
        let mut json = crate::fixtures::seen(&stamped.frame.catchup_element(None).concat()).json;
        if json["type"] == "presence" || json["type"] == "user_state_change" {
            json["uuid"] = serde_json::Value::Null;
        }
        // The list of an event before the copy shows the states of the copy.
        if let Some(users) = json["users"].as_array() {
            json["users"] = users.iter().map(|user| user["user"].clone()).collect();
        }
        (stamped.offset, stamped.stamp, json)
    };
    stamped.into_iter().map(seen).collect()
}

fn check(decider: &mut Decider, follower: &mut ChannelState) {
    assert_eq!(follower.position(), decider.state.position());
    assert_eq!(follower.counts(), decider.state.counts());
    assert!(follower.present_users.list().iter().eq(decider.state.present_users.list().iter()));
    let history = |state: &ChannelState| {
        state.history.iter().map(|stored| (stored.message.clone(), stored.edited)).collect::<Vec<_>>()
    };
    assert_eq!(history(follower), history(&decider.state));
    for user in 0..USERS {
        for cursor in decider.floor.offset..=decider.state.position.offset {
            let expected = frames_after(&mut decider.state, user, cursor);
            assert_eq!(frames_after(follower, user, cursor), expected, "user {user} after {cursor}");
        }
    }
    // The log counts deleted messages, the buffer does not.
    assert!(follower.frames.floor().place.offset <= decider.floor.offset);
}

fn follower(decider: &mut Decider) -> ChannelState {
    let mut follower = channel(all_events(), RETENTION).following();
    follower.load(decider.copy(), &mut Vec::new());
    follower
}

proptest! {
    #[test]
    fn a_follower_equals_the_decider(steps in prop::collection::vec(step(), 1..40), with_lists in any::<bool>()) {
        let settings = ChannelSettings { broadcast_presence_with_user_lists: with_lists, ..all_events() };
        let mut decider = Decider {
            state: channel(settings, RETENTION),
            log: Vec::new(),
            floor: Place::default(),
            posted: 0,
            version: 0,
            views: BTreeMap::new(),
        };
        let mut followers = vec![follower(&mut decider)];
        for step in steps {
            if matches!(step, Step::Load) {
                followers.push(follower(&mut decider));
                followers[0].load(decider.copy(), &mut Vec::new());
            }
            if let Some(decision) = decider.decide(step) {
                followers.iter_mut().for_each(|follower| follower.apply(decision.clone(), &mut Vec::new()));
            }
            followers.iter_mut().for_each(|follower| check(&mut decider, follower));
        }
    }
}

#[test]
fn a_copy_delivers_what_its_members_have_not_received() {
    let mut decider = Decider {
        state: channel(all_events(), RETENTION),
        log: Vec::new(),
        floor: Place::default(),
        posted: 0,
        version: 0,
        views: BTreeMap::new(),
    };
    let mut follower = follower(&mut decider);
    let mut effects = Vec::new();
    follower.join(conn(1), view(1), None, &time(1), &mut effects);
    let attaching = Attaching { part: PART, resume: None };
    follower.attach(conn(1), view(1), location(0, 1), attaching, &time(1), &mut effects);
    let first = decider.decide(Step::Post(None)).unwrap();
    follower.apply(first, &mut effects);
    effects.clear();
    (0..2).for_each(|_| _ = decider.decide(Step::Post(None)));
    follower.load(decider.copy(), &mut effects);
    let delivered = effects.iter().filter_map(|(_, effect)| match effect {
        ToHub::Deliver(_, stamped) => Some(stamped.offset),
        _ => None,
    });
    assert_eq!(delivered.collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_report_of_presence_that_is_lost_is_proposed_again() {
    let rules = Arc::new(ChannelRules { presence: PresenceMode::Diffs, ..ChannelRules::default() });
    let mut state = channel(all_events(), RETENTION).with_rules(rules).following();
    let decision = |place, version, change| Decision {
        place,
        numbers: ClusterNumbers { users: 1, connections: 1, version },
        time: time(1),
        change,
    };
    let joined = Change::Presence(Uuid::nil(), view(1), Presence::Joined);
    state.apply(decision(None, 1, joined), &mut Vec::new());
    for attempt in 0..3 {
        state.set_clock(state.next_due().expect("a report is due"));
        state.tick(&time(2), &mut Vec::new());
        let Some(PresenceReport::Diff { joined, .. }) =
            state.take_proposed_report().map(|proposed| proposed.report)
        else {
            panic!("nothing is proposed in attempt {attempt}")
        };
        assert_eq!(joined.len(), 1);
    }
    let place = Place { offset: 1, stamp: Stamp(9) };
    let report = Change::Diff { joined: vec![view(1)], parted: Vec::new(), users: 1 };
    state.apply(decision(Some(place), 2, report), &mut Vec::new());
    assert_eq!(state.next_due(), None, "the members know it");
}
