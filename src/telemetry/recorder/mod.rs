//! The flight recorder records the events of a few connections and channels on request.
//!
//! Hubs and channels call it only while one of theirs is recorded.

pub(crate) mod buffer;

use super::causes::TokenCause;
use crate::protocol::frame::Frame;
use crate::protocol::ids::{ChannelId, Offset, Stream};
use crate::protocol::time::Timestamp;
use crate::protocol::websocket::close::CloseReason;
use buffer::{RecordingBuffer, RecordingPage, Weigh};
use serde::Deserialize;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use uuid::Uuid;

/// An event longer than this many bytes is recorded without its text.
const MAX_TEXT_BYTES: usize = 4 << 10;
/// A recording of a connection that is not read for this long, in ms, is removed. An operator who looks for a rare
/// fault may return after a while.
const FORGET_CONNECTION_MS: u64 = 30 * 60_000;
/// The same for a channel. Its recording serves operators who watch it live, and costs memory for every message
/// published in the channel.
const FORGET_CHANNEL_MS: u64 = 60_000;

/// An event of a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum ConnectionEvent {
    /// A session exists: it has just attached, or already existed when the recording began.
    Attached {
        /// `websocket` or `longpoll`.
        transport: &'static str,
        /// The client's address, if known.
        address: Option<IpAddr>,
    },
    /// It is subscribed to a stream from now on, after this many frames of catch-up. A client that asked for positions
    /// also received an answer.
    Listening(Stream, usize, Option<RecoveryAnswer>),
    /// It is no longer subscribed to a channel.
    Left(ChannelId),
    /// The hub processed a frame.
    Frame {
        /// The stream of the frame.
        stream: Stream,
        /// The head of the frame.
        head: FrameHead,
        /// Its size in bytes before compression.
        bytes: usize,
        /// The result for this session.
        outcome: Outcome,
    },
    /// A poll receives this many frames and bytes.
    Answered(usize, usize),
    /// Whether the kernel has accepted the response of the poll.
    Taken(bool),
    /// The session is closed for this reason, with this text instead of the reason's own.
    Closed(CloseReason, Option<Box<str>>),
    /// The session has ended.
    Detached,
    /// The connection has a token with this claim `exp` now, in Unix seconds.
    TokenAccepted { expires_unix: u64 },
    /// The client sent no valid token. The connection stays as it is.
    TokenRefused(TokenCause),
    /// The connection's token has expired.
    TokenExpired,
}

/// What a returning client had of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryAnswer {
    pub from: Offset,
    /// The position of the stream.
    pub offset: Offset,
    /// Why frames may be missing; `None` if the client has recovered.
    pub reason: Option<&'static str>,
}

/// The result of a frame for one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel has accepted all of it.
    Sent,
    /// It is queued, because the client does not read immediately; this many bytes are queued now.
    Queued(usize),
    /// It is queued for the response of a poll.
    Collected,
    /// It is sent as catch-up.
    CaughtUp,
    /// It is queued until the catch-up is sent.
    Held,
    /// The client has already received it.
    HadIt,
    /// It is addressed to others, or excludes this user.
    NotMeant,
    /// The session is closing; the next one receives the frame.
    Sealed,
    /// The client does not read and its queue is full: the session is closed.
    TooSlow(usize),
    /// The socket is broken: the session ends.
    Broken,
}

/// Identifying data of a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct FrameHead {
    #[serde(default)]
    pub uuid: Uuid,
    #[serde(default, rename = "type")]
    pub kind: Box<str>,
    /// Its sender, or the user whom it concerns.
    #[serde(default)]
    pub user: Option<Box<str>>,
}

impl FrameHead {
    pub fn of(frame: &Frame) -> Self {
        serde_json::from_slice(&frame.live_element()).unwrap_or_default()
    }

    fn weight(&self) -> usize {
        self.kind.len() + self.user.as_ref().map_or(0, |user| user.len())
    }
}

/// A frame published in a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The head of the frame.
    pub head: FrameHead,
    /// Its size in bytes on a websocket, before compression.
    pub bytes: usize,
    /// The number of users it is addressed to, unless it is for all.
    pub only: Option<usize>,
    /// The number of users it excludes.
    pub except: usize,
    /// Connections in the channel at this moment.
    pub connections: u32,
    /// The event as JSON, unless it is long.
    pub text: Option<Box<str>>,
}

impl Published {
    /// Describes a frame that is published to this many connections.
    pub fn of(frame: &Frame, connections: u32) -> Self {
        let element = frame.live_element();
        let text = (element.len() <= MAX_TEXT_BYTES).then(|| String::from_utf8_lossy(&element).into());
        let audience = frame.audience();
        Self {
            head: FrameHead::of(frame),
            bytes: frame.live().len(),
            only: audience.only.as_ref().map(|only| only.as_slice().len()),
            except: audience.except.as_slice().len(),
            connections,
            text,
        }
    }
}

impl Weigh for ConnectionEvent {
    fn weight(&self) -> usize {
        match self {
            ConnectionEvent::Frame { head, .. } => head.weight(),
            ConnectionEvent::Closed(_, text) => text.as_ref().map_or(0, |text| text.len()),
            _ => 0,
        }
    }
}

impl Weigh for Published {
    fn weight(&self) -> usize {
        self.head.weight() + self.text.as_ref().map_or(0, |text| text.len())
    }
}

