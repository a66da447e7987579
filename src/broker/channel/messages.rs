//! The messages to channels, and the reference through which requests reach one.

use super::decisions::{ChannelCopy, Decision};
use super::summary::Summary;
use super::{Channel, HubSenders};
use crate::broker::hub::messages::{Attaching, ToHub};
use crate::broker::marking::MarkPassage;
use crate::broker::receipts::{ReceiptSlot, StreamReceipt};
use crate::broker::registry::cluster::departure::Departure;
use crate::broker::registry::cluster::peers::MovedPlace;
use crate::broker::requests::ChannelFigures;
use crate::http_error::Refusal;
use crate::protocol::event::UserView;
use crate::protocol::frame::Audience;
use crate::protocol::ids::{ConnKey, ConnectionSlot, HubId, Offset, SlotKey, UserId};
use crate::protocol::message::{Delete, Edit, Message};
use crate::protocol::settings::ChannelSettings;
use crate::protocol::time::Timestamp;
use crate::protocol::user_list::UserList;
use crate::protocol::websocket::close::CloseReason;
use crate::telemetry::in_flight::Counted;
use crate::telemetry::recorder::Recorder;
use actix::Addr;
use std::sync::Arc;
use uuid::Uuid;

/// Commands to a channel. One mailbox keeps them in one order.
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub enum ToChannel {
    /// A connection subscribes. It may already have a session.
    Join {
        conn: ConnKey,
        user: Arc<UserView>,
        /// The connection's session, if it has one.
        location: Option<ConnectionSlot>,
    },
    /// A connection of this user unsubscribes or ends.
    Leave(ConnKey, UserId),
    /// A session attaches to a subscribed connection.
    Attach {
        conn: ConnKey,
        /// The connection's user, who may have been absent.
        user: Arc<UserView>,
        location: ConnectionSlot,
        attaching: Attaching,
    },
    /// The session has ended; its client received the stream up to this offset.
    Detach(ConnKey, Option<Offset>),
    /// The connection of this user has had no session for too long and no longer counts as present.
    Part(ConnKey, UserId),
    /// The connection is present again without a session, because the application connected it again.
    Return(ConnKey, Arc<UserView>),
    /// A member's state changed. The public changes as JSON, if members must be notified.
    UserChanged(Arc<UserView>, Option<Box<str>>),
    Configure(ChannelSettings),
    Publish(Publication),
    /// A publication for few users, with all their sessions, whether they subscribe to this channel or not.
    PublishTo(Box<Publication>, Vec<ConnectionSlot>),
    /// A publication with a slot for its receipt.
    PublishWithReceipt(Box<ReceiptedPublication>),
    /// A request needs to know whether an item is still kept.
    Recheck(Box<Recheck>),
    /// The connection of this user moves to another node, which needs its place.
    Depart(ConnKey, UserId, Arc<Departure>),
    /// The connection has come from another node, where it had this place.
    Adopt {
        conn: ConnKey,
        user: Arc<UserView>,
        place: MovedPlace,
        is_present: bool,
    },
    /// Redis has decided something.
    Apply(Box<Decision>),
    /// What Redis stores.
    Load(Box<ChannelCopy>),
    /// Some members' sessions must close after everything published so far. The channel only drops the value.
    OrderedClose(Arc<OrderedClose>),
    /// A delivery mark passes. The channel only drops the value.
    Mark(Arc<MarkPassage>),
}

impl ToChannel {
    /// Whether it belongs to a request that the API may refuse, and therefore counts as in flight.
    pub fn is_counted(&self) -> bool {
        self.publication().is_some() || matches!(self, ToChannel::Recheck(_))
    }

    /// What it publishes, if anything.
    pub fn publication(&self) -> Option<&Publication> {
        match self {
            ToChannel::Publish(publication) => Some(publication),
            ToChannel::PublishTo(publication, _) => Some(publication),
            ToChannel::PublishWithReceipt(receipted) => Some(&receipted.publication),
            _ => None,
        }
    }
}

/// A publication whose receipt a request waits for.
#[derive(Debug)]
pub struct ReceiptedPublication {
    pub publication: Publication,
    /// All sessions that may receive it, if they are few.
    pub locations: Option<Vec<ConnectionSlot>>,
    pub slot: ReceiptSlot,
}

