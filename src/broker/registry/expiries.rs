//! When the tokens of connections expire. Connections without a token need no memory here. Pure; the caller passes the
//! time.

use super::state::Deadlines;
use crate::protocol::ids::ConnKey;
use rustc_hash::FxHashMap;
use std::num::NonZeroU64;

/// See the module's description.
#[derive(Debug, Default)]
pub struct TokenExpiries {
    tokens: FxHashMap<ConnKey, Expiry>,
    due: Deadlines,
}

#[derive(Debug, Default)]
struct Expiry {
    /// The claim `exp`, in Unix seconds.
    unix: u64,
    /// The time at which the server ends the session, in ms of the registry's clock; `None` once it has passed.
    due: Option<NonZeroU64>,
}

impl TokenExpiries {
    /// Sets the expiry of the connection's token: the claim, and the time at which the session ends. True if the claim is
    /// a new one.
    pub fn set(&mut self, conn: ConnKey, unix: u64, due: u64) -> bool {
        let token = self.tokens.entry(conn).or_default();
        self.due.set(conn, &mut token.due, Some(due));
        std::mem::replace(&mut token.unix, unix) != unix
    }

    /// When the connection's token expires or has expired, in Unix seconds. `None` if the connection has no token.
    pub fn unix(&self, conn: ConnKey) -> Option<u64> {
        self.tokens.get(&conn).map(|token| token.unix)
    }

    /// When the connection's token expires: in Unix seconds, and in ms from now.
    pub fn remaining(&self, conn: ConnKey, now: u64) -> Option<(u64, u64)> {
        let token = self.tokens.get(&conn)?;
        Some((token.unix, token.due.map_or(0, |due| due.get().saturating_sub(now))))
    }

    /// Forgets the connection's token: it has none any more, or has ended.
    pub fn remove(&mut self, conn: ConnKey) {
        if let Some(mut token) = self.tokens.remove(&conn) {
            self.due.set(conn, &mut token.due, None);
        }
    }

    /// The next connection whose token has expired since the last call.
    pub fn next_due(&mut self, now: u64) -> Option<ConnKey> {
        let conn = self.due.next_due(now)?;
        if let Some(token) = self.tokens.get_mut(&conn) {
            token.due = None;
        }
        Some(conn)
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.due.is_empty()
    }

    /// Whether the connection's token has expired, as far as [`TokenExpiries::next_due`] has reported it.
    pub fn is_expired(&self, conn: ConnKey) -> bool {
        self.tokens.get(&conn).is_some_and(|token| token.due.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_token_stays_expired_until_the_next_one() {
        let (mut expiries, conn) = (TokenExpiries::default(), ConnKey { index: 1, generation: 1 });
        let other = ConnKey { index: 2, generation: 1 };
        assert!(expiries.set(conn, 7, 100));
        assert!(!expiries.set(conn, 7, 50));
        expiries.set(other, 8, 60);
        assert_eq!((expiries.unix(conn), expiries.unix(other)), (Some(7), Some(8)));
        assert_eq!((expiries.next_due(49), expiries.is_expired(conn)), (None, false));
        assert_eq!((expiries.next_due(55), expiries.next_due(55)), (Some(conn), None));
        assert!(expiries.is_expired(conn) && !expiries.is_expired(other));
        assert_eq!(expiries.unix(conn), Some(7));
        assert_eq!((expiries.next_due(59), expiries.next_due(60)), (None, Some(other)));
        assert!(expiries.set(conn, 9, 200) && !expiries.is_expired(conn));
        expiries.remove(conn);
        expiries.remove(other);
        assert_eq!(
            (expiries.next_due(u64::MAX), expiries.tokens.len(), expiries.unix(conn)),
            (None, 0, None)
        );
    }
}
