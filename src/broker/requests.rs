//! The requests to the broker and their answers, as plain data.

pub use super::channel::messages::{ChannelRef, Inspect, Snapshot, StoredMessage};
pub use super::engine::call::KeyedRequest;
pub use super::hub::messages::SessionFigures;
pub use super::receipts::{PublishedItem, Receipt, ReceiptSlot, Receipts, StreamReceipt};
pub use super::registry::state::Phase;
use crate::http_error::OverLimit;
use crate::protocol::event::UserView;
use crate::protocol::settings::{ChannelConfig, ChannelSettings};
use crate::protocol::state::StateEntry;
use crate::protocol::time::Timestamp;
use crate::protocol::websocket::close::CloseReason;
use std::sync::Arc;
use uuid::Uuid;

/// The party that a request acts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    Application,
    /// A visitor of demo mode. The request uses a share of its own, and may only access demo users.
    Demo,
}

#[derive(Clone, Debug)]
pub struct Connect {
    pub username: String,
    /// The id chosen by the application, if any.
    pub conn_id: Option<Uuid>,
    pub channels: Vec<String>,
    /// The state of a new user.
    pub fresh_user_state: Vec<StateEntry>,
    /// The state to set for new and known users.
    pub user_state: Vec<StateEntry>,
    /// The user's new public keys, if they change.
    pub state_public_keys: Option<Vec<String>>,
    /// The settings of new channels.
    pub channel_configs: Vec<(String, ChannelConfig)>,
}

impl Connect {
    /// A request to connect a connection again, by the node that owns it. The node that received the request has set the
    /// user's state.
    pub fn again(conn_id: Uuid, user: String, channels: Vec<String>) -> Self {
        Self {
            username: user,
            conn_id: Some(conn_id),
            channels,
            fresh_user_state: Vec::new(),
            user_state: Vec::new(),
            state_public_keys: None,
            channel_configs: Vec::new(),
        }
    }
}

/// The reason why a user cannot connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectRefused {
    /// The named connection belongs to another user, or a request of demo mode may not access the user.
    BelongsToAnother,
    /// The application has blocked the user.
    Blocked,
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

#[derive(Clone, Debug)]
pub struct Subscribe {
    pub conn_id: Uuid,
    pub channels: Vec<String>,
    /// The settings of new channels.
    pub channel_configs: Vec<(String, ChannelConfig)>,
}

#[derive(Clone, Debug)]
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

/// The answer to [`Subscribe`] and [`Unsubscribe`].
#[derive(Debug)]
pub struct Subscribed {
    /// All current channels of the connection, in order of their names.
    pub channels: Vec<ChannelRef>,
    /// The names of the channels actually joined or left, sorted.
    pub changed: Vec<Arc<str>>,
}

#[derive(Debug)]
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

/// Which names of a request exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownUsers {
    /// Whether the connection exists.
    pub connection: bool,
    /// Whether the user exists.
    pub user: bool,
}

/// The numbers of users, connections and channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Users that the server remembers.
    pub remembered_users: usize,
    /// Users with at least one present connection.
    pub active_users: usize,
    /// Present connections.
    pub connections: usize,
    pub channels: usize,
}

/// Selects a slice of the connections, present or absent, in no particular order.
#[derive(Clone, Debug, Default)]
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
#[derive(Debug)]
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
    /// The name of the node that has it, if that is another one.
    pub node: Option<Arc<str>>,
}

/// The figures of a channel in a list.
#[derive(Clone, Debug)]
pub struct ChannelFigures {
    pub name: Arc<str>,
    pub settings: ChannelSettings,
    pub connections: u32,
    pub users: u32,
    /// Messages in the history.
    pub history: u32,
    /// Frames so far.
    pub frames: u64,
    /// Recent frames per 1,000 s. `None` if this node does not receive the channel.
    pub frames_per_1000_s: Option<u64>,
    pub last_active: Timestamp,
}

/// The details of a connection.
#[derive(Debug)]
pub struct ConnectionDetails {
    /// The same data as in lists.
    pub row: ConnectionRow,
    /// The names of its channels, sorted; at most [`MAX_DETAILS`].
    pub channels: Vec<Arc<str>>,
    /// When its token expires or has expired, in Unix seconds. `None` if it has no token.
    pub token_expires_unix: Option<u64>,
}

/// The most names or ids in the details of one record.
pub const MAX_DETAILS: usize = 500;

/// The details of a user.
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

/// Why connections are ended, for the close frames of their sessions.
#[derive(Clone, Debug)]
pub struct Ending {
    pub reason: CloseReason,
    /// The text for the client instead of the reason's own, at most [`MAX_ENDING_TEXT`] bytes.
    pub text: Option<Arc<str>>,
}

/// The most bytes of [`Ending::text`]. A close frame has room for 123.
pub const MAX_ENDING_TEXT: usize = 120;

impl From<CloseReason> for Ending {
    fn from(reason: CloseReason) -> Self {
        Self { reason, text: None }
    }
}

/// What a valid token grants.
#[derive(Debug)]
pub struct TokenGrant {
    /// The connection to create. Its public keys are those of `public_keys`.
    pub connect: Connect,
    /// The user's new public keys, if the token contains any.
    pub public_keys: Option<Vec<String>>,
    /// When the token was issued, in Unix seconds.
    pub issued_unix: Option<u64>,
    /// When the token expires, in Unix seconds.
    pub expires_unix: u64,
    /// How long the connection is valid, from now on. It includes the tolerance for clocks that differ.
    pub valid_for_ms: u64,
    /// Whether the connection is created if it does not exist.
    pub creates: bool,
}

/// The reason why a valid token grants nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenGrantRefused {
    /// The application has revoked it.
    Revoked,
    /// The connection belongs to another user.
    Mismatch,
    /// The connection does not exist, and the request may not create it.
    UnknownConnection,
    /// The connection cannot be created.
    Connect(ConnectRefused),
}

/// Blocks a user, or revokes the user's tokens.
#[derive(Debug)]
pub struct BlockUser {
    pub user: String,
    /// How long the user may not connect, from now on; 0 ends a block.
    pub seconds: Option<u64>,
    /// Revokes the tokens issued before this time, in Unix seconds.
    pub tokens_before: Option<u64>,
    pub reason: Option<String>,
    /// The current time, in Unix seconds.
    pub now_unix: u64,
}

/// A block in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub user: Arc<str>,
    /// The end of the block, in Unix seconds. `None` if the user may connect.
    pub until_unix: Option<u64>,
    /// Tokens issued before this time are revoked, in Unix seconds.
    pub tokens_before: Option<u64>,
    pub reason: Arc<str>,
}

/// The result of ending connections of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedConnections {
    pub ended: usize,
    pub left: usize,
}
