//! The blocks of users, which all nodes share. Each node has a copy.

use super::{Awaited, Cluster, RETRY_MS};
use crate::broker::engine::call::Call;
use crate::broker::engine::error::EngineError;
use crate::broker::engine::reply::Reply;
use crate::broker::registry::state::RegistryState;
use crate::broker::requests::Block;
use crate::protocol::time::Timestamp;
use crate::telemetry::log_sums::UNREADABLE;
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};

/// The block of a user as Redis stores it, as JSON.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRecord {
    /// The end of the block, in Unix seconds.
    pub until_unix: Option<u64>,
    /// Tokens issued before this time are revoked, in Unix seconds.
    pub tokens_before: Option<u64>,
    pub reason: String,
}

impl BlockRecord {
    pub fn of(block: &Block) -> Self {
        let Block { until_unix, tokens_before, reason, .. } = block;
        Self { until_unix: *until_unix, tokens_before: *tokens_before, reason: reason.to_string() }
    }

    pub fn write(&self) -> Vec<u8> {
        // The type contains nothing that JSON cannot express.
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn read(bytes: &[u8], user: &str) -> Option<Block> {
        let Self { until_unix, tokens_before, reason } = serde_json::from_slice(bytes).ok()?;
        Some(Block { user: user.into(), until_unix, tokens_before, reason: reason.into() })
    }
}

/// The loading of all blocks.
#[derive(Debug, Default)]
pub(super) struct LoadingBlocks {
    /// The users that have one, as far as they have arrived.
    found: FxHashSet<String>,
    /// A block has changed meanwhile, so that they must be loaded again.
    is_stale: bool,
}

impl Cluster {
    pub(super) fn load_blocks(&mut self) {
        self.loading_blocks = Some(LoadingBlocks::default());
        self.call(Call::Blocks { cursor: 0 }, Awaited::Blocks);
    }

    /// Loads the blocks again that did not arrive.
    pub(super) fn load_blocks_again(&mut self, now: u64) {
        if self.block_retry_at.take_if(|at| *at <= now).is_some() {
            self.load_blocks();
        }
    }

    /// A part of the blocks has arrived.
    pub(super) fn blocks_arrived(
        &mut self,
        reply: Result<Reply, EngineError>,
        state: &mut RegistryState,
        now: u64,
    ) {
        let Ok(Some([cursor, parts])) = reply.as_ref().map(|reply| reply.list()) else {
            // The node joins again, and loads them then; or a call was too slow or was refused.
            self.block_retry_at = self.loading_blocks.is_some().then_some(now + RETRY_MS);
            return;
        };
        for pair in parts.list().unwrap_or_default().chunks(2) {
            let [user, record] = pair else { continue };
            if let (Some(user), Some(record)) = (user.text(), record.bytes()) {
                if let Some(loading) = &mut self.loading_blocks {
                    loading.found.insert(user.to_owned());
                }
                install(user, record, state, now);
            }
        }
        match cursor.text().and_then(|text| text.parse().ok()) {
            Some(cursor) if cursor > 0 => self.call(Call::Blocks { cursor }, Awaited::Blocks),
            _ => self.blocks_loaded(state),
        }
    }

    /// All blocks have arrived. Those that this node has besides have ended while it was not connected.
    fn blocks_loaded(&mut self, state: &mut RegistryState) {
        match self.loading_blocks.take() {
            Some(loading) if loading.is_stale => self.load_blocks(),
            Some(loading) => state.blocks.retain(|user| loading.found.contains(user)),
            None => {}
        }
    }

    /// The block of a user has changed on some node.
    pub(super) fn block_changed(&mut self, user: &str, record: &[u8], state: &mut RegistryState, now: u64) {
        if let Some(loading) = &mut self.loading_blocks {
            loading.is_stale = true;
        }
        match record.is_empty() {
            true => _ = state.blocks.remove(user),
            false => install(user, record, state, now),
        }
    }
}

fn install(user: &str, record: &[u8], state: &mut RegistryState, now: u64) {
    match BlockRecord::read(record, user) {
        Some(block) => state.blocks.install(block, now, Timestamp::now().unix_ms()),
        None => UNREADABLE.log(None, format_args!("the stored block of user {user:?} cannot be read")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ToLink;
    use super::*;
    use crate::broker::registry::state::ConnectionTimes;
    use crate::broker::stamps::Stamps;
    use std::sync::Arc;

    /// A node that has these blocks, and joins; and the ticket of its call for the blocks that Redis has.
    fn joining(blocked: &[&str]) -> (Cluster, RegistryState, u64) {
        let long = 3_600_000;
        let times = ConnectionTimes { idle: long, part: long, reconnect_delay: 0, grace: 0, user_idle: long };
        let mut state = RegistryState::new(times).with_stamps(Arc::new(Stamps::following()));
        for user in blocked {
            install(user, &record(), &mut state, 0);
        }
        let mut cluster = Cluster::default();
        cluster.joined(1, 1, true, &mut state, 0, &mut Vec::new());
        let ticket = asked(&mut cluster);
        (cluster, state, ticket)
    }

    fn record() -> Vec<u8> {
        let (until_unix, reason) = (Some(1 << 40), String::new());
        BlockRecord { until_unix, tokens_before: None, reason }.write()
    }

    /// The ticket of the call that asks for blocks.
    fn asked(cluster: &mut Cluster) -> u64 {
        let mut calls = cluster.take_outbox().into_iter();
        let ticket = calls.find_map(|to_link| match to_link {
            ToLink::Call(Call::Blocks { .. }, ticket) => ticket,
            _ => None,
        });
        ticket.expect("the node asks for blocks")
    }

    /// The last part of the blocks, with this user.
    fn last_part(user: &str) -> Result<Reply, EngineError> {
        let text = |text: &str| Reply::Bytes(text.as_bytes().to_vec());
        Ok(Reply::List(vec![text("0"), Reply::List(vec![text(user), Reply::Bytes(record())])]))
    }

    #[test]
    fn a_block_that_ended_while_the_node_was_not_connected_is_forgotten() {
        let (mut cluster, mut state, ticket) = joining(&["ann", "bob"]);
        cluster.replied(ticket, last_part("bob"), &mut state, 0, &mut Vec::new());
        assert_eq!((state.blocks.is_blocked("ann", 0), state.blocks.is_blocked("bob", 0)), (false, true));
    }

    #[test]
    fn a_block_that_is_set_while_they_are_loaded_stays() {
        let (mut cluster, mut state, ticket) = joining(&[]);
        cluster.block_changed("eve", &record(), &mut state, 0);
        cluster.replied(ticket, last_part("bob"), &mut state, 0, &mut Vec::new());
        assert!(state.blocks.is_blocked("eve", 0), "they are loaded again before others are forgotten");
        let ticket = asked(&mut cluster);
        cluster.replied(ticket, last_part("eve"), &mut state, 0, &mut Vec::new());
        assert_eq!((state.blocks.is_blocked("bob", 0), state.blocks.is_blocked("eve", 0)), (false, true));
    }

    #[test]
    fn a_block_is_read_as_it_was_written() {
        let block = Block {
            user: "ann".into(),
            until_unix: Some(7),
            tokens_before: None,
            reason: "she \"said\" so".into(),
        };
        assert_eq!(BlockRecord::read(&BlockRecord::of(&block).write(), "ann"), Some(block));
        assert_eq!(BlockRecord::read(b"{}", "ann"), None);
    }
}
