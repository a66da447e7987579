//! The streams of private messages of all users. Pure.

use crate::broker::channel::buffer::{Buffer, Place, encode};
use crate::broker::channel::messages::StoredMessage;
use crate::broker::hub::messages::{Attaching, Stamped, Subscription, ToHub};
use crate::broker::receipts::StreamReceipt;
use crate::broker::recovery::Subscriber;
use crate::broker::stamps::Stamps;
use crate::protocol::event::Encoder;
use crate::protocol::frame::{Audience, Frame};
use crate::protocol::ids::{ConnKey, ConnectionSlot, Epoch, HubId, Offset, Position, SlotKey, Stamp, UserId};
use crate::protocol::message::{Delete, Edit, Message};
use crate::protocol::time::Timestamp;
use rand::Rng;
use rand::rngs::StdRng;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Messages to hubs, in order.
pub type PrivateEffects = Vec<(HubId, ToHub)>;

/// A recipient of a private message, and where its sessions are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The user. It has at least one connection: without one, no client could ever catch up.
    pub user: UserId,
    /// The sessions of its attached connections.
    pub locations: Vec<ConnectionSlot>,
}

#[derive(Debug)]
pub(super) struct PrivateStream {
    pub(super) position: Position,
    pub(super) frames: Buffer,
    /// The connections of the user. A connection that is missing here is older than the stream and has received nothing
    /// of it.
    pub(super) connections: FxHashMap<ConnKey, PrivateMember>,
}

/// A connection as a member of its user's private stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PrivateMember {
    /// Where the stream was when the connection was created.
    pub(super) joined: Place,
    /// How far the client has received the stream. Kept for connections without a session.
    pub(super) cursor: Offset,
}

impl PrivateStream {
    /// A stream that began at this moment.
    fn new(Beginning { epoch, stamp }: Beginning) -> Self {
        let position = Position::start(epoch);
        Self { position, frames: Buffer::since_birth(stamp), connections: FxHashMap::default() }
    }

    /// A connection that was created at `born`, as a member. One that is older than the stream subscribed then.
    fn subscriber<'a>(
        &'a mut self,
        name: &'a Arc<str>,
        user: UserId,
        conn: ConnKey,
        born: Stamp,
    ) -> Subscriber<'a> {
        let PrivateMember { joined, cursor } = self.connections.get(&conn).copied().unwrap_or_default();
        let joined = Place { stamp: joined.stamp.max(born), ..joined };
        Subscriber { name, user, position: self.position, joined, cursor, buffer: &mut self.frames }
    }
}

/// See the module's description. A user's stream is created by its first private message: most users need none.
#[derive(Debug)]
pub struct PrivateMessagesState {
    users: FxHashMap<UserId, PrivateStream>,
    encoder: Encoder,
    max_frames: usize,
    beginnings: Beginnings,
    /// Redis decides when a stream ends.
    follows: bool,
}

/// The life of a stream, and the moment at which it began.
#[derive(Clone, Copy, Debug)]
struct Beginning {
    epoch: Epoch,
    stamp: Stamp,
}

/// What streams take when they begin.
#[derive(Debug)]
struct Beginnings {
    /// Draws the epoch of each stream.
    epochs: StdRng,
    stamps: Arc<Stamps>,
    /// The name in answers to returning sessions.
    name: Arc<str>,
    /// Streams without a frame whose positions were reported to sessions. They take a fifth of a stream's memory.
    reported: FxHashMap<UserId, Beginning>,
}

impl Beginnings {
    fn draw(&mut self, user: UserId) -> Beginning {
        let epoch = Epoch::new(self.epochs.next_u64());
        log::debug!("private stream of user {}: begins with epoch {epoch}", user.0);
        Beginning { epoch, stamp: self.stamps.latest() }
    }

    /// The beginning of a stream that gets its first frame.
    fn take(&mut self, user: UserId) -> Beginning {
        self.reported.remove(&user).unwrap_or_else(|| self.draw(user))
    }

    /// The beginning of a stream without frames.
    fn report(&mut self, user: UserId) -> Beginning {
        let beginning = self.reported.get(&user).copied().unwrap_or_else(|| self.draw(user));
        self.reported.insert(user, beginning);
        beginning
    }
}

