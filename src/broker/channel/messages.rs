//! The messages to channels.

use super::ordered_close::OrderedClose;
use crate::broker::hub::messages::CatchUpPart;
use crate::protocol::event::UserView;
use crate::protocol::frame::Audience;
use crate::protocol::ids::{ConnKey, ConnectionSlot, Offset};
use crate::protocol::message::{Delete, Edit, Message};
use crate::protocol::settings::ChannelSettings;
use crate::protocol::time::Timestamp;
use crate::protocol::user_list::UserList;
use crate::telemetry::recorder::Recorder;
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
    /// A connection unsubscribes or ends.
    Leave(ConnKey),
    /// A session attaches to a subscribed connection.
    Attach {
        conn: ConnKey,
        /// The connection's user, who may have been absent.
        user: Arc<UserView>,
        location: ConnectionSlot,
        /// The position of this channel's catch-up among those of the attachment.
        part: CatchUpPart,
    },
    /// The session has ended; its client received the stream up to this offset.
    Detach(ConnKey, Option<Offset>),
    /// The connection has had no session for too long and no longer counts as present.
    Part(ConnKey),
    /// The connection is present again without a session, because the application connected it again.
    Return(ConnKey, Arc<UserView>),
    /// A member's state changed. The public changes as JSON, if members must be notified.
    UserChanged(Arc<UserView>, Option<Box<str>>),
    Configure(ChannelSettings),
    Publish(Publication),
    /// A publication for few users, with all their sessions, whether they subscribe to this channel or not.
    PublishTo(Box<Publication>, Vec<ConnectionSlot>),
    /// Some members' sessions must close after everything published so far. The channel only drops the value.
    OrderedClose(Arc<OrderedClose>),
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
