//! Tokens, blocks and ends: which connections the application admits, as its requests state it.

use super::World;
use crate::broker::hub::messages::ToHub;
use crate::broker::registry::state::Phase;
use crate::broker::requests::{BlockUser, Connect, ConnectRefused, TokenGrant, TokenGrantRefused};
use crate::protocol::ids::{ConnKey, HubId};
use crate::protocol::websocket::close::CloseReason;
use std::collections::HashMap;
use uuid::Uuid;

/// More blocks than there are users.
const MAX_BLOCKS: usize = 100;

/// See the module's description. All times are those of the world's clock.
#[derive(Default)]
pub struct Admission {
    /// The ends of the blocks of users.
    blocked: HashMap<String, u64>,
    /// The users whose tokens are revoked if they were issued before.
    revoked: HashMap<String, u64>,
    /// When the tokens of connections expire. Connections for which the application vouches have none.
    expires: HashMap<ConnKey, u64>,
}

impl Admission {
    pub fn is_blocked(&self, user: &str, now: u64) -> bool {
        self.blocked.get(user).is_some_and(|end| *end > now)
    }

    /// The application vouches for a connection, with or without a token.
    pub fn vouch(&mut self, conn: ConnKey) {
        self.expires.remove(&conn);
    }

    fn is_expired(&self, conn: ConnKey, now: u64) -> bool {
        self.expires.get(&conn).is_some_and(|at| *at <= now)
    }
}

/// A token of a user, and what its client requests with it.
pub struct Token {
    pub conn_id: Uuid,
    pub user: String,
    pub channels: Vec<String>,
    pub issued: u64,
    pub valid_ms: u64,
    /// Whether the connection is created if it does not exist.
    pub creates: bool,
}

impl World {
    /// A client presents a token. Panics unless it is refused for the reason that applies, or else accepted.
    pub fn present(&mut self, token: Token) {
        let Token { conn_id, user, channels, issued, valid_ms, creates } = token;
        let known = self.registry.connection(conn_id).is_some();
        let expected = match self.admission.revoked.get(&user) {
            _ if self.admission.is_blocked(&user, self.now) => {
                Err(TokenGrantRefused::Connect(ConnectRefused::Blocked))
            }
            Some(before) if issued < *before => Err(TokenGrantRefused::Revoked),
            _ if !known && !creates => Err(TokenGrantRefused::UnknownConnection),
            _ => Ok(conn_id),
        };
        let connect = Connect {
            username: user,
            conn_id: Some(conn_id),
            channels,
            fresh_user_state: Vec::new(),
            user_state: Vec::new(),
            state_public_keys: Some(Vec::new()),
            channel_configs: Vec::new(),
        };
        let grant = TokenGrant {
            connect,
            public_keys: None,
            issued_unix: Some(issued),
            expires_unix: issued + valid_ms / 1_000,
            valid_for_ms: valid_ms,
            creates,
        };
        let granted = self.registry.grant(grant, self.now, &mut self.effects);
        assert_eq!(granted, expected, "a token for {conn_id}");
        if granted.is_ok() {
            let key = self.note_connected(conn_id, known);
            self.admission.expires.insert(key, self.now + valid_ms);
        }
        self.apply();
    }

    /// The application blocks a user for this time and ends its connections. Without a time it revokes the user's tokens.
    pub fn block(&mut self, user: String, seconds: Option<u64>) {
        let tokens_before = seconds.is_none().then_some(self.now);
        let request = BlockUser {
            user: user.clone(),
            seconds,
            tokens_before,
            reason: None,
            now_unix: self.now / 1_000,
        };
        self.registry.blocks.set(request, self.now, MAX_BLOCKS).unwrap();
        match seconds {
            Some(seconds) => {
                self.admission.blocked.insert(user.clone(), self.now + seconds * 1_000);
                self.end(&user, CloseReason::Blocked);
            }
            None => _ = self.admission.revoked.insert(user, self.now),
        }
    }

    pub fn unblock(&mut self, user: &str) {
        self.registry.blocks.remove(user);
        self.admission.blocked.remove(user);
        self.admission.revoked.remove(user);
    }

    /// The application ends the connections of a user, one at a time.
    pub fn end(&mut self, user: &str, reason: CloseReason) {
        let why = reason.into();
        while let Some(ended) = self.registry.disconnect_user(user, 1, &why, self.now, &mut self.effects) {
            self.apply();
            if ended.left == 0 {
                return;
            }
        }
    }

    /// The clients whose tokens expire refresh them.
    pub fn refresh_all(&mut self) {
        let connections = self.registry.all_connections().map(|(key, connection)| (key, connection.id));
        let expiring = connections.filter(|(key, _)| self.admission.expires.contains_key(key));
        for (key, conn_id) in expiring.collect::<Vec<_>>() {
            let user = self.registry.user(self.users_of[&key]).unwrap().view.name.to_string();
            let (issued, valid_ms, channels) = (self.now, 60_000, Vec::new());
            self.present(Token { conn_id, user, channels, issued, valid_ms, creates: false });
        }
    }

    /// The application no longer refuses tokens that it revoked, which would never end. Blocks end by themselves.
    pub fn accept_revoked(&mut self) {
        let users: Vec<_> = self.admission.revoked.keys().cloned().collect();
        users.iter().for_each(|user| self.unblock(user));
    }

    /// Panics if a session is closed because it needs a token, although its connection exists and has a valid one.
    pub fn check_release(&self, hub: HubId, message: &ToHub) {
        let ToHub::Release(slot, why) = message else { return };
        let is_it = |session: &&super::Session| (session.location().hub, session.key) == (hub, *slot);
        let session = self.sessions.iter().rev().find(is_it);
        let Some(owner) = session.and_then(|session| session.owner) else { return };
        let exists = self.registry.all_connections().any(|(key, _)| key == owner);
        assert!(
            why.reason != CloseReason::NeedsToken || !exists || self.admission.is_expired(owner, self.now),
            "a session with a valid token is closed"
        );
    }

    /// Panics if a blocked user has a connection, or a session lives longer than its connection's token. A poll ends by
    /// itself, but none begins.
    pub fn check_admission(&self) {
        for (key, connection) in self.registry.all_connections() {
            let user = &self.registry.user(connection.user).unwrap().view.name;
            assert!(!self.admission.is_blocked(user, self.now), "{user} is blocked and has a connection");
            let (location, transport) = match &connection.phase {
                Phase::Attached(location, transport) => (*location, *transport),
                Phase::Releasing(handover) => match &handover.to {
                    Some(next) => (next.location, next.transport),
                    None => continue,
                },
                Phase::Waiting | Phase::Lingering | Phase::Away => continue,
            };
            if self.admission.is_expired(key, self.now) {
                let opened = self.sessions.iter().rev().find(|session| session.location() == location);
                let attached = opened.and_then(|session| session.attached).expect("it has attached");
                assert!(
                    transport.keep_alive().is_none() && attached < self.admission.expires[&key],
                    "a session has outlived the token of {}",
                    connection.id
                );
            }
        }
    }
}
