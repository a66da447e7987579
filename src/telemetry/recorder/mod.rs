//! The flight recorder: what happens to a few connections and channels, while somebody wants to know.
//!
//! Hubs and channels ask nothing of it until one of theirs is recorded.

pub mod buffer;

use crate::protocol::frame::Frame;
use crate::protocol::ids::{ChannelId, Stream};
use crate::protocol::time::Timestamp;
use crate::protocol::websocket::close::CloseReason;
use buffer::{RecordingBuffer, RecordingPage, Weigh};
use serde::Deserialize;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use uuid::Uuid;

/// An event longer than this is recorded without its text, in bytes.
const MAX_TEXT_BYTES: usize = 4 << 10;
/// A connection's tape that nobody has asked for this long is thrown away, in ms: who looks for a rare fault comes back.
const FORGET_CONNECTION_MS: u64 = 30 * 60_000;
/// The same for a channel's, which is there for who watches right now, and costs all that is published there.
const FORGET_CHANNEL_MS: u64 = 60_000;

/// Something that happened to a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum ConnectionEvent {
    /// A session is there: it has come, or was there when the recording began.
    Attached {
        /// `websocket` or `longpoll`.
        transport: &'static str,
        /// Where its peer is, if known.
        address: Option<IpAddr>,
    },
    /// It listens to a stream from here on; so many frames that it missed come first.
    Listening(Stream, usize),
    /// It no longer listens to a channel.
    Left(ChannelId),
    /// A frame came by.
    Frame {
        /// Of this stream.
        stream: Stream,
        /// What it was.
        head: FrameHead,
        /// Its bytes, before compression.
        bytes: usize,
        /// What became of it.
        outcome: Outcome,
    },
    /// A poll is answered with so many frames and bytes.
    Answered(usize, usize),
    /// Whether the peer's side has taken the answer of its poll.
    Taken(bool),
    /// The session is closed for this reason.
    Closed(CloseReason),
    /// The session is gone.
    Detached,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel has taken all of it.
    Sent,
    /// It waits for a peer that does not read at once; so many bytes wait now.
    Queued(usize),
    /// A poll will be answered with it.
    Collected,
    /// It was missed, and is brought now.
    CaughtUp,
    /// It waits until what was missed is out.
    Held,
    /// The peer has got it already.
    HadIt,
    /// It is only for others, or excludes this user.
    NotMeant,
    /// The session takes nothing more; the next one will get it.
    Sealed,
    /// The peer does not read and its queue is full: the session is closed.
    TooSlow(usize),
    /// The socket is broken: the session ends.
    Broken,
}

/// What a frame says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct FrameHead {
    /// Its id.
    #[serde(default)]
    pub uuid: Uuid,
    /// Its type.
    #[serde(default, rename = "type")]
    pub kind: Box<str>,
    /// Who sent it, or whom it is about.
    #[serde(default)]
    pub user: Option<Box<str>>,
}

impl FrameHead {
    /// A frame's.
    pub fn of(frame: &Frame) -> Self {
        serde_json::from_slice(&frame.live_element()).unwrap_or_default()
    }

    fn weight(&self) -> usize {
        self.kind.len() + self.user.as_ref().map_or(0, |user| user.len())
    }
}

/// A frame that went out in a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// What it was.
    pub head: FrameHead,
    /// Its bytes on a websocket, before compression.
    pub bytes: usize,
    /// How many users it is meant for, if not for all.
    pub only: Option<usize>,
    /// How many users it excludes.
    pub except: usize,
    /// Connections in the channel at this moment.
    pub connections: u32,
    /// The event as JSON, unless it is long.
    pub text: Option<Box<str>>,
}

