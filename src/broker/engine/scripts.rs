//! The scripts, as Redis loads them.

use sha1::{Digest, Sha1};
use std::fmt::Write;
use std::sync::LazyLock;

const COMMON: &str = include_str!("scripts/common.lua");
const RECORD: &str = include_str!("scripts/record.lua");
const STREAM: &str = include_str!("scripts/stream.lua");
const MESSAGE: &str = include_str!("scripts/message.lua");
const ONCE: &str = include_str!("scripts/once.lua");
const CHANNEL: &str = include_str!("scripts/channel.lua");
const SNAPSHOT: &str = include_str!("scripts/snapshot.lua");
const PRESENCE: &str = include_str!("scripts/presence.lua");
const ROW: &str = include_str!("scripts/row.lua");
const BLOCK: &str = include_str!("scripts/block.lua");

/// A script. Its arguments and its reply are described at the top of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Script {
    /// A Redis that the nodes have not seen before begins a term.
    Adopt,
    /// The number of a node becomes known.
    Enlist,
    /// A node reports which streams have lost entries.
    Report,
    /// Publishes messages.
    Append,
    /// Edits or deletes a message.
    Change,
    /// Begins channels.
    Open,
    /// Sets the settings of a channel.
    Configure,
    /// A node receives a stream from now on.
    Follow,
    /// A node no longer receives streams.
    Unfollow,
    /// A node states its connections.
    Set,
    /// Reads a stream.
    Read,
    /// Appends a report of presence once.
    Announce,
    /// Reads the record of a user.
    ReadUser,
    /// Replaces the record of a user.
    SetUser,
    /// Removes what a dead node held.
    Sweep,
    /// A node is alive.
    Beat,
    /// Lists the nodes.
    Nodes,
    /// Removes what has been idle for long.
    Expire,
    /// Sends bytes to a node.
    Send,
    /// Makes a node the owner of a connection.
    Claim,
    /// Moves a connection from its owner to a node.
    Release,
    /// Reads the row of a connection.
    Find,
    /// The owner changes rows.
    Store,
    /// The owner deletes rows.
    End,
    /// A node stores how far it has delivered.
    Mark,
    /// Blocks a user.
    SetBlock,
    /// Removes a block.
    Unblock,
    /// Reads blocks.
    Blocks,
    /// Reads the names of channels.
    Channels,
}

impl Script {
    pub const ALL: [Self; 29] = [
        Self::Adopt,
        Self::Enlist,
        Self::Report,
        Self::Append,
        Self::Change,
        Self::Open,
        Self::Configure,
        Self::Follow,
        Self::Unfollow,
        Self::Set,
        Self::Read,
        Self::Announce,
        Self::ReadUser,
        Self::SetUser,
        Self::Sweep,
        Self::Beat,
        Self::Nodes,
        Self::Expire,
        Self::Send,
        Self::Claim,
        Self::Release,
        Self::Find,
        Self::Store,
        Self::End,
        Self::Mark,
        Self::SetBlock,
        Self::Unblock,
        Self::Blocks,
        Self::Channels,
    ];

