//! The messages to the registry.

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

/// A reference to a channel, with its figures and its actor's address.
#[derive(Clone, Debug)]
pub struct ChannelRef {
    pub name: Arc<str>,
    /// The id for clients.
    pub uuid: Uuid,
    pub settings: ChannelSettings,
    pub summary: Arc<Summary>,
    /// The channel actor.
    pub addr: Addr<Channel>,
}

/// Connects a user.
#[derive(Debug, Message)]
#[rtype(result = "Result<Connected, ConnectRefused>")]
pub struct Connect {
    pub username: String,
    /// The id chosen by the application, if any.
    pub conn_id: Option<Uuid>,
    pub channels: Vec<String>,
    /// The state of a new user.
    pub fresh_user_state: Vec<StateEntry>,
    /// The state to set for new and known users.
    pub user_state: Vec<StateEntry>,
    /// The user's new public keys.
    pub state_public_keys: Vec<String>,
    /// The settings of new channels.
    pub channel_configs: Vec<(String, ChannelSettings)>,
}

/// The reason why a user cannot connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectRefused {
    /// The named connection belongs to another user, or a request of demo mode may not access the user.
    BelongsToAnother,
    /// The share of demo mode is used up.
    DemoIsFull,
    /// The request exceeds a limit.
    OverLimit(OverLimit),
}

/// The answer to [`Connect`].
#[derive(Debug)]
pub struct Connected {
    pub conn_id: Uuid,
    pub user: Arc<UserView>,
    /// The requested channels, without repetition, in any order.
    pub channels: Vec<ChannelRef>,
}

/// Subscribes a connection to channels.
#[derive(Debug, Message)]
#[rtype(result = "Result<Subscribed, SubscribeRefused>")]
pub struct Subscribe {
    pub conn_id: Uuid,
    pub channels: Vec<String>,
    /// The settings of new channels.
    pub channel_configs: Vec<(String, ChannelSettings)>,
}

/// Unsubscribes a connection from channels.
#[derive(Debug, Message)]
#[rtype(result = "Result<Subscribed, UnknownConnection>")]
pub struct Unsubscribe {
    pub conn_id: Uuid,
    pub channels: Vec<String>,
}

/// The connection does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownConnection;

/// The reason why a connection cannot subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeRefused {
    /// The connection does not exist.
    UnknownConnection,
    /// The request exceeds a limit.
    OverLimit(OverLimit),
    /// The share of demo mode is used up.
    DemoIsFull,
}

/// A request of demo mode: it uses a share of its own, and may only access demo users.
#[derive(Debug)]
pub struct OfDemo<M>(pub M);

impl<M: Message> Message for OfDemo<M> {
    type Result = M::Result;
}

/// The answer to [`Subscribe`] and [`Unsubscribe`].
#[derive(Debug)]
pub struct Subscribed {
    /// All current channels of the connection, in order of their names.
    pub channels: Vec<ChannelRef>,
    /// The names of the channels actually joined or left, sorted.
    pub changed: Vec<Arc<str>>,
}

/// Changes a user's state.
#[derive(Debug, Message)]
#[rtype(result = "Result<StateChanged, StateRefused>")]
pub struct SetUserState {
    pub user: String,
    /// The entries to set.
    pub user_state: Vec<StateEntry>,
    /// The new public keys, if given.
    pub state_public_keys: Option<Vec<String>>,
}

/// The reason why a state cannot be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateRefused {
    /// The user does not exist.
    UnknownUser,
    /// The request exceeds a limit.
    OverLimit(OverLimit),
}

