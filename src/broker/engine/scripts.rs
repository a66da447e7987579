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
    /// A process gets its number.
    Enlist,
    /// A node reports which streams have lost entries.
    Report,
    /// Publishes messages.
    Append,
    /// Edits or deletes a message.
    Change,
    /// Sets the settings of a channel.
    Configure,
    /// A node states its members and the streams that it follows.
    Set,
    /// Reads a stream.
    Read,
    /// Removes what a dead node held.
    Sweep,
}

impl Script {
    pub const ALL: [Self; 9] = [
        Self::Adopt,
        Self::Enlist,
        Self::Report,
        Self::Append,
        Self::Change,
        Self::Configure,
        Self::Set,
        Self::Read,
        Self::Sweep,
    ];

    /// The whole source. The flags let Redis refuse keys outside the partition, writes of scripts that read, and, when it
    /// is out of memory, all scripts but those that free some.
    pub fn source(self) -> String {
        let (flags, body) = match self {
            Self::Adopt => ("", include_str!("scripts/adopt.lua")),
            Self::Enlist => ("", include_str!("scripts/enlist.lua")),
            Self::Report => ("", include_str!("scripts/report.lua")),
            Self::Append => ("", include_str!("scripts/append.lua")),
            Self::Change => ("", include_str!("scripts/change.lua")),
            Self::Configure => ("", include_str!("scripts/configure.lua")),
            Self::Set => ("", include_str!("scripts/set.lua")),
            Self::Read => (" flags=no-writes", include_str!("scripts/read.lua")),
            Self::Sweep => (" flags=allow-oom", include_str!("scripts/sweep.lua")),
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
