//! Everything that was published, and the times at which connections were not subscribed: against it the clients that ask
//! for positions check what they read.

use super::returning::Reader;
use crate::fixtures::seen;
use crate::protocol::frame::{Audience, Frame};
use crate::protocol::ids::{ConnKey, Epoch, Offset, Position, Stamp, UserId};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// A channel by its name, or the private stream of a user.
pub type StreamName = (String, Option<UserId>);

/// A frame that was published.
pub struct Published {
    pub position: Position,
    pub stamp: Stamp,
    pub kind: String,
    pub number: u128,
    pub message: Value,
    audience: Audience,
}

/// Offsets after the first, up to the second one.
pub type Range = (Offset, Offset);

/// Where a channel was when it subscribed a connection.
pub struct Joined {
    pub before: Offset,
    pub after: Offset,
    /// A new member receives the later frames.
    pub kept_after: Offset,
}

/// Where a channel was when a connection was outside of it from then on.
#[derive(Clone, Copy)]
struct Outside {
    since: Offset,
    /// It was subscribed before. Otherwise it was created then.
    has_left: bool,
}

/// Everything published, and the times at which connections were not subscribed.
#[derive(Default)]
pub struct Log {
    streams: HashMap<StreamName, Vec<Published>>,
    /// The positions in the receipts of events.
    receipts: HashMap<(StreamName, u128), Position>,
    /// The channels in which new members receive what is kept.
    open: HashSet<String>,
    deleted: HashSet<u128>,
    outside: HashMap<(ConnKey, String), Outside>,
    not_subscribed: HashMap<(Uuid, String), Vec<Range>>,
    pub joined: HashMap<(ConnKey, String), Vec<Joined>>,
    /// The stamps at which connections left channels.
    left: HashMap<(Uuid, String), Stamp>,
    /// Where channels were when the registry unsubscribed a connection. What was on its way is delivered only to a session
    /// that existed.
    pub leaving: HashMap<(ConnKey, String), Offset>,
    optional: HashMap<(Uuid, String), Vec<Range>>,
}

impl Log {
    pub fn publish(&mut self, stream: StreamName, position: Position, stamp: Stamp, frame: &Frame) {
        let event = seen(&frame.live_element());
        if event.kind == "message:delete" {
            self.deleted.insert(event.number);
        }
        let (kind, number, audience) = (event.kind, event.number, frame.audience().clone());
        let message = event.json["message"].clone();
        let published = Published { position, stamp, kind, number, message, audience };
        self.streams.entry(stream).or_default().push(published);
    }

    /// An event has a receipt with this position. `number` is that of the expected deliveries.
    pub fn receipt(&mut self, stream: StreamName, number: u128, position: Position) {
        self.receipts.insert((stream, number), position);
    }

    /// New members of this channel receive what is kept.
    pub fn open(&mut self, channel: &str) {
        self.open.insert(channel.to_owned());
    }

    pub fn is_open(&self, channel: &str) -> bool {
        self.open.contains(channel)
    }

    /// The frames of a channel, or of the reader's private stream if the name is empty.
    pub fn frames(&self, reader: &Reader, name: &str) -> &[Published] {
        self.streams.get(&reader.stream(name)).map_or(&[], Vec::as_slice)
    }

    /// Panics unless a frame that a client reads was published at this position, for its user, and after the client
    /// subscribed. The receipt of an event names the same position.
    pub fn check_read(&self, reader: &Reader, name: &str, at: Position, (kind, number): (&str, u128)) {
        let frames = self.frames(reader, name);
        let frame = frames.iter().find(|frame| frame.position == at);
        let Some(frame) = frame else { panic!("{name:?} has no frame at {at:?}") };
        assert_eq!((&*frame.kind, frame.number), (kind, number), "{name:?} {at:?}");
        assert!(frame.audience.admits(reader.user), "{name:?} {at:?} is not meant for {}", reader.conn_id);
        assert!(!self.is_outside(reader, name, at.offset), "{name:?} {at:?} is from before the subscription");
        if let Some(number) = super::account::number_of(kind, number, &frame.message) {
            assert_eq!(
                self.receipts.get(&(reader.stream(name), number)),
                Some(&at),
                "the receipt of {number}"
            );
        }
    }

