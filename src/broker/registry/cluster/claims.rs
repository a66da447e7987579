//! The rows of a node that has another number than before: each must belong to the current one. Pure.

use super::errands::Errand;
use super::{Awaited, Cluster};
use crate::broker::engine::call::Call;
use crate::broker::engine::error::EngineError;
use crate::broker::engine::reply::Reply;
use crate::broker::engine::row::Ownership;
use crate::broker::registry::state::{Effect, RegistryState};
use crate::protocol::ids::ConnKey;
use uuid::Uuid;

impl Cluster {
    /// A request has created or brought a connection. If the node had another number when the request began, the row may
    /// belong to that number, whose rows soon belong to no node.
    pub(super) fn check_claim(&mut self, conn_id: Uuid, key: ConnKey) {
        if self.moving.errands.is_outdated(Errand::Bring(conn_id)) {
            self.rows.unclaim(key);
        }
    }

    /// Claims the rows that may belong to an earlier number.
    pub(super) fn claim_rows(&mut self, state: &RegistryState) {
        for (key, conn_id, claim) in self.rows.take_claims(state) {
            self.trust.claims += 1;
            self.call(claim, Awaited::Claim(key, conn_id));
        }
    }

    /// It is not known whether a row was claimed. It is claimed again, unless the connection has ended here meanwhile.
    pub(super) fn claim_failed(&mut self, key: ConnKey, conn_id: Uuid) {
        match self.rows.generation(key) {
            Some(_) => self.rows.unclaim(key),
            None => self.lost_removals.push(Call::Release {
                conn: conn_id.to_string(),
                generation: None,
                data: Vec::new(),
            }),
        }
    }

    /// A row was claimed. If another node has taken the connection meanwhile, its session here ends.
    pub(super) fn claimed(
        &mut self,
        key: ConnKey,
        conn_id: Uuid,
        reply: Result<Reply, EngineError>,
        state: &mut RegistryState,
        effects: &mut Vec<Effect>,
    ) {
        self.trust.claims -= 1;
        let Ok(reply) = reply else { return self.claim_failed(key, conn_id) };
        match Ownership::read(&reply) {
            Some(
                Ownership::New { generation }
                | Ownership::Own { generation, .. }
                | Ownership::Taken { generation, .. },
            ) => {
                // It has ended here meanwhile, under the generation before.
                if self.rows.generation(key).is_none() && !self.is_expected(conn_id, state) {
                    return self.remove(Call::End { rows: vec![(conn_id.to_string(), generation)] });
                }
                self.rows.renew(key, generation);
                self.rows.mark(key);
            }
            _ => {
                self.rows.depart(key);
                state.give_up(key, effects);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{RETRY_MS, Ticket, ToLink};
    use super::*;
    use crate::broker::registry::state::ConnectionTimes;
    use crate::broker::requests::Connect;
    use crate::broker::stamps::Stamps;
    use crate::protocol::websocket::close::CloseReason;
    use std::sync::Arc;

    fn state() -> RegistryState {
        let long = 3_600_000;
        let times = ConnectionTimes { idle: long, part: long, reconnect_delay: 0, grace: 0, user_idle: long };
        RegistryState::new(times).with_stamps(Arc::new(Stamps::following()))
    }

    fn connect(conn_id: Uuid) -> Connect {
        Connect {
            username: "ann".into(),
            conn_id: Some(conn_id),
            channels: Vec::new(),
            fresh_user_state: Vec::new(),
            user_state: Vec::new(),
            state_public_keys: None,
            channel_configs: Vec::new(),
        }
    }

    /// The tickets of the claims that are sent.
    fn claims(cluster: &mut Cluster, state: &RegistryState, now: u64) -> Vec<Ticket> {
        cluster.flush(state, now);
        let claims = cluster.take_outbox().into_iter().filter_map(|to_link| match to_link {
            ToLink::Call(Call::Claim { .. }, ticket) => ticket,
            _ => None,
        });
        claims.collect()
    }

    #[test]
    fn a_row_that_was_claimed_under_an_earlier_number_is_claimed_again_until_it_is_owned() {
        let (conn_id, request) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (mut state, mut cluster, mut effects) = (state(), Cluster::default(), Vec::new());
        cluster.joined(1, 1, true, &mut state, 0, &mut effects);
        assert!(cluster.moving.errands.begin(Errand::Bring(conn_id), request).is_none());
        // The request has claimed the row, and the node gets another number before the connection exists.
        cluster.joined(2, 1, false, &mut state, 0, &mut effects);
        state.connect(connect(conn_id), 0, &mut effects).unwrap();
        cluster.own_row(conn_id, 7, &state);
        let first = claims(&mut cluster, &state, 0);
        assert_eq!(first.len(), 1);
        cluster.replied(first[0], Err(EngineError::Full), &mut state, 0, &mut effects);
        assert!(claims(&mut cluster, &state, RETRY_MS - 1).is_empty(), "it is repeated later");
        assert_eq!(claims(&mut cluster, &state, RETRY_MS).len(), 1);
        cluster.lost();
        cluster.joined(2, 1, true, &mut state, 0, &mut effects);
        let again = claims(&mut cluster, &state, RETRY_MS);
        assert_eq!(again.len(), 1, "the claim was lost");
        let owned = Reply::List(vec![
            Reply::Bytes(b"TAKEN".to_vec()),
            Reply::Number(8),
            Reply::Bytes(Vec::new()),
            Reply::Nil,
        ]);
        cluster.replied(again[0], Ok(owned), &mut state, 0, &mut effects);
        let (key, _) = state.connection(conn_id).unwrap();
        assert_eq!((cluster.generation(key), claims(&mut cluster, &state, 500).len()), (Some(8), 0));
    }

    #[test]
    fn a_row_that_was_claimed_for_a_connection_that_ends_meanwhile_is_removed() {
        let conn_id = Uuid::from_u128(1);
        let (mut state, mut cluster, mut effects) = (state(), Cluster::default(), Vec::new());
        cluster.joined(1, 1, true, &mut state, 0, &mut effects);
        state.connect(connect(conn_id), 0, &mut effects).unwrap();
        cluster.own_row(conn_id, 7, &state);
        cluster.joined(2, 1, false, &mut state, 0, &mut effects);
        let claim = claims(&mut cluster, &state, 0)[0];
        let (key, _) = state.connection(conn_id).unwrap();
        assert!(state.disconnect(conn_id, &CloseReason::Ended.into(), 0, &mut effects));
        cluster.rows.end(key);
        let owned = Reply::List(vec![Reply::Bytes(b"NEW".to_vec()), Reply::Number(8)]);
        cluster.replied(claim, Ok(owned), &mut state, 0, &mut effects);
        cluster.flush(&state, 0);
        let ended = |to_link| matches!(to_link, ToLink::Call(Call::End { rows }, _) if rows[0].1 == 8);
        assert!(cluster.take_outbox().into_iter().any(ended));
    }
}
