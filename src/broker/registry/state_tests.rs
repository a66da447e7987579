//! What is true of the registry at any time, and single stories. Random ones are in `simulation`.

use super::messages::{Connect, ConnectRefused, Subscribe};
use super::state::{ConnectionTimes, Effect, Phase, RegistryState, subscriptions};
use crate::broker::channel::messages::ToChannel;
use crate::broker::hub::messages::{AttachRefused, Detached, ToHub, Transport};
use crate::fixtures::{PLENTY, channel, conn, message, place, time, view};
use crate::protocol::ids::{ChannelId, ConnKey, ConnectionSlot};
use crate::protocol::settings::ChannelSettings;
use std::collections::HashSet;
use uuid::Uuid;

const TIMES: ConnectionTimes = ConnectionTimes { idle: 100, part: 10, grace: 50, user_idle: 1_000 };

impl RegistryState {
    /// Panics unless counts equal a recount, and every connection without a session will end in time.
    pub fn check(&self, now: u64) {
        let mut present = 0;
        let mut places = HashSet::new();
        for (index, connection) in &self.connections {
            let (key, _) = self.connection(connection.id).expect("it is found by its id");
            assert_eq!((key.index as usize, key.generation), (index, connection.generation));
            let user = self.user(connection.user).expect("its user is remembered");
            assert!(user.connections.iter().any(|of| of == key));
            present += usize::from(connection.is_present());
            match &connection.phase {
                Phase::Attached(place, _) => assert!(places.insert(*place), "two connections at {place:?}"),
                Phase::Releasing(handover) => {
                    assert!(places.insert(handover.from), "two connections at {:?}", handover.from);
                    assert!(handover.to.is_none_or(|(place, _)| places.insert(place)));
                }
                Phase::Waiting | Phase::Lingering | Phase::Away => {
                    let at = connection.deadline.expect("whoever has no session has a deadline");
                    assert!(at.get() <= now + self.times.idle.max(self.times.part).max(self.times.grace));
                }
            }
            let channels: HashSet<_> = connection.channels.iter().collect();
            assert_eq!(channels.len(), connection.channels.len(), "subscribed twice");
        }
        assert_eq!(self.by_id.len(), self.connections.len());
        let active = self.users.iter().filter(|user| user.present > 0).count();
        assert_eq!(self.counts(), (self.users.len(), active, present));
        for user in self.users.iter() {
            let theirs = user.connections.iter().map(|key| &self.connections[key.index as usize]);
            let (all, present): (Vec<_>, Vec<_>) = theirs.map(|c| (c, c.is_present())).unzip();
            assert!(all.iter().all(|connection| connection.user == user.view.id));
            assert_eq!(present.iter().filter(|present| **present).count(), user.present as usize);
            assert_eq!(self.user_id(&user.view.name), Some(user.view.id));
            let subscribed: HashSet<_> =
                all.iter().flat_map(|connection| &connection.channels).copied().collect();
            let told = user.connections.channels(|only| subscriptions(&self.connections, only));
            assert_eq!(told.len(), subscribed.len(), "a channel is told twice or not at all");
            assert_eq!(told.into_iter().collect::<HashSet<_>>(), subscribed);
        }
    }

    /// All records.
    pub fn all_connections(&self) -> impl Iterator<Item = (ConnKey, &super::state::ConnectionRecord)> {
        let key = |(index, of): (usize, &super::state::ConnectionRecord)| ConnKey {
            index: index as u32,
            generation: of.generation,
        };
        self.connections.iter().map(move |(index, of)| (key((index, of)), of))
    }

    /// Names of present users with a subscription to a channel, each once, and how many connections these are.
    pub fn present_in(&self, channel: ChannelId) -> (Vec<String>, u32) {
        let subscribed =
            |connection: &&super::state::ConnectionRecord| connection.channels.contains(&channel);
        let present = self.connections.iter().map(|(_, c)| c).filter(|c| c.is_present()).filter(subscribed);
        let mut users: Vec<_> = present.map(|c| self.user(c.user).unwrap().view.name.to_string()).collect();
        let connections = users.len() as u32;
        users.sort();
        users.dedup();
        (users, connections)
    }
}

