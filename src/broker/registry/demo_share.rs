//! The limits of demo mode. Its requests are unsigned, so they use a small share of their own, which the limits for
//! applications do not count, and may only access users that demo mode has created. Pure.

use super::state::RegistryState;
use crate::broker::requests::Requester;
use crate::protocol::ids::{ConnKey, UserId};
use std::collections::HashSet;

/// The most channels that demo mode may create. Channels exist until the server ends.
pub const MAX_CHANNELS: usize = 16;
/// The most connections of demo users.
pub const MAX_CONNECTIONS: usize = 100;
/// The most demo users that are remembered.
pub const MAX_USERS: usize = 200;

/// The used part of the share.
#[derive(Debug, Default)]
pub struct DemoShare {
    /// Whether the current request belongs to demo mode.
    is_demo_request: bool,
    channels: usize,
    connections: usize,
}

impl DemoShare {
    /// Whether the current request belongs to demo mode.
    pub fn is_demo_request(&self) -> bool {
        self.is_demo_request
    }

    /// The number of channels that demo mode has created.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The number of connections of demo users.
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// Counts a channel that the current request has created.
    pub(super) fn note_channel(&mut self) {
        self.channels += usize::from(self.is_demo_request);
    }
}

impl RegistryState {
    /// Runs a request for this party. Other requests act for an application or an operator.
    pub fn acting_for<T>(&mut self, by: Requester, request: impl FnOnce(&mut Self) -> T) -> T {
        self.demo.is_demo_request = by == Requester::Demo;
        let result = request(self);
        self.demo.is_demo_request = false;
        result
    }

    /// Whether the current request may access this user. A request of demo mode may only access demo users.
    pub(super) fn may_access(&self, user: UserId) -> bool {
        !self.demo.is_demo_request || self.user(user).is_some_and(|user| user.of_demo)
    }

    /// Counts a new (1) or ended (-1) connection of a demo user.
    pub(super) fn note_connection(&mut self, user: UserId, by: isize) {
        if self.user(user).is_some_and(|user| user.of_demo) {
            self.demo.connections = self.demo.connections.saturating_add_signed(by);
        }
    }

