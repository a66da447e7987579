//! Calls of scripts, with their arguments in the order that each script describes. Pure.

use super::scripts::Script;
use crate::protocol::ids::Epoch;
use uuid::Uuid;

/// The number of a node in a partition. It is never used twice.
pub type NodeNumber = u32;

/// How much of a stream Redis keeps.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    pub channel_frames: u32,
    pub user_frames: u32,
    /// The maximum number of messages in a channel's history, whatever its settings.
    pub history: u32,
}

/// A process and the number of its call: a call that is sent again with the same number takes effect once.
#[derive(Clone, Copy, Debug)]
pub struct Once {
    pub boot: Uuid,
    pub number: u64,
}

/// The settings of a channel that scripts read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptSettings {
    pub notify_presence: bool,
    pub store_history: bool,
    pub store_frames: bool,
    /// 0 means no limit but the server's own.
    pub history_size: u32,
}

impl ScriptSettings {
    /// The settings of private streams.
    pub const PRIVATE: Self =
        Self { notify_presence: false, store_history: false, store_frames: true, history_size: 0 };

    pub fn flags(self) -> u8 {
        u8::from(self.notify_presence) | u8::from(self.store_history) << 1 | u8::from(self.store_frames) << 2
    }
}

/// A message to publish.
#[derive(Clone, Debug)]
pub struct Item {
    /// The key of a stream.
    pub stream: String,
    pub record: Vec<u8>,
    pub idempotency_key: Option<String>,
}

/// How many connections of a user a node has in a stream.
#[derive(Clone, Debug)]
pub struct Count {
    pub stream: String,
    pub user: String,
    pub connections: u32,
    /// The user's public state as JSON.
    pub view: String,
}

/// A call of a script.
#[derive(Clone, Debug)]
pub enum Call {
    Adopt {
        node: NodeNumber,
        known_term: u64,
        run: String,
        epoch: Epoch,
    },
    Enlist {
        number: NodeNumber,
        earlier: NodeNumber,
    },
    Report {
        node: NodeNumber,
        epoch: Epoch,
        streams: Vec<String>,
    },
    Append {
        node: NodeNumber,
        once: Once,
        epoch: Epoch,
        key_window_ms: u64,
        retention: Retention,
        items: Vec<Item>,
    },
    Change {
        node: NodeNumber,
        once: Once,
        epoch: Epoch,
        retention: Retention,
        stream: String,
        record: Vec<u8>,
    },
    Configure {
        node: NodeNumber,
        epoch: Epoch,
        retention: Retention,
        stream: String,
        settings: ScriptSettings,
        record: Vec<u8>,
    },
    Set {
        node: NodeNumber,
        is_quiet: bool,
        epoch: Epoch,
        /// Of channels that begin.
        settings: ScriptSettings,
        /// Ids of presence events are counted up from here.
        uuid: Uuid,
        retention: Retention,
        counts: Vec<Count>,
        /// Streams, and whether the node has members of them.
        interests: Vec<(String, bool)>,
    },
    Read {
        stream: String,
        after: u64,
        with_history: bool,
        with_members: bool,
        max_bytes: u32,
    },
    Sweep {
        node: NodeNumber,
        is_quiet: bool,
        uuid: Uuid,
        retention: Retention,
    },
}

/// Arguments of a script.
#[derive(Debug, Default)]
pub struct Arguments(pub Vec<Vec<u8>>);

impl Arguments {
    fn text(mut self, text: impl ToString) -> Self {
        self.0.push(text.to_string().into_bytes());
        self
    }

    fn bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.0.push(bytes.into());
        self
    }

    fn flag(self, flag: bool) -> Self {
        self.text(u8::from(flag))
    }

    fn once(self, once: Once) -> Self {
        self.text(once.boot.as_simple()).text(once.number)
    }

    fn frames(self, retention: Retention) -> Self {
        self.text(retention.channel_frames).text(retention.user_frames)
    }

    fn settings(self, settings: ScriptSettings) -> Self {
        self.text(settings.flags()).text(settings.history_size)
    }
}

impl Call {
    pub fn script(&self) -> Script {
        match self {
            Self::Adopt { .. } => Script::Adopt,
            Self::Enlist { .. } => Script::Enlist,
            Self::Report { .. } => Script::Report,
            Self::Append { .. } => Script::Append,
            Self::Change { .. } => Script::Change,
            Self::Configure { .. } => Script::Configure,
            Self::Set { .. } => Script::Set,
            Self::Read { .. } => Script::Read,
            Self::Sweep { .. } => Script::Sweep,
        }
    }

    pub fn arguments(&self) -> Arguments {
        let arguments = Arguments::default();
        match self {
            Self::Adopt { node, known_term, run, epoch } => {
                arguments.text(node).text(known_term).text(run).text(epoch)
            }
            Self::Enlist { number, earlier } => arguments.text(number).text(earlier),
            Self::Report { node, epoch, streams } => {
                streams.iter().fold(arguments.text(node).text(epoch), |all, stream| all.text(stream))
            }
            Self::Append { node, once, epoch, key_window_ms, retention, items } => {
                let head = arguments.text(node).once(*once).text(epoch).text(key_window_ms);
                let head = head.frames(*retention).text(retention.history);
                items.iter().fold(head, |all, item| {
                    let key = item.idempotency_key.as_deref().unwrap_or_default();
                    all.text(&item.stream).bytes(item.record.as_slice()).text(key)
                })
            }
            Self::Change { node, once, epoch, retention, stream, record } => {
                let head = arguments.text(node).once(*once).text(epoch).frames(*retention);
                head.text(stream).bytes(record.as_slice())
            }
            Self::Configure { node, epoch, retention, stream, settings, record } => {
                let head = arguments.text(node).text(epoch).text(retention.channel_frames).text(stream);
                head.settings(*settings).bytes(record.as_slice())
            }
            Self::Set { node, is_quiet, epoch, settings, uuid, retention, counts, interests } => {
                let head = arguments.text(node).flag(*is_quiet).text(epoch).settings(*settings);
                let head = head.bytes(*uuid.as_bytes()).text(retention.channel_frames).text(counts.len());
                let head = counts.iter().fold(head, |all, count| {
                    all.text(&count.stream).text(&count.user).text(count.connections).text(&count.view)
                });
                interests.iter().fold(head, |all, (stream, is_on)| all.text(stream).flag(*is_on))
            }
            Self::Read { stream, after, with_history, with_members, max_bytes } => {
                arguments.text(stream).text(after).flag(*with_history).flag(*with_members).text(max_bytes)
            }
            Self::Sweep { node, is_quiet, uuid, retention } => {
                let head = arguments.text(node).flag(*is_quiet).bytes(*uuid.as_bytes());
                head.text(retention.channel_frames)
            }
        }
    }
}
