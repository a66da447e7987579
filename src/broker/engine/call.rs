//! Calls of scripts. A call names what a node requests; [`Sender`] adds what the link knows when it sends the call. Pure.

use crate::config::Secret;
use crate::protocol::ids::{Epoch, Offset, Stamp};
use crate::protocol::time::Timestamp;
use uuid::Uuid;

/// The number of a node: random, less than 2^53, so that scripts represent it exactly. A node draws a new one for each
/// enlistment, so that it is never used twice.
pub type NodeNumber = u64;

/// How much of a stream Redis keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub channel_frames: u32,
    pub user_frames: u32,
    /// The maximum number of messages in a channel's history, whatever its settings.
    pub history: u32,
}

/// The settings of the server that scripts read. They must be equal on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineConstants {
    pub retention: Retention,
    /// How long idempotency keys are kept, in ms.
    pub key_window_ms: u64,
    /// The maximum number of channels in the cluster; 0 means no limit.
    pub max_channels: u32,
    /// The maximum number of users with a block.
    pub max_blocks: u32,
    /// How long a user without connections is kept, in ms.
    pub user_idle_ms: u64,
    /// How long a channel without members is kept after its last message, in ms; 0 means forever.
    pub channel_idle_ms: u64,
    /// How long the row of a connection is kept after its owner died or gave it up, in ms.
    pub grace_ms: u64,
    /// The interval of beats, in ms.
    pub beat_ms: u64,
    /// A node that has not beaten for this long is dead, in ms.
    pub dead_ms: u64,
}

/// What a call is sent with.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    pub node: NodeNumber,
    /// The process. With `number` it identifies a call of [`Call::Append`] or [`Call::Change`]: if the process sends such a
    /// call again with the same number, it takes effect once. The process uses each number once, in ascending order, and
    /// sends a call again only as long as fewer than 256 later numbers are in use.
    pub boot: Uuid,
    pub number: u64,
    /// Random: the epoch of streams that begin in this call, and of those whose epoch ends in it.
    pub epoch: Epoch,
    /// Random: the script counts the ids of the events that it makes up from here.
    pub seed: Uuid,
    pub settings: EngineConstants,
}

/// The settings of a channel that scripts read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptSettings {
    pub notify_presence: bool,
    pub store_history: bool,
    pub store_frames: bool,
    pub notify_state: bool,
    /// Members learn of presence once in an interval or not at all, so that single changes are no entries.
    pub quiet_presence: bool,
    /// 0 means no limit but the server's own.
    pub history_size: u32,
    /// How many frames are kept, if not as many as of other channels.
    pub frames: Option<u32>,
}

impl ScriptSettings {
    /// The settings of private streams.
    pub const PRIVATE: Self = Self {
        notify_presence: false,
        store_history: false,
        store_frames: true,
        notify_state: false,
        quiet_presence: false,
        history_size: 0,
        frames: None,
    };

    /// The number of frames in the form of scripts: one more, or 0 for as many as of other channels.
    pub fn frames_or_default(self) -> u64 {
        self.frames.map_or(0, |frames| u64::from(frames) + 1)
    }

    pub fn flags(self) -> u8 {
        u8::from(self.notify_presence)
            | u8::from(self.store_history) << 1
            | u8::from(self.store_frames) << 2
            | u8::from(self.notify_state) << 3
            | u8::from(self.quiet_presence) << 4
    }
}

/// A channel that a call begins or configures, with its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelToOpen {
    /// The key of its stream.
    pub stream: String,
    /// Its id, if it begins with this call.
    pub uuid: Uuid,
    pub settings: ScriptSettings,
    /// All settings as JSON.
    pub text: String,
    /// The offset that a node has reached in the stream. If Redis has lost the stream, it continues there, so that offsets
    /// never go back for its members.
    pub offset: Offset,
}

/// A request with an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedRequest {
    /// Identifies the key and the secret of the request.
    pub key: u128,
    /// Identifies its method and body.
    pub fingerprint: u128,
    pub time: Timestamp,
}

/// A part of a request with an idempotency key: what it publishes in one stream.
#[derive(Clone, Copy, Debug)]
pub struct KeyedPart {
    pub request: KeyedRequest,
    pub number: u32,
}

/// A message to publish.
#[derive(Clone, Debug)]
pub struct Item {
    /// The key of a stream.
    pub stream: String,
    pub record: Vec<u8>,
    /// `None` if its request has no idempotency key.
    pub part: Option<KeyedPart>,
}

/// How many connections of a user a node has in a stream.
#[derive(Clone, Debug)]
pub struct Count {
    pub stream: String,
    pub user: String,
    pub connections: u32,
    /// How many of them are present. Only stated of private streams, else 0.
    pub present: u32,
    /// What the stream shows of the user if Redis has no record of it; see [`super::record::MemberView::encode`].
    pub view: Vec<u8>,
}

/// The row of a connection that its owner changes.
#[derive(Clone, Debug)]
pub struct RowUpdate {
    pub conn: String,
    /// The row is left alone if its generation is another one.
    pub generation: u64,
    pub data: Vec<u8>,
}

/// A connection to whose session not everything was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Laggard {
    pub conn: String,
    /// How far it has received its streams.
    pub received: Vec<u8>,
}