struct Registry {
    state: RegistryState,
    effects: Vec<Effect>,
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn connect(username: &str, conn_id: u128, channels: &[&str]) -> Connect {
    Connect {
        username: username.into(),
        conn_id: Some(id(conn_id)),
        channels: channels.iter().map(|name| name.to_string()).collect(),
        fresh_user_state: Vec::new(),
        user_state: Vec::new(),
        state_public_keys: Vec::new(),
        channel_configs: Vec::new(),
    }
}

impl Registry {
    fn new() -> Self {
        let mut registry = Self { state: RegistryState::new(TIMES), effects: Vec::new() };
        registry.state.connect(connect("u", 1, &["b", "a"]), 0, &mut registry.effects).unwrap();
        registry.effects.clear();
        registry
    }

    fn attach(&mut self, place: ConnectionSlot) {
        self.state.attach(id(1), (place, Transport::Websocket), &mut self.effects).unwrap();
    }

    fn goodbye(&mut self, place: ConnectionSlot, now: u64) {
        let cursors = vec![(ChannelId(0), 3)];
        let gone = Detached { conn_id: id(1), place, cursors, inbox: None, transport: Transport::Websocket };
        self.state.detached(gone, now, &mut self.effects);
    }

    fn phase(&self) -> &Phase {
        &self.state.connection(id(1)).unwrap().1.phase
    }

