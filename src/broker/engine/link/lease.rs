//! Until when a node may answer from its copies.
//!
//! Other nodes declare a node dead when Redis has had no beat of it for a time, and its clients continue elsewhere. If the node
//! was paused meanwhile, it does not know this when it continues, so that it would answer from copies that are too old.
//! Therefore it answers only as long as no other node can have declared it dead, counted from when it sent its last answered
//! beat.

use super::super::call::NodeNumber;
use crate::clock::since_boot;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// The link and the registry set it, requests ask for it. All times are those of [`since_boot`].
#[derive(Debug)]
pub struct Lease {
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// No other node declares this one dead before this time.
    until: Duration,
    /// The node has this number now, and does not yet know what other nodes have taken that it had under the last one.
    doubted: Option<NodeNumber>,
}

impl State {
    fn is_held(&self) -> bool {
        self.doubted.is_none() && since_boot() < self.until
    }
}

impl Default for Lease {
    /// The lease of a node that has never joined.
    fn default() -> Self {
        Self { state: watch::Sender::new(State::default()) }
    }
}

impl Lease {
    /// Redis has answered a beat: no other node declares this one dead before this time.
    pub fn extend(&self, until: Duration) {
        self.state.send_modify(|state| state.until = until);
    }

    /// The node has joined under this number, which is another one.
    pub fn doubt(&self, node: NodeNumber) {
        self.state.send_replace(State { until: Duration::ZERO, doubted: Some(node) });
    }

    /// The node knows what it still has under this number.
    pub fn trust(&self, node: NodeNumber) {
        self.state.send_modify(|state| _ = state.doubted.take_if(|doubted| *doubted == node));
    }

    /// Whether the node may answer from its copies now.
    pub fn is_held(&self) -> bool {
        self.state.borrow().is_held()
    }

    /// Waits until the node may answer from its copies. False if it may not within the limit.
    pub async fn is_held_within(&self, limit: Duration) -> bool {
        let mut changes = self.state.subscribe();
        let held = changes.wait_for(State::is_held);
        timeout(limit, held).await.is_ok_and(|held| held.is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn a_lease_ends_with_its_time() {
        let lease = Lease::default();
        assert!(!lease.is_held());
        lease.extend(since_boot() + LONG);
        assert!(lease.is_held());
        lease.extend(since_boot());
        assert!(!lease.is_held());
    }

    #[tokio::test]
    async fn a_request_waits_until_the_number_of_the_node_is_trusted() {
        let lease = Lease::default();
        lease.doubt(7);
        lease.extend(since_boot() + LONG);
        lease.trust(6);
        assert!(!lease.is_held_within(Duration::ZERO).await, "another number");
        let trust = async { lease.trust(7) };
        assert!(tokio::join!(lease.is_held_within(LONG), trust).0);
    }
}
