//! Presence in all modes: clients that apply what they receive know the members of the channel.

use super::tests::{PART, all_events};
use super::*;
use crate::broker::channel::messages::Publication;
use crate::config::PresenceMode;
use crate::fixtures::{PLENTY, channel, conn, location, message, time, view};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const USERS: u32 = 5;
/// Two connections of each user, then those of two clients that do not take part.
const CONNECTIONS: u32 = USERS * 2;
/// The client that is always attached, and the one that comes and goes.
const WITNESS: u32 = 20;
const TRAVELLER: u32 = 30;
const INTERVAL_MS: u64 = 100;

#[derive(Clone, Copy, Debug)]
enum Step {
    Join(u32),
    Leave(u32),
    Part(u32),
    Return(u32),
    /// A user gets another public state, whether it is present or not.
    Change(u32),
    /// The server forgets a user without connections; it returns with a new id.
    Forget(u32),
    Post,
    /// The second client loses its session, or attaches again.
    Travel,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..CONNECTIONS).prop_map(Step::Join),
        (0..CONNECTIONS).prop_map(Step::Join),
        (0..CONNECTIONS).prop_map(Step::Leave),
        (0..CONNECTIONS).prop_map(Step::Part),
        (0..CONNECTIONS).prop_map(Step::Return),
        (0..USERS).prop_map(Step::Change),
        (0..USERS).prop_map(Step::Forget),
        Just(Step::Post),
        Just(Step::Travel),
        (0_u64..150).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..120)
}

/// What a client knows from the frames that it has received.
#[derive(Debug, Default)]
struct Client {
    user: u32,
    offset: Offset,
    /// The members and their public states.
    members: BTreeMap<String, Value>,
    numbers: (u64, u64),
    messages: u128,
}

impl Client {
    fn receive(&mut self, stamped: &Stamped) {
        assert!(stamped.offset > self.offset, "frames come once and in order");
        self.offset = stamped.offset;
        if !stamped.frame.audience().admits(UserId(self.user)) {
            return;
        }
        let json: Value = serde_json::from_slice(&stamped.frame.live_element()).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        match json["type"].as_str().unwrap() {
            "presence" if json["message"]["action"] == "joined" => {
                self.members.insert(text(&json["user"]), json["state"].clone());
            }
            "presence" => drop(self.members.remove(&text(&json["user"]))),
            "presence:diff" => {
                let (joined, parted) =
                    (json["joined"].as_array().unwrap(), json["parted"].as_array().unwrap());
                parted.iter().for_each(|name| drop(self.members.remove(name.as_str().unwrap())));
                for user in joined {
                    self.members.insert(text(&user["user"]), user["state"].clone());
                }
                assert!(!joined.is_empty() || !parted.is_empty(), "a diff without a change");
                assert_eq!(json["users"].as_u64().unwrap(), self.members.len() as u64, "{json}");
            }
            "presence:count" => {
                let numbers = (json["users"].as_u64().unwrap(), json["connections"].as_u64().unwrap());
                assert_ne!(
                    numbers,
                    std::mem::replace(&mut self.numbers, numbers),
                    "a count without a change"
                );
            }
            "user_state_change" => {
                // A user whose join is not reported yet comes with the new state.
                if let Some(state) = self.members.get_mut(&text(&json["user"])) {
                    *state = json["message"]["state"].clone();
                }
            }
            "message" => {
                self.messages += 1;
                assert_eq!(Uuid::parse_str(json["uuid"].as_str().unwrap()).unwrap().as_u128(), self.messages);
            }
            kind => panic!("{kind}"),
        }
    }
}

struct World {
    state: ChannelState,
    effects: ChannelEffects,
    now: u64,
    mode: PresenceMode,
    flap_ms: u64,
    /// When each user without a present connection is gone.
    leaving: BTreeMap<u32, u64>,
    /// How many times each user was forgotten.
    forgotten: BTreeMap<u32, u32>,
    /// The presence of each connection that is a member.
    members: BTreeMap<u32, bool>,
    /// The version of each user's state.
    versions: BTreeMap<u32, u32>,
    witness: Client,
    traveller: Client,
    is_travelling: bool,
    posted: u128,
    last_report: Option<u64>,
}

fn user_of(index: u32) -> u32 {
    index / 2
}

impl World {
    fn new(rules: ChannelRules) -> Self {
        let (mode, flap_ms) = (rules.presence, rules.flap_ms);
        let mut world = Self {
            state: channel(all_events(), PLENTY).with_rules(rules.into()),
            effects: Vec::new(),
            now: 0,
            mode,
            flap_ms,
            leaving: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            members: BTreeMap::new(),
            versions: BTreeMap::new(),
            witness: Client { user: user_of(WITNESS), ..Client::default() },
            traveller: Client { user: user_of(TRAVELLER), ..Client::default() },
            is_travelling: false,
            posted: 0,
            last_report: None,
        };
        for index in [WITNESS, TRAVELLER] {
            world.join(index, Some(location((index / 10 - 2) as u16, index)));
        }
        // A page loads the list of members when it joins.
        (world.witness.members, world.traveller.members) = (world.listed(), world.listed());
        world
    }