    /// The part of the source that is this script's own.
    fn body(self) -> &'static str {
        match self {
            Self::Adopt => include_str!("scripts/adopt.lua"),
            Self::Enlist => include_str!("scripts/enlist.lua"),
            Self::Report => include_str!("scripts/report.lua"),
            Self::Append => include_str!("scripts/append.lua"),
            Self::Change => include_str!("scripts/change.lua"),
            Self::Open => include_str!("scripts/open.lua"),
            Self::Configure => include_str!("scripts/configure.lua"),
            Self::Follow => include_str!("scripts/follow.lua"),
            Self::Unfollow => include_str!("scripts/unfollow.lua"),
            Self::Set => include_str!("scripts/set.lua"),
            Self::Read => include_str!("scripts/read.lua"),
            Self::Announce => include_str!("scripts/announce.lua"),
            Self::ReadUser => include_str!("scripts/read_user.lua"),
            Self::SetUser => include_str!("scripts/set_user.lua"),
            Self::Sweep => include_str!("scripts/sweep.lua"),
            Self::Beat => include_str!("scripts/beat.lua"),
            Self::Nodes => include_str!("scripts/nodes.lua"),
            Self::Expire => include_str!("scripts/expire.lua"),
            Self::Send => include_str!("scripts/send.lua"),
            Self::Claim => include_str!("scripts/claim.lua"),
            Self::Release => include_str!("scripts/release.lua"),
            Self::Find => include_str!("scripts/find.lua"),
            Self::Store => include_str!("scripts/store.lua"),
            Self::End => include_str!("scripts/end.lua"),
            Self::Mark => include_str!("scripts/mark.lua"),
            Self::SetBlock => include_str!("scripts/set_block.lua"),
            Self::Unblock => include_str!("scripts/unblock.lua"),
            Self::Blocks => include_str!("scripts/blocks.lua"),
            Self::Channels => include_str!("scripts/channels.lua"),
        }
    }

    /// The parts that it shares with other scripts, in the order in which they need each other. A script has only those
    /// that it uses, because Redis runs all of them with each call.
    fn parts(self) -> &'static [&'static str] {
        match self {
            Self::Adopt
            | Self::Enlist
            | Self::ReadUser
            | Self::Beat
            | Self::Nodes
            | Self::Send
            | Self::Mark
            | Self::Blocks
            | Self::Channels => &[],
            Self::Report | Self::Unfollow | Self::Announce | Self::SetUser => &[RECORD, STREAM],
            Self::Append | Self::Change => &[RECORD, STREAM, MESSAGE, ONCE],
            Self::Open | Self::Configure => &[RECORD, STREAM, CHANNEL],
            Self::Follow | Self::Read => &[RECORD, STREAM, SNAPSHOT],
            Self::Set => &[RECORD, STREAM, PRESENCE],
            Self::Sweep => &[RECORD, STREAM, PRESENCE, ROW],
            Self::Expire => &[RECORD, STREAM, BLOCK],
            Self::Claim | Self::Release | Self::Find | Self::Store | Self::End => &[ROW],
            Self::SetBlock | Self::Unblock => &[RECORD, BLOCK],
        }
    }

    /// What Redis must know of it: whether it only reads, and whether it runs when Redis is out of memory, because it needs
    /// little or frees some.
    fn flags(self) -> &'static str {
        match self {
            Self::Read | Self::ReadUser | Self::Nodes | Self::Find | Self::Blocks | Self::Channels => {
                " flags=no-writes"
            }
            Self::Adopt
            | Self::Enlist
            | Self::Report
            | Self::Unfollow
            | Self::Sweep
            | Self::Beat
            | Self::Expire
            | Self::Release
            | Self::End
            | Self::Mark
            | Self::Unblock => " flags=allow-oom",
            _ => "",
        }
    }

    /// The whole source. Its first line lets Redis refuse keys outside the partition.
    pub fn source(self) -> String {
        let parts = self.parts().join("\n");
        format!("#!lua{}\n{COMMON}\n{parts}\n{}", self.flags(), self.body())
    }

    /// The hash of the source, by which Redis knows a loaded script.
    pub fn sha(self) -> &'static str {
        static HASHES: LazyLock<Vec<String>> =
            LazyLock::new(|| Script::ALL.iter().map(|script| hash(&script.source())).collect());
        HASHES.get(self as usize).map_or("", String::as_str)
    }
}

fn hash(source: &str) -> String {
    Sha1::digest(source).iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_script_has_its_own_hash() {
        let mut hashes: Vec<_> = Script::ALL.iter().map(|script| script.sha()).collect();
        assert!(hashes.iter().all(|hash| hash.len() == 40));
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), Script::ALL.len());
        assert_eq!(Script::Sweep.sha(), hash(&Script::Sweep.source()));
    }
}
