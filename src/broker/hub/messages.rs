//! The messages to hubs, and the messages from hubs to the registry.

use super::Hub;
use super::slot::SessionSlot;
use crate::broker::channel::buffer::Place;
use crate::broker::marking::Marking;
use crate::broker::recovery::{Resume, Verdict};
use crate::broker::requests::Ending;
use crate::protocol::frame::Frame;
use crate::protocol::ids::{
    ChannelId, ConnectionSlot, Epoch, Offset, Position, ServerEpoch, SlotKey, Stamp, UserId,
};
use crate::protocol::position::Since;
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::Transport;
use actix::{Context, Handler, Message, MessageResult};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::oneshot;
use uuid::Uuid;

/// A frame and its place.
#[derive(Clone, Debug)]
pub struct Stamped {
    pub offset: Offset,
    pub stamp: Stamp,
    pub frame: Arc<Frame>,
}

impl Stamped {
    pub fn place(&self) -> Place {
        Place { offset: self.offset, stamp: self.stamp }
    }
}

/// A channel as its local members know it.
#[derive(Clone, Debug)]
pub struct JoinedChannel {
    pub id: ChannelId,
    pub name: Arc<str>,
    pub epoch: Epoch,
}

/// The position of a catch-up among those of an attachment. Several actors send them; the client receives them in this
/// order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatchUpPart {
    /// Counted from 0.
    pub index: u32,
    /// The number of parts.
    pub of: u32,
}

/// What a stream learns when a session attaches.
#[derive(Clone, Debug)]
pub struct Attaching {
    /// The position of this stream's catch-up among those of the attachment.
    pub part: CatchUpPart,
    /// Set if the session asked for positions.
    pub resume: Option<Arc<Resume>>,
}

/// A session subscribes to a stream.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The user of the session.
    pub user: UserId,
    /// The client has received the stream up to here.
    pub from: Offset,
    /// The end of the catch-up. Live frames follow.
    pub through: Offset,
    /// The frames in between whose audience includes the user.
    pub catchup: Vec<Stamped>,
    /// The position in an attachment. `None` for a subscription made while attached.
    pub part: Option<CatchUpPart>,
    /// The answer to a session that asked for positions.
    pub recovery: Option<Box<Recovery>>,
}

/// The answer of one stream to a returning session.
#[derive(Clone, Debug)]
pub struct Recovery {
    pub resume: Arc<Resume>,
    /// The name of the channel, empty for the private stream.
    pub name: Arc<str>,
    pub verdict: Verdict,
}

/// Commands to a hub. One mailbox keeps them in one order.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum ToHub {
    /// A live frame for the local members of a channel.
    Deliver(ChannelId, Stamped),
    /// A live frame for the listed sessions, if they are members of the channel. No other local session may receive it.
    DeliverTo(ChannelId, Vec<SlotKey>, Stamped),
    /// A live private frame for these sessions, each with the offset in its user's stream.
    DeliverPrivate(Vec<(SlotKey, Offset)>, Stamp, Arc<Frame>),
    /// A session subscribes to a channel.
    Join(JoinedChannel, SlotKey, Subscription),
    /// A session subscribes to its user's private messages.
    JoinPrivate(SlotKey, Subscription),
    /// The stream of a channel continues in another life, behind this position. Frames before it may be lost.
    Renew(ChannelId, Position),
    /// The private stream of a session continues in another life.
    RenewPrivate(SlotKey, Epoch),
    /// A session unsubscribes from a channel.
    Leave(ChannelId, SlotKey),
    /// Closes a session. `Detached` follows, unless it is already in flight.
    Release(SlotKey, Ending),
    /// Closes these sessions after the pending frames.
    OrderedClose(Vec<SlotKey>, CloseReason),
    /// Everything up to the stamp of this mark has been sent to the hub, which adds its laggards and drops it.
    Mark(Arc<Marking>),
    /// Stamps belong to this life of the server from now on.
    BeginLife(ServerEpoch),
    /// Closes all sessions now, because the server shuts down.
    Drain,
}

/// A session asks the registry to attach it to its connection.
///
/// Sent without waiting for capacity and answered through a separate channel, so that the session's [`Detached`] never
/// overtakes it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Attach {
    /// The connection's id from the client's request.
    pub conn_id: Uuid,
    /// The session.
    pub location: ConnectionSlot,
    /// The session's transport.
    pub transport: Transport,
    /// What its client has, if it asked for positions.
    pub since: Option<Arc<Since>>,
    /// Receives the result. Without it, a session that cannot be attached is closed.
    pub answer: Option<oneshot::Sender<Result<(), AttachRefused>>>,
}

/// The reason why a session was not attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachRefused {
    UnknownConnection,
}

/// A session has left its hub. Contains the session's identity, so that a late report never detaches its successor.
#[derive(Debug, Message, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct Detached {
    pub conn_id: Uuid,
    /// The session.
    pub location: ConnectionSlot,
    /// How far the client has received each channel.
    pub cursors: Vec<(ChannelId, Offset)>,
    /// How far the client has received its user's private messages, if the session subscribed to them.
    pub private_cursor: Option<Offset>,
    /// The session's transport.
    pub transport: Transport,
}

/// Requests the figures of these sessions.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Option<SessionFigures>>")]
pub struct InspectSessions {
    /// The slots of the sessions.
    pub slots: Vec<SlotKey>,
    /// Whether to include the clients' addresses: each costs a system call.
    pub addresses: bool,
}

/// The figures of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionFigures {
    /// When the session was opened, in Unix ms.
    pub since_ms: u64,
    /// When the client last sent something, in Unix ms.
    pub last_received_ms: u64,
    /// Bytes in the send queue.
    pub queued_bytes: usize,
    /// Whether the client accepts compressed messages.
    pub compressed: bool,
    /// The client's address, if requested and known.
    pub address: Option<IpAddr>,
}

/// Starts to record an existing session, if its connection is to be recorded.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RecordSession(pub SlotKey);

impl Handler<RecordSession> for Hub {
    type Result = ();

    fn handle(&mut self, request: RecordSession, _: &mut Context<Self>) {
        self.shared.table.borrow_mut().begin_recording(request.0);
    }
}

impl Handler<InspectSessions> for Hub {
    type Result = MessageResult<InspectSessions>;

    fn handle(&mut self, request: InspectSessions, _: &mut Context<Self>) -> Self::Result {
        let (table, clock_start_ms) = (&mut self.shared.table.borrow_mut(), self.shared.clock_start_ms());
        let figures =
            |key: &SlotKey| table.slot(*key).map(|slot| figures(slot, clock_start_ms, request.addresses));
        MessageResult(request.slots.iter().map(figures).collect())
    }
}

fn figures(slot: &SessionSlot, clock_start_ms: u64, with_address: bool) -> SessionFigures {
    SessionFigures {
        since_ms: clock_start_ms + u64::from(slot.opened_s) * 1_000,
        last_received_ms: clock_start_ms + slot.send_queue.last_received_ms(),
        queued_bytes: slot.send_queue.queued_bytes(),
        compressed: slot.send_queue.is_compressing(),
        address: with_address.then(|| slot.address()).flatten(),
    }
}
