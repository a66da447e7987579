//! What hubs are told, and what they tell the registry.

use crate::protocol::frame::Frame;
use crate::protocol::ids::{ChannelId, ConnectionSlot, Offset, SlotKey, UserId};
use crate::protocol::websocket::close::CloseReason;
use actix::Message;
use std::sync::Arc;
use tokio::sync::oneshot;
use uuid::Uuid;

/// A frame and its position in its stream.
#[derive(Clone, Debug)]
pub struct Stamped {
    /// Position.
    pub offset: Offset,
    /// The frame.
    pub frame: Arc<Frame>,
}

/// Which of an attachment's catch-ups this is. They come from several actors; the peer gets them in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatchUpPart {
    /// 0 for the first.
    pub index: u32,
    /// How many there are.
    pub of: u32,
}

/// A session begins to listen to a stream.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Whose session.
    pub user: UserId,
    /// What its peer has already.
    pub from: Offset,
    /// What it will have after the catch-up; live frames follow from there.
    pub through: Offset,
    /// What lies between and is meant for it.
    pub catchup: Vec<Stamped>,
    /// Its place in an attachment; none for a subscription made while attached.
    pub part: Option<CatchUpPart>,
}

/// What a hub is told. One mailbox, one order.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum ToHub {
    /// A live frame for the local members of a channel.
    Deliver(ChannelId, Stamped),
    /// A live frame for those of these sessions that are members of a channel: no other local one is meant to have it.
    DeliverTo(ChannelId, Vec<SlotKey>, Stamped),
    /// A live private frame for these sessions, each with the position in its user's stream.
    DeliverPrivate(Vec<(SlotKey, Offset)>, Arc<Frame>),
    /// A session listens to a channel from here on.
    Join(ChannelId, SlotKey, Subscription),
    /// A session listens to its user's private messages from here on.
    JoinInbox(SlotKey, Subscription),
    /// A session no longer listens to a channel.
    Leave(ChannelId, SlotKey),
    /// A session must go; `Detached` will follow unless it is on its way.
    Release(SlotKey, CloseReason),
    /// These sessions must go when they have what is pending.
    OrderedClose(Vec<SlotKey>, CloseReason),
    /// All sessions must go now: the server stops.
    Drain,
}

/// How a peer is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A websocket.
    Websocket,
    /// A long-poll.
    LongPoll,
}

/// A session asks the registry to attach it to its connection.
///
/// Sent without waiting for room, and answered on the side: it must never be overtaken by the session's goodbye.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Attach {
    /// The connection's id, as the client named it.
    pub conn_id: Uuid,
    /// Where the session is.
    pub place: ConnectionSlot,
    /// What it is.
    pub transport: Transport,
    /// Where the answer goes. A session without is told nothing if it is attached, and else to go.
    pub answer: Option<oneshot::Sender<Result<(), AttachRefused>>>,
}

/// Why a session was not attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachRefused {
    /// No such connection.
    UnknownConnection,
}

/// A session is gone from its hub. Carries its identity: a late goodbye never evicts the successor.
#[derive(Debug, Message, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct Detached {
    /// The connection's id.
    pub conn_id: Uuid,
    /// Where the session was.
    pub place: ConnectionSlot,
    /// How far its peer got in each channel.
    pub cursors: Vec<(ChannelId, Offset)>,
    /// How far its peer got in its user's private messages, once it listened to them.
    pub inbox: Option<Offset>,
    /// What it was.
    pub transport: Transport,
}
