//! Calls that remove from Redis what this node no longer has. One that fails is sent again: Redis would keep what it removes
//! until the node ends. Pure.

use super::{Awaited, Cluster};
use crate::broker::engine::call::Call;
use crate::broker::engine::error::EngineError;
use crate::broker::engine::reply::Reply;
use crate::broker::registry::state::RegistryState;
use uuid::Uuid;

impl Cluster {
    /// Sends a call that removes something. It may run twice.
    pub fn remove(&mut self, call: Call) {
        self.call(call.clone(), Awaited::Removal(call));
    }

    /// A call that removes something was answered. If it has failed, it is sent again after a moment.
    pub(super) fn removed(&mut self, call: Call, reply: &Result<Reply, EngineError>, now: u64) {
        self.pause_after(reply, now);
        if reply.is_err() {
            self.lost_removals.push(call);
        }
    }

    /// Sends the calls again that have failed.
    pub(super) fn remove_again(&mut self, state: &RegistryState) {
        for call in std::mem::take(&mut self.lost_removals) {
            match call {
                Call::Unfollow { mut streams } => {
                    // Some may be followed again.
                    streams.retain(|key| self.streams.get_mut(key).is_none());
                    if !streams.is_empty() {
                        self.remove(Call::Unfollow { streams });
                    }
                }
                // It may have come meanwhile.
                Call::Release { conn, .. }
                    if Uuid::try_parse(&conn).is_ok_and(|conn_id| self.is_expected(conn_id, state)) => {}
                call => self.remove(call),
            }
        }
    }

    /// Whether a connection is here or on its way.
    pub(super) fn is_expected(&self, conn_id: Uuid, state: &RegistryState) -> bool {
        state.connection(conn_id).is_some() || self.moving.is_between(conn_id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::errands::Errand;
    use super::super::{RETRY_MS, Ticket, ToLink};
    use super::*;
    use crate::broker::registry::state::ConnectionTimes;
    use crate::broker::stamps::Stamps;
    use std::sync::Arc;

    fn unfollow(streams: &[&str]) -> Call {
        Call::Unfollow { streams: streams.iter().map(|key| (*key).to_owned()).collect() }
    }

    /// The calls that remove something, with their tickets, as texts.
    fn sent(cluster: &mut Cluster) -> Vec<(String, Ticket)> {
        let removals = cluster.take_outbox().into_iter().filter_map(|to_link| match to_link {
            ToLink::Call(
                call @ (Call::Unfollow { .. } | Call::End { .. } | Call::Release { .. }),
                Some(ticket),
            ) => Some((format!("{call:?}"), ticket)),
            _ => None,
        });
        removals.collect()
    }

    #[test]
    fn a_removal_that_fails_is_sent_again_unless_it_is_no_longer_true() {
        let long = 3_600_000;
        let times = ConnectionTimes { idle: long, part: long, reconnect_delay: 0, grace: 0, user_idle: long };
        let mut state = RegistryState::new(times).with_stamps(Arc::new(Stamps::following()));
        let mut cluster = Cluster::default();
        cluster.joined(1, 1, true, &mut state, 0, &mut Vec::new());
        let end = Call::End { rows: vec![("id".into(), 7)] };
        cluster.remove(unfollow(&["ca", "cb"]));
        cluster.remove(end.clone());
        let [gone, coming] = [1, 2].map(Uuid::from_u128);
        let release = |id: Uuid| Call::Release { conn: id.to_string(), generation: None, data: Vec::new() };
        [gone, coming].into_iter().for_each(|id| cluster.remove(release(id)));
        let first = sent(&mut cluster);
        assert_eq!(first.len(), 4);
        // One is refused, the other ones are not answered.
        cluster.replied(first[1].1, Err(EngineError::Full), &mut state, 0, &mut Vec::new());
        cluster.flush(&state, RETRY_MS - 1);
        assert_eq!(sent(&mut cluster), []);
        cluster.flush(&state, RETRY_MS);
        let again: Vec<_> = sent(&mut cluster).into_iter().map(|(text, _)| text).collect();
        assert_eq!(again, [format!("{end:?}")]);
        cluster.lost();
        cluster.flush(&state, RETRY_MS);
        assert_eq!(sent(&mut cluster), [], "there is no connection");
        cluster.joined(1, 1, true, &mut state, 0, &mut Vec::new());
        cluster.streams.count_members("ca", 1, 0);
        assert!(cluster.moving.errands.begin(Errand::Bring(coming), Uuid::nil()).is_none());
        cluster.flush(&state, RETRY_MS);
        let again = sent(&mut cluster);
        let mut texts: Vec<_> = again.iter().map(|(text, _)| text.clone()).collect();
        texts.sort();
        assert_eq!(texts, [&end, &release(gone), &unfollow(&["cb"])].map(|call| format!("{call:?}")));
        for (_, ticket) in again {
            cluster.replied(ticket, Ok(Reply::Number(1)), &mut state, 0, &mut Vec::new());
        }
        cluster.flush(&state, RETRY_MS);
        assert_eq!(sent(&mut cluster), []);
    }
}
