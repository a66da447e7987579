//! The blocks of users, which all nodes share. Each node has a copy.

use super::{Awaited, Cluster};
use crate::broker::engine::call::Call;
use crate::broker::engine::error::EngineError;
use crate::broker::engine::reply::Reply;
use crate::broker::registry::state::RegistryState;
use crate::broker::requests::Block;
use crate::protocol::time::Timestamp;
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
    /// A block has changed meanwhile, so that they must be loaded again.
    is_stale: bool,
}

impl Cluster {
    pub(super) fn load_blocks(&mut self) {
        self.loading_blocks = Some(LoadingBlocks::default());
        self.call(Call::Blocks { cursor: 0 }, Awaited::Blocks);
    }

    /// A part of the blocks has arrived.
    pub(super) fn blocks_arrived(
        &mut self,
        reply: Result<Reply, EngineError>,
        state: &mut RegistryState,
        now: u64,
    ) {
        let Ok(Some([cursor, parts])) = reply.as_ref().map(|reply| reply.list()) else {
            // The node joins again, and loads them then; or a call was too slow.
            if self.loading_blocks.is_some() {
                self.load_blocks();
            }
            return;
        };
        for pair in parts.list().unwrap_or_default().chunks(2) {
            let [user, record] = pair else { continue };
            if let (Some(user), Some(record)) = (user.text(), record.bytes()) {
                install(user, record, state, now);
            }
        }
        match cursor.text().and_then(|text| text.parse().ok()) {
            Some(cursor) if cursor > 0 => self.call(Call::Blocks { cursor }, Awaited::Blocks),
            _ if self.loading_blocks.take().is_some_and(|loading| loading.is_stale) => self.load_blocks(),
            _ => {}
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
        None => log::warn!("the stored block of user {user:?} cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