/// The answer to [`SetUserState`].
#[derive(Debug)]
pub struct StateChanged {
    /// The user after the change.
    pub user: Arc<UserView>,
    /// The changed entries, in order.
    pub changed: Vec<StateEntry>,
    /// The user's public keys after the change.
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
    /// The number of items to route.
    pub fn len(&self) -> usize {
        match self {
            Publish::Post(list) => list.len(),
            Publish::Edit(list) => list.len(),
            Publish::Delete(list) => list.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Creates channels or changes their settings.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<ChannelRef>, OverLimit>")]
pub struct Configure(pub Vec<(String, ChannelSettings)>);

/// Lists the named channels, or all.
#[derive(Debug, Message)]
#[rtype(result = "Vec<ChannelRef>")]
pub struct ListChannels {
    /// The names; unknown ones are ignored. `None` means all channels.
    pub names: Option<Vec<String>>,
    pub exclude: Vec<String>,
}

/// Ends a connection permanently. True if the connection existed.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct Disconnect(pub Uuid);

/// Checks whether a connection and a user exist, for errors that are reported together with others.
#[derive(Debug, Message)]
#[rtype(result = "KnownUsers")]
pub struct Lookup {
    pub conn_id: Option<Uuid>,
    pub user: Option<String>,
}

/// The answer to [`Lookup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, actix::MessageResponse)]
pub struct KnownUsers {
    /// Whether the connection exists.
    pub connection: bool,
    /// Whether the user exists.
    pub user: bool,
}

/// Requests the numbers of users, connections and channels.
#[derive(Debug, Message)]
#[rtype(result = "Counts")]
pub struct Count;

/// The answer to [`Count`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, actix::MessageResponse)]
pub struct Counts {
    /// Users that the server remembers.
    pub remembered_users: usize,
    /// Users with at least one present connection.
    pub active_users: usize,
    /// Present connections.
    pub connections: usize,
    pub channels: usize,
}

/// Requests a slice of the channels, oldest first. To read all, a caller repeats the request from the end of the slice;
/// the registry serves other requests in between.
#[derive(Debug, Message)]
#[rtype(result = "Vec<ChannelRef>")]
pub struct BrowseChannels {
    pub from: usize,
    /// The most channels to return.
    pub count: usize,
}

/// Requests a slice of the connections, present or absent, in no particular order.
#[derive(Clone, Debug, Default, Message)]
#[rtype(result = "ConnectionSlice")]
pub struct BrowseConnections {
    /// 0 for the first slice, then [`ConnectionSlice::next`].
    pub from: usize,
    /// The number of records to examine.
    pub count: usize,
    /// Only connections in this channel.
    pub channel: Option<String>,
    /// Only connections of this user.
    pub user: Option<String>,
}

/// The answer to [`BrowseConnections`].
#[derive(Debug, actix::MessageResponse)]
pub struct ConnectionSlice {
    /// The matching connections.
    pub rows: Vec<ConnectionRow>,
    /// The start of the next slice. `None` at the end.
    pub next: Option<usize>,
}

/// A connection in a list.
#[derive(Clone, Debug)]
pub struct ConnectionRow {
    pub id: Uuid,
    pub user: Arc<UserView>,
    /// The user's id for clients.
    pub user_uuid: Uuid,
    /// The number of channels.
    pub channels: usize,
    /// The phase of the connection.
    pub phase: Phase,
}

/// Requests the details of a connection.
#[derive(Debug, Message)]
#[rtype(result = "Option<ConnectionDetails>")]
pub struct DescribeConnection(pub Uuid);

/// The answer to [`DescribeConnection`].
#[derive(Debug)]
pub struct ConnectionDetails {
    /// The same data as in lists.
    pub row: ConnectionRow,
    /// The names of its channels, sorted; at most [`MAX_DETAILS`].
    pub channels: Vec<Arc<str>>,
}

/// The most names or ids in the details of one record.
pub const MAX_DETAILS: usize = 500;

/// Requests the names of channels, in the order of the request.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Option<Arc<str>>>")]
pub struct NameChannels(pub Vec<ChannelId>);

/// Requests the details of a user by name.
#[derive(Debug, Message)]
#[rtype(result = "Option<UserDetails>")]
pub struct DescribeUser(pub String);

/// The answer to [`DescribeUser`].
#[derive(Debug)]
pub struct UserDetails {
    pub view: Arc<UserView>,
    /// The id for clients.
    pub uuid: Uuid,
    /// The public keys of the user's state.
    pub public_keys: Vec<String>,
    /// Present connections.
    pub present: usize,
    /// All connections, present or absent.
    pub total: usize,
    /// The ids of the connections, present or absent, sorted; at most [`MAX_DETAILS`].
    pub connections: Vec<Uuid>,
}

/// Ends connections of a user permanently, a limited number per request. The answer is `None` if the user does not
/// exist.
#[derive(Debug, Message)]
#[rtype(result = "Option<EndedConnections>")]
pub struct DisconnectUser {
    pub user: String,
    /// The most connections to end.
    pub at_most: usize,
}

/// The answer to [`DisconnectUser`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedConnections {
    pub ended: usize,
    pub left: usize,
}

/// Closes all sessions because the server shuts down.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StartDrain {
    /// The period over which sessions are closed, in ms. 0 closes all immediately.
    pub spread_ms: u64,
}