/// See the module's description. One for the whole server.
#[derive(Debug)]
pub struct Recorder {
    connections: Mutex<RecordingBuffer<Uuid, ConnectionEvent>>,
    channels: Mutex<RecordingBuffer<Uuid, Published>>,
    /// The number of recorded connections, checked whenever a session opens.
    num_recorded: AtomicUsize,
    bytes: usize,
    written: watch::Sender<u64>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Recorder {
    /// Creates a recorder that uses at most this many bytes; with 0 it records nothing.
    pub fn new(bytes: usize) -> Self {
        Self {
            connections: Mutex::new(RecordingBuffer::new(bytes / 2, FORGET_CONNECTION_MS)),
            channels: Mutex::new(RecordingBuffer::new(bytes / 2, FORGET_CHANNEL_MS)),
            num_recorded: AtomicUsize::new(0),
            bytes,
            written: watch::Sender::new(0),
        }
    }

    /// Whether recording is enabled.
    pub fn is_on(&self) -> bool {
        self.bytes > 0
    }

    /// Notifies the receiver whenever an event is recorded.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Starts recording a connection.
    pub fn record_connection(&self, conn_id: Uuid) {
        if self.is_on() {
            let mut buffer = locked(&self.connections);
            buffer.start(conn_id, now_ms());
            self.num_recorded.store(buffer.count(), Ordering::Relaxed);
        }
    }

    /// Stops recording a connection.
    pub fn stop_connection(&self, conn_id: Uuid) {
        let mut buffer = locked(&self.connections);
        buffer.stop(conn_id);
        self.num_recorded.store(buffer.count(), Ordering::Relaxed);
    }

    /// Whether a connection is recorded.
    pub fn has_connection(&self, conn_id: Uuid) -> bool {
        self.num_recorded.load(Ordering::Relaxed) > 0 && locked(&self.connections).has(conn_id)
    }

    /// Records an event of a connection. Returns false if the connection is no longer recorded.
    pub fn note(&self, conn_id: Uuid, event: ConnectionEvent) -> bool {
        let noted = self.num_recorded.load(Ordering::Relaxed) > 0
            && locked(&self.connections).record(conn_id, now_ms(), event);
        self.notify(noted)
    }

    /// The events of a connection after event number `after`; `None` if it is not recorded.
    pub fn read_connection(&self, conn_id: Uuid, after: u64) -> Option<RecordingPage<ConnectionEvent>> {
        locked(&self.connections).read(conn_id, after, now_ms())
    }

    /// Starts recording a channel, identified by its uuid.
    pub fn record_channel(&self, channel: Uuid) {
        if self.is_on() {
            locked(&self.channels).start(channel, now_ms());
        }
    }

    /// Stops recording a channel.
    pub fn stop_channel(&self, channel: Uuid) {
        locked(&self.channels).stop(channel);
    }

    /// Records a frame published in a channel. Returns false if the channel is no longer recorded.
    pub fn note_published(&self, channel: Uuid, published: Published) -> bool {
        let noted = locked(&self.channels).record(channel, now_ms(), published);
        self.notify(noted)
    }

    /// The frames published in a channel after frame number `after`; `None` if it is not recorded.
    pub fn read_channel(&self, channel: Uuid, after: u64) -> Option<RecordingPage<Published>> {
        locked(&self.channels).read(channel, after, now_ms())
    }

    /// Removes the recordings that were not read recently.
    pub fn forget(&self) {
        let now = now_ms();
        locked(&self.channels).forget(now);
        let mut connections = locked(&self.connections);
        connections.forget(now);
        self.num_recorded.store(connections.count(), Ordering::Relaxed);
    }

    fn notify(&self, noted: bool) -> bool {
        if noted {
            self.written.send_modify(|count| *count = count.wrapping_add(1));
        }
        noted
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> u64 {
    Timestamp::now().unix_ms()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{ENCODER, message, only};
    use crate::protocol::frame::Audience;

    #[test]
    fn a_published_frame_has_its_head_and_text() {
        let (frame, _) = ENCODER.message(&message(7), None, only(&[1, 2]));
        let published = Published::of(&frame, 12);
        assert_eq!((published.head.uuid, &*published.head.kind), (Uuid::from_u128(7), "message"));
        assert_eq!(
            (published.head.user.as_deref(), published.only, published.except),
            (Some("s"), Some(2), 0)
        );
        assert!(published.text.unwrap().contains("as it was"));
        let mut long = message(8);
        long.message = Some(crate::fixtures::payload(&format!("{{\"text\":\"{}\"}}", "x".repeat(5_000))));
        let (frame, _) = ENCODER.message(&long, None, Audience::all());
        let published = Published::of(&frame, 12);
        assert_eq!((published.head.uuid, published.text), (Uuid::from_u128(8), None));
        assert!(published.bytes > 5_000);
    }

    #[test]
    fn nothing_is_recorded_without_a_request_or_memory() {
        let (on, off, id) = (Recorder::new(1 << 20), Recorder::new(0), Uuid::from_u128(1));
        assert!(!on.note(id, ConnectionEvent::Detached) && !on.has_connection(id));
        off.record_connection(id);
        off.record_channel(id);
        assert!(!off.has_connection(id) && off.read_channel(id, 0).is_none());
        on.record_connection(id);
        let receiver = on.subscribe();
        assert!(on.has_connection(id) && on.note(id, ConnectionEvent::Detached));
        assert!(receiver.has_changed().unwrap());
        assert_eq!(on.read_connection(id, 0).unwrap().entries[0].event, ConnectionEvent::Detached);
        on.stop_connection(id);
        assert!(!on.has_connection(id) && on.read_connection(id, 0).is_none());
    }
}