/// A call of a script. Its source describes the reply. Scripts that change something reply with the status `FENCED` if Redis
/// does not know the node, and with `SETTLING` as long as nodes have not reported what they saw before a failover.
#[derive(Clone, Debug)]
pub enum Call {
    /// Begins a term, if this Redis is not the one of the last term.
    Adopt {
        known_term: u64,
        /// The run id of the Redis server.
        run: String,
        /// The greatest stamp that the node has seen.
        stamp: Stamp,
    },
    /// Makes the node's number known.
    Enlist {
        /// The number that the process had before, or 0.
        earlier: NodeNumber,
        /// What other nodes show of this one, as JSON.
        info: String,
    },
    /// States which streams have lost entries that the node has seen, and the last offset that it has seen of each. They
    /// continue behind it.
    Report {
        stamp: Stamp,
        streams: Vec<(String, Offset)>,
    },
    Append {
        items: Vec<Item>,
    },
    /// Edits or deletes a message.
    Change {
        stream: String,
        record: Vec<u8>,
        /// `None` if its request has no idempotency key.
        part: Option<KeyedPart>,
    },
    /// Begins the channels that are missing.
    Open {
        channels: Vec<ChannelToOpen>,
    },
    /// Sets the settings of a channel.
    Configure {
        channel: ChannelToOpen,
    },
    /// The node receives the entries of a stream from now on. Reads it as well.
    Follow {
        stream: String,
        after: Offset,
        max_bytes: u32,
    },
    Unfollow {
        streams: Vec<String>,
    },
    /// States how many connections of users the node has. The numbers are absolute.
    Set {
        is_quiet: bool,
        counts: Vec<Count>,
    },
    Read {
        stream: String,
        after: Offset,
        with_history: bool,
        with_members: bool,
        max_bytes: u32,
    },
    /// Appends a report of presence, unless another node has announced something since the last report.
    Announce {
        stream: String,
        /// The offset of the last report that the node knows; 0 if there was none.
        after: Offset,
        record: Vec<u8>,
    },
    ReadUser {
        user: String,
    },
    /// Replaces the record of a user.
    SetUser {
        user: String,
        /// The version that is replaced; 0 if there must be none.
        expected: u64,
        /// What nodes know of the user.
        record: Vec<u8>,
        /// What streams show of the user; see [`super::record::MemberView::encode`].
        view: Vec<u8>,
        /// The changed part of the state as JSON, if members may learn of it.
        changed: Option<String>,
    },
    /// Removes a part of what a dead node held.
    Sweep {
        node: NodeNumber,
        is_quiet: bool,
    },
    /// The node is alive. Declares silent nodes dead.
    Beat {
        info: Option<String>,
    },
    /// The node stops. Its members stay for so long, in ms.
    Leave {
        stay_ms: u64,
    },
    Nodes,
    /// Removes what has been idle for long.
    Expire,
    /// Sends bytes to a node.
    Send {
        to: NodeNumber,
        bytes: Vec<u8>,
    },
    /// Makes the node the owner of a connection that is new, its own, or without a living owner.
    Claim {
        conn: String,
        user: String,
        /// What the row of a new connection contains.
        data: Vec<u8>,
        /// The most connections of the user, for a new one; 0 means no limit.
        most: u32,
    },
    /// Gives up a connection that the node owns.
    Release {
        conn: String,
        /// `None` if the node owns it without having it.
        generation: Option<u64>,
        /// What the next owner gets; empty if the row stays as it is.
        data: Vec<u8>,
    },
    Find {
        conn: String,
    },
    Store {
        rows: Vec<RowUpdate>,
    },
    /// Deletes rows, given by connection and generation.
    End {
        rows: Vec<(String, u64)>,
    },
    /// Stores how far the node has delivered.
    Mark {
        /// Everything up to this stamp was delivered, but to the laggards.
        delivered: Stamp,
        laggards: Vec<Laggard>,
    },
    SetBlock {
        user: String,
        record: Vec<u8>,
        /// When the block may be forgotten, in ms since 1970; 0 means never.
        until_ms: u64,
    },
    Unblock {
        user: String,
    },
    /// Reads a part of the blocks.
    Blocks {
        cursor: u64,
    },
    /// Reads a part of the names of channels.
    Channels {
        cursor: u64,
    },
    /// Reads the figures of channels.
    Summaries {
        streams: Vec<String>,
    },
    /// States what the process has counted since its start, and reads the sums of the cluster.
    Tally {
        messages: u64,
        /// Messages queued to connections.
        queued: u64,
    },
    /// Uses something that is valid once.
    UseOnce {
        name: String,
    },
    /// States which sign-ins to the console have ended at the node, and reads which have ended at any node.
    SignOuts {
        /// Since when, in µs since 1970.
        since: u64,
        ended: Vec<u128>,
    },
    /// Agrees on the secret of cookies.
    CookieSecret {
        proposal: Secret,
    },
}

impl Call {
    /// Whether the call needs a number of its own; see [`Sender::boot`].
    pub fn is_numbered(&self) -> bool {
        matches!(self, Self::Append { .. } | Self::Change { .. })
    }

    /// Whether the call changes nothing when it runs again, also if others have run meanwhile.
    pub fn is_repeatable(&self) -> bool {
        matches!(self, Self::Release { generation: Some(_), .. })
    }
}
