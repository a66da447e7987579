//! What the requests of demo mode may take and touch. Anybody may send them, so they have a small share of their own,
//! which the bounds for backends do not count, and touch no user that is not theirs. Pure.

use super::state::RegistryState;
use crate::protocol::ids::{ConnKey, UserId};
use std::collections::HashSet;

/// Most channels that they make. Channels stay until the server ends.
pub const MAX_CHANNELS: usize = 16;
/// Most connections of their users.
pub const MAX_CONNECTIONS: usize = 100;
/// Most users of theirs that are remembered.
pub const MAX_USERS: usize = 200;

/// How much of their share is taken.
#[derive(Debug, Default)]
pub struct DemoShare {
    /// The request at hand is one of them.
    asks: bool,
    channels: usize,
    connections: usize,
}

impl DemoShare {
    /// Whether the request at hand is of demo mode.
    pub fn asks(&self) -> bool {
        self.asks
    }

    /// Channels that they made.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Connections of their users.
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// A channel was made by the request at hand.
    pub(super) fn note_channel(&mut self) {
        self.channels += usize::from(self.asks);
    }
}

impl RegistryState {
    /// What follows is a request of demo mode, until [`RegistryState::end_demo`].
    pub fn begin_demo(&mut self) {
        self.demo.asks = true;
    }

    /// The request of demo mode is carried out.
    pub fn end_demo(&mut self) {
        self.demo.asks = false;
    }

    /// Whether the request at hand may touch this user: one of demo mode only those that such a request has made.
    pub(super) fn may_touch(&self, user: UserId) -> bool {
        !self.demo.asks || self.user(user).is_some_and(|user| user.of_demo)
    }

    /// The connection of this key was made, or ends.
    pub(super) fn note_connection(&mut self, user: UserId, by: isize) {
        if self.user(user).is_some_and(|user| user.of_demo) {
            self.demo.connections = self.demo.connections.saturating_add_signed(by);
        }
    }

    /// Whether the share has room for what the request at hand makes.
    pub(super) fn share_has_room(
        &self,
        existing: Option<ConnKey>,
        user: Option<UserId>,
        channels: &[String],
    ) -> bool {
        if !self.demo.asks {
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
    use super::super::messages::Connect;
    use super::super::messages::ConnectRefused;
    use super::super::messages::StateRefused;
    use super::super::messages::Subscribe;
    use super::super::messages::SubscribeRefused;
    use super::super::state::ConnectionTimes;
    use super::*;
    use uuid::Uuid;

    impl RegistryState {
        fn for_demo<T>(&mut self, request: impl FnOnce(&mut Self) -> T) -> T {
            self.begin_demo();
            let answer = request(self);
            self.end_demo();
            answer
        }
    }

    const TIMES: ConnectionTimes =
        ConnectionTimes { idle: 15_000, part: 500, grace: 30_000, user_idle: 86_400_000 };

    fn connect(user: &str, channels: &[&str]) -> Connect {
        Connect {
            username: user.into(),
            conn_id: None,
            channels: channels.iter().map(|name| (*name).to_owned()).collect(),
            fresh_user_state: Vec::new(),
            user_state: Vec::new(),
            state_public_keys: Vec::new(),
            channel_configs: Vec::new(),
        }
    }

    fn bounded() -> RegistryState {
        RegistryState::new(TIMES).bounded(RegistryLimits {
            channels: 2,
            connections: 2,
            ..RegistryLimits::default()
        })
    }

    #[test]
    fn the_share_is_bounded_and_backends_keep_all_of_theirs() {
        let (mut state, mut effects) = (bounded(), Vec::new());
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
    fn channels_of_one_request_count_too() {
        let (mut state, mut effects) = (bounded(), Vec::new());
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
    fn what_ends_makes_room_again() {
        let (mut state, mut effects) = (RegistryState::new(TIMES), Vec::new());
        let mut opened = Vec::new();
        for number in 0..MAX_CONNECTIONS {
            let request = connect(&format!("demo:{number}"), &[]);
            opened.push(state.for_demo(|state| state.connect(request, 0, &mut effects)).unwrap().conn_id);
        }
        assert_eq!((state.demo.connections(), state.users.of_demo()), (MAX_CONNECTIONS, MAX_CONNECTIONS));
        for conn_id in opened {
            assert!(state.disconnect(conn_id, 1_000, &mut effects));
        }
        state.forget_users(TIMES.user_idle);
        assert_eq!((state.demo.connections(), state.users.of_demo()), (0, 0));
    }

    #[test]
    fn users_and_connections_of_backends_are_not_touched() {
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
            let leave =
                crate::broker::registry::messages::Unsubscribe { conn_id, channels: vec!["a".into()] };
            assert!(state.unsubscribe(leave, &mut effects).is_none());
            let set = state.set_user_state("demo:ann", Vec::new(), None, 0, &mut effects);
            assert_eq!(set.unwrap_err(), StateRefused::UnknownUser);
        });
        assert!(effects.is_empty());
    }
}