impl PrivateMessagesState {
    /// Starts without streams. Each will keep up to `max_frames` frames for catch-up.
    pub fn new(encoder: Encoder, max_frames: usize, epochs: StdRng, stamps: Arc<Stamps>) -> Self {
        let beginnings = Beginnings { epochs, stamps, name: "".into(), reported: FxHashMap::default() };
        Self { users: FxHashMap::default(), encoder, max_frames, beginnings, follows: false }
    }

    /// Lets the state follow what Redis decides, if it does.
    pub fn following(self, follows: bool) -> Self {
        Self { follows, ..self }
    }

    pub(super) fn encoder(&self) -> Encoder {
        self.encoder
    }

    pub(super) fn max_frames(&self) -> usize {
        self.max_frames
    }

    pub(super) fn stream_mut(&mut self, user: UserId) -> Option<&mut PrivateStream> {
        self.users.get_mut(&user)
    }

    /// Begins a stream with what another place stores. Its connections stay. Returns where it was.
    pub(super) fn begin_copy(
        &mut self,
        user: UserId,
        position: Position,
        frames: Buffer,
    ) -> Option<(Offset, Epoch)> {
        let before = self.users.remove(&user);
        let known = before.as_ref().map(|stream| (stream.position.offset, stream.position.epoch));
        let connections = before.map(|stream| stream.connections).unwrap_or_default();
        self.users.insert(user, PrivateStream { position, frames, connections });
        known
    }

    /// Forgets the stream of a user that has no connections on this node.
    pub fn forget(&mut self, user: UserId) {
        self.users.remove(&user);
    }

    /// A connection of a user was created: it receives what is sent from now on.
    pub fn open(&mut self, user: UserId, conn: ConnKey) {
        if let Some(stream) = self.users.get_mut(&user) {
            let cursor = stream.position.offset;
            let joined = Place { offset: cursor, stamp: self.beginnings.stamps.latest() };
            stream.connections.insert(conn, PrivateMember { joined, cursor });
        }
    }

    /// A connection of a user ended. The stream ends with the user's last connection.
    pub fn close(&mut self, user: UserId, conn: ConnKey, last: bool) {
        if last && !self.follows {
            self.users.remove(&user);
            self.beginnings.reported.remove(&user);
        } else if let Some(stream) = self.users.get_mut(&user) {
            stream.connections.remove(&conn);
        }
    }

    /// A session attaches: its client receives what it missed, then live frames.
    pub fn attach(
        &mut self,
        user: UserId,
        conn: ConnKey,
        location: ConnectionSlot,
        attaching: Attaching,
        effects: &mut PrivateEffects,
    ) {
        let born = attaching.resume.as_ref().map(|resume| resume.born);
        let mut empty = match (self.users.get(&user), born) {
            (None, Some(_)) => Some(PrivateStream::new(self.beginnings.report(user))),
            _ => None,
        };
        let subscription = match empty.as_mut().or_else(|| self.users.get_mut(&user)) {
            Some(stream) => {
                let name = &self.beginnings.name;
                let subscriber = stream.subscriber(name, user, conn, born.unwrap_or_default());
                subscriber.subscribe(Some(attaching), self.encoder)
            }
            None => {
                let part = Some(attaching.part);
                Subscription { user, from: 0, through: 0, catchup: Vec::new(), part, recovery: None }
            }
        };
        effects.push((location.hub, ToHub::JoinPrivate(location.slot, subscription)));
    }

    /// A session has ended; its client received the stream up to `cursor`.
    pub fn detach(&mut self, user: UserId, conn: ConnKey, cursor: Option<Offset>) {
        let (Some(stream), Some(cursor)) = (self.users.get_mut(&user), cursor) else { return };
        let member = stream.connections.entry(conn).or_default();
        member.cursor = cursor.max(member.cursor);
    }

    /// Sends a private message.
    pub fn post(
        &mut self,
        message: Message,
        recipients: &[Recipient],
        now: &Timestamp,
        effects: &mut PrivateEffects,
    ) {
        let (frame, stored) = encode(StoredMessage { message, edited: None }, Audience::all(), self.encoder);
        let max = self.max_frames;
        self.send(&frame, recipients, now, effects, |frames, stamped| {
            frames.push(stamped, Some(stored.clone()), max);
        });
    }

