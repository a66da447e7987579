//! The scripts, as Redis loads them.

use sha1::{Digest, Sha1};
use std::fmt::Write;
use std::sync::LazyLock;

/// The parts that all scripts share, in the order in which they need each other.
const SHARED: [&str; 5] = [
    include_str!("scripts/common.lua"),
    include_str!("scripts/once.lua"),
    include_str!("scripts/stream.lua"),
    include_str!("scripts/record.lua"),
    include_str!("scripts/presence.lua"),
];

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
    Take,
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
}

impl Script {
    pub const ALL: [Self; 28] = [
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
        Self::Take,
        Self::Find,
        Self::Store,
        Self::End,
        Self::Mark,
        Self::SetBlock,
        Self::Unblock,
        Self::Blocks,
    ];

    /// The whole source. The flags let Redis refuse keys outside the partition, writes of scripts that read, and, when it
    /// is out of memory, all scripts but those that need little or free some.
    pub fn source(self) -> String {
        let (flags, body) = match self {
            Self::Adopt => ("", include_str!("scripts/adopt.lua")),
            Self::Enlist => ("", include_str!("scripts/enlist.lua")),
            Self::Report => ("", include_str!("scripts/report.lua")),
            Self::Append => ("", include_str!("scripts/append.lua")),
            Self::Change => ("", include_str!("scripts/change.lua")),
            Self::Open => ("", include_str!("scripts/open.lua")),
            Self::Configure => ("", include_str!("scripts/configure.lua")),
            Self::Follow => ("", include_str!("scripts/follow.lua")),
            Self::Unfollow => (" flags=allow-oom", include_str!("scripts/unfollow.lua")),
            Self::Set => ("", include_str!("scripts/set.lua")),
            Self::Read => (" flags=no-writes", include_str!("scripts/read.lua")),
            Self::Announce => ("", include_str!("scripts/announce.lua")),
            Self::ReadUser => (" flags=no-writes", include_str!("scripts/read_user.lua")),
            Self::SetUser => ("", include_str!("scripts/set_user.lua")),
            Self::Sweep => (" flags=allow-oom", include_str!("scripts/sweep.lua")),
            Self::Beat => (" flags=allow-oom", include_str!("scripts/beat.lua")),
            Self::Nodes => (" flags=no-writes", include_str!("scripts/nodes.lua")),
            Self::Expire => (" flags=allow-oom", include_str!("scripts/expire.lua")),
            Self::Send => ("", include_str!("scripts/send.lua")),
            Self::Claim => ("", include_str!("scripts/claim.lua")),
            Self::Take => ("", include_str!("scripts/take.lua")),
            Self::Find => (" flags=no-writes", include_str!("scripts/find.lua")),
            Self::Store => ("", include_str!("scripts/store.lua")),
            Self::End => (" flags=allow-oom", include_str!("scripts/end.lua")),
            Self::Mark => (" flags=allow-oom", include_str!("scripts/mark.lua")),
            Self::SetBlock => ("", include_str!("scripts/set_block.lua")),
            Self::Unblock => (" flags=allow-oom", include_str!("scripts/unblock.lua")),
            Self::Blocks => (" flags=no-writes", include_str!("scripts/blocks.lua")),
        };
        format!("#!lua{flags}\n{}\n{body}", SHARED.join("\n"))
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