    /// What channels were told since the last time, in short.
    fn told(&mut self) -> Vec<String> {
        let name = |channel: ChannelId| self.state.channel(channel).unwrap().identity.name.clone();
        let told = std::mem::take(&mut self.effects).into_iter().filter_map(|effect| match effect {
            Effect::Channel(channel, message) => {
                let what = match message {
                    ToChannel::Join { place, .. } => format!("join {}", place.is_some()),
                    ToChannel::Attach { part, .. } => format!("attach {}/{}", part.index, part.of),
                    ToChannel::Detach(_, cursor) => format!("detach {cursor:?}"),
                    ToChannel::Leave(_) => "leave".into(),
                    ToChannel::Part(_) => "part".into(),
                    ToChannel::Return(..) => "return".into(),
                    other => format!("{other:?}"),
                };
                Some(format!("{}: {what}", name(channel)))
            }
            Effect::Hub(_, ToHub::Release(slot, reason)) => {
                Some(format!("release {} {reason:?}", slot.index))
            }
            _ => None,
        });
        let mut told: Vec<_> = told.collect();
        told.sort();
        told
    }
}

#[test]
fn a_closed_socket_parts_and_comes_back() {
    let mut registry = Registry::new();
    registry.attach(place(0, 1));
    assert_eq!(registry.told(), ["a: attach 0/3", "b: attach 1/3"]);
    registry.goodbye(place(0, 1), 1_000);
    assert_eq!(registry.told(), ["a: detach Some(3)", "b: detach None"]);
    registry.state.tick(1_009, usize::MAX, &mut registry.effects);
    assert_eq!((registry.told().len(), registry.state.counts()), (0, (1, 1, 1)));
    registry.state.tick(1_010, usize::MAX, &mut registry.effects);
    assert_eq!(registry.told(), ["a: part", "b: part"]);
    assert_eq!(registry.state.counts(), (1, 0, 0));
    registry.attach(place(0, 2));
    assert_eq!(registry.told(), ["a: attach 0/3", "b: attach 1/3"]);
    assert_eq!(registry.state.counts(), (1, 1, 1));
}

#[test]
fn a_goodbye_with_another_identity_changes_nothing() {
    let mut registry = Registry::new();
    registry.attach(place(0, 1));
    registry.effects.clear();
    for stranger in [place(1, 1), place(0, 2)] {
        registry.goodbye(stranger, 5);
    }
    assert_eq!(*registry.phase(), Phase::Attached(place(0, 1), Transport::Websocket));
    assert!(registry.effects.is_empty());
}

#[test]
fn a_successor_waits_for_the_goodbye_of_the_session_before_it() {
    let mut registry = Registry::new();
    registry.attach(place(0, 1));
    registry.told();
    registry.attach(place(0, 2));
    assert_eq!(registry.told(), ["release 1 TakenOver"]);
    registry.attach(place(0, 3));
    assert_eq!(registry.told(), ["release 2 TakenOver"], "it never got its turn");
    registry.goodbye(place(0, 2), 1);
    registry.goodbye(place(0, 1), 2);
    assert_eq!(*registry.phase(), Phase::Attached(place(0, 3), Transport::Websocket));
    registry.goodbye(place(0, 1), 3);
    assert_eq!(*registry.phase(), Phase::Attached(place(0, 3), Transport::Websocket));
}

#[test]
fn a_successor_that_gave_up_is_not_attached() {
    let mut registry = Registry::new();
    registry.attach(place(0, 1));
    registry.attach(place(0, 2));
    registry.goodbye(place(0, 2), 1);
    registry.goodbye(place(0, 1), 2);
    assert_eq!(*registry.phase(), Phase::Lingering);
    registry.state.check(2);
}

#[test]
fn idle_connections_end_and_take_their_id_with_them() {
    let mut registry = Registry::new();
    registry.state.tick(100, usize::MAX, &mut registry.effects);
    assert_eq!(*registry.phase(), Phase::Away);
    registry.told();
    registry.state.tick(149, usize::MAX, &mut registry.effects);
    assert!(registry.state.connection(id(1)).is_some());
    registry.state.tick(150, usize::MAX, &mut registry.effects);
    assert!(registry.state.connection(id(1)).is_none());
    assert_eq!(registry.told(), ["a: leave", "b: leave"]);
    let refused = registry.state.attach(id(1), (place(0, 1), Transport::LongPoll), &mut registry.effects);
    assert_eq!(refused, Err(AttachRefused::UnknownConnection));
    registry.state.forget_users(1_149);
    assert_eq!(registry.state.counts().0, 1);
    registry.state.forget_users(1_150);
    assert_eq!(registry.state.counts().0, 0);
    let before = registry.state.user_id("u");
    registry.state.connect(connect("u", 1, &[]), 2_000, &mut registry.effects).unwrap();
    assert_ne!(registry.state.user_id("u"), before);
}

#[test]
fn an_id_stays_with_its_user() {
    let mut registry = Registry::new();
    let refused = registry.state.connect(connect("other", 1, &["c"]), 0, &mut registry.effects);
    assert!(matches!(refused, Err(ConnectRefused::BelongsToAnother)));
    assert!(registry.effects.is_empty() && registry.state.user_id("other").is_none());
    assert!(registry.state.channel_id("c").is_none());
}

#[test]
fn connecting_again_starts_the_idle_time_anew_and_joins_only_what_is_new() {
    let mut registry = Registry::new();
    registry.state.connect(connect("u", 1, &["a", "c"]), 90, &mut registry.effects).unwrap();
    assert_eq!(registry.told(), ["c: join false"]);
    registry.state.tick(189, usize::MAX, &mut registry.effects);
    assert_eq!(*registry.phase(), Phase::Waiting);
    registry.state.tick(190, usize::MAX, &mut registry.effects);
    assert_eq!(registry.told(), ["a: part", "b: part", "c: part"]);
    registry.state.connect(connect("u", 1, &[]), 200, &mut registry.effects).unwrap();
    assert_eq!(registry.told(), ["a: return", "b: return", "c: return"]);
}

#[test]
fn whoever_subscribes_while_absent_is_no_presence() {
    let mut registry = Registry::new();
    registry.state.tick(100, usize::MAX, &mut registry.effects);
    registry.told();
    let request = Subscribe { conn_id: id(1), channels: vec!["c".into()], channel_configs: Vec::new() };
    registry.state.subscribe(request, &mut registry.effects).unwrap();
    assert_eq!(registry.told(), ["c: join false", "c: part"]);
}

#[test]
fn disconnecting_releases_whoever_is_or_waits_to_be_attached() {
    let mut registry = Registry::new();
    registry.attach(place(0, 1));
    registry.attach(place(0, 2));
    registry.told();
    assert!(registry.state.disconnect(id(1), 5, &mut registry.effects));
    assert_eq!(registry.told(), ["a: leave", "b: leave", "release 1 Ended", "release 2 Ended"]);
    assert!(!registry.state.disconnect(id(1), 5, &mut registry.effects));
    registry.goodbye(place(0, 1), 6);
    registry.state.check(6);
}

/// Eight users in channel "a", each attached at the place of its number, and a channel that has told so.
fn crowd() -> Registry {
    let mut registry = Registry { state: RegistryState::new(TIMES), effects: Vec::new() };
    let mut channel = channel(ChannelSettings::default(), PLENTY);
    for number in 1..=8 {
        let request = connect(&format!("u{number}"), number.into(), &["a"]);
        registry.state.connect(request, 0, &mut registry.effects).unwrap();
        let next = (place(0, number), Transport::Websocket);
        registry.state.attach(id(number.into()), next, &mut registry.effects).unwrap();
        channel.join(conn(number), view(number), None, &time(0), &mut Vec::new());
    }
    registry.state.channel(ChannelId(0)).unwrap().summary.update(&channel);
    registry.effects.clear();
    registry
}

/// Where a message to some users of "a" is sent; none: to all members.
fn places(registry: &mut Registry, receivers: &[u32], excluded: &[u32]) -> Option<Vec<ConnectionSlot>> {
    let names = |users: &[u32]| users.iter().map(|number| format!("u{number}")).collect();
    let mut message = message(1);
    message.delivery.channel = Some("a".into());
    message.delivery.pm_users = names(receivers);
    message.delivery.exclude_users = names(excluded);
    registry.state.post(message, &mut registry.effects);
    match registry.effects.pop() {
        Some(Effect::Channel(ChannelId(0), ToChannel::Publish(_))) => None,
        Some(Effect::Channel(ChannelId(0), ToChannel::PublishTo(_, places))) => Some(places),
        other => panic!("{other:?}"),
    }
}

#[test]
fn few_receivers_are_found_at_their_places() {
    let mut registry = crowd();
    assert_eq!(places(&mut registry, &[], &[1]), None);
    assert_eq!(places(&mut registry, &[1, 2, 3, 4, 5], &[]), None);
    assert_eq!(places(&mut registry, &[3, 1, 99, 3], &[]), Some(vec![place(0, 1), place(0, 3)]));
    assert_eq!(places(&mut registry, &[1, 3], &[1]), Some(vec![place(0, 3)]));
    assert_eq!(places(&mut registry, &[99], &[]), Some(Vec::new()));
    // Who listens to other channels only is not told from who listens to this one: its hub knows.
    let request = connect("u3", 33, &["b"]);
    registry.state.connect(request, 0, &mut registry.effects).unwrap();
    let next = (place(1, 33), Transport::LongPoll);
    registry.state.attach(id(33), next, &mut registry.effects).unwrap();
    let mut found = places(&mut registry, &[3], &[]).unwrap();
    found.sort_by_key(|place| place.slot.index);
    assert_eq!(found, [place(0, 3), place(1, 33)]);
}

#[test]
fn a_session_that_was_told_to_go_gets_what_members_get_until_it_is_gone() {
    let mut registry = crowd();
    let next = (place(1, 20), Transport::Websocket);
    registry.state.attach(id(2), next, &mut registry.effects).unwrap();
    assert_eq!(places(&mut registry, &[2], &[]), Some(vec![place(0, 2)]));
    let gone = |place| Detached {
        conn_id: id(2),
        place,
        cursors: vec![(ChannelId(0), 0)],
        inbox: None,
        transport: Transport::Websocket,
    };
    registry.state.detached(gone(place(0, 2)), 1, &mut registry.effects);
    assert_eq!(places(&mut registry, &[2], &[]), Some(vec![place(1, 20)]));
    registry.state.detached(gone(place(1, 20)), 2, &mut registry.effects);
    assert_eq!(places(&mut registry, &[2], &[]), Some(Vec::new()));
}

/// Every connection has one of each: what is added here is added to the memory of an idle connection.
#[test]
fn records_stay_small() {
    assert_eq!((size_of::<super::state::ConnectionRecord>(), size_of::<super::users::User>()), (72, 64));
}

/// When a crowd's time has come, other tasks have their turn in between.
#[test]
fn deadlines_are_looked_at_in_turns() {
    let mut registry = Registry::new();
    registry.told();
    for number in 0..50 {
        let request = Connect {
            username: format!("user {number}"),
            conn_id: Some(Uuid::from_u128(1_000 + number)),
            channels: vec!["a".into(), "b".into()],
            fresh_user_state: Vec::new(),
            user_state: Vec::new(),
            state_public_keys: Vec::new(),
            channel_configs: Vec::new(),
        };
        registry.state.connect(request, 0, &mut registry.effects).unwrap();
    }
    registry.effects.clear();
    let (mut turns, mut parted) = (1, 0);
    while !registry.state.tick(100, 10, &mut registry.effects) {
        assert!(registry.effects.len() <= 12, "{} effects in one turn", registry.effects.len());
        parted += registry.effects.drain(..).count();
        turns += 1;
    }
    parted += registry.effects.drain(..).count();
    assert_eq!(parted, 51 * 2);
    assert!(turns >= 10, "{turns} turns");
    assert_eq!(registry.state.counts().2, 0);
}
