//! Everything that was published, and the times at which connections were not subscribed: against it the clients that ask
//! for positions check what they read.

use super::returning::Reader;
use crate::fixtures::seen;
use crate::protocol::frame::{Audience, Frame};
use crate::protocol::ids::{ConnKey, Epoch, Offset, Position, Stamp, UserId};
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
    audience: Audience,
}

/// Offsets after the first, up to the second one.
pub type Range = (Offset, Offset);

/// Everything published, and the times at which connections were not subscribed.
#[derive(Default)]
pub struct Log {
    streams: HashMap<StreamName, Vec<Published>>,
    deleted: HashSet<u128>,
    /// Where the channels were when a connection was created, or when it left them.
    outside: HashMap<(ConnKey, String), Offset>,
    not_subscribed: HashMap<(Uuid, String), Vec<Range>>,
    /// Where a channel was before and after a connection joined it, each time.
    pub joined: HashMap<(ConnKey, String), Vec<Range>>,
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
        self.streams.entry(stream).or_default().push(Published { position, stamp, kind, number, audience });
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

    /// A connection is outside of a channel from this offset on.
    pub fn leave(&mut self, conn: ConnKey, channel: &str, offset: Offset) {
        self.outside.insert((conn, channel.to_owned()), offset);
    }

    /// A channel subscribes a connection. The registry may have unsubscribed it since.
    pub fn join(
        &mut self,
        conn: ConnKey,
        conn_id: Uuid,
        channel: &str,
        (before, after): Range,
        is_subscribed: bool,
    ) {
        if is_subscribed && let Some(left) = self.leaving.remove(&(conn, channel.to_owned())) {
            self.optional.entry((conn_id, channel.to_owned())).or_default().push((left, before));
        }
        let left = self.outside.remove(&(conn, channel.to_owned())).unwrap_or(0);
        self.not_subscribed.entry((conn_id, channel.to_owned())).or_default().push((left, before));
        self.joined.entry((conn, channel.to_owned())).or_default().push((before, after));
    }

    /// Whether the connection existed and was not subscribed when this frame was published.
    pub fn is_outside(&self, client: &Reader, channel: &str, offset: Offset) -> bool {
        let left = self.outside.get(&(client.key, channel.to_owned())).map(|left| (*left, Offset::MAX));
        let times = self.not_subscribed.get(&(client.conn_id, channel.to_owned()));
        let mut times = times.into_iter().flatten().copied().chain(left);
        times.any(|(after, upto)| offset > after && offset <= upto)
    }

    pub fn is_optional(&self, client: &Reader, channel: &str, offset: Offset) -> bool {
        let left = self.leaving.get(&(client.key, channel.to_owned())).map(|left| (*left, Offset::MAX));
        let times = self.optional.get(&(client.conn_id, channel.to_owned()));
        let mut times = times.into_iter().flatten().copied().chain(left);
        times.any(|(after, upto)| offset > after && offset <= upto)
    }

    /// Panics if a frame was meant for this client in this life of the stream, or in any, and `is_expected`.
    pub fn assert_none(
        &self,
        client: &Reader,
        name: &str,
        epoch: Option<Epoch>,
        why: &str,
        is_expected: impl Fn(&Published) -> bool,
    ) {
        let stream = (name.to_owned(), name.is_empty().then_some(client.user));
        for frame in self.streams.get(&stream).into_iter().flatten() {
            let is_gone = self.deleted.contains(&frame.number)
                && frame.kind.starts_with("message")
                && frame.kind != "message:delete";
            let is_meant = epoch.is_none_or(|epoch| frame.position.epoch == epoch)
                && frame.audience.admits(client.user)
                && !self.is_outside(client, name, frame.position.offset)
                && !self.is_optional(client, name, frame.position.offset);
            assert!(
                !is_meant || is_gone || !is_expected(frame),
                "{why}: {name:?} {} {} of {:?} is hidden from {}",
                frame.position.offset,
                frame.kind,
                frame.number,
                client.conn_id
            );
        }
    }
}