    fn view(&self, user: u32) -> Arc<UserView> {
        let state = format!("{{\"v\":{}}}", self.versions.get(&user).unwrap_or(&0));
        let id = user + 1_000 * self.forgotten.get(&user).unwrap_or(&0);
        Arc::new(UserView::new(UserId(id), format!("u{user}").into(), &state, &state))
    }

    fn join(&mut self, index: u32, location: Option<ConnectionSlot>) {
        let view = self.view(user_of(index));
        self.state.join(conn(index), view, location, &time(0), &mut self.effects);
        self.members.insert(index, true);
        self.deliver();
    }

    /// Passes the frames on to the clients: the witness is on hub 0, the other one on hub 1.
    fn deliver(&mut self) {
        let (mode, now) = (self.mode, self.now);
        for (hub, message) in std::mem::take(&mut self.effects) {
            let client = if hub == HubId(0) { &mut self.witness } else { &mut self.traveller };
            let frames = match message {
                ToHub::Deliver(_, stamped) => vec![stamped],
                ToHub::Join(_, _, subscription) => subscription.catchup,
                _ => continue,
            };
            for stamped in frames {
                client.receive(&stamped);
                let text = String::from_utf8(stamped.frame.live_element().to_vec()).unwrap();
                let is_report = text.starts_with("{\"type\":\"presence:");
                assert!(!is_report || matches!(mode, PresenceMode::Diffs | PresenceMode::Counts));
                if is_report && hub == HubId(0) {
                    let before = self.last_report.replace(now);
                    assert!(
                        before.is_none_or(|before| now >= before + INTERVAL_MS),
                        "two frames in an interval"
                    );
                }
            }
        }
    }

    fn act(&mut self, step: Step) {
        let before = self.present();
        self.perform(step);
        self.deliver();
        let after = self.present();
        for user in before.iter().filter(|user| self.flap_ms > 0 && !after.contains(user)) {
            self.leaving.insert(*user, self.now + self.flap_ms);
        }
        self.leaving.retain(|user, due| !after.contains(user) && *due > self.now);
    }

    fn has_connection(&self, user: u32) -> bool {
        self.members.keys().any(|index| user_of(*index) == user)
    }

    /// The users with present connections.
    fn present(&self) -> BTreeSet<u32> {
        self.members.iter().filter(|(_, present)| **present).map(|(index, _)| user_of(*index)).collect()
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Join(index) => self.join(index, None),
            Step::Leave(index) => {
                self.state.leave(conn(index), &time(0), &mut self.effects);
                self.members.remove(&index);
            }
            Step::Part(index) => {
                self.state.part(conn(index), &time(0), &mut self.effects);
                self.members.entry(index).and_modify(|present| *present = false);
            }
            Step::Return(index) => {
                let view = self.view(user_of(index));
                self.state.return_present(conn(index), view, &time(0), &mut self.effects);
                self.members.entry(index).and_modify(|present| *present = true);
            }
            Step::Forget(user) if !self.has_connection(user) => {
                *self.forgotten.entry(user).or_default() += 1;
            }
            Step::Forget(_) => {}
            // Members do not learn of it, as with a user that only opens another connection.
            Step::Change(user) if self.leaving.contains_key(&user) && !self.has_connection(user) => {}
            Step::Change(user) => {
                *self.versions.entry(user).or_default() += 1;
                // The registry notifies the channels in which the user has a connection.
                if self.has_connection(user) {
                    let view = self.view(user);
                    self.state.user_changed(view, Some("[]"), &time(0), &mut self.effects);
                }
            }
            Step::Post => {
                self.posted += 1;
                let post = Publication::Post(message(self.posted), Audience::all());
                self.state.publish(post, None, &time(0), &mut self.effects);
            }
            Step::Travel if self.is_travelling => {
                let (view, slot) = (self.view(user_of(TRAVELLER)), location(1, TRAVELLER));
                self.state.attach(
                    conn(TRAVELLER),
                    view,
                    slot,
                    Attaching { part: PART, resume: None },
                    &time(0),
                    &mut self.effects,
                );
                self.is_travelling = false;
            }
            Step::Travel => {
                self.state.detach(conn(TRAVELLER), Some(self.traveller.offset));
                self.is_travelling = true;
            }
            Step::Wait(ms) => self.wait(ms),
        }
    }

    /// Lets time pass, with a tick whenever one is due.
    fn wait(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(due) = self.state.next_due().filter(|due| *due <= end) {
            self.set_clock(due.max(self.now));
            self.state.tick(&time(0), &mut self.effects);
            self.deliver();
        }
        self.set_clock(end);
    }

    fn set_clock(&mut self, now: u64) {
        self.now = now;
        self.state.set_clock(now);
    }

    fn listed(&mut self) -> BTreeMap<String, Value> {
        let users = self.state.snapshot(&Inspect { users: true, history: false }).users;
        let state = |user: &Arc<UserView>| serde_json::from_str(user.public_state()).unwrap();
        users.iter().map(|user| (user.name.to_string(), state(user))).collect()
    }

    /// Checks what holds after each step.
    fn check(&mut self) {
        self.state.check();
        let users = self.present().into_iter().chain(self.leaving.keys().copied());
        let users: BTreeSet<String> = users.map(|user| format!("u{user}")).collect();
        assert!(self.listed().keys().eq(&users), "{:?} instead of {users:?}", self.listed());
        let connections = self.members.values().filter(|present| **present).count();
        let (counted, users_counted, _) = self.state.counts();
        assert_eq!((counted as usize, users_counted as usize), (connections, users.len()));
    }

    /// Checks what the clients know once nothing is due any more.
    fn check_at_rest(&mut self) {
        if self.is_travelling {
            self.act(Step::Travel);
        }
        self.wait(10_000);
        assert!(self.state.next_due().is_none());
        let (listed, (connections, users, _)) = (self.listed(), self.state.counts());
        for client in [&self.witness, &self.traveller] {
            match self.mode {
                PresenceMode::Events | PresenceMode::Diffs => assert_eq!(client.members, listed),
                PresenceMode::Counts => assert_eq!(client.numbers, (users.into(), connections.into())),
                PresenceMode::None => assert_eq!((client.members.len(), client.numbers), (2, (0, 0))),
            }
            assert_eq!(client.messages, self.posted);
        }
    }
}