    /// Whether a cursor of this moment is from after the client left the stream.
    pub fn has_left(&self, conn_id: Uuid, name: &str, stamp: Stamp) -> bool {
        self.left.get(&(conn_id, name.to_owned())).is_some_and(|left| *left <= stamp)
    }

    /// The registry unsubscribes a connection.
    pub fn unsubscribe(&mut self, conn: ConnKey, conn_id: Uuid, channel: &str, at: (Offset, Stamp)) {
        self.left.insert((conn_id, channel.to_owned()), at.1);
        self.leaving.insert((conn, channel.to_owned()), at.0);
    }

    /// A connection is created, outside of a channel at this offset.
    pub fn create(&mut self, conn: ConnKey, channel: &str, since: Offset) {
        self.outside.insert((conn, channel.to_owned()), Outside { since, has_left: false });
    }

    /// A connection is outside of a channel from this offset on.
    pub fn leave(&mut self, conn: ConnKey, channel: &str, since: Offset) {
        self.outside.insert((conn, channel.to_owned()), Outside { since, has_left: true });
    }

    /// A channel subscribes a connection. The registry may have unsubscribed it since.
    pub fn join(&mut self, conn: ConnKey, conn_id: Uuid, channel: &str, joined: Joined, is_subscribed: bool) {
        let (of_conn, of_id) = ((conn, channel.to_owned()), (conn_id, channel.to_owned()));
        if is_subscribed && let Some(left) = self.leaving.remove(&of_conn) {
            self.optional.entry(of_id.clone()).or_default().push((left, joined.before));
        }
        let outside = self.outside.remove(&of_conn);
        let range = (outside.map_or(0, |outside| outside.since), joined.before);
        match outside {
            Some(Outside { has_left: true, .. }) if self.is_open(channel) => {
                self.optional.entry(of_id).or_default().push(range);
            }
            _ => self.not_subscribed.entry(of_id).or_default().push(range),
        }
        self.joined.entry(of_conn).or_default().push(joined);
    }

    /// Whether the connection existed and was not subscribed when this frame was published, and does not receive it later.
    fn is_outside(&self, reader: &Reader, channel: &str, offset: Offset) -> bool {
        if self.is_open(channel) {
            return false;
        }
        let left = self.outside.get(&(reader.key, channel.to_owned()));
        let left = left.map(|left| (left.since, Offset::MAX));
        let times = self.not_subscribed.get(&(reader.conn_id, channel.to_owned()));
        contains(times.into_iter().flatten().copied().chain(left), offset)
    }

    /// Whether the connection may receive this frame or not.
    fn is_optional(&self, reader: &Reader, channel: &str, offset: Offset) -> bool {
        let leaving = self.leaving.get(&(reader.key, channel.to_owned())).copied();
        let left = self.outside.get(&(reader.key, channel.to_owned()));
        let left = left.filter(|left| left.has_left && self.is_open(channel)).map(|left| left.since);
        let times = self.optional.get(&(reader.conn_id, channel.to_owned())).into_iter().flatten().copied();
        contains(times.chain(leaving.into_iter().chain(left).map(|since| (since, Offset::MAX))), offset)
    }

    /// Whether a client gets this frame, if it has everything before and returns.
    pub fn is_promised(&self, reader: &Reader, name: &str, frame: &Published) -> bool {
        frame.audience.admits(reader.user)
            && !self.is_outside(reader, name, frame.position.offset)
            && !self.is_optional(reader, name, frame.position.offset)
    }

    /// Panics if a frame was meant for this client in this life of the stream, or in any, and `is_expected`.
    pub fn assert_none(
        &self,
        reader: &Reader,
        name: &str,
        epoch: Option<Epoch>,
        why: &str,
        is_expected: impl Fn(&Published) -> bool,
    ) {
        for frame in self.frames(reader, name) {
            let is_gone = self.deleted.contains(&frame.number)
                && frame.kind.starts_with("message")
                && frame.kind != "message:delete";
            let is_meant = epoch.is_none_or(|epoch| frame.position.epoch == epoch)
                && self.is_promised(reader, name, frame);
            assert!(
                !is_meant || is_gone || !is_expected(frame),
                "{why}: {name:?} {} {} of {:?} is hidden from {}",
                frame.position.offset,
                frame.kind,
                frame.number,
                reader.conn_id
            );
        }
    }
}

fn contains(mut times: impl Iterator<Item = Range>, offset: Offset) -> bool {
    times.any(|(after, upto)| offset > after && offset <= upto)
}
