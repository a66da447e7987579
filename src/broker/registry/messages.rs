//! What the registry is asked.

use super::state::Phase;
use crate::broker::channel::Channel;
use crate::broker::channel::summary::Summary;
use crate::http_error::OverLimit;
use crate::protocol::event::UserView;
use crate::protocol::ids::ChannelId;
use crate::protocol::message::{Delete, Edit, Message as Posted};
use crate::protocol::settings::ChannelSettings;
use crate::protocol::state::StateEntry;
use actix::{Addr, Message};
use std::sync::Arc;
use uuid::Uuid;

/// A channel, as those who want to know more about it need it.
#[derive(Clone, Debug)]
pub struct ChannelRef {
    /// Its name.
    pub name: Arc<str>,
    /// Identity, for clients.
    pub uuid: Uuid,
    /// Its settings.
    pub settings: ChannelSettings,
    /// Its figures.
    pub summary: Arc<Summary>,
    /// Itself.
    pub addr: Addr<Channel>,
}

/// A user connects.
#[derive(Debug, Message)]
#[rtype(result = "Result<Connected, ConnectRefused>")]
pub struct Connect {
    /// The user's name.
    pub username: String,
    /// Id chosen by the backend, if any.
    pub conn_id: Option<Uuid>,
    /// Channels to join.
    pub channels: Vec<String>,
    /// State of a user who is new.
    pub fresh_user_state: Vec<StateEntry>,
    /// State to set in any case.
    pub user_state: Vec<StateEntry>,
    /// The user's public keys from now on.
    pub state_public_keys: Vec<String>,
    /// Settings of channels that are new.
    pub channel_configs: Vec<(String, ChannelSettings)>,
}

/// Why somebody cannot connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectRefused {
    /// The connection named is another user's, or the user is none that a request of demo mode may touch.
    BelongsToAnother,
    /// There is no room in the share of demo mode.
    DemoIsFull,
    /// There is no room for all that is asked for.
    OverLimit(OverLimit),
}

/// Answer to [`Connect`].
#[derive(Debug)]
pub struct Connected {
    /// The connection's id.
    pub conn_id: Uuid,
    /// The user.
    pub user: Arc<UserView>,
    /// The channels asked for, without repetition, in any order.
    pub channels: Vec<ChannelRef>,
}

/// A connection subscribes to more channels.
#[derive(Debug, Message)]
#[rtype(result = "Result<Subscribed, SubscribeRefused>")]
pub struct Subscribe {
    /// The connection.
    pub conn_id: Uuid,
    /// Channels to join.
    pub channels: Vec<String>,
    /// Settings of channels that are new.
    pub channel_configs: Vec<(String, ChannelSettings)>,
}

/// A connection leaves channels.
#[derive(Debug, Message)]
#[rtype(result = "Result<Subscribed, UnknownConnection>")]
pub struct Unsubscribe {
    /// The connection.
    pub conn_id: Uuid,
    /// Channels to leave.
    pub channels: Vec<String>,
}

/// No such connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownConnection;

/// Why a connection cannot subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeRefused {
    /// No such connection.
    UnknownConnection,
    /// There is no room for all channels asked for.
    OverLimit(OverLimit),
    /// There is no room in the share of demo mode.
    DemoIsFull,
}

/// A request of demo mode: it takes from a share of its own, and touches no user that is not demo mode's.
#[derive(Debug)]
pub struct OfDemo<M>(pub M);

impl<M: Message> Message for OfDemo<M> {
    type Result = M::Result;
}

/// Answer to [`Subscribe`] and [`Unsubscribe`].
#[derive(Debug)]
pub struct Subscribed {
    /// All channels of the connection now, by name.
    pub channels: Vec<ChannelRef>,
    /// Names joined or left, sorted; only real changes.
    pub changed: Vec<Arc<str>>,
}

/// A user's state changes.
#[derive(Debug, Message)]
#[rtype(result = "Result<StateChanged, StateRefused>")]
pub struct SetUserState {
    /// The user's name.
    pub user: String,
    /// What to set.
    pub user_state: Vec<StateEntry>,
    /// New public keys, if given.
    pub state_public_keys: Option<Vec<String>>,
}

/// Why a state does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateRefused {
    /// No such user.
    UnknownUser,
    /// There is no room for all of it.
    OverLimit(OverLimit),
}

/// Answer to [`SetUserState`].
#[derive(Debug)]
pub struct StateChanged {
    /// The user now.
    pub user: Arc<UserView>,
    /// What changed, in order.
    pub changed: Vec<StateEntry>,
    /// The user's public keys now.
    pub public_keys: Vec<String>,
}

/// Messages, edits or deletions to be routed, in order.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum Publish {
    /// POST /message.
    Post(Vec<Posted>),
    /// PATCH /message.
    Edit(Vec<Edit>),
    /// DELETE /message.
    Delete(Vec<Delete>),
}

impl Publish {
    /// How many things there are to route.
    pub fn len(&self) -> usize {
        match self {
            Publish::Post(list) => list.len(),
            Publish::Edit(list) => list.len(),
            Publish::Delete(list) => list.len(),
        }
    }

