//! The scripts, as Redis loads them.

use sha1::{Digest, Sha1};
use std::fmt::Write;
use std::sync::LazyLock;

/// The parts that scripts share, in the order in which they need each other.
const SHARED: [&str; 10] = [
    include_str!("scripts/common.lua"),
    include_str!("scripts/record.lua"),
    include_str!("scripts/stream.lua"),
    include_str!("scripts/message.lua"),
    include_str!("scripts/once.lua"),
    include_str!("scripts/channel.lua"),
    include_str!("scripts/snapshot.lua"),
    include_str!("scripts/presence.lua"),
    include_str!("scripts/row.lua"),
    include_str!("scripts/block.lua"),
];

/// What the names of all versions of the library begin with.
pub const LIBRARY_PREFIX: &str = "channelstream_";

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
    /// Appends a report of presence, unless another node was earlier.
    Announce,
    /// Reads the record of a user.
    ReadUser,
    /// Replaces the record of a user.
    SetUser,
    /// Removes what a dead node held.
    Sweep,
    /// A node is alive.
    Beat,
    /// A node stops.
    Leave,
    /// Lists the nodes.
    Nodes,
    /// Removes what has been idle for long.
    Expire,
    /// Sends bytes to a node.
    Send,
    /// Makes a node the owner of a connection.
    Claim,
    /// The owner gives up a connection.
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
    /// Reads the figures of channels.
    Summaries,
    /// A process states what it has counted, and reads the sums of the cluster.
    Tally,
    /// Uses what is valid once.
    UseOnce,
    /// Exchanges which sign-ins to the console have ended.
    SignOuts,
    /// Agrees on the secret of cookies.
    CookieSecret,
}

impl Script {
    pub const ALL: [Self; 35] = [
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
        Self::Leave,
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
        Self::Summaries,
        Self::Tally,
        Self::UseOnce,
        Self::SignOuts,
        Self::CookieSecret,
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
            Self::Leave => include_str!("scripts/leave.lua"),
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
            Self::Summaries => include_str!("scripts/summaries.lua"),
            Self::Tally => include_str!("scripts/tally.lua"),
            Self::UseOnce => include_str!("scripts/use_once.lua"),
            Self::SignOuts => include_str!("scripts/sign_outs.lua"),
            Self::CookieSecret => include_str!("scripts/cookie_secret.lua"),
        }
    }

    /// Whether it changes nothing.
    pub fn is_reading(self) -> bool {
        matches!(
            self,
            Self::Read
                | Self::ReadUser
                | Self::Nodes
                | Self::Find
                | Self::Blocks
                | Self::Channels
                | Self::Summaries
        )
    }

    /// What Redis must know of it: whether it only reads, and whether it runs when Redis is out of memory, because it needs
    /// little or frees some.
    fn flags(self) -> &'static str {
        match self {
            _ if self.is_reading() => "'no-writes'",
            Self::Adopt
            | Self::Enlist
            | Self::Report
            | Self::Unfollow
            | Self::Sweep
            | Self::Beat
            | Self::Leave
            | Self::Expire
            | Self::Release
            | Self::End
            | Self::Mark
            | Self::Unblock
            | Self::Tally
            | Self::SignOuts => "'allow-oom'",
            _ => "",
        }
    }

    /// The name of its function in Redis, without that of the library.
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// The name by which Redis calls it.
    pub fn function(self) -> &'static str {
        LIBRARY.functions.get(self as usize).map_or("", String::as_str)
    }

    /// The lines that register it.
    fn registration(self) -> String {
        format!("register('{}', {{ {} }}, function()\n{}end)\n", self.name(), self.flags(), self.body())
    }
}

/// All scripts, as the functions of one library. Redis runs what they share once, when it loads the library, and keeps the
/// library with its data.
#[derive(Debug)]
pub struct Library {
    /// Contains a hash of the code, so that the versions of several releases do not mix.
    pub name: String,
    pub source: String,
    functions: Vec<String>,
}

/// The library of this release.
pub static LIBRARY: LazyLock<Library> = LazyLock::new(|| Library::of(&code()));

/// What the scripts share, and the registrations of all of them.
fn code() -> String {
    let own = Script::ALL.into_iter().map(Script::registration);
    SHARED.into_iter().map(str::to_owned).chain(own).collect::<Vec<_>>().join("\n")
}

impl Library {
    fn of(code: &str) -> Self {
        let name = format!("{LIBRARY_PREFIX}{}", hash(code));
        let source = format!("#!lua name={name}\nlocal NAME = '{name}'\n{code}");
        let functions = Script::ALL.iter().map(|script| format!("{name}_{}", script.name())).collect();
        Self { name, source, functions }
    }
}

/// Long enough that no two versions have the same one.
fn hash(code: &str) -> String {
    Sha1::digest(code).iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_script_has_its_own_function_of_this_version() {
        let functions: BTreeSet<_> = Script::ALL.iter().map(|script| script.function()).collect();
        assert_eq!(functions.len(), Script::ALL.len());
        for script in Script::ALL {
            assert_eq!(script.function(), format!("{}_{}", LIBRARY.name, script.name()));
        }
        assert_eq!(Script::SetBlock.function(), format!("{}_setblock", LIBRARY.name));
        assert_ne!(Library::of("one").name, Library::of("other").name);
    }

    /// The names that a line declares, if it declares variables of the whole library.
    fn declared(line: &str) -> Vec<&str> {
        let names = line.strip_prefix("local ").filter(|names| !names.starts_with("function "));
        let names = names.map_or("", |names| names.split('=').next().unwrap_or_default());
        names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
    }

    /// What a call changes must be set when the next one begins, or one of them could read what another left.
    #[test]
    fn only_the_beginning_of_a_call_sets_what_all_scripts_share() {
        let [common, others @ ..] = SHARED;
        let (state, functions) = common.split_once("local function begin_call").unwrap();
        let begin = functions.split("\nend\n").next().unwrap();
        let lines = || state.lines().take_while(|line| !line.starts_with("local function"));
        let is_constant = |name: &&str| name.chars().all(|letter| letter.is_uppercase() || letter == '_');
        let state: Vec<_> = lines().filter(|line| !line.contains('=')).flat_map(declared).collect();
        assert!(state.contains(&"streams") && state.contains(&"outgoing"), "{state:?}");
        let own = "ARGV, node, epoch, seed, clock, term, ids, outgoing, streams, totals";
        own.split(", ").for_each(|name| assert!(begin.contains(name), "{name} outlives a call"));
        for line in others.iter().flat_map(|part| part.lines()) {
            assert!(declared(line).iter().all(is_constant), "{line}: only common.lua has variables");
        }
    }
}
