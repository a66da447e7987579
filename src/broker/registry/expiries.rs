//! When the tokens of connections expire. Connections without a token need no memory here. Pure; the caller passes the
//! time.

use super::state::Deadlines;
use crate::protocol::ids::ConnKey;
use rustc_hash::FxHashMap;
use std::num::NonZeroU64;

/// See the module's description.
#[derive(Debug, Default)]
pub struct TokenExpiries {
    /// The time for each connection with a token, in ms of the registry's clock; `None` once it has expired.
    at: FxHashMap<ConnKey, Option<NonZeroU64>>,
    due: Deadlines,
}

impl TokenExpiries {
    /// Sets the time at which the connection's token expires.
    pub fn set(&mut self, conn: ConnKey, at: u64) {
        self.due.set(conn, self.at.entry(conn).or_default(), Some(at));
    }

    /// Forgets the connection's token: it has none any more, or has ended.
    pub fn remove(&mut self, conn: ConnKey) {
        if let Some(mut at) = self.at.remove(&conn) {
            self.due.set(conn, &mut at, None);
        }
    }

    /// The next connection whose token has expired since the last call.
    pub fn next_due(&mut self, now: u64) -> Option<ConnKey> {
        let conn = self.due.next_due(now)?;
        self.at.insert(conn, None);
        Some(conn)
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.at.is_empty() && self.due.is_empty()
    }

    /// Whether the connection's token has expired, as far as [`TokenExpiries::next_due`] has reported it.
    pub fn is_expired(&self, conn: ConnKey) -> bool {
        self.at.get(&conn) == Some(&None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_token_stays_expired_until_the_next_one() {
        let (mut expiries, conn) = (TokenExpiries::default(), ConnKey { index: 1, generation: 1 });
        let other = ConnKey { index: 2, generation: 1 };
        expiries.set(conn, 100);
        expiries.set(conn, 50);
        expiries.set(other, 60);
        assert_eq!((expiries.next_due(49), expiries.is_expired(conn)), (None, false));
        assert_eq!((expiries.next_due(55), expiries.next_due(55)), (Some(conn), None));
        assert!(expiries.is_expired(conn) && !expiries.is_expired(other));
        expiries.set(conn, 200);
        assert!(!expiries.is_expired(conn));
        expiries.remove(conn);
        expiries.remove(other);
        assert_eq!((expiries.next_due(u64::MAX), expiries.at.len()), (None, 0));
    }
}
