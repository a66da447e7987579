//! Whether this node may answer from what it has: not after a pause in which other nodes may have taken its connections. Pure.

use super::Cluster;
use crate::broker::engine::link::lease::Lease;
use std::sync::Arc;

/// The doubt of a node with another number.
#[derive(Debug, Default)]
pub struct Trust {
    lease: Arc<Lease>,
    /// The node does not yet know which connections other nodes have taken under its last number.
    is_doubtful: bool,
    /// The claims of connections that are not answered.
    pub(super) claims: usize,
}

impl Cluster {
    /// States in this lease when the node knows again what it has.
    #[must_use]
    pub fn with_lease(self, lease: Arc<Lease>) -> Self {
        Self { trust: Trust { lease, ..self.trust }, ..self }
    }

    /// The node has another number.
    pub(super) fn begin_doubt(&mut self) {
        self.trust.is_doubtful = true;
    }

    /// Ends the doubt if everything is stated, loaded and claimed.
    pub(super) fn end_doubt(&mut self) {
        let is_loaded = self.is_joined && self.restating.is_none() && self.reloading.is_none();
        let is_certain = is_loaded && self.trust.claims == 0 && !self.rows.has_unclaimed();
        if is_certain && std::mem::take(&mut self.trust.is_doubtful) {
            self.trust.lease.trust(self.node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ToLink;
    use super::*;
    use crate::broker::engine::call::Call;
    use crate::broker::engine::error::EngineError;
    use crate::broker::engine::reply::Reply;
    use crate::broker::registry::state::{ConnectionTimes, RegistryState};
    use crate::broker::requests::Connect;
    use crate::broker::stamps::Stamps;
    use crate::clock::since_boot;
    use std::time::Duration;
    use uuid::Uuid;

    #[test]
    fn a_node_with_another_number_is_trusted_when_everything_was_answered() {
        let long = 3_600_000;
        let times = ConnectionTimes { idle: long, part: long, reconnect_delay: 0, grace: 0, user_idle: long };
        let mut state = RegistryState::new(times).with_stamps(Arc::new(Stamps::following()));
        let (lease, effects) = (Arc::<Lease>::default(), &mut Vec::new());
        let mut cluster = Cluster::default().with_lease(lease.clone());
        let join = |number| {
            lease.doubt(number);
            lease.extend(since_boot() + Duration::from_secs(600));
        };
        join(1);
        cluster.joined(1, 1, false, &mut state, 0, effects);
        assert!(!lease.is_held());
        cluster.flush(&state, 0);
        assert!(lease.is_held(), "it has nothing");

        // The connection breaks for a moment.
        cluster.streams.count_members("ca", 1, 0);
        cluster.lost();
        cluster.joined(1, 1, true, &mut state, 0, effects);
        assert!(lease.is_held(), "nothing can have been taken");
        cluster.take_outbox();

        join(2);
        cluster.joined(2, 1, false, &mut state, 0, effects);
        cluster.flush(&state, 0);
        assert!(!lease.is_held(), "a stream is being loaded");
        let ticket = cluster.take_outbox().into_iter().find_map(|to_link| match to_link {
            ToLink::Call(Call::Follow { .. }, ticket) => ticket,
            _ => None,
        });
        cluster.replied(ticket.unwrap(), Ok(Reply::Nil), &mut state, 0, effects);
        cluster.flush(&state, 0);
        assert!(lease.is_held());

        let request = Connect {
            username: "ann".into(),
            conn_id: Some(Uuid::from_u128(1)),
            channels: Vec::new(),
            fresh_user_state: Vec::new(),
            user_state: Vec::new(),
            state_public_keys: None,
            channel_configs: Vec::new(),
        };
        state.connect(request, 0, effects).unwrap();
        cluster.own_row(Uuid::from_u128(1), 7, &state);
        cluster.flush(&state, 0);
        cluster.take_outbox();
        join(3);
        cluster.joined(3, 1, false, &mut state, 0, effects);
        let taken = [Reply::Bytes(b"TAKEN".to_vec()), Reply::Number(8), Reply::Bytes(Vec::new()), Reply::Nil];
        for claimed in [Err(EngineError::Full), Ok(Reply::List(taken.into()))] {
            cluster.flush(&state, 0);
            let mut claim = None;
            for to_link in cluster.take_outbox() {
                match to_link {
                    ToLink::Call(Call::Claim { .. }, ticket) => claim = ticket,
                    ToLink::Call(_, Some(ticket)) => {
                        cluster.replied(ticket, Ok(Reply::Nil), &mut state, 0, effects);
                    }
                    _ => {}
                }
            }
            cluster.flush(&state, 0);
            assert!(!lease.is_held(), "the connection may be at another node");
            cluster.replied(claim.unwrap(), claimed, &mut state, 0, effects);
            cluster.retry_at = 0;
        }
        cluster.flush(&state, 0);
        assert!(lease.is_held());
    }
}
