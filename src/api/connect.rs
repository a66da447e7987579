//! POST /connect: make a connection for a user.

use super::answer;
use super::body;
use super::channel_config::{ChannelConfigs, channel_configs};
use super::channels_info::{ChannelsInfo, Freshness};
use super::fields::{CHANNEL_NAME, Fields, STATE_KEY, USER_NAME, names, string, uuid};
use super::info::{InfoOptions, info};
use super::invalid::Invalid;
use super::limits::Limits;
use super::user_state::state_entries;
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::gate::body::Body;
use crate::gate::guard::Signed;
use crate::registry::messages::{BelongsToAnother, Connect};
use crate::wire::json;
use crate::wire::state::StateEntry;
use actix_web::{HttpResponse, web};
use uuid::Uuid;

const FIELDS: &[&str] = &[
    "username",
    "conn_id",
    "channels",
    "fresh_user_state",
    "user_state",
    "state_public_keys",
    "channel_configs",
    "info",
];

/// Who connects, under which id, to which channels.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectRequest {
    /// The user.
    pub username: String,
    /// The id wished for; a random one when there is none.
    pub conn_id: Option<Uuid>,
    /// Channels to join, as given, duplicates and all.
    pub channels: Vec<String>,
    /// State of a user seen for the first time.
    pub fresh_user_state: Vec<StateEntry>,
    /// State to merge, after the former.
    pub user_state: Vec<StateEntry>,
    /// The user's public keys from now on: leaving them out clears them, as in the original.
    pub state_public_keys: Vec<String>,
    /// Settings of the channels this call creates.
    pub channel_configs: ChannelConfigs,
    /// What the answer tells of the channels.
    pub info: InfoOptions,
}

impl ConnectRequest {
    /// Reads a body.
    pub fn parse(body: &[u8], limits: &Limits) -> Result<Self, Invalid> {
        body::object(body, limits, FIELDS, |fields| read(fields, limits))
    }
}

fn read(fields: &mut Fields<'_>, limits: &Limits) -> Option<ConnectRequest> {
    let username = fields.required("username", |raw| string(raw, &USER_NAME));
    let conn_id = fields.given("conn_id", uuid);
    let channels = fields.given("channels", |raw| names(raw, &CHANNEL_NAME, limits.max_channels_per_request));
    let state_public_keys =
        fields.given("state_public_keys", |raw| names(raw, &STATE_KEY, limits.max_list_items));
    let fresh_user_state = state_entries(fields, "fresh_user_state", limits);
    let user_state = state_entries(fields, "user_state", limits);
    let channel_configs = channel_configs(fields, limits);
    let info = info(fields, limits);
    Some(ConnectRequest {
        username: username?,
        conn_id,
        channels: channels.unwrap_or_default(),
        fresh_user_state,
        user_state,
        state_public_keys: state_public_keys.unwrap_or_default(),
        channel_configs,
        info,
    })
}

/// POST /connect.
///
/// # Errors
/// `Invalid`, also for a conn_id that is another user's; `Busy`.
pub async fn connect(_: Signed, backend: web::Data<Backend>, body: Body) -> Result<HttpResponse, Refusal> {
    let request = ConnectRequest::parse(&body, &Limits::from(&*backend.settings))?;
    backend.admit()?;
    Ok(answer::json(open(&backend, request).await?))
}

/// Connects, and writes the answer.
///
/// # Errors
/// As [`connect`].
pub async fn open(backend: &Backend, request: ConnectRequest) -> Result<Vec<u8>, Refusal> {
    let mut names = request.channels.clone();
    // Sorted as given: duplicates are echoed, as in the original.
    names.sort();
    let connected = backend.ask(Connect {
        username: request.username,
        conn_id: request.conn_id,
        channels: request.channels,
        fresh_user_state: request.fresh_user_state,
        user_state: request.user_state,
        state_public_keys: request.state_public_keys,
        channel_configs: request.channel_configs,
    });
    let connected = connected
        .await?
        .map_err(|BelongsToAnother| Invalid::field("conn_id", "Connection belongs to another user"))?;
    let user = connected.user;
    let info = ChannelsInfo::gather(connected.channels, &request.info, Freshness::AfterChange).await?;
    let mut out = Vec::with_capacity(answer::ROOM);
    out.extend_from_slice(b"{\"conn_id\":");
    answer::push_uuid(connected.conn_id, &mut out);
    out.extend_from_slice(b",\"state\":");
    out.extend_from_slice(user.state().as_bytes());
    out.extend_from_slice(b",\"username\":");
    json::write_string(&user.name, &mut out);
    out.extend_from_slice(b",\"public_state\":");
    out.extend_from_slice(user.public_state().as_bytes());
    out.extend_from_slice(b",\"channels\":");
    json::write_strings(&names, &mut out);
    out.extend_from_slice(b",\"channels_info\":");
    info.write(&mut out);
    out.push(b'}');
    Ok(out)
}