/// An item that was published earlier in a channel.
#[derive(Debug)]
pub struct Recheck {
    /// The message that the history contains if it contains the item.
    pub message: Option<Uuid>,
    /// The receipt when it was published.
    pub stream: StreamReceipt,
    pub slot: ReceiptSlot,
}

/// A publication in a channel, with its audience resolved.
#[derive(Clone, Debug)]
pub enum Publication {
    Post(Message, Audience),
    /// An edit of an earlier message.
    Edit(Edit, Audience),
    /// A deletion of an earlier message.
    Delete(Delete, Audience),
}

/// A message as a channel stores it.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    /// The message with all edits applied.
    pub message: Message,
    /// The time of the last edit.
    pub edited: Option<Timestamp>,
}

/// Makes a channel record its outgoing frames for as long as the recorder needs them.
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub struct Record(pub Arc<Recorder>);

/// Requests a snapshot of a channel.
#[derive(Debug, actix::Message)]
#[rtype(result = "Snapshot")]
pub struct Inspect {
    /// Include the list of users.
    pub users: bool,
    /// Include the history.
    pub history: bool,
}

/// The data of a channel at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// The channel's id for clients.
    pub uuid: Uuid,
    pub name: Arc<str>,
    pub settings: ChannelSettings,
    /// The time of the last message or event.
    pub last_active: Timestamp,
    /// The number of present connections.
    pub total_connections: u32,
    /// The present users in order of their names, if requested.
    pub users: UserList,
    /// The stored messages, oldest first, if requested.
    pub history: Vec<Arc<StoredMessage>>,
}

/// Sessions of one hub to be closed, once every channel that they subscribe to has reached this value in its mailbox.
///
/// A frame passes through its channel's mailbox. The registry therefore sends a clone of this `Arc` through the same
/// mailboxes, and the channels only drop it. When the last clone is dropped, everything ahead of it has been sent to
/// the hub, and the command to close follows.
#[derive(Debug)]
pub struct OrderedClose {
    hubs: Arc<HubSenders>,
    hub: HubId,
    keys: Vec<SlotKey>,
    reason: CloseReason,
    /// Dropped after the command was sent to the hub.
    _in_flight: Counted,
}

impl OrderedClose {
    /// Closes sessions of `hub` for this reason. Counted as `in_flight` until the command is sent to the hub.
    pub fn new(
        hubs: Arc<HubSenders>,
        hub: HubId,
        keys: Vec<SlotKey>,
        reason: CloseReason,
        in_flight: Counted,
    ) -> Self {
        Self { hubs, hub, keys, reason, _in_flight: in_flight }
    }
}

impl Drop for OrderedClose {
    fn drop(&mut self) {
        self.hubs.send(self.hub, ToHub::OrderedClose(std::mem::take(&mut self.keys), self.reason));
    }
}

/// A channel with its figures at the time of a request.
#[derive(Clone, Debug)]
pub struct ChannelRef {
    pub name: Arc<str>,
    /// The id for clients.
    pub uuid: Uuid,
    pub settings: ChannelSettings,
    pub summary: Arc<Summary>,
    pub(in crate::broker) addr: Addr<Channel>,
}

impl ChannelRef {
    /// The channel actor, for tests that make it fail.
    #[cfg(test)]
    pub fn addr(&self) -> &Addr<Channel> {
        &self.addr
    }

    /// The figures at this moment. Those of a list must not change while it is sorted by them.
    pub fn figures(&self, now: &Timestamp) -> ChannelFigures {
        let summary = &self.summary;
        ChannelFigures {
            name: self.name.clone(),
            settings: self.settings.clone(),
            connections: summary.connections(),
            users: summary.users(),
            history: summary.history(),
            frames: summary.frames(),
            frames_per_1000_s: Some(summary.frames_per_1000_s(now)),
            last_active: summary.last_active(),
        }
    }

    /// Requests a snapshot, behind everything that was published before.
    ///
    /// # Errors
    /// `Draining` when the channel is gone.
    pub async fn inspect(&self, users: bool, history: bool) -> Result<Snapshot, Refusal> {
        self.addr.send(Inspect { users, history }).await.map_err(|_| Refusal::Draining)
    }

    /// Makes the channel record its outgoing frames for as long as the recorder needs them.
    ///
    /// # Errors
    /// `Draining` when the channel is gone.
    pub async fn record(&self, recorder: Arc<Recorder>) -> Result<(), Refusal> {
        self.addr.send(Record(recorder)).await.map_err(|_| Refusal::Draining)
    }
}