    /// Whether there is nothing to route.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Channels are created or get new settings.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<ChannelRef>, OverLimit>")]
pub struct Configure(pub Vec<(String, ChannelSettings)>);

/// Asks for channels: these, or all.
#[derive(Debug, Message)]
#[rtype(result = "Vec<ChannelRef>")]
pub struct ListChannels {
    /// Names; unknown ones are left out. None means all.
    pub names: Option<Vec<String>>,
    /// Names to leave out.
    pub exclude: Vec<String>,
}

/// Ends a connection for good. True if it was known.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct Disconnect(pub Uuid);

/// Which of these are known? For errors that are reported together with others.
#[derive(Debug, Message)]
#[rtype(result = "KnownUsers")]
pub struct Lookup {
    /// A connection.
    pub conn_id: Option<Uuid>,
    /// A user.
    pub user: Option<String>,
}

/// Answer to [`Lookup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, actix::MessageResponse)]
pub struct KnownUsers {
    /// The connection is known.
    pub connection: bool,
    /// The user is known.
    pub user: bool,
}

/// Asks how many there are.
#[derive(Debug, Message)]
#[rtype(result = "Counts")]
pub struct Count;

/// Answer to [`Count`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, actix::MessageResponse)]
pub struct Counts {
    /// Users the server remembers.
    pub remembered_users: usize,
    /// Users with connections that are present.
    pub active_users: usize,
    /// Connections that are present.
    pub connections: usize,
    /// Channels.
    pub channels: usize,
}

/// Asks for some of the channels, oldest first. Who wants all asks again from where this ends: the registry serves
/// others in between.
#[derive(Debug, Message)]
#[rtype(result = "Vec<ChannelRef>")]
pub struct BrowseChannels {
    /// How many to skip.
    pub from: usize,
    /// How many to return at most.
    pub count: usize,
}

/// Asks for some of the connections, present or not, in no order that means anything.
#[derive(Clone, Debug, Default, Message)]
#[rtype(result = "ConnectionSlice")]
pub struct BrowseConnections {
    /// 0, then [`ConnectionSlice::next`].
    pub from: usize,
    /// How many records to look at.
    pub count: usize,
    /// Only those in this channel.
    pub channel: Option<String>,
    /// Only those of this user.
    pub user: Option<String>,
}

/// Answer to [`BrowseConnections`].
#[derive(Debug, actix::MessageResponse)]
pub struct ConnectionSlice {
    /// Those that were asked for.
    pub rows: Vec<ConnectionRow>,
    /// Where to go on; none at the end.
    pub next: Option<usize>,
}

/// A connection in a list.
#[derive(Clone, Debug)]
pub struct ConnectionRow {
    /// Its id.
    pub id: Uuid,
    /// Its user.
    pub user: Arc<UserView>,
    /// The user's identity, for clients.
    pub user_uuid: Uuid,
    /// How many channels it is in.
    pub channels: usize,
    /// Where it stands.
    pub phase: Phase,
}

/// Asks for one connection.
#[derive(Debug, Message)]
#[rtype(result = "Option<ConnectionDetails>")]
pub struct DescribeConnection(pub Uuid);

/// Answer to [`DescribeConnection`].
#[derive(Debug)]
pub struct ConnectionDetails {
    /// As in lists.
    pub row: ConnectionRow,
    /// The names of the channels it is in, sorted; at most [`MAX_DETAILS`].
    pub channels: Vec<Arc<str>>,
}

/// Most names or ids in the details of one thing.
pub const MAX_DETAILS: usize = 500;

/// Asks for the names of channels, in the order asked.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Option<Arc<str>>>")]
pub struct NameChannels(pub Vec<ChannelId>);

/// Asks for one user by name.
#[derive(Debug, Message)]
#[rtype(result = "Option<UserDetails>")]
pub struct DescribeUser(pub String);

/// Answer to [`DescribeUser`].
#[derive(Debug)]
pub struct UserDetails {
    /// The user.
    pub view: Arc<UserView>,
    /// Identity, for clients.
    pub uuid: Uuid,
    /// Keys of its state that everybody may see.
    pub public_keys: Vec<String>,
    /// Connections that are present.
    pub present: usize,
    /// Connections, present or not.
    pub total: usize,
    /// Ids of its connections, present or not, sorted; at most [`MAX_DETAILS`].
    pub connections: Vec<Uuid>,
}

/// Ends connections of a user for good, a number of them at a time. None: no such user.
#[derive(Debug, Message)]
#[rtype(result = "Option<EndedConnections>")]
pub struct DisconnectUser {
    /// The user's name.
    pub user: String,
    /// How many to end at most.
    pub at_most: usize,
}

/// Answer to [`DisconnectUser`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedConnections {
    /// Connections ended.
    pub ended: usize,
    /// Connections left.
    pub left: usize,
}

/// The server stops: all sessions are sent away.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StartDrain {
    /// Over this time, in ms; 0: at once.
    pub spread_ms: u64,
}
