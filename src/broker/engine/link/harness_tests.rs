//! Nodes for tests: a link with a record of what its registry would receive.

use super::access::Access;
use super::{FromEngine, LinkHandle, LinkSettings, Ticket, open};
use crate::broker::engine::call::{
    Call, ChannelToOpen, Count, EngineConstants, Item, NodeNumber, Retention, ScriptSettings,
};
use crate::broker::engine::entry::{Mail, read_mail};
use crate::broker::engine::error::EngineError;
use crate::broker::engine::record::{MemberView, Record};
use crate::broker::engine::reply::Reply;
use crate::broker::engine::snapshot::StreamSnapshot;
use crate::fixtures::message;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use uuid::Uuid;

/// No wait of a test takes so long unless something is wrong.
const LIMIT: Duration = Duration::from_secs(30);
pub const CHANNEL: &str = "ca";

pub fn settings(url: &str) -> LinkSettings {
    LinkSettings {
        access: Access::to(url),
        prefix: "cs:".into(),
        timeout_ms: 10_000,
        wait_replicas: 0,
        pending_bytes: 1 << 20,
        restart_grace_ms: 1_500,
        info: "{}".into(),
        constants: EngineConstants {
            retention: Retention { channel_frames: 10_000, user_frames: 100, history: 10 },
            key_window_ms: 60_000,
            max_channels: 0,
            max_blocks: 0,
            user_idle_ms: 60_000,
            channel_idle_ms: 0,
            grace_ms: 10_000,
            beat_ms: 100,
            dead_ms: 600,
        },
    }
}

/// What a node receives, with mail as single items.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Joined {
        node: NodeNumber,
        term: u64,
        store: String,
        is_same_node: bool,
    },
    /// An entry of a stream: its offset and its record.
    Entry(u64, Vec<u8>),
    Note(Vec<u8>),
    Post(Vec<u8>),
    Reply(Ticket, Result<Reply, EngineError>),
    Stamp,
    Lost,
}

impl Event {
    /// The user of a presence event, and whether it joined.
    pub fn presence(&self) -> Option<(String, bool)> {
        let (Self::Entry(_, record) | Self::Note(record)) = self else { return None };
        match Record::decode(record, Some("a"))? {
            Record::Presence { user, is_joined, .. } => Some((user, is_joined)),
            _ => None,
        }
    }
}

/// A link, and the registry's side of it.
pub struct Node {
    pub link: LinkHandle,
    received: UnboundedReceiver<FromEngine>,
    waiting: VecDeque<Event>,
}

impl Node {
    pub fn start(settings: LinkSettings) -> Self {
        let (link, task) = open(settings);
        let (registry, received) = unbounded_channel();
        tokio::spawn(task.run(move |event| _ = registry.send(event)));
        Self { link, received, waiting: VecDeque::new() }
    }

    /// Starts a node and waits until it has joined. It has nothing to state.
    pub async fn join(settings: LinkSettings) -> Self {
        let mut node = Self::start(settings);
        let number = node.joined().await.0;
        node.link.restated(number);
        node
    }

    /// The next thing that it receives.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return event;
            }
            let received = tokio::time::timeout(LIMIT, self.received.recv()).await;
            match received.expect("something arrives").expect("the link runs") {
                FromEngine::Joined { node, store, term, base: _, is_same_node } => {
                    return Event::Joined { node, term, store, is_same_node };
                }
                FromEngine::Mail(mail) => {
                    let items = read_mail(&mail).expect("mail is well-formed");
                    self.waiting.extend(items.into_iter().map(|item| match item {
                        Mail::Entry(change) => Event::Entry(change.position.offset, change.record.to_vec()),
                        Mail::Note(change) => Event::Note(change.record.to_vec()),
                        Mail::Post(bytes) => Event::Post(bytes.to_vec()),
                    }));
                }
                FromEngine::Reply(ticket, result) => return Event::Reply(ticket, result),
                FromEngine::Stamp { .. } => return Event::Stamp,
                FromEngine::Lost => return Event::Lost,
            }
        }
    }

    /// Waits for something; what comes before it is dropped.
    pub async fn until<T>(&mut self, mut find: impl FnMut(Event) -> Option<T>) -> T {
        loop {
            if let Some(found) = find(self.next().await) {
                return found;
            }
        }
    }

    /// Everything that it receives up to something.
    pub async fn all_until(&mut self, mut is_last: impl FnMut(&Event) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            events.push(self.next().await);
            if events.last().is_some_and(&mut is_last) {
                return events;
            }
        }
    }

    pub async fn lost(&mut self) {
        self.until(|event| (event == Event::Lost).then_some(())).await;
    }

    /// Waits until it has joined: its number, the term, whether it has kept its number.
    pub async fn joined(&mut self) -> (NodeNumber, u64, bool) {
        self.until(|event| match event {
            Event::Joined { node, term, is_same_node, .. } => Some((node, term, is_same_node)),
            _ => None,
        })
        .await
    }

    pub async fn ok(&self, call: Call) {
        let reply = self.link.call(call).await;
        assert!(reply.as_ref().is_ok_and(Reply::is_ok), "{reply:?}");
    }

    /// Begins the channel if it is missing, and follows it.
    pub async fn follow(&self) -> StreamSnapshot {
        self.ok(open_channel()).await;
        let call = Call::Follow { stream: CHANNEL.into(), after: 0, max_bytes: 1 << 24 };
        snapshot(&self.link.call(call).await.unwrap())
    }

    pub async fn read(&self) -> StreamSnapshot {
        snapshot(&self.link.call(read()).await.unwrap())
    }
}

fn snapshot(reply: &Reply) -> StreamSnapshot {
    StreamSnapshot::read(reply).expect("the reply is well-formed").expect("the channel exists")
}

pub fn open_channel() -> Call {
    let settings = ScriptSettings { notify_presence: true, store_frames: true, ..ScriptSettings::PRIVATE };
    let channel =
        ChannelToOpen { stream: CHANNEL.into(), uuid: Uuid::nil(), settings, text: "{}".into(), offset: 0 };
    Call::Open { channels: vec![channel] }
}

pub fn read() -> Call {
    Call::Read {
        stream: CHANNEL.into(),
        after: 0,
        with_history: false,
        with_members: true,
        max_bytes: 1 << 24,
    }
}

pub fn set(user: &str, connections: u32) -> Call {
    let view = MemberView { state: "{}".into(), public_state: "{}".into() }.encode();
    let count = Count { stream: CHANNEL.into(), user: user.into(), connections, present: 0, view };
    Call::Set { is_quiet: false, counts: vec![count] }
}

/// The record of a message that its number identifies.
pub fn record(number: u128) -> Vec<u8> {
    Record::Message { message: message(number), edited: None }.encode()
}

pub fn append(number: u128) -> Call {
    let item = Item { stream: CHANNEL.into(), record: record(number), part: None };
    Call::Append { items: vec![item] }
}

/// The numbers of the messages in a log.
pub fn numbers(snapshot: &StreamSnapshot) -> Vec<u128> {
    let number = |bytes: &Vec<u8>| match Record::decode(bytes, Some("a"))? {
        Record::Message { message, .. } => Some(message.uuid.as_u128()),
        _ => None,
    };
    snapshot.entries.iter().filter_map(|entry| number(&entry.record)).collect()
}