fn rules(presence: PresenceMode) -> ChannelRules {
    ChannelRules { presence, presence_ms: INTERVAL_MS, ..ChannelRules::default() }
}

proptest! {
    #[test]
    fn clients_know_the_members(steps in steps(), mode in 0_usize..4, flap in 0_usize..3) {
        let modes = [PresenceMode::Events, PresenceMode::Diffs, PresenceMode::Counts, PresenceMode::None];
        let mut world = World::new(ChannelRules { flap_ms: [0, 70, 300][flap], ..rules(modes[mode]) });
        for step in steps {
            world.act(step);
            world.check();
        }
        world.check_at_rest();
    }
}

#[test]
fn a_user_that_flaps_causes_no_frame() {
    for mode in [PresenceMode::Events, PresenceMode::Diffs] {
        let mut world = World::new(ChannelRules { flap_ms: 300, ..rules(mode) });
        world.act(Step::Join(0));
        world.act(Step::Wait(1_000));
        let offset = world.witness.offset;
        for step in [
            Step::Part(0),
            Step::Wait(299),
            Step::Return(0),
            Step::Leave(0),
            Step::Wait(200),
            Step::Join(1),
            Step::Wait(1_000),
        ] {
            world.act(step);
            world.check();
        }
        assert_eq!(world.witness.offset, offset, "{mode:?}");
        world.act(Step::Leave(1));
        world.act(Step::Wait(299));
        assert_eq!((world.witness.offset, world.listed().len()), (offset, 3));
        world.act(Step::Wait(101));
        assert_eq!((world.witness.offset, world.listed().len()), (offset + 1, 2));
        assert!(!world.witness.members.contains_key("u0"));
    }
}

/// All members of a channel lose their connection at once.
#[test]
fn many_users_leave_in_several_turns() {
    let mut world = World::new(ChannelRules { flap_ms: 50, ..rules(PresenceMode::Events) });
    for index in 0..3_000 {
        world.state.join(conn(100 + index), view(100 + index), None, &time(0), &mut Vec::new());
        world.state.part(conn(100 + index), &time(0), &mut Vec::new());
    }
    world.set_clock(50);
    let mut turns = Vec::new();
    while world.state.next_due().is_some() {
        let before = world.state.counts().1;
        world.state.tick(&time(0), &mut Vec::new());
        turns.push(before - world.state.counts().1);
    }
    assert_eq!(turns, [1_024, 1_024, 952]);
}

#[test]
fn ten_thousand_joins_within_a_second_cost_each_member_three_frames() {
    let mut world = World::new(ChannelRules { presence_ms: 500, ..rules(PresenceMode::Diffs) });
    for index in 0..10_000 {
        world.wait(u64::from(index % 10 == 0));
        world.state.join(conn(100 + index), view(100 + index), None, &time(0), &mut world.effects);
    }
    world.wait(10_000);
    assert_eq!(world.witness.members.len(), 10_002);
    assert!(world.witness.offset <= 3, "{} frames", world.witness.offset);
}

#[test]
fn changes_that_are_too_many_for_a_diff_become_a_count() {
    let mut world = World::new(rules(PresenceMode::Diffs));
    world.wait(10_000);
    for index in 0..=10_000 {
        world.state.join(conn(100 + index), view(100 + index), None, &time(0), &mut world.effects);
    }
    world.wait(10_000);
    assert_eq!((world.witness.members.len(), world.witness.numbers), (2, (10_003, 10_003)));
    world.state.leave(conn(100), &time(0), &mut world.effects);
    world.state.configure(ChannelSettings::default());
    world.wait(10_000);
    assert_eq!(world.witness.offset, 2, "members are not notified any more");
}
