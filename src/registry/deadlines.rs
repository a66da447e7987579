//! When connections change by themselves. One deadline each, in order of time. Pure.

use crate::ids::ConnKey;
use std::collections::BTreeSet;

/// Deadlines in ms of the registry's clock.
#[derive(Debug, Default)]
pub struct Deadlines(BTreeSet<(u64, ConnKey)>);

impl Deadlines {
    /// Replaces a connection's deadline.
    pub fn set(&mut self, conn: ConnKey, current: &mut Option<u64>, at: Option<u64>) {
        if let Some(old) = current.take() {
            self.0.remove(&(old, conn));
        }
        if let Some(at) = at {
            self.0.insert((at, conn));
        }
        *current = at;
    }

    /// Takes out the next connection whose deadline has come.
    pub fn next_due(&mut self, now: u64) -> Option<ConnKey> {
        let &(at, conn) = self.0.first()?;
        if at > now {
            return None;
        }
        self.0.pop_first();
        Some(conn)
    }
}
