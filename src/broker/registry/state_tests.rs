//! Invariants of the registry, and single scenarios. Random scenarios are in `simulation`.

use super::state::{ConnectionTimes, Effect, NextSession, Phase, RegistryState, subscriptions};
use crate::broker::channel::messages::ToChannel;
use crate::broker::hub::messages::{AttachRefused, Attaching, Detached, ToHub};
use crate::broker::requests::Ending;
use crate::broker::requests::{Connect, ConnectRefused, Subscribe};
use crate::config::{ChannelPatterns, FileFormat, parse};
use crate::fixtures::{PLENTY, channel, conn, location, message, time, view};
use crate::protocol::ids::{ChannelId, ConnKey, ConnectionSlot};
use crate::protocol::settings::{ChannelConfig, ChannelSettings};
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::Transport;
use std::collections::HashSet;
use uuid::Uuid;

fn next(location: ConnectionSlot, transport: Transport) -> NextSession {
    NextSession { location, transport, since: None }
}

const TIMES: ConnectionTimes =
    ConnectionTimes { idle: 100, part: 10, reconnect_delay: 10, grace: 50, user_idle: 1_000 };

impl RegistryState {
    /// Panics unless the counts equal a recount, and every connection without a session has a deadline.
    pub fn check(&self, now: u64) {
        let mut present = 0;
        let mut locations = HashSet::new();
        for (index, connection) in &self.connections {
            let (key, _) = self.connection(connection.id).expect("the connection is found by its id");
            assert_eq!((key.index as usize, key.generation), (index, connection.generation));
            let user = self.user(connection.user).expect("its user is remembered");
            assert!(user.connections.iter().any(|of| of == key));
            present += usize::from(connection.is_present());
            match &connection.phase {
                Phase::Attached(location, _) => {
                    assert!(locations.insert(*location), "two connections at {location:?}")
                }
                Phase::Releasing(handover) => {
                    assert!(locations.insert(handover.from), "two connections at {:?}", handover.from);
                    assert!(handover.to.as_ref().is_none_or(|next| locations.insert(next.location)));
                }
                Phase::Waiting | Phase::Lingering | Phase::Away => {
                    let at = connection.deadline.expect("a connection without a session has a deadline");
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
            let connections = user.connections.iter().map(|key| &self.connections[key.index as usize]);
            let (all, present): (Vec<_>, Vec<_>) = connections.map(|c| (c, c.is_present())).unzip();
            assert!(all.iter().all(|connection| connection.user == user.view.id));
            assert_eq!(present.iter().filter(|present| **present).count(), user.present as usize);
            assert_eq!(self.user_id(&user.view.name), Some(user.view.id));
            let subscribed: HashSet<_> =
                all.iter().flat_map(|connection| &connection.channels).copied().collect();
            let channels = user.connections.channels(|only| subscriptions(&self.connections, only));
            assert_eq!(channels.len(), subscribed.len(), "a channel is missing or listed twice");
            assert_eq!(channels.into_iter().collect::<HashSet<_>>(), subscribed);
        }
    }

    /// Panics unless nothing waits for a time: no connection, no token, no block.
    pub fn check_nothing_waits(&self) {
        assert!(self.deadlines.is_empty(), "{:?}", self.deadlines);
        assert!(self.expiries.is_empty(), "{:?}", self.expiries);
        assert_eq!(self.blocks.len(), 0, "{:?}", self.blocks);
    }

    pub fn all_connections(&self) -> impl Iterator<Item = (ConnKey, &super::state::ConnectionRecord)> {
        let key = |(index, of): (usize, &super::state::ConnectionRecord)| ConnKey {
            index: index as u32,
            generation: of.generation,
        };
        self.connections.iter().map(move |(index, of)| (key((index, of)), of))
    }

    /// The names of the present users of a channel, each once, and the number of their connections.
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
        state_public_keys: Some(Vec::new()),
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

    fn attach(&mut self, location: ConnectionSlot) {
        self.state.attach(id(1), next(location, Transport::Websocket), &mut self.effects).unwrap();
    }

    fn detached(&mut self, location: ConnectionSlot, now: u64) {
        let cursors = vec![(ChannelId(0), 3)];
        let report = Detached {
            conn_id: id(1),
            location,
            cursors,
            private_cursor: None,
            transport: Transport::Websocket,
        };
        self.state.detached(report, now, &mut self.effects);
    }

    fn phase(&self) -> &Phase {
        &self.state.connection(id(1)).unwrap().1.phase
    }

    /// A short form of the commands to channels and hubs since the last call.
    fn commands(&mut self) -> Vec<String> {
        let name = |channel: ChannelId| self.state.channel(channel).unwrap().identity.name.clone();
        let commands = std::mem::take(&mut self.effects).into_iter().filter_map(|effect| match effect {
            Effect::Channel(channel, message) => {
                let command = match message {
                    ToChannel::Join { location, .. } => format!("join {}", location.is_some()),
                    ToChannel::Attach { attaching: Attaching { part, .. }, .. } => {
                        format!("attach {}/{}", part.index, part.of)
                    }
                    ToChannel::Detach(_, cursor) => format!("detach {cursor:?}"),
                    ToChannel::Leave(..) => "leave".into(),
                    ToChannel::Part(..) => "part".into(),
                    ToChannel::Return(..) => "return".into(),
                    other => format!("{other:?}"),
                };
                Some(format!("{}: {command}", name(channel)))
            }
            Effect::Hub(_, ToHub::Release(slot, why)) => {
                Some(format!("release {} {:?}", slot.index, why.reason))
            }
            _ => None,
        });
        let mut commands: Vec<_> = commands.collect();
        commands.sort();
        commands
    }
}

#[test]
fn a_closed_socket_parts_and_returns() {
    let mut registry = Registry::new();
    registry.attach(location(0, 1));
    assert_eq!(registry.commands(), ["a: attach 0/3", "b: attach 1/3"]);
    registry.detached(location(0, 1), 1_000);
    assert_eq!(registry.commands(), ["a: detach Some(3)", "b: detach None"]);
    registry.state.tick(1_009, usize::MAX, &mut registry.effects);
    assert_eq!((registry.commands().len(), registry.state.counts()), (0, (1, 1, 1)));
    registry.state.tick(1_010, usize::MAX, &mut registry.effects);
    assert_eq!(registry.commands(), ["a: part", "b: part"]);
    assert_eq!(registry.state.counts(), (1, 0, 0));
    registry.attach(location(0, 2));
    assert_eq!(registry.commands(), ["a: attach 0/3", "b: attach 1/3"]);
    assert_eq!(registry.state.counts(), (1, 1, 1));
}

#[test]
fn a_report_of_another_session_changes_nothing() {
    let mut registry = Registry::new();
    registry.attach(location(0, 1));
    registry.effects.clear();
    for other in [location(1, 1), location(0, 2)] {
        registry.detached(other, 5);
    }
    assert_eq!(*registry.phase(), Phase::Attached(location(0, 1), Transport::Websocket));
    assert!(registry.effects.is_empty());
}

#[test]
fn a_successor_waits_until_the_previous_session_has_detached() {
    let mut registry = Registry::new();
    registry.attach(location(0, 1));
    registry.commands();
    registry.attach(location(0, 2));
    assert_eq!(registry.commands(), ["release 1 TakenOver"]);
    registry.attach(location(0, 3));
    assert_eq!(registry.commands(), ["release 2 TakenOver"], "it was never attached");
    registry.detached(location(0, 2), 1);
    registry.detached(location(0, 1), 2);
    assert_eq!(*registry.phase(), Phase::Attached(location(0, 3), Transport::Websocket));
    registry.detached(location(0, 1), 3);
    assert_eq!(*registry.phase(), Phase::Attached(location(0, 3), Transport::Websocket));
}

#[test]
fn a_successor_that_has_ended_is_not_attached() {
    let mut registry = Registry::new();
    registry.attach(location(0, 1));
    registry.attach(location(0, 2));
    registry.detached(location(0, 2), 1);
    registry.detached(location(0, 1), 2);
    assert_eq!(*registry.phase(), Phase::Lingering);
    registry.state.check(2);
}

#[test]
fn idle_connections_end_and_free_their_id() {
    let mut registry = Registry::new();
    registry.state.tick(100, usize::MAX, &mut registry.effects);
    assert_eq!(*registry.phase(), Phase::Away);
    registry.commands();
    registry.state.tick(149, usize::MAX, &mut registry.effects);
    assert!(registry.state.connection(id(1)).is_some());
    registry.state.tick(150, usize::MAX, &mut registry.effects);
    assert!(registry.state.connection(id(1)).is_none());
    assert_eq!(registry.commands(), ["a: leave", "b: leave"]);
    let refused =
        registry.state.attach(id(1), next(location(0, 1), Transport::LongPoll), &mut registry.effects);
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
fn a_client_that_was_refused_has_the_idle_time_again() {
    let mut registry = Registry::new();
    registry.state.keep_present(id(1), 50);
    registry.state.tick(149, usize::MAX, &mut registry.effects);
    assert_eq!(*registry.phase(), Phase::Waiting);
    registry.state.tick(150, usize::MAX, &mut registry.effects);
    assert_eq!(*registry.phase(), Phase::Away);
    registry.state.keep_present(id(1), 160);
    registry.state.tick(200, usize::MAX, &mut registry.effects);
    assert!(registry.state.connection(id(1)).is_none(), "it was absent already");
}

#[test]
fn an_id_belongs_to_its_user() {
    let mut registry = Registry::new();
    let refused = registry.state.connect(connect("other", 1, &["c"]), 0, &mut registry.effects);
    assert!(matches!(refused, Err(ConnectRefused::BelongsToAnother)));
    assert!(registry.effects.is_empty() && registry.state.user_id("other").is_none());
    assert!(registry.state.channel_id("c").is_none());
}

#[test]
fn connecting_again_restarts_the_idle_time_and_joins_only_new_channels() {
    let mut registry = Registry::new();
    registry.state.connect(connect("u", 1, &["a", "c"]), 90, &mut registry.effects).unwrap();
    assert_eq!(registry.commands(), ["c: join false"]);
    registry.state.tick(189, usize::MAX, &mut registry.effects);
    assert_eq!(*registry.phase(), Phase::Waiting);
    registry.state.tick(190, usize::MAX, &mut registry.effects);
    assert_eq!(registry.commands(), ["a: part", "b: part", "c: part"]);
    registry.state.connect(connect("u", 1, &[]), 200, &mut registry.effects).unwrap();
    assert_eq!(registry.commands(), ["a: return", "b: return", "c: return"]);
}

#[test]
fn a_subscription_while_absent_causes_no_presence() {
    let mut registry = Registry::new();
    registry.state.tick(100, usize::MAX, &mut registry.effects);
    registry.commands();
    let request = Subscribe { conn_id: id(1), channels: vec!["c".into()], channel_configs: Vec::new() };
    registry.state.subscribe(request, &mut registry.effects).unwrap();
    assert_eq!(registry.commands(), ["c: join false", "c: part"]);
}

#[test]
fn disconnecting_releases_the_attached_and_the_waiting_session() {
    let mut registry = Registry::new();
    registry.attach(location(0, 1));
    registry.attach(location(0, 2));
    registry.commands();
    let ended = Ending::from(CloseReason::Ended);
    assert!(registry.state.disconnect(id(1), &ended, 5, &mut registry.effects));
    assert_eq!(registry.commands(), ["a: leave", "b: leave", "release 1 Ended", "release 2 Ended"]);
    assert!(!registry.state.disconnect(id(1), &ended, 5, &mut registry.effects));
    registry.detached(location(0, 1), 6);
    registry.state.check(6);
}

/// Eight users in channel "a", each attached at the slot of its number. The channel's summary is up to date.
fn eight_users() -> Registry {
    let mut registry = Registry { state: RegistryState::new(TIMES), effects: Vec::new() };
    let mut channel = channel(ChannelSettings::default(), PLENTY);
    for number in 1..=8 {
        let request = connect(&format!("u{number}"), number.into(), &["a"]);
        registry.state.connect(request, 0, &mut registry.effects).unwrap();
        let next = next(location(0, number), Transport::Websocket);
        registry.state.attach(id(number.into()), next, &mut registry.effects).unwrap();
        channel.join(conn(number), view(number), None, &time(0), &mut Vec::new());
    }
    registry.state.channel(ChannelId(0)).unwrap().summary.update(&channel);
    registry.effects.clear();
    registry
}

/// The sessions to which a message for some users of "a" is sent. `None` if it goes to all members.
fn locations(registry: &mut Registry, receivers: &[u32], excluded: &[u32]) -> Option<Vec<ConnectionSlot>> {
    let names = |users: &[u32]| users.iter().map(|number| format!("u{number}")).collect();
    let mut message = message(1);
    message.delivery.channel = Some("a".into());
    message.delivery.pm_users = names(receivers);
    message.delivery.exclude_users = names(excluded);
    registry.state.post(message, None, &mut registry.effects);
    match registry.effects.pop() {
        Some(Effect::Channel(ChannelId(0), ToChannel::Publish(_))) => None,
        Some(Effect::Channel(ChannelId(0), ToChannel::PublishTo(_, locations))) => Some(locations),
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_for_few_receivers_go_to_their_sessions() {
    let mut registry = eight_users();
    assert_eq!(locations(&mut registry, &[], &[1]), None);
    assert_eq!(locations(&mut registry, &[1, 2, 3, 4, 5], &[]), None);
    assert_eq!(locations(&mut registry, &[3, 1, 99, 3], &[]), Some(vec![location(0, 1), location(0, 3)]));
    assert_eq!(locations(&mut registry, &[1, 3], &[1]), Some(vec![location(0, 3)]));
    assert_eq!(locations(&mut registry, &[99], &[]), Some(Vec::new()));
    // The registry includes sessions that only subscribe to other channels; their hub ignores the frame.
    let request = connect("u3", 33, &["b"]);
    registry.state.connect(request, 0, &mut registry.effects).unwrap();
    let next = next(location(1, 33), Transport::LongPoll);
    registry.state.attach(id(33), next, &mut registry.effects).unwrap();
    let mut found = locations(&mut registry, &[3], &[]).unwrap();
    found.sort_by_key(|location| location.slot.index);
    assert_eq!(found, [location(0, 3), location(1, 33)]);
}

#[test]
fn a_released_session_receives_frames_until_it_has_detached() {
    let mut registry = eight_users();
    let next = next(location(1, 20), Transport::Websocket);
    registry.state.attach(id(2), next, &mut registry.effects).unwrap();
    assert_eq!(locations(&mut registry, &[2], &[]), Some(vec![location(0, 2)]));
    let report = |location| Detached {
        conn_id: id(2),
        location,
        cursors: vec![(ChannelId(0), 0)],
        private_cursor: None,
        transport: Transport::Websocket,
    };
    registry.state.detached(report(location(0, 2)), 1, &mut registry.effects);
    assert_eq!(locations(&mut registry, &[2], &[]), Some(vec![location(1, 20)]));
    registry.state.detached(report(location(1, 20)), 2, &mut registry.effects);
    assert_eq!(locations(&mut registry, &[2], &[]), Some(Vec::new()));
}

/// Every connection has one of each, so these sizes are part of the memory of an idle connection.
#[test]
fn records_stay_small() {
    assert_eq!((size_of::<super::state::ConnectionRecord>(), size_of::<super::users::User>()), (80, 64));
}

/// Many due deadlines are handled in several turns.
#[test]
fn deadlines_are_handled_in_several_turns() {
    let mut registry = Registry::new();
    registry.commands();
    for number in 0..50 {
        let request = Connect {
            username: format!("user {number}"),
            conn_id: Some(Uuid::from_u128(1_000 + number)),
            channels: vec!["a".into(), "b".into()],
            fresh_user_state: Vec::new(),
            user_state: Vec::new(),
            state_public_keys: Some(Vec::new()),
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

fn patterns(text: &str) -> ChannelPatterns {
    parse(text, FileFormat::Toml, "file".as_ref()).unwrap().channels
}

#[test]
fn channels_have_the_settings_that_their_pattern_allows() {
    let patterns = patterns(
        "[[channels]]\nmatch = 'p*'\ndefaults = {store_history = true, history_size = 3}\nfixed = ['store_history']\n",
    );
    let mut state = RegistryState::new(TIMES).with_patterns(patterns);
    let mut effects = Vec::new();
    let off = ChannelConfig { store_history: Some(false), history_size: Some(9), ..ChannelConfig::default() };
    let mut request = connect("u", 1, &["p1", "q1"]);
    request.channel_configs = vec![("p1".into(), off.clone()), ("q1".into(), off.clone())];
    state.connect(request, 0, &mut effects).unwrap();
    let frames_of = |effect: &Effect| match effect {
        Effect::Create(identity, settings, rules, _) => Some((
            identity.name.to_string(),
            settings.store_history,
            settings.history_size,
            rules.pattern.clone(),
        )),
        _ => None,
    };
    let created: Vec<_> = effects.drain(..).filter_map(|effect| frames_of(&effect)).collect();
    let of = |name: &str, history, size, pattern: &str| (name.to_owned(), history, size, pattern.to_owned());
    assert_eq!(created, [of("p1", true, 9, "p*"), of("q1", false, 9, "")]);
    let both = |config: &ChannelConfig| vec![("p1".into(), config.clone()), ("q1".into(), config.clone())];
    state.configure(both(&ChannelConfig::default()), &mut effects).unwrap();
    let settings: Vec<_> = effects
        .drain(..)
        .map(|effect| match effect {
            Effect::Channel(_, ToChannel::Configure(settings)) => {
                (settings.store_history, settings.history_size)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(settings, [(true, 3), (false, 10)], "without a value, the pattern's default returns");
    state.configure(both(&ChannelConfig::default()), &mut effects).unwrap();
    assert!(effects.is_empty(), "nothing changed");
}
