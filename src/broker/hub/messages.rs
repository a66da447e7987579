//! The messages to hubs, and the messages from hubs to the registry.

use crate::protocol::frame::Frame;
use crate::protocol::ids::{ChannelId, ConnectionSlot, Offset, SlotKey, UserId};
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::Transport;
use actix::Message;
use std::sync::Arc;
use tokio::sync::oneshot;
use uuid::Uuid;

/// A frame and its position in its stream.
#[derive(Clone, Debug)]
pub struct Stamped {
    pub offset: Offset,
    pub frame: Arc<Frame>,
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
    DeliverPrivate(Vec<(SlotKey, Offset)>, Arc<Frame>),
    /// A session subscribes to a channel.
    Join(ChannelId, SlotKey, Subscription),
    /// A session subscribes to its user's private messages.
    JoinPrivate(SlotKey, Subscription),
    /// A session unsubscribes from a channel.
    Leave(ChannelId, SlotKey),
    /// Closes a session. `Detached` follows, unless it is already in flight.
    Release(SlotKey, CloseReason),
    /// Closes these sessions after the pending frames.
    OrderedClose(Vec<SlotKey>, CloseReason),
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
