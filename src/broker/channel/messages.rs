//! What channels are told and asked.

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

/// What a channel is told. One mailbox, one order.
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub enum ToChannel {
    /// A connection subscribes; it may have a session already.
    Join {
        /// The connection.
        conn: ConnKey,
        /// Its user.
        user: Arc<UserView>,
        /// Its session, if it has one.
        place: Option<ConnectionSlot>,
    },
    /// A connection unsubscribes or ends.
    Leave(ConnKey),
    /// A session attaches to a subscribed connection.
    Attach {
        /// The connection.
        conn: ConnKey,
        /// Its user: it may have been away.
        user: Arc<UserView>,
        /// The session.
        place: ConnectionSlot,
        /// Which of the attachment's catch-ups this channel's is.
        part: CatchUpPart,
    },
    /// The session is gone; its peer got this far.
    Detach(ConnKey, Option<Offset>),
    /// The connection stays away: it no longer counts as present.
    Part(ConnKey),
    /// The connection is back among the present without a session (it was connected again).
    Return(ConnKey, Arc<UserView>),
    /// A member's state changed; with the public changes as JSON where members are to be told.
    UserChanged(Arc<UserView>, Option<Box<str>>),
    /// New settings.
    Configure(ChannelSettings),
    /// A message, edit or deletion.
    Publish(Publication),
    /// The same for few users, with the places of all their sessions, in this channel or not.
    PublishTo(Box<Publication>, Vec<ConnectionSlot>),
    /// Sessions among the members are to go behind everything published so far; dropping it is all there is to do.
    OrderedClose(Arc<OrderedClose>),
}

/// Something to be published in a channel, with its audience resolved.
#[derive(Clone, Debug)]
pub enum Publication {
    /// A new message.
    Post(Message, Audience),
    /// A change of an earlier one.
    Edit(Edit, Audience),
    /// The end of an earlier one.
    Delete(Delete, Audience),
}

/// A message as a channel keeps it.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    /// The message, in its latest form.
    pub message: Message,
    /// When it was last edited.
    pub edited: Option<Timestamp>,
}

/// Has a channel write down what goes out, for as long as somebody wants to know.
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub struct Record(pub Arc<Recorder>);

/// Asks a channel for what it is and has.
#[derive(Debug, actix::Message)]
#[rtype(result = "Snapshot")]
pub struct Inspect {
    /// With the list of users.
    pub users: bool,
    /// With the history.
    pub history: bool,
}

/// What a channel is and has.
#[derive(Debug, actix::MessageResponse)]
pub struct Snapshot {
    /// Identity, for clients.
    pub uuid: Uuid,
    /// Name.
    pub name: Arc<str>,
    /// Settings.
    pub settings: ChannelSettings,
    /// Last message or event.
    pub last_active: Timestamp,
    /// Present connections.
    pub total_connections: u32,
    /// Present users by name, if asked for.
    pub users: UserList,
    /// Kept messages, oldest first, if asked for.
    pub history: Vec<Arc<StoredMessage>>,
}