    /// Whether the share has room for everything that the current request creates.
    pub(super) fn share_has_room(
        &self,
        existing: Option<ConnKey>,
        user: Option<UserId>,
        channels: &[String],
    ) -> bool {
        if !self.demo.is_demo_request {
            return true;
        }
        let new: HashSet<&String> = channels.iter().filter(|name| self.channel_id(name).is_none()).collect();
        self.demo.connections + usize::from(existing.is_none()) <= MAX_CONNECTIONS
            && self.users.of_demo() + usize::from(user.is_none()) <= MAX_USERS
            && (new.is_empty() || self.demo.channels + new.len() <= MAX_CHANNELS)
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::RegistryLimits;
    use super::super::state::ConnectionTimes;
    use super::*;
    use crate::broker::requests::{Connect, ConnectRefused, StateRefused, Subscribe, SubscribeRefused};
    use crate::protocol::websocket::close::CloseReason;
    use uuid::Uuid;

    impl RegistryState {
        fn for_demo<T>(&mut self, request: impl FnOnce(&mut Self) -> T) -> T {
            self.acting_for(Requester::Demo, request)
        }
    }

    const TIMES: ConnectionTimes = ConnectionTimes {
        idle: 15_000,
        part: 500,
        reconnect_delay: 2_000,
        grace: 30_000,
        user_idle: 86_400_000,
    };

    fn connect(user: &str, channels: &[&str]) -> Connect {
        Connect {
            username: user.into(),
            conn_id: None,
            channels: channels.iter().map(|name| (*name).to_owned()).collect(),
            fresh_user_state: Vec::new(),
            user_state: Vec::new(),
            state_public_keys: Some(Vec::new()),
            channel_configs: Vec::new(),
        }
    }

    fn with_limits() -> RegistryState {
        RegistryState::new(TIMES).with_limits(RegistryLimits {
            channels: 2,
            connections: 2,
            ..RegistryLimits::default()
        })
    }

    #[test]
    fn the_share_is_limited_and_does_not_reduce_the_applications_limits() {
        let (mut state, mut effects) = (with_limits(), Vec::new());
        for number in 0..MAX_CONNECTIONS {
            let channel = format!("demo:{}", number % MAX_CHANNELS);
            let request = connect(&format!("demo:{number}"), &[&channel]);
            assert!(state.for_demo(|state| state.connect(request, 0, &mut effects)).is_ok(), "{number}");
        }
        let refused = state.for_demo(|state| state.connect(connect("demo:0", &[]), 0, &mut effects));
        assert_eq!(refused.unwrap_err(), ConnectRefused::DemoIsFull);
        for (user, channel) in [("ann", "a"), ("bob", "b")] {
            assert!(state.connect(connect(user, &[channel]), 0, &mut effects).is_ok(), "{user}");
        }
        assert!(matches!(
            state.connect(connect("ann", &[]), 0, &mut effects),
            Err(ConnectRefused::OverLimit(_))
        ));
    }

    #[test]
    fn channels_of_one_request_are_counted_together() {
        let (mut state, mut effects) = (with_limits(), Vec::new());
        let names: Vec<String> = (0..=MAX_CHANNELS).map(|number| format!("demo:{number}")).collect();
        let many = connect("demo:ann", &names.iter().map(String::as_str).collect::<Vec<_>>());
        let refused = state.for_demo(|state| state.connect(many, 0, &mut effects));
        assert_eq!((refused.unwrap_err(), state.demo.channels()), (ConnectRefused::DemoIsFull, 0));
        let opened =
            state.for_demo(|state| state.connect(connect("demo:ann", &[]), 0, &mut effects)).unwrap();
        let more = Subscribe { conn_id: opened.conn_id, channels: names, channel_configs: Vec::new() };
        let refused = state.for_demo(|state| state.subscribe(more, &mut effects));
        assert_eq!(refused.unwrap_err(), SubscribeRefused::DemoIsFull);
    }

    #[test]
    fn ended_connections_and_users_free_their_share() {
        let (mut state, mut effects) = (RegistryState::new(TIMES), Vec::new());
        let mut opened = Vec::new();
        for number in 0..MAX_CONNECTIONS {
            let request = connect(&format!("demo:{number}"), &[]);
            opened.push(state.for_demo(|state| state.connect(request, 0, &mut effects)).unwrap().conn_id);
        }
        assert_eq!((state.demo.connections(), state.users.of_demo()), (MAX_CONNECTIONS, MAX_CONNECTIONS));
        for conn_id in opened {
            assert!(state.disconnect(conn_id, &CloseReason::Ended.into(), 1_000, &mut effects));
        }
        state.forget_users(TIMES.user_idle);
        assert_eq!((state.demo.connections(), state.users.of_demo()), (0, 0));
    }

    #[test]
    fn demo_requests_cannot_access_users_of_applications() {
        let (mut state, mut effects) = (RegistryState::new(TIMES), Vec::new());
        let conn_id = Uuid::from_u128(7);
        let own = Connect { conn_id: Some(conn_id), ..connect("demo:ann", &["a"]) };
        state.connect(own, 0, &mut effects).unwrap();
        effects.clear();
        state.for_demo(|state| {
            let taken = state.connect(connect("demo:ann", &[]), 0, &mut effects);
            assert_eq!(taken.unwrap_err(), ConnectRefused::BelongsToAnother);
            let join = Subscribe { conn_id, channels: vec!["demo:b".into()], channel_configs: Vec::new() };
            let joined = state.subscribe(join, &mut effects);
            assert_eq!(joined.unwrap_err(), SubscribeRefused::UnknownConnection);
            let leave = crate::broker::requests::Unsubscribe { conn_id, channels: vec!["a".into()] };
            assert!(state.unsubscribe(leave, &mut effects).is_none());
            let set = state.set_user_state("demo:ann", Vec::new(), None, 0, &mut effects);
            assert_eq!(set.unwrap_err(), StateRefused::UnknownUser);
        });
        assert!(effects.is_empty());
    }
}
