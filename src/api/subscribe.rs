//! POST /subscribe: let a connection join channels.

use super::answer;
use super::body;
use super::channel_config::{ChannelConfigs, channel_configs};
use super::channels_info::{ChannelsInfo, Freshness};
use super::conn_id::ConnIdQuery;
use super::fields::{CHANNEL_NAME, Fields, NULL, fault, some_names, uuid, uuid_text};
use super::info::{InfoOptions, info};
use super::invalid::Invalid;
use super::limits::Limits;
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::gate::body::Body;
use crate::gate::guard::Signed;
use crate::registry::messages::{Subscribe, Subscribed, UnknownConnection};
use crate::wire::json;
use actix_web::{HttpResponse, web};
use uuid::Uuid;

const FIELDS: &[&str] = &["conn_id", "channels", "channel_configs", "info"];

/// Which connection joins which channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeRequest {
    /// The connection.
    pub conn_id: Uuid,
    /// Channels to join, in this order.
    pub channels: Vec<String>,
    /// Settings of the channels this call creates.
    pub channel_configs: ChannelConfigs,
    /// What the answer tells of the channels.
    pub info: InfoOptions,
}

impl SubscribeRequest {
    /// Reads a body; a connection it does not name comes from the query.
    pub fn parse(body: &[u8], query_conn_id: Option<&str>, limits: &Limits) -> Result<Self, Invalid> {
        let mut conn_id = None;
        body::object(body, limits, FIELDS, |fields| {
            conn_id = read_conn_id(fields, query_conn_id);
            read(fields, limits, conn_id)
        })
        .map_err(|invalid| Invalid { conn_id, ..invalid })
    }
}

fn read_conn_id(fields: &mut Fields<'_>, query: Option<&str>) -> Option<Uuid> {
    if fields.has("conn_id") {
        return fields.given("conn_id", uuid);
    }
    // Absent in both, the original fills in null and then complains about it.
    fields.keep("conn_id", query.map_or_else(|| Err(fault(NULL)), uuid_text))
}

fn read(fields: &mut Fields<'_>, limits: &Limits, conn_id: Option<Uuid>) -> Option<SubscribeRequest> {
    let max = limits.max_channels_per_request;
    let channels = fields.required("channels", |raw| some_names(raw, &CHANNEL_NAME, max));
    let info = info(fields, limits);
    let channel_configs = channel_configs(fields, limits);
    Some(SubscribeRequest { conn_id: conn_id?, channels: channels?, channel_configs, info })
}

/// POST /subscribe.
///
/// # Errors
/// `Invalid`, also for an unknown connection; `Busy`.
pub async fn subscribe(
    _: Signed,
    backend: web::Data<Backend>,
    query: web::Query<ConnIdQuery>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let limits = Limits::from(&*backend.settings);
    let request = match SubscribeRequest::parse(&body, query.conn_id.as_deref(), &limits) {
        Ok(request) => request,
        Err(invalid) => return Err(answer::with_unknown(&backend, invalid).await?),
    };
    backend.admit()?;
    join(&backend, request).await
}

/// Subscribes, and writes the answer.
///
/// # Errors
/// As [`subscribe`].
pub async fn join(backend: &Backend, request: SubscribeRequest) -> Result<HttpResponse, Refusal> {
    let SubscribeRequest { conn_id, channels, channel_configs, info } = request;
    let subscribed = backend.ask(Subscribe { conn_id, channels, channel_configs }).await?;
    let subscribed = subscribed.map_err(|UnknownConnection| answer::unknown_connection())?;
    changed(subscribed, &info, "subscribed_to").await
}

/// The answer of /subscribe and /unsubscribe; `key` names the list of real changes.
///
/// # Errors
/// As [`ChannelsInfo::gather`].
pub async fn changed(subscribed: Subscribed, info: &InfoOptions, key: &str) -> Result<HttpResponse, Refusal> {
    let mut out = Vec::with_capacity(answer::ROOM);
    out.extend_from_slice(b"{\"channels\":");
    json::write_list(&subscribed.channels, &mut out, |channel, out| json::write_string(&channel.name, out));
    out.extend_from_slice(b",\"channels_info\":");
    let info = ChannelsInfo::gather(subscribed.channels, info, Freshness::AfterChange).await?;
    info.write(&mut out);
    out.extend_from_slice(format!(",\"{key}\":").as_bytes());
    json::write_list(&subscribed.changed, &mut out, |name, out| json::write_string(name, out));
    out.push(b'}');
    Ok(answer::json(out))
}
