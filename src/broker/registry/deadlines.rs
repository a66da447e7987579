//! The deadlines of connections, at most one per connection, in order of time. Pure.

use crate::protocol::ids::ConnKey;
use std::collections::BTreeSet;
use std::num::NonZeroU64;

/// Deadlines in ms of the registry's clock.
#[derive(Debug, Default)]
pub struct Deadlines(BTreeSet<(u64, ConnKey)>);

impl Deadlines {
    /// Replaces a connection's deadline.
    pub fn set(&mut self, conn: ConnKey, current: &mut Option<NonZeroU64>, at: Option<u64>) {
        if let Some(old) = current.take() {
            self.0.remove(&(old.get(), conn));
        }
        // 0 is not a valid deadline: nothing is due when the clock starts.
        *current = at.and_then(|at| NonZeroU64::new(at.max(1)));
        if let Some(at) = *current {
            self.0.insert((at.get(), conn));
        }
    }

    /// Removes and returns the next connection whose deadline has passed.
    pub fn next_due(&mut self, now: u64) -> Option<ConnKey> {
        let &(at, conn) = self.0.first()?;
        if at > now {
            return None;
        }
        self.0.pop_first();
        Some(conn)
    }
}