impl Published {
    /// A frame on its way to a channel of so many connections.
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
    /// How many connections are recorded: looked at whenever a session opens.
    armed: AtomicUsize,
    bytes: usize,
    written: watch::Sender<u64>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Recorder {
    /// A recorder that takes at most this many bytes; with 0 it records nothing.
    pub fn new(bytes: usize) -> Self {
        Self {
            connections: Mutex::new(RecordingBuffer::new(bytes / 2, FORGET_CONNECTION_MS)),
            channels: Mutex::new(RecordingBuffer::new(bytes / 2, FORGET_CHANNEL_MS)),
            armed: AtomicUsize::new(0),
            bytes,
            written: watch::Sender::new(0),
        }
    }

    /// Whether it records anything at all.
    pub fn is_on(&self) -> bool {
        self.bytes > 0
    }

    /// Hears whenever something has been written down.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Records a connection from now on.
    pub fn arm_connection(&self, conn_id: Uuid) {
        if self.is_on() {
            let mut reel = locked(&self.connections);
            reel.arm(conn_id, now_ms());
            self.armed.store(reel.count(), Ordering::Relaxed);
        }
    }

    /// Records a connection no longer.
    pub fn disarm_connection(&self, conn_id: Uuid) {
        let mut reel = locked(&self.connections);
        reel.disarm(conn_id);
        self.armed.store(reel.count(), Ordering::Relaxed);
    }

    /// Whether a connection is recorded.
    pub fn has_connection(&self, conn_id: Uuid) -> bool {
        self.armed.load(Ordering::Relaxed) > 0 && locked(&self.connections).has(conn_id)
    }

    /// Writes down what happened to a connection; false if nobody wants to know any more.
    pub fn note(&self, conn_id: Uuid, event: ConnectionEvent) -> bool {
        let noted = locked(&self.connections).record(conn_id, now_ms(), event);
        self.tell(noted)
    }

    /// What happened to a connection after event number `after`. None: it is not recorded.
    pub fn read_connection(&self, conn_id: Uuid, after: u64) -> Option<RecordingPage<ConnectionEvent>> {
        locked(&self.connections).read(conn_id, after, now_ms())
    }

    /// Records a channel, by its uuid, from now on.
    pub fn arm_channel(&self, channel: Uuid) {
        if self.is_on() {
            locked(&self.channels).arm(channel, now_ms());
        }
    }

    /// Records a channel no longer.
    pub fn disarm_channel(&self, channel: Uuid) {
        locked(&self.channels).disarm(channel);
    }

    /// Writes down what went out in a channel; false if nobody wants to know any more.
    pub fn note_published(&self, channel: Uuid, published: Published) -> bool {
        let noted = locked(&self.channels).record(channel, now_ms(), published);
        self.tell(noted)
    }

    /// What went out in a channel after frame number `after`. None: it is not recorded.
    pub fn read_channel(&self, channel: Uuid, after: u64) -> Option<RecordingPage<Published>> {
        locked(&self.channels).read(channel, after, now_ms())
    }

    /// Throws away what nobody has asked for in a while.
    pub fn forget(&self) {
        let now = now_ms();
        locked(&self.channels).forget(now);
        let mut connections = locked(&self.connections);
        connections.forget(now);
        self.armed.store(connections.count(), Ordering::Relaxed);
    }

    fn tell(&self, noted: bool) -> bool {
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
    use crate::fixtures::ENCODER;
    use crate::fixtures::message;
    use crate::fixtures::only;
    use crate::protocol::frame::Audience;

    #[test]
    fn a_frame_tells_what_it_is() {
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
    fn nothing_is_recorded_unasked_or_without_memory() {
        let (on, off, id) = (Recorder::new(1 << 20), Recorder::new(0), Uuid::from_u128(1));
        assert!(!on.note(id, ConnectionEvent::Detached) && !on.has_connection(id));
        off.arm_connection(id);
        off.arm_channel(id);
        assert!(!off.has_connection(id) && off.read_channel(id, 0).is_none());
        on.arm_connection(id);
        let heard = on.subscribe();
        assert!(on.has_connection(id) && on.note(id, ConnectionEvent::Detached));
        assert!(heard.has_changed().unwrap());
        assert_eq!(on.read_connection(id, 0).unwrap().entries[0].event, ConnectionEvent::Detached);
        on.disarm_connection(id);
        assert!(!on.has_connection(id) && on.read_connection(id, 0).is_none());
    }
}