    /// Edits a private message. The edit goes to the users that it names.
    pub fn edit(
        &mut self,
        edit: &Edit,
        recipients: &[Recipient],
        now: &Timestamp,
        effects: &mut PrivateEffects,
    ) {
        for recipient in recipients {
            if let Some(stream) = self.users.get_mut(&recipient.user) {
                stream.frames.edit(edit, self.encoder);
            }
        }
        let (frame, max) = (Arc::new(self.encoder.edit(edit, Audience::all())), self.max_frames);
        self.send(&frame, recipients, now, effects, |frames, stamped| {
            frames.push_edit(stamped, edit.uuid, max);
        });
    }

    /// Deletes a private message. The deletion goes to the users that it names.
    pub fn delete(
        &mut self,
        delete: &Delete,
        recipients: &[Recipient],
        now: &Timestamp,
        effects: &mut PrivateEffects,
    ) {
        for recipient in recipients {
            if let Some(stream) = self.users.get_mut(&recipient.user) {
                stream.frames.delete(delete.uuid);
            }
        }
        let frame = Arc::new(self.encoder.delete(delete.uuid, None, Audience::all()));
        let max = self.max_frames;
        self.send(&frame, recipients, now, effects, |frames, stamped| frames.push(stamped, None, max));
    }

    /// The receipt of the last frame of a user's stream, without the number of sessions.
    pub fn receipt(&self, user: UserId) -> StreamReceipt {
        let position = self.users.get(&user).map(|stream| stream.position);
        StreamReceipt { position, online: 0, is_kept: position.is_some() && self.max_frames > 0 }
    }

    /// The receipt of a user that got a frame earlier, as it is now.
    pub fn recheck(&self, user: Option<UserId>, receipt: StreamReceipt) -> StreamReceipt {
        let stream = user.and_then(|user| self.users.get(&user));
        let is_kept = receipt.position.zip(stream).is_some_and(|(at, stream)| {
            at.epoch == stream.position.epoch && stream.frames.contains(at.offset)
        });
        StreamReceipt { is_kept, ..receipt }
    }

    /// The positions of all streams with frames.
    #[cfg(test)]
    pub fn positions(&self) -> impl Iterator<Item = (UserId, Position)> {
        self.users.iter().map(|(user, stream)| (*user, stream.position))
    }

    /// The last frame of a user's stream.
    #[cfg(test)]
    pub fn last_frame(&mut self, user: UserId) -> Option<Arc<Frame>> {
        let stream = self.users.get_mut(&user)?;
        let last = stream.frames.since(stream.position.offset - 1, user, self.encoder).pop()?;
        Some(last.frame)
    }

    /// Whether no user has a stream.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.beginnings.reported.is_empty()
    }

    /// Sends a frame to users, and keeps it in their streams with `keep`.
    fn send(
        &mut self,
        frame: &Arc<Frame>,
        recipients: &[Recipient],
        now: &Timestamp,
        effects: &mut PrivateEffects,
        keep: impl Fn(&mut Buffer, Stamped),
    ) {
        let beginnings = &mut self.beginnings;
        let stamp = beginnings.stamps.next(now);
        let mut by_hub: FxHashMap<HubId, Vec<(SlotKey, Offset)>> = FxHashMap::default();
        for recipient in recipients {
            let user = recipient.user;
            let stream = self.users.entry(user).or_insert_with(|| PrivateStream::new(beginnings.take(user)));
            stream.position.offset += 1;
            let offset = stream.position.offset;
            for location in &recipient.locations {
                by_hub.entry(location.hub).or_default().push((location.slot, offset));
            }
            keep(&mut stream.frames, Stamped { offset, stamp, frame: frame.clone() });
        }
        for (hub, slots) in by_hub {
            effects.push((hub, ToHub::DeliverPrivate(slots, stamp, frame.clone())));
        }
    }
}

#[cfg(test)]
#[path = "state_model_tests.rs"]
mod model_tests;

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
