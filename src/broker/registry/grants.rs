//! Tokens: what a verified token grants to a connection, and what happens when it expires.

use super::state::{Effect, Phase, RegistryState};
use crate::broker::hub::messages::ToHub;
use crate::broker::requests::{Connect, ConnectRefused, TokenGrant, TokenGrantRefused};
use crate::protocol::ids::ConnKey;
use crate::protocol::websocket::close::CloseReason;
use crate::telemetry::recorder::ConnectionEvent;
use uuid::Uuid;

impl RegistryState {
    /// Creates the connection of a token as `/connect` does, or adds the token's channels to an existing one. The
    /// connection expires with the token. Returns its id.
    ///
    /// # Errors
    /// The user is blocked, the token is revoked, the connection belongs to another user or does not exist and may not be
    /// created, or a limit is reached. Nothing is changed.
    pub fn grant(
        &mut self,
        grant: TokenGrant,
        now: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<Uuid, TokenGrantRefused> {
        self.may_grant(&grant.connect.username, grant.issued_unix, now)?;
        let TokenGrant { mut connect, public_keys, expires_unix, valid_for_ms, creates, .. } = grant;
        let user = self.user_id(&connect.username);
        let existing = connect.conn_id.and_then(|id| self.connection(id));
        let existing = existing.map(|(key, connection)| (key, connection.user));
        if existing.is_some_and(|(_, owner)| Some(owner) != user) {
            return Err(TokenGrantRefused::Mismatch);
        }
        let conn_id = match (existing, connect.conn_id) {
            (Some((key, _)), Some(id)) => {
                self.add_channels(key, &connect, effects)?;
                id
            }
            _ if !creates => return Err(TokenGrantRefused::UnknownConnection),
            _ => {
                // A token without the claim leaves the keys as they are, because /user_state may have set them.
                connect.state_public_keys = public_keys;
                self.connect(connect, now, effects).map_err(TokenGrantRefused::Connect)?.conn_id
            }
        };
        if let Some((key, _)) = self.connection(conn_id)
            && self.expiries.set(key, expires_unix, now.saturating_add(valid_for_ms))
        {
            effects.push(Effect::Record(conn_id, ConnectionEvent::TokenAccepted { expires_unix }));
        }
        Ok(conn_id)
    }

    /// Checks whether a user's token that was issued at this time, in Unix seconds, is still valid.
    ///
    /// # Errors
    /// The user is blocked, or the token is revoked.
    pub fn may_grant(&self, user: &str, issued_unix: Option<u64>, now: u64) -> Result<(), TokenGrantRefused> {
        if self.blocks.is_blocked(user, now) {
            return Err(TokenGrantRefused::Connect(ConnectRefused::Blocked));
        }
        match self.blocks.revokes(user, issued_unix) {
            true => Err(TokenGrantRefused::Revoked),
            false => Ok(()),
        }
    }

    fn add_channels(
        &mut self,
        key: ConnKey,
        connect: &Connect,
        effects: &mut Vec<Effect>,
    ) -> Result<(), TokenGrantRefused> {
        let over = |over| TokenGrantRefused::Connect(ConnectRefused::OverLimit(over));
        self.room_for_channels(connect.channels.iter()).map_err(over)?;
        self.room_to_join(Some(key), &connect.channels).map_err(over)?;
        let mut names = connect.channels.clone();
        names.sort();
        names.dedup();
        self.join_all(key, &names, &[], effects);
        Ok(())
    }

    /// Closes the sessions whose tokens have expired, also those that still wait for their predecessors, at most this many.
    /// Returns the number of tokens. A poll ends by itself; the next one needs a valid token.
    pub(super) fn close_expired(&mut self, now: u64, at_most: usize, effects: &mut Vec<Effect>) -> usize {
        for expired in 0..at_most {
            let Some(key) = self.expiries.next_due(now) else { return expired };
            let Some(connection) = self.get_mut(key) else { continue };
            effects.push(Effect::Record(connection.id, ConnectionEvent::TokenExpired));
            let ending = match &mut connection.phase {
                Phase::Attached(location, transport) if transport.keep_alive().is_some() => {
                    let location = *location;
                    connection.phase = Phase::releasing(location);
                    Some(location)
                }
                Phase::Releasing(handover) => {
                    let next = handover.to.take_if(|next| next.transport.keep_alive().is_some());
                    next.map(|next| next.location)
                }
                _ => None,
            };
            if let Some(location) = ending {
                let release = ToHub::Release(location.slot, CloseReason::NeedsToken.into());
                effects.push(Effect::Hub(location.hub, release));
            }
        }
        at_most
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::ConnectionTimes;
    use super::*;
    use crate::broker::hub::messages::AttachRefused;
    use crate::broker::registry::state::NextSession;
    use crate::broker::requests::BlockUser;
    use crate::fixtures::location;
    use crate::http_error::OverLimit;
    use crate::send_queue::Transport;
    use crate::telemetry::limits::Limit;

    const TIMES: ConnectionTimes =
        ConnectionTimes { idle: 100_000, part: 10, reconnect_delay: 0, grace: 50, user_idle: 1_000 };

    fn grant(user: &str, channels: &[&str], valid_for_ms: u64) -> TokenGrant {
        let connect = Connect {
            username: user.into(),
            conn_id: Some(Uuid::from_u128(1)),
            channels: channels.iter().map(|name| name.to_string()).collect(),
            fresh_user_state: Vec::new(),
            user_state: Vec::new(),
            state_public_keys: Some(Vec::new()),
            channel_configs: Vec::new(),
        };
        TokenGrant {
            connect,
            public_keys: None,
            issued_unix: Some(1_000),
            expires_unix: 2_000 + valid_for_ms,
            valid_for_ms,
            creates: true,
        }
    }

    fn state() -> RegistryState {
        let mut state = RegistryState::new(TIMES);
        state.limits.channels_per_connection = 2;
        state.limits.blocks = 9;
        state
    }

    fn attach(state: &mut RegistryState, transport: Transport) -> Result<(), AttachRefused> {
        let next = NextSession { location: location(0, 1), transport, since: None };
        state.attach(Uuid::from_u128(1), next, &mut Vec::new())
    }

    fn releases(effects: &[Effect]) -> Vec<CloseReason> {
        let reason = |effect: &Effect| match effect {
            Effect::Hub(_, ToHub::Release(_, why)) => Some(why.reason),
            _ => None,
        };
        effects.iter().filter_map(reason).collect()
    }

    #[test]
    fn an_existing_connection_gains_channels_and_a_refused_grant_changes_nothing() {
        let (mut state, mut effects) = (state(), Vec::new());
        state.grant(grant("ann", &["a"], 100), 0, &mut effects).unwrap();
        state.grant(grant("ann", &["b", "a"], 100), 0, &mut effects).unwrap();
        let channels = |state: &RegistryState| state.connection(Uuid::from_u128(1)).unwrap().1.channels.len();
        assert_eq!(channels(&state), 2);
        let over = TokenGrantRefused::Connect(ConnectRefused::OverLimit(OverLimit::of(
            Limit::ChannelsPerConnection,
            2,
        )));
        assert_eq!(state.grant(grant("ann", &["c"], 900), 0, &mut effects), Err(over));
        assert_eq!(state.grant(grant("bob", &[], 900), 0, &mut effects), Err(TokenGrantRefused::Mismatch));
        assert_eq!((channels(&state), state.channel_id("c"), state.user_id("bob")), (2, None, None));
        state.tick(100, 9, &mut effects);
        assert_eq!(attach(&mut state, Transport::Websocket), Err(AttachRefused::UnknownConnection));
        state.check(100);
    }

    #[test]
    fn blocks_and_revoked_tokens_are_refused() {
        let (mut state, mut effects) = (state(), Vec::new());
        let block = |seconds, tokens_before| BlockUser {
            user: "ann".into(),
            seconds,
            tokens_before,
            reason: None,
            now_unix: 1_000,
        };
        state.blocks.set(block(None, Some(1_001)), 0, 9).unwrap();
        assert_eq!(state.grant(grant("ann", &[], 9), 0, &mut effects), Err(TokenGrantRefused::Revoked));
        state.blocks.set(block(Some(1), None), 0, 9).unwrap();
        let blocked = Err(TokenGrantRefused::Connect(ConnectRefused::Blocked));
        assert_eq!(state.grant(grant("ann", &[], 9), 0, &mut effects), blocked);
        assert!(state.blocks.remove("ann"));
        let refresh = || TokenGrant { creates: false, ..grant("ann", &[], 9) };
        assert_eq!(state.grant(refresh(), 0, &mut effects), Err(TokenGrantRefused::UnknownConnection));
        assert!(state.grant(grant("ann", &[], 9), 0, &mut effects).is_ok());
        assert!(state.grant(refresh(), 0, &mut effects).is_ok());
    }

    #[test]
    fn an_expired_websocket_is_closed_once_and_a_later_token_prevents_it() {
        let (mut state, mut effects) = (state(), Vec::new());
        state.grant(grant("ann", &["a"], 100), 0, &mut effects).unwrap();
        attach(&mut state, Transport::Websocket).unwrap();
        state.grant(grant("ann", &[], 200), 50, &mut effects).unwrap();
        effects.clear();
        state.tick(249, 9, &mut effects);
        assert_eq!(releases(&effects), []);
        state.tick(250, 9, &mut effects);
        state.tick(300, 9, &mut effects);
        assert_eq!(releases(&effects), [CloseReason::NeedsToken]);
        state.check(300);
    }

    #[test]
    fn a_session_that_waits_for_its_predecessor_does_not_outlive_the_token() {
        let (mut state, mut effects) = (state(), Vec::new());
        state.grant(grant("ann", &["a"], 100), 0, &mut effects).unwrap();
        attach(&mut state, Transport::LongPoll).unwrap();
        let next = NextSession { location: location(0, 2), transport: Transport::Websocket, since: None };
        state.attach(Uuid::from_u128(1), next, &mut effects).unwrap();
        effects.clear();
        state.tick(100, 9, &mut effects);
        assert_eq!(releases(&effects), [CloseReason::NeedsToken]);
        assert_eq!(attach(&mut state, Transport::Websocket), Err(AttachRefused::UnknownConnection));
        effects.clear();
        state.tick(u64::MAX / 2, 9, &mut effects);
        assert_eq!(releases(&effects), []);
        state.check(100);
    }

    #[test]
    fn a_poll_ends_by_itself_and_the_application_can_vouch_for_its_connection() {
        let (mut state, mut effects) = (state(), Vec::new());
        let token = grant("ann", &[], 100);
        state.grant(token, 0, &mut effects).unwrap();
        attach(&mut state, Transport::LongPoll).unwrap();
        state.tick(150, 9, &mut effects);
        assert_eq!(releases(&effects), []);
        assert_eq!(attach(&mut state, Transport::LongPoll), Err(AttachRefused::UnknownConnection));
        state.connect(grant("ann", &[], 0).connect, 160, &mut effects).unwrap();
        assert_eq!(attach(&mut state, Transport::LongPoll), Ok(()));
    }

    #[test]
    fn many_blocks_and_tokens_that_end_together_take_several_turns() {
        let (mut state, mut effects) = (state(), Vec::new());
        for number in 0..10 {
            let user = format!("u{number}");
            let block = BlockUser {
                user: user.clone(),
                seconds: Some(1),
                tokens_before: None,
                reason: None,
                now_unix: 1_000,
            };
            let mut token = grant(&user, &[], 1_000);
            token.connect.conn_id = Some(Uuid::from_u128(number));
            state.grant(token, 0, &mut effects).unwrap();
            state.blocks.set(block, 0, 100).unwrap();
        }
        let turns = (1..9).find(|_| {
            effects.clear();
            state.tick(1_000, 4, &mut effects)
        });
        assert_eq!((turns, state.blocks.len()), (Some(6), 0), "20 ends, 4 in each turn");
        let expired = (0..10).filter(|number| {
            let (key, _) = state.connection(Uuid::from_u128(*number)).unwrap();
            state.expiries.is_expired(key)
        });
        assert_eq!(expired.count(), 10);
    }
}
